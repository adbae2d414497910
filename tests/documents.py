"""The files of the repository and what the Markdown ones show, as tests read them."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import NamedTuple

REPOSITORY = Path(__file__).parents[1]


class Block(NamedTuple):
    """A fenced block; `place` is path:line of its first line."""

    place: str
    language: str
    text: str


def tracked(*patterns: str) -> list[Path]:
    """Return the tracked files that exist, as paths relative to the repository."""
    listed = subprocess.run(
        ["git", "-C", REPOSITORY, "ls-files", "-z", "--", *patterns],
        capture_output=True,
        text=True,
        check=True,
    )
    return [Path(name) for name in listed.stdout.split("\0") if name and (REPOSITORY / name).is_file()]


def blocks(*languages: str) -> list[Block]:
    """Return the fenced blocks in these languages, also those indented in a list."""
    found = []
    for path in tracked("*.md"):
        text = (REPOSITORY / path).read_text()
        for match in re.finditer(r"^( *)```(\w+)\n(.*?)^ *```$", text, re.MULTILINE | re.DOTALL):
            indent, language, body = match.groups()
            line = text.count("\n", 0, match.start(3)) + 1
            if language in languages:
                found.append(
                    Block(f"{path}:{line}", language, re.sub(f"^{indent}", "", body, flags=re.MULTILINE))
                )
    return found


def prose(path: Path) -> str:
    """Return a document without its fenced blocks."""
    return re.sub(r"^ *```.*?^ *```$", "", (REPOSITORY / path).read_text(), flags=re.MULTILINE | re.DOTALL)


def commands(program: str) -> list[Block]:
    """Return each command line of that program in shell blocks, with continued lines joined."""
    found = []
    for block in blocks("sh"):
        lines = block.text.replace("\\\n", " ").splitlines()
        found += [block._replace(text=line) for line in lines if line.split()[:1] == [program]]
    return found
