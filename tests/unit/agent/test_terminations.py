"""The termination log is one JSON object at any moment, and never longer than what Kubernetes keeps."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import structlog
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from structlog.testing import capture_logs

from kafleet.terminations import TerminationLog

CONTRACT = Path(__file__).resolve().parents[3] / "agent_image" / "contract"
SCHEMA = Draft202012Validator(json.loads((CONTRACT / "termination.schema.json").read_text()))
NOTHING = {"version": 1, "group": None, "member": None, "error": None}


def log_at(path: Path | None) -> TerminationLog:
    return TerminationLog(path, structlog.get_logger())


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("termination") / "log"


errors = st.text() | st.text('\N{PILE OF POO}\udc80\0"', min_size=900)
changes = st.fixed_dictionaries(
    {},
    optional={
        "group": st.text(max_size=249),
        "member": st.none() | st.text(max_size=60),
        "error": st.none() | errors,
    },
)


@settings(deadline=None)
@given(st.lists(changes, max_size=5))
def test_whatever_is_noted_the_file_holds_the_contract(file: Path, noted: list[Any]) -> None:
    log = log_at(file)
    for facts in [{"group": "g"}, *noted]:
        log.note(**facts)
        content = file.read_bytes()

        assert len(content) <= 4_096
        SCHEMA.validate(json.loads(content))


def test_what_is_noted_stays_until_it_is_replaced(tmp_path: Path) -> None:
    file = tmp_path / "log"
    log = log_at(file)
    log.note(group="g")
    log.note(member="m")
    log.note(error="the consumer cannot go on:\n fenced")
    log.note(error=None)
    log.note(error="short")

    assert json.loads(file.read_text()) == {**NOTHING, "group": "g", "member": "m", "error": "short"}


def test_the_file_is_written_in_place_as_a_mounted_file_must_be(tmp_path: Path) -> None:
    file = tmp_path / "log"
    file.write_text("what the kubelet made")
    before = file.stat().st_ino
    log_at(file).note(member="m")

    assert file.stat().st_ino == before
    assert json.loads(file.read_text())["member"] == "m"


def test_a_file_that_cannot_be_written_costs_a_warning(tmp_path: Path) -> None:
    with capture_logs() as logs:
        log_at(tmp_path).note(member="m")

    [line] = logs
    assert (line["event"], line["log_level"]) == ("cannot write the termination log", "warning")


def test_outside_of_a_pod_nothing_is_kept() -> None:
    log_at(None).note(member="m")
