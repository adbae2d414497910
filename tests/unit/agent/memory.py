"""A log that checks what is committed, and remembers what was written."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from kafleet.commitmetadata import progress_from
from kafleet.records import Outgoing, Partition, Record
from kafleet.testing.memory import Log, MemorySink

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kafleet.backlogs import Item
    from kafleet.ports import Position
    from kafleet.records import Headers
    from kafleet.testing.memory import Fault


class CheckedLog(Log):
    """What all members share. `settled` are the offsets whose output or dead letter was acknowledged.

    `remembered` are those that the last commit tells a successor of: no member may work on them again.
    `records` are those that were there from the beginning; what members write is in `written`.
    """

    def __init__(self) -> None:
        super().__init__()
        self.settled: dict[Partition, set[int]] = defaultdict(set)
        self.remembered: dict[Partition, set[int]] = defaultdict(set)
        self.written: list[Outgoing] = []

    def append(self, topic: str, key: bytes | None, value: bytes | None, headers: Headers) -> Record:
        self.written.append(Outgoing(topic, key, value, list(headers)))
        return Record(Partition(topic, 0), len(self.written) - 1, key, value, headers)

    def commit(self, positions: Iterable[Position]) -> set[Partition]:
        kept = list(positions)
        for partition, _, offset, metadata, _ in kept:
            above = {each for run in progress_from(offset, metadata).settled for each in run}
            unsettled = (set(range(offset)) | above) - self.settled[partition]
            assert not unsettled, f"{partition} committed at {offset} past {sorted(unsettled)}"
            assert offset >= self.committed[partition], "a commit went back"
            self.remembered[partition] = set(range(offset)) | above
        return super().commit(kept)

    def forget(self, partition: Partition) -> None:
        """Delete the topic, and with it what was committed."""
        self.records[partition].clear()
        for kept in (self.settled, self.remembered):
            kept[partition].clear()
        self.committed[partition] = 0
        self.metadata.pop(partition, None)


class CheckedSink(MemorySink):
    """Notes in the log what is settled when its writes are acknowledged."""

    def __init__(self, log: CheckedLog, *, seconds: float = 0.0, fault: Fault = lambda _: None) -> None:
        super().__init__(log, seconds=seconds, fault=fault)
        self._checked = log

    def acknowledge(self, work: Item) -> None:
        self._checked.settled[work.record.partition].add(work.record.offset)
        super().acknowledge(work)
