"""An in-memory log: partitions, committed offsets, written records; it checks what is committed."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import TYPE_CHECKING

from kafleet.commitmetadata import progress_from
from kafleet.ports import Assignment, Position
from kafleet.takeovers import marked

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from kafleet.backlogs import Item
    from kafleet.dispatching import Dispatcher
    from kafleet.ports import Settlements, WriteFailed
    from kafleet.records import Outgoing, Partition, Record


class MemoryLog:
    """What all members share. `settled` are the offsets whose output or dead letter was acknowledged.

    `remembered` are those that the last commit tells a successor of: no member may work on them again.
    """

    def __init__(self) -> None:
        self.records: dict[Partition, list[Record]] = defaultdict(list)
        self.committed: dict[Partition, int] = defaultdict(int)
        self.metadata: dict[Partition, str] = {}
        self.settled: dict[Partition, set[int]] = defaultdict(set)
        self.remembered: dict[Partition, set[int]] = defaultdict(set)
        self.written: list[Outgoing] = []

    def commit(self, positions: Sequence[Position]) -> set[Partition]:
        for partition, _, offset, metadata, _ in positions:
            above = {each for run in progress_from(offset, metadata).settled for each in run}
            unsettled = (set(range(offset)) | above) - self.settled[partition]
            assert not unsettled, f"{partition} committed at {offset} past {sorted(unsettled)}"
            assert offset >= self.committed[partition], "a commit went back"
            self.committed[partition] = offset
            self.metadata[partition] = metadata
            self.remembered[partition] = set(range(offset)) | above
        return {position.partition for position in positions}

    def forget(self, partition: Partition) -> None:
        """Delete the topic, and with it what was committed."""
        self.records[partition].clear()
        for kept in (self.settled, self.remembered):
            kept[partition].clear()
        self.committed[partition] = 0
        self.metadata.pop(partition, None)


class MemorySource:
    """One member's view of the log: feeds its dispatcher in small batches, honours pauses."""

    def __init__(self, log: MemoryLog, *, batch: int = 3, commit_seconds: float = 0.01) -> None:
        self.log = log
        self.paused: set[Partition] = set()
        self.positions: dict[Partition, int] = {}
        self.epochs: dict[Partition, int] = {}
        self._batch = batch
        self._commit_seconds = commit_seconds
        self._epoch = 0

    def pause(self, partition: Partition) -> None:
        self.paused.add(partition)

    def resume(self, partition: Partition) -> None:
        self.paused.discard(partition)

    async def commit(self, positions: Sequence[Position]) -> Collection[Partition]:
        await asyncio.sleep(self._commit_seconds)
        owned = [
            position
            for position in positions
            if position.partition in self.positions and self.epochs[position.partition] == position.epoch
        ]
        return self.log.commit(owned)

    def assign(self, dispatcher: Dispatcher, partition: Partition) -> None:
        self._epoch += 1
        self.epochs[partition] = self._epoch
        self.positions[partition] = self.log.committed[partition]
        self.paused.discard(partition)
        committed = self.log.committed[partition]
        metadata = marked(committed, self.log.metadata.get(partition))
        self.log.commit([Position(partition, self._epoch, committed, metadata)])
        dispatcher.assign({partition: Assignment(self._epoch, committed, metadata)})

    def feed(self, dispatcher: Dispatcher) -> None:
        for partition in self.positions.keys() - self.paused:
            start = self.positions[partition]
            records = self.log.records[partition][start : start + self._batch]
            self.positions[partition] += len(records)
            dispatcher.take(records)


class MemorySink:
    """Acknowledges writes after `seconds`; `fault` may refuse one by returning an error."""

    def __init__(
        self,
        log: MemoryLog,
        *,
        seconds: float = 0.0,
        fault: Callable[[Outgoing], WriteFailed | None] = lambda _: None,
    ) -> None:
        self.log = log
        self.seconds = seconds
        self.fault = fault
        self._settlements: Settlements[Item]

    def start(self, settlements: Settlements[Item]) -> None:
        self._settlements = settlements

    def write(self, work: Item, outgoing: Sequence[Outgoing]) -> None:
        asyncio.get_running_loop().call_later(self.seconds, self._answer, work, outgoing)

    def _answer(self, work: Item, outgoing: Sequence[Outgoing]) -> None:
        failures = []
        for each in outgoing:
            error = self.fault(each)
            if error is None:
                self.log.written.append(each)
            else:
                failures.append((each, error))
        if failures:
            self._settlements.unwritten(work, failures)
            return
        self.log.settled[work.record.partition].add(work.record.offset)
        self._settlements.settled([work])
