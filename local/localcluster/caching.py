"""Folders in the cache, each named after the hash of all that went into it: what is there is right."""

import hashlib
import shutil
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

from localcluster import programs


def key_of(files: Iterable[Path], *words: str) -> str:
    """Hash the files' relative names and contents, and the words; a folder stands for every file below it."""
    digest = hashlib.sha256()
    for root in files:
        for file in sorted(root.rglob("*")) if root.is_dir() else [root]:
            if file.is_file() and "__pycache__" not in file.parts:
                add(digest, file.relative_to(root.parent).as_posix().encode(), file.read_bytes())
    add(digest, *(word.encode() for word in words))
    return digest.hexdigest()[:16]


def add(digest: "hashlib._Hash", *values: bytes) -> None:
    for value in values:
        digest.update(len(value).to_bytes(8, "big") + value)


def cached(folder: Path, make: Callable[[Path], None]) -> Path:
    """Return `folder`; where it is missing, `make` fills an empty one beside it that is then renamed.

    Whoever is killed in between leaves a `.part-` folder, which the next one removes.
    """
    if folder.exists():
        return folder
    with programs.exclusive(folder.parent / ".lock"):
        if folder.exists():
            return folder
        for left in folder.parent.glob("*.part-*"):
            shutil.rmtree(left, ignore_errors=True)
        part = Path(tempfile.mkdtemp(prefix=folder.name + ".part-", dir=folder.parent))
        part.chmod(0o755)
        make(part)
        part.rename(folder)
    return folder
