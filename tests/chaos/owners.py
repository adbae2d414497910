"""Who had a partition, as far as beginning work there shows it. Nothing of Kafleet is imported."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections import defaultdict
from typing import TYPE_CHECKING, Final

from chaos.facts import EVERYBODY

if TYPE_CHECKING:
    from collections.abc import Iterable

    from chaos.facts import Attempt, Expelled, Input

_LATE_SECONDS: Final = 2.0  # until who is expelled has stopped working


class Owners:
    """When each process began work in each partition: eight bytes an attempt."""

    def __init__(self) -> None:
        self._begins: defaultdict[int, defaultdict[str, array[float]]] = defaultdict(
            lambda: defaultdict(lambda: array("d"))
        )

    @classmethod
    def of(cls, inputs: Iterable[Input], attempts: Iterable[Attempt]) -> Owners:
        """Return what these tell."""
        partitions = {each.identity: each.partition for each in inputs}
        owners = cls()
        for attempt in sorted(attempts, key=lambda each: each.started):
            partition = partitions.get(attempt.identity)
            if partition is not None:
                owners.note(partition, attempt.process, attempt.started)
        return owners

    def note(self, partition: int, process: str, started: float) -> None:
        """Note that a process began work in a partition; of each process in the order of time."""
        self._begins[partition][process].append(started)

    def owned_until(self, partition: int, process: str, since: float, expelled: Expelled) -> float:
        """Tell until when a partition was certainly still with a process, minus infinity if nothing says so.

        That is as long as it began work there and nobody else did; less a moment where it went, as who is
        expelled learns of it late.
        """
        by_process = self._begins[partition]
        begins = by_process[process]
        first = bisect_left(begins, since)
        end = float("inf")
        for name, others in by_process.items():
            following = bisect_left(others, since)
            if name != process and following < len(others):
                end = min(end, others[following])
        for who in (process, EVERYBODY):
            for began, ended in expelled.spans(who):
                within = bisect_left(begins, max(since, began))
                if within < len(begins) and begins[within] <= ended:
                    end = min(end, begins[within])
        last = bisect_left(begins, end) - 1
        if last < first:
            return float("-inf")
        return begins[last] - (_LATE_SECONDS if end < float("inf") else 0.0)
