"""What a record of a chaos run asks for, and the journal of the attempts at it. No framework is imported.

A task is a JSON object: `key` and `sequence` name it, `seconds` is how long it takes, `first_seconds` how
much longer the first attempt does, `failures` how many attempts fail, `deaths` how many processes it kills,
and `is_rejected` that it is refused. The journals are in the folder that `CHAOS_FOLDER` names.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

FOLDER = Path(os.environ["CHAOS_FOLDER"])
PROCESS = f"{os.environ.get('KAFLEET_POD_NAME', 'nobody')}-{os.getpid()}"
_JOURNAL = os.open(FOLDER / f"{PROCESS}.attempts", os.O_WRONLY | os.O_APPEND | os.O_CREAT)


class Rejected(Exception):
    """The task wants to be refused."""


async def perform(task: dict[str, Any], attempt: int) -> dict[str, Any]:
    """Do a task, and return its answer."""
    with _journaled(task):
        await asyncio.sleep(_seconds(task, attempt))
        return _answer(task, attempt)


def perform_blocking(task: dict[str, Any], attempt: int) -> dict[str, Any]:
    """Do a task in a thread."""
    with _journaled(task):
        time.sleep(_seconds(task, attempt))
        return _answer(task, attempt)


@contextmanager
def _journaled(task: dict[str, Any]) -> Iterator[None]:
    """Write a line when an attempt begins and one when it ends, which outlive a kill of the process."""
    name = f"{task['key']} {task['sequence']} {time.monotonic():.6f}"
    os.write(_JOURNAL, f"{name}\n".encode())
    is_answered = False
    try:
        yield
        is_answered = True
    finally:
        os.write(_JOURNAL, f"{name} {time.monotonic():.6f} {is_answered:d}\n".encode())


def _seconds(task: dict[str, Any], attempt: int) -> float:
    first: float = task.get("first_seconds", 0.0) if attempt == 1 else 0.0
    return first + float(task.get("seconds", 0.0))


def _answer(task: dict[str, Any], attempt: int) -> dict[str, Any]:
    if "deaths" in task:
        _die(FOLDER / f"deaths-{task['key']}-{task['sequence']}", task["deaths"])
    if task.get("is_rejected"):
        raise Rejected
    if attempt <= task.get("failures", 0):
        raise ValueError(f"attempt {attempt} fails as it was asked to")
    return {"key": task["key"], "sequence": task["sequence"], "process": PROCESS}


def _die(counter: Path, deaths: int) -> None:
    """Kill this process unless the task has killed as many as it wants to."""
    with counter.open("ab") as file:
        if file.tell() < deaths:
            file.write(b"x")
            file.flush()
            os.kill(os.getpid(), signal.SIGKILL)
