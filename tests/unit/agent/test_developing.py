"""`kafleet dev` reads records as people write them, and shows what happens to them in words."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from rich.console import Console
from unit.agent.samples import unspecified_delivery

import kafleet
from kafleet.developing.sessions import Session, _lines, _record
from kafleet.developing.telling import Teller
from kafleet.lanes import parse_lane

if TYPE_CHECKING:
    from collections.abc import Callable

PLACE = {"topic": "tasks", "partition": 0, "offset": 5, "key": "k"}
TRACEBACK = f"""Traceback (most recent call last):
  File "{Path(kafleet.__file__).parent}/attempts.py", line 90, in _try
  File "/home/ada/triage.py", line 23, in classify
    raise ValueError("no")
  File "/usr/lib/python3.11/json/decoder.py", line 355, in raw_decode
ValueError: no"""


class Seen:
    """A record as the client hands it over."""

    def __init__(self, topic: str, key: bytes | None, value: bytes | None, **headers: bytes) -> None:
        self.topic = lambda: topic
        self.partition = lambda: 0
        self.offset = lambda: 7
        self.key = lambda: key
        self.value = lambda: value
        self.headers = lambda: list(headers.items()) or None


def shown(tell: Callable[[Teller], None], *, width: int | None = None) -> list[str]:
    """Return what is written, without the time; with a width, as to a terminal."""
    out = io.StringIO()
    console = Console(file=out, width=width or 80, force_terminal=width is not None, color_system=None)
    tell(Teller(console, inbox="tasks", output="results", dead_letters="dead-letters"))
    return [line[10:] if line[2:3] == ":" else line for line in out.getvalue().splitlines()]


def told(**event: object) -> list[str]:
    line = json.dumps({"level": "info", "logger": "kafleet.dispatching", **event})
    return shown(lambda teller: teller.line(line))


@pytest.mark.parametrize(
    ("line", "record"),
    [
        (b'{"a": 1}', (None, b'{"a": 1}')),
        (b'key\t{"a": 1}', (b"key", b'{"a": 1}')),
        (b'{"a":\t1}', (None, b'{"a":\t1}')),
        (b'"a\tb"', (None, b'"a\tb"')),
        (b"plain text", (None, b"plain text")),
        (b"\tno key but an empty one", (b"", b"no key but an empty one")),
        (b"a\tb\tc", (b"a", b"b\tc")),
    ],
)
def test_a_line_is_a_value_or_a_key_and_a_value(line: bytes, record: tuple[bytes | None, bytes]) -> None:
    assert _record(line) == record


def test_lines_may_be_long_empty_or_without_an_end() -> None:
    reading, writing = os.pipe()
    os.write(writing, b"a\n\n \r\nb\r\n" + b"x" * 1_000)
    os.close(writing)

    assert list(_lines(reading)) == [b"a", b"b", b"x" * 1_000]


def test_the_lane_is_valid_and_delivers_as_a_resource_that_says_nothing_of_it(tmp_path: Path) -> None:
    session = Session(
        "triage:agent",
        folder=tmp_path,
        config={"tone": "kind"},
        lanes=["billing"],
        records=None,
        kind=None,
        console=Console(),
    )
    lane = parse_lane(json.dumps(session._lane("127.0.0.1:1")))

    assert lane.delivery.model_dump() == unspecified_delivery()
    assert (lane.sends, lane.agent.config) == ({"billing": "billing.tasks"}, {"tone": "kind"})


def test_each_thing_that_happens_to_a_record_has_a_word() -> None:
    assert told(
        event="attempt failed", **PLACE, attempt=2, error="ValueError: no\nidea", traceback=TRACEBACK
    ) == [
        "failed       tasks/0/5   attempt 2: ValueError: no idea",
        "                       triage.py, line 23, in classify",
    ]
    ended: dict[str, Any] = {"event": "attempt ended", **PLACE, "attempt": 2, "seconds": 0.0314}
    assert told(**ended, outcome="failed", retry_seconds=1.25) == ["waits        tasks/0/5   again in 1.2 s"]
    assert told(**ended, outcome="postponed", retry_seconds=2) == [
        "waits        tasks/0/5   RetryLater: again in 2.0 s"
    ]
    assert told(**ended, outcome="finished", retry_seconds=None) == [
        "done         tasks/0/5   attempt 2, 31 ms"
    ]
    assert told(**ended, outcome="refused", retry_seconds=None) == []
    assert told(event="agent cannot start", reason="cannot import 'triage'", exception=TRACEBACK) == [
        "error        cannot import 'triage'",
        "                       triage.py, line 23, in classify",
    ]


def test_records_are_shown_with_what_caused_them() -> None:
    records = [
        Seen("tasks", b"k", b'{"a":\n1}', ce_type=b"refund"),
        Seen("tasks", None, None),
        Seen("results", b"k", b"yes", ce_causationid=b"tasks/0/7", ce_type=b"Answer"),
        Seen("billing.tasks", b"k", b"\xff", ce_causationid=b"tasks/0/7"),
    ]

    def tell(teller: Teller) -> None:
        for record in records:
            teller.record(record)

    assert shown(tell) == [
        'arrived      tasks/0/7   k  refund  {"a": 1}',
        "arrived      tasks/0/7   (tombstone)",
        "emitted      tasks/0/7   → results  k  Answer  yes",
        "sent         tasks/0/7   → billing.tasks  k  \\xff",
    ]


def test_a_dead_letter_is_shown_with_its_cause() -> None:
    letter = Seen(
        "dead-letters",
        b"k",
        b"{}",
        **{
            "__connect.errors.topic": b"tasks",
            "__connect.errors.partition": b"0",
            "__connect.errors.offset": b"5",
            "__connect.errors.exception.class.name": b"ValueError",
            "__connect.errors.exception.message": b"no\nidea",
            "kafleet_reason": b"AttemptsExhausted",
            "kafleet_attempts": b"5",
        },
    )

    assert shown(lambda teller: teller.record(letter)) == [
        "dead letter  tasks/0/5   AttemptsExhausted after 5 attempts  ValueError: no idea"
    ]


def test_what_the_agent_itself_says_is_shown_and_what_its_parts_say_in_good_health_is_not() -> None:
    assert told(event="asked", logger="triage", level="info", model="small") == [
        "log          asked model=small"
    ]
    assert told(event="asking", logger="triage", level="debug") == []
    assert told(event="thinking", **PLACE, record_id="1", tone="kind") == [
        "log          tasks/0/5   thinking tone=kind"
    ]
    assert told(event="partitions assigned") == []
    assert told(event="Kafka reports an error", level="warning", error="gone") == [
        "warning      Kafka reports an error error=gone"
    ]
    assert shown(lambda teller: teller.line("[a] print")) == ["print        [a] print"]
    assert shown(lambda teller: teller.line('{"event of": "mine"}')) == ['print        {"event of": "mine"}']


def test_a_long_value_is_cut_off_in_a_terminal_and_an_error_never() -> None:
    long = Seen("tasks", None, b"x" * 500)

    [line] = shown(lambda teller: teller.record(long), width=60)
    assert len(line) == 60 - 10
    assert line.endswith("x…")
    assert "x" * 500 in "".join(shown(lambda teller: teller.say("error", "x" * 500), width=60))


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["dev", "triage:agent", "--config", "tone"], "'tone' is not key=value"),
        (["dev", "triage:agent", "--input", "missing.jsonl"], "'missing.jsonl' does not exist"),
        (["dev"], "Missing argument 'handler'"),
    ],
)
def test_what_is_wrong_on_the_command_line_is_named(arguments: list[str], complaint: str) -> None:
    ended = subprocess.run(
        [Path(sys.executable).with_name("kafleet"), *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "COLUMNS": "200", "NO_COLOR": "1"},
    )

    assert ended.returncode == 2
    assert complaint in ended.stderr


def test_without_the_extra_the_command_says_how_to_get_it() -> None:
    code = "import sys; sys.modules['typer'] = None; from kafleet.command import main; main()"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert ended.returncode == 1
    assert ended.stderr == "kafleet: 'typer' is missing; install it by: pip install 'kafleet[dev]'\n"
