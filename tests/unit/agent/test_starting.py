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


def start(folder: Path, lane: dict[str, Any] | None) -> tuple[int, list[dict[str, Any]]]:
    file = folder / "lane.json"
    if lane is not None:
        file.write_text(json.dumps(lane))
    ended = subprocess.run(
        [sys.executable, "-m", "kafleet"],
        env={**os.environ, "KAFLEET_LANE_FILE": str(file), "PYTHONSAFEPATH": "1", "PYTHONWARNINGS": "error"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.stderr == ""
    return ended.returncode, [json.loads(line) for line in ended.stdout.splitlines()]


@pytest.mark.parametrize(
    ("lane", "reason"),
    [
        (None, "cannot read the lane file"),
        ({"version": 1}, "kind: Field required"),
        (lane_file(), "cannot import 'triage' of handler 'triage:agent': ModuleNotFoundError"),
    ],
)
def test_a_process_that_cannot_start_says_why(
    tmp_path: Path, lane: dict[str, Any] | None, reason: str
) -> None:
    code, lines = start(tmp_path, lane)

    assert code == 2
    [line] = lines
    assert (line["event"], line["level"]) == ("agent cannot start", "error")
    assert reason in line["reason"]
