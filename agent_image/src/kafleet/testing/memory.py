"""A log in memory, and a member's two ends of it: what Kafka is to an agent, without its clients.

As in Kafka, a record or a commit counts from when the brokers have it; that its sender hears of it comes
later, and a sender that dies in between never does.
"""

from __future__ import annotations

import asyncio
import math
import zlib
from collections import defaultdict
from contextlib import nullcontext
from typing import TYPE_CHECKING

from kafleet.ports import Assignment, Position
from kafleet.records import Partition, Record
from kafleet.takeovers import marked
from kafleet.transactors import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
    from contextlib import AbstractAsyncContextManager

    from kafleet.backlogs import Item
    from kafleet.dispatching import Dispatcher
    from kafleet.ports import Settlements, WriteFailed
    from kafleet.records import Headers, Outgoing

    Fault = Callable[[Outgoing], WriteFailed | None]


class Log:
    """Records by partition, and what the group has committed. All members of a fleet share one.

    `partitions` counts those of each topic, 1 where it says nothing. `now` tells the time in milliseconds.
    """

    def __init__(
        self, partitions: Mapping[str, int] | None = None, *, now: Callable[[], int] = lambda: 0
    ) -> None:
        self.records: dict[Partition, list[Record]] = defaultdict(list)
        self.committed: dict[Partition, int] = defaultdict(int)
        self.metadata: dict[Partition, str] = {}
        self.changed = asyncio.Event()  # set on everything that is appended or committed
        self.is_reachable = asyncio.Event()
        self.is_reachable.set()
        self._partitions = partitions or {}
        self._now = now

    def append(self, topic: str, key: bytes | None, value: bytes | None, headers: Headers) -> Record:
        """Append a record: one key always to one partition, no key to one after the other."""
        partitions = [Partition(topic, number) for number in range(self._partitions.get(topic, 1))]
        if key is None:
            partition = min(partitions, key=lambda each: len(self.records[each]))
        else:
            partition = partitions[zlib.crc32(key) % len(partitions)]
        record = Record(partition, len(self.records[partition]), key, value, headers, self._now())
        self.records[partition].append(record)
        self.changed.set()
        return record

    def commit(self, positions: Iterable[Position]) -> set[Partition]:
        """Keep positions of the group; returns their partitions."""
        acknowledged = set()
        for partition, _, offset, metadata, _ in positions:
            self.committed[partition] = offset
            self.metadata[partition] = metadata
            acknowledged.add(partition)
        self.changed.set()
        return acknowledged

    def forget_commits(self) -> None:
        """Let the group begin again at the start of every partition."""
        self.committed.clear()
        self.metadata.clear()


class MemorySource:
    """Where one member reads; `feed` hands over up to `batch` records of each partition that is not paused.

    At any pace but never all at once. An acknowledgement of a commit takes `seconds`.
    """

    def __init__(self, log: Log, *, batch: int = 500, seconds: float = 0.0) -> None:
        self.log = log
        self.seconds = seconds
        self.paused: set[Partition] = set()
        self.seconds_between = 0.0  # batches
        self.positions: dict[Partition, int] = {}  # of the partitions that it owns: what is read next
        self._epochs: dict[Partition, int] = {}
        self._epoch = 0
        self._batch = batch

    def pause(self, partition: Partition) -> None:
        self.paused.add(partition)

    def resume(self, partition: Partition) -> None:
        self.paused.discard(partition)
        self.log.changed.set()

    def pace(self, seconds: float) -> None:
        self.seconds_between = seconds
        self.log.changed.set()

    async def commit(self, positions: Sequence[Position]) -> Collection[Partition]:
        await self.log.is_reachable.wait()
        acknowledged = self.commit_now(positions)
        await asyncio.sleep(self.seconds)
        return acknowledged

    def commit_now(self, positions: Iterable[Position]) -> set[Partition]:
        """Commit what belongs to an assignment that is not over."""
        return self.log.commit(position for position in positions if self.owns([position]))

    def owns(self, positions: Iterable[Position]) -> bool:
        """Tell whether no position is of an assignment that is over."""
        return all(self._epochs.get(position.partition) == position.epoch for position in positions)

    def assign(self, dispatcher: Dispatcher, partitions: Iterable[Partition]) -> None:
        """Take partitions over as an agent does: say first that one more owner may die."""
        self._epoch += 1
        assignments = {}
        for partition in partitions:
            committed = self.log.committed[partition]
            metadata = marked(committed, self.log.metadata.get(partition))
            self._epochs[partition] = self._epoch
            self.positions[partition] = committed
            self.paused.discard(partition)
            self.commit_now([Position(partition, self._epoch, committed, metadata)])
            assignments[partition] = Assignment(self._epoch, committed, metadata)
        dispatcher.assign(assignments)

    def release(self, partitions: Iterable[Partition]) -> None:
        """Own partitions no more: nothing is read or committed of them."""
        for partition in list(partitions):
            self.positions.pop(partition, None)
            self._epochs.pop(partition, None)

    def feed(self, dispatcher: Dispatcher) -> bool:
        """Hand the next records over; returns whether there were any."""
        found = False
        for partition in self.positions.keys() - self.paused if self.seconds_between < math.inf else ():
            start = self.positions[partition]
            records = self.log.records[partition][start : start + self._batch]
            if records:
                self.positions[partition] += len(records)
                dispatcher.take(records)
                found = True
        return found


