"""A process that cannot start says why in one line of JSON and exits with 2."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from unit.agent.samples import lane_file

if TYPE_CHECKING:
    from pathlib import Path


def start(folder: Path, lane: dict[str, Any] | None) -> tuple[int, list[dict[str, Any]], dict[str, Any]]:
    """Run an agent until it ends; returns its exit code, its log and its termination log."""
    file, last_words = folder / "lane.json", folder / "termination.log"
    if lane is not None:
        file.write_text(json.dumps(lane))
    ended = subprocess.run(
        [sys.executable, "-m", "kafleet"],
        env={
            **os.environ,
            "KAFLEET_LANE_FILE": str(file),
            "KAFLEET_TERMINATION_LOG": str(last_words),
            "PYTHONSAFEPATH": "1",
            "PYTHONWARNINGS": "error",
        },
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert ended.stderr == ""
    return (
        ended.returncode,
        [json.loads(line) for line in ended.stdout.splitlines()],
        json.loads(last_words.read_text()),
    )


def lane_with(folder: Path, code: str) -> dict[str, Any]:
    """Return a lane file whose handler is in a module with that text."""
    (folder / "mine.py").write_text(code)
    agent = {"handler": "mine:agent", "codePath": str(folder), "config": {}}
    return {**lane_file(), "agent": agent}


@pytest.mark.parametrize(
    ("lane", "reason", "group"),
    [
        (None, "cannot read the lane file", None),
        ({"version": 1}, "kind: Field required", None),
        (
            lane_file(),
            "cannot import 'triage' of handler 'triage:agent': ModuleNotFoundError: No module named 'triage'",
            "support.triage.workers",
        ),
    ],
)
def test_a_process_that_cannot_start_says_why(
    tmp_path: Path, lane: dict[str, Any] | None, reason: str, group: str | None
) -> None:
    code, lines, last_words = start(tmp_path, lane)

    assert code == 2
    [line] = lines
    assert (line["event"], line["level"]) == ("agent cannot start", "error")
    assert reason in line["reason"]
    assert last_words == {"version": 1, "group": group, "member": None, "error": line["reason"]}


@pytest.mark.parametrize(
    ("code", "reason", "has_traceback"),
    [
        ("import gone\n", "ModuleNotFoundError: No module named 'gone' (mine.py, line 1)", True),
        ("def f(:\n", "(mine.py, line 1)", True),
        ("agent = 3\n", "is of type 'int', not an Agent", False),
        ("agents = 3\n", "'mine' has no attribute 'agent'", False),
        ("raise ValueError('one\\ntwo' + 2000 * '\N{PILE OF POO}')\n", "ValueError: one two", True),
    ],
)
def test_code_that_cannot_be_imported_is_named_with_its_last_line(
    tmp_path: Path, code: str, reason: str, *, has_traceback: bool
) -> None:
    status, lines, last_words = start(tmp_path, lane_with(tmp_path, code))

    assert status == 2
    [line] = lines
    assert reason in last_words["error"]
    assert last_words["error"] == " ".join(line["reason"].split())[: len(last_words["error"])]
    assert ("Traceback" in line.get("exception", "")) == has_traceback
