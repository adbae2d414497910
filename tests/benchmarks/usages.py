"""What a process used so far, by the kernel's books: processor time by kind of thread, and memory."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

SAMPLE_SECONDS: Final = 0.05
_TICKS: Final = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Usage:
    """Seconds of processor time since the process began; `at` in seconds since the epoch.

    `main` is the main thread: in the agent, the event loop and the handlers. `client` is what librdkafka's
    own threads used. The rest of `processor` are other Python threads.
    """

    at: float
    processor: float
    main: float
    client: float


def usage_of(pid: int) -> Usage:
    """Read the books, or raise OSError if there is no such process any more."""
    main = client = total = 0.0
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            name, _, rest = (task / "stat").read_text().partition("(")[2].rpartition(")")
        except OSError:  # a thread that ended just now
            continue
        fields = rest.split()
        seconds = (int(fields[11]) + int(fields[12])) / _TICKS
        total += seconds
        if task.name == str(pid):
            main += seconds
        elif name.startswith("rdk:"):
            client += seconds
    return Usage(time.time(), total, main, client)


def peak_mib(pid: int) -> float:
    """Return the most memory that was ever resident."""
    return _status(pid, "VmHWM")


def resident_mib(pid: int) -> float:
    return _status(pid, "VmRSS")


def _status(pid: int, field: str) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(f"{field}:"))


class Watch:
    """Samples a process from a thread of its own, from entering the context to leaving it."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._usages: list[Usage] = []

    def __enter__(self) -> Self:
        self._usages.append(usage_of(self._pid))
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def between(self, begin: float, end: float) -> Usage:
        """Return what was used between two moments, interpolated; `at` is the length in seconds."""
        first, last = self._at(begin), self._at(end)
        return Usage(
            end - begin, last.processor - first.processor, last.main - first.main, last.client - first.client
        )

    def _run(self) -> None:
        with contextlib.suppress(OSError):  # it ended by itself: whoever reads its output will tell
            while not self._ended.wait(SAMPLE_SECONDS):
                self._usages.append(usage_of(self._pid))

    def _at(self, moment: float) -> Usage:
        after = next((number for number, usage in enumerate(self._usages) if usage.at >= moment), None)
        if after is None:
            return self._usages[-1]
        if after == 0:
            return self._usages[0]
        earlier, later = self._usages[after - 1], self._usages[after]
        share = (moment - earlier.at) / (later.at - earlier.at)
        return Usage(
            moment,
            earlier.processor + share * (later.processor - earlier.processor),
            earlier.main + share * (later.main - earlier.main),
            earlier.client + share * (later.client - earlier.client),
        )