class MemorySink:
    """Where one member writes. An acknowledgement takes `seconds`; `fault` may refuse by an error."""

    def __init__(self, log: Log, *, seconds: float = 0.0, fault: Fault = lambda _: None) -> None:
        self.log = log
        self.seconds = seconds
        self.fault = fault
        self._settlements: Settlements[Item]
        self._writes: set[asyncio.Task[None]] = set()

    def start(self, settlements: Settlements[Item]) -> None:
        """Tell from now on what comes of writes."""
        self._settlements = settlements

    def write(self, work: Item, outgoing: Sequence[Outgoing]) -> None:
        write = asyncio.get_running_loop().create_task(self._write(work, outgoing))
        self._writes.add(write)
        write.add_done_callback(self._writes.discard)

    def quiet(self) -> AbstractAsyncContextManager[None]:
        """Return at once: there are no transactions."""
        return nullcontext()

    def stop(self) -> None:
        """Write nothing more, and tell nothing of what was written."""
        for write in self._writes:
            write.cancel()

    def acknowledge(self, work: Item) -> None:
        """Tell that everything of a work is written."""
        self._settlements.settled([work])

    async def _write(self, work: Item, outgoing: Sequence[Outgoing]) -> None:
        await self.log.is_reachable.wait()
        failures = []
        for each in outgoing:
            error = self.fault(each)
            if error is None:
                self.log.append(each.topic, each.key, each.value, each.headers)
            else:
                failures.append((each, error))
        await asyncio.sleep(self.seconds)
        if failures:
            self._settlements.unwritten(work, failures)
        else:
            self.acknowledge(work)


class MemoryTransactor:
    """Makes one member's transactions: each is there as a whole, or nothing of it ever was.

    That one is committed is heard of as late as of any commit of the member's.
    """

    def __init__(self, source: MemorySource) -> None:
        self._source = source
        self._log = source.log
        self._written: list[Sequence[Outgoing]] = []  # into the transaction that has begun

    def opened(self) -> Callable[[Sequence[Outgoing]], None]:
        """Return what writes into the transaction that has begun."""
        return self._written.append

    def serve(self) -> int:
        """Return how many records are on their way: they are there at once."""
        return 0

    async def begin_epoch(self) -> None:
        """Forget what was written: nobody else has the id."""
        self._written.clear()

    async def transact(self, works: Sequence[Item], positions: Sequence[Position]) -> Outcome:
        await self._log.is_reachable.wait()
        written = [*self._written, *(work.outgoing or () for work in works[len(self._written) :])]
        self._written.clear()
        if not self._source.owns(positions):
            return Outcome(is_committed=False)
        for outgoing in (each for outgoings in written for each in outgoings):
            self._log.append(outgoing.topic, outgoing.key, outgoing.value, outgoing.headers)
        self._source.commit_now(positions)
        await asyncio.sleep(self._source.seconds)
        return Outcome(is_committed=True, settled=range(len(works)))

    def stop(self) -> None:
        """Do nothing: who waits for a transaction is cancelled."""
