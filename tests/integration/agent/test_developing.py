"""`kafleet dev` as a process: a broker inside, real agent processes, changes of the code, Ctrl-C."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from integration.servers import eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CODE = """
import asyncio, os
from kafleet import Agent, Context

agent = Agent()

@agent.task
async def answer(task: str, ctx: Context) -> str:
    if task == "sleep" and ctx.attempt == 1:
        await asyncio.sleep(SECONDS)
    if task == "die":
        os._exit(3)
    if task == "fail":
        raise ValueError("no idea")
    return f"ANSWER to {task}"
"""


def code(answer: str = "first", *, seconds: float = 0) -> str:
    return CODE.replace("ANSWER", answer).replace("SECONDS", str(seconds))


class Dev:
    """One `kafleet dev mine:agent` in a folder; `lines` are what it has shown so far, without the time."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.folder = folder
        self._shown = folder / "shown.txt"
        with self._shown.open("wb") as shown:
            self.process = subprocess.Popen(
                [Path(sys.executable).with_name("kafleet"), "dev", "mine:agent", *options],
                cwd=folder,
                stdin=subprocess.PIPE,
                stdout=shown,
                stderr=subprocess.STDOUT,
                env={**os.environ, "PYTHONWARNINGS": "error", "NO_COLOR": "1"},
            )

    @property
    def lines(self) -> list[str]:
        return [line[10:] for line in self._shown.read_text().splitlines()]

    @property
    def broker(self) -> str:
        self.wait_for("started")
        return self._shown.read_text().split("broker ")[1].split()[0]

    @property
    def children(self) -> list[int]:
        text = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        return [int(pid) for pid in text.split()]

    def write(self, name: str, text: str) -> None:
        """Replace a file of the code at once, as editors do."""
        fresh = self.folder / f"{name}.new"
        fresh.write_text(text)
        fresh.rename(self.folder / name)

    def type(self, text: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(text.encode())
        self.process.stdin.flush()

    def wait_for(self, *words: str, times: int = 1) -> None:
        """Wait until so many lines hold all of these words."""
        try:
            eventually(lambda: self.count(*words) >= times, seconds=60)
        except BaseException:
            print(self._shown.read_text())
            raise

    def count(self, *words: str) -> int:
        return sum(all(word in line for word in words) for line in self.lines)

    def end(self, how: signal.Signals = signal.SIGINT) -> int:
        """End it as Ctrl-C does, and return its exit code."""
        self.process.send_signal(how)
        code = self.process.wait(30)
        if self.process.stdin is not None:
            self.process.stdin.close()
        return code


@pytest.fixture
def dev(tmp_path: Path) -> Iterator[Callable[..., Dev]]:
    """Start `kafleet dev` in a folder of its own."""
    # Where the tests run in the background Ctrl-C is ignored, and so it would be by what they start.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    started: list[Dev] = []

    def start(text: str, *options: str) -> Dev:
        (tmp_path / "mine.py").write_text(text)
        started.append(Dev(tmp_path, *options))
        return started[-1]

    yield start
    for each in started:
        if each.process.poll() is None:
            each.end(signal.SIGKILL)
    signal.signal(signal.SIGINT, before)


def test_records_from_a_file_from_standard_input_and_from_others_are_answered(
    dev: Callable[..., Dev], tmp_path: Path
) -> None:
    (tmp_path / "tasks.txt").write_text("k\tone\ntwo\n")
    run = dev(code(), "--input", "tasks.txt")
    run.type("three\n")
    producer = Producer({"bootstrap.servers": run.broker, "log_level": 0})
    producer.produce("tasks", key=b"k", value=b"four")
    assert producer.flush(10) == 0

    for word in ("one", "two", "three", "four"):
        run.wait_for("arrived", word)
        run.wait_for("emitted", f"first to {word}")
    assert run.end() == 0
    assert run.lines[-1].strip() == "ending"
    assert "Traceback" not in "".join(run.lines)


def test_a_change_starts_the_agent_anew_where_it_was_and_repeats_what_was_under_way(
    dev: Callable[..., Dev],
) -> None:
    run = dev(code(seconds=600))
    run.type("one\nsleep\n")
    run.wait_for("emitted", "first to one")
    run.wait_for("arrived", "sleep")
    run.write("mine.py", code("second"))

    run.wait_for("reloading", "mine.py changed")
    run.wait_for("emitted", "second to sleep")
    run.type("two\n")
    run.wait_for("emitted", "second to two")
    assert run.count("emitted", "to one") == 1
    assert run.end() == 0


def test_code_that_cannot_be_imported_is_shown_and_waits_for_the_next_change(dev: Callable[..., Dev]) -> None:
    run = dev("import gone\n")
    run.type("one\n")
    run.wait_for("error", "No module named 'gone'")
    run.wait_for("waiting", "for a change")
    run.write("mine.py", code())

    run.wait_for("emitted", "first to one")
    assert run.end() == 0


def test_failures_retries_and_dead_letters_are_shown(dev: Callable[..., Dev]) -> None:
    run = dev(code())
    run.type("fail\n")

    run.wait_for("failed", "attempt 1: ValueError: no idea")
    run.wait_for("mine.py, line 14, in answer")
    run.wait_for("waits", "again in")
    run.wait_for("dead letter", "AttemptsExhausted after 5 attempts", "no idea")
    assert run.count("failed", "attempt") == 5
    assert run.end(signal.SIGTERM) == 0


def test_an_agent_that_dies_is_started_again_at_once_and_goes_on(dev: Callable[..., Dev]) -> None:
    run = dev(code())
    run.type("k\tdie\n")
    run.wait_for("error", "the agent has died with exit code 3; again in 1 s")
    run.wait_for("the agent has died", times=2)  # so it was given its partitions back at once
    run.write("mine.py", code("better").replace("os._exit(3)", "pass"))

    run.wait_for("emitted", "better to die")
    assert run.end() == 0


def test_a_file_larger_than_what_the_broker_keeps_arrives_whole(
    dev: Callable[..., Dev], tmp_path: Path
) -> None:
    count, width = 80, 100_000  # 8 MB to one partition, which keeps 5
    (tmp_path / "tasks.txt").write_text("".join(f"k\t{number:05} {'x' * width}\n" for number in range(count)))
    text = code().replace('f"ANSWER to {task}"', "task[:5]")
    run = dev(text, "--input", "tasks.txt")

    run.wait_for("emitted", times=count)
    assert [number for number in range(count) if not run.count("emitted", f"{number:05}")] == []
    assert run.end() == 0


def test_the_agent_ends_with_whoever_started_it(dev: Callable[..., Dev]) -> None:
    run = dev(code())
    run.wait_for("started")
    [child] = run.children

    run.end(signal.SIGKILL)

    # What nobody has waited for yet is still there, but runs nothing.
    command = Path(f"/proc/{child}/cmdline")
    eventually(lambda: not command.exists() or not command.read_bytes())


def test_results_can_be_read_from_the_broker(dev: Callable[..., Dev]) -> None:
    run = dev(code())
    run.type("k\tone\n")
    run.wait_for("emitted", "first to one")
    reader = Consumer({"bootstrap.servers": run.broker, "group.id": "me", "log_level": 0})
    reader.assign([TopicPartition("results", number, 0) for number in range(4)])

    message = eventually(lambda: reader.poll(0.2), seconds=30)
    reader.close()
    assert (message.key(), message.value()) == (b"k", b"first to one")
