"""What the demo prints: numbered steps, each with its usual and its real time, and a table of the work."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from demo.broker import Shares

from demo.broker import held_by, lag_of

ROW_SECONDS = 3.0


class Story:
    """Prints as it goes, and remembers how long each step took."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._took: list[tuple[str, str, float]] = []

    @contextmanager
    def step(self, title: str, usually: str) -> Iterator[None]:
        """Print what is about to happen, and afterwards how long it took."""
        print(f"\n{len(self._took) + 1}. {title} (usually {usually})", flush=True)
        began = time.monotonic()
        yield
        seconds = time.monotonic() - began
        self._took.append((title, usually, seconds))
        self.say(f"done in {seconds:.1f} s")

    def say(self, text: str = "") -> None:
        """Print lines that belong to the current step."""
        for line in text.splitlines() or [""]:
            print(f"   {line}".rstrip(), flush=True)

    def summary(self) -> None:
        """Print what every step took."""
        print(f"\nIt took {time.monotonic() - self._began:.0f} s:")
        for number, (title, usually, seconds) in enumerate(self._took, 1):
            print(f"   {number:2}. {title:<58} {seconds:6.1f} s   usually {usually}", flush=True)


class WorkTable:
    """A row each few seconds: lag, rate, and who holds which partitions."""

    def __init__(self, story: Story) -> None:
        self._story = story
        self._began = time.monotonic()
        self._shown: tuple[float, int] | None = None

    def tell(self, text: str) -> None:
        """Print a line in place of the rows that do not come."""
        if self._shown is None or time.monotonic() - self._shown[0] > 2 * ROW_SECONDS:
            self._story.say(text)

    def show(self, shares: Shares) -> None:
        """Print a row unless the last one is younger than ROW_SECONDS."""
        at, done = time.monotonic(), sum(share.committed for share in shares.values())
        if self._shown is None:
            self._story.say("lag: records after the committed offsets")
            self._story.say(f"{'time':>6} {'lag':>6} {'rate':>7}  agent: partitions it holds")
        elif at - self._shown[0] < ROW_SECONDS:
            return
        rate = f"{(done - self._shown[1]) / (at - self._shown[0]):.0f}/s" if self._shown else ""
        self._story.say(f"{at - self._began:>4.0f} s {lag_of(shares):>6} {rate:>7}  {holders(shares)}")
        self._shown = (at, done)


def holders(shares: Shares) -> str:
    """Say who holds what: `x7k2p: 0-5   q9d4f: 6-11`."""
    return "   ".join(f"{short(pod)}: {spans(numbers)}" for pod, numbers in sorted(held_by(shares).items()))


def short(pod: str) -> str:
    """Return the part of a pod's name that tells it from its siblings."""
    return pod.rpartition("-")[2] or "nobody"


def spans(numbers: list[int]) -> str:
    """Write ascending numbers as spans: `0-2,5`."""
    found: list[list[int]] = []
    for number in numbers:
        if found and number == found[-1][-1] + 1:
            found[-1].append(number)
        else:
            found.append([number])
    return ",".join(f"{span[0]}-{span[-1]}" if len(span) > 1 else str(span[0]) for span in found)


def recovery_told(last: Mapping[str, Any]) -> str:
    """Say what a status tells of the last dead agent."""
    served = "nobody has its partitions yet"
    if "seconds" in last:
        served = f"others held its partitions {last['seconds']:g} s after its end"
    return (
        f"the operator removed {last['agent']} ({last['reason']}) from the group: {served}; "
        "Kafka alone would have waited 45 s"
    )
