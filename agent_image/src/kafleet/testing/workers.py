"""The replicas of a fleet in memory, and the group that deals partitions out to them."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING

from kafleet.dispatching import Dispatcher
from kafleet.metrics import Metrics
from kafleet.testing.memory import MemorySink, MemorySource, MemoryTransactor
from kafleet.transactions import Transactions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from structlog.typing import FilteringBoundLogger

    from kafleet.lanes import Lane
    from kafleet.ports import Attempting
    from kafleet.records import Partition
    from kafleet.testing.memory import Log

NOTICED_SECONDS = 1.0
"""After so long the partitions of a replica that died are given to others."""
RESTARTED_SECONDS = 2.0
"""After so long a replica that died is started again."""


class Worker:
    """One replica: the engine on the log in memory. Make it inside the event loop."""

    def __init__(
        self, lane: Lane, attempt: Attempting, log: Log, *, seconds: float, logger: FilteringBoundLogger
    ) -> None:
        self.source = MemorySource(log, seconds=seconds)
        metrics = Metrics()
        self._sink: MemorySink | Transactions = MemorySink(log, seconds=seconds)
        if lane.delivery.guarantee == "ExactlyOnce":
            self._sink = Transactions(
                MemoryTransactor(self.source),
                is_ordered=lane.delivery.ordering == "Key",
                metrics=metrics,
                fail=logger.error,
            )
        self.is_alive = True
        self._lane = lane
        self._log = log
        self.dispatcher = Dispatcher(
            lane,
            attempt,
            self.source,
            self._sink,
            metrics=metrics,
            logger=logger,
            commit=self._sink.commit if isinstance(self._sink, Transactions) else None,
            randomness=random.Random(0),  # noqa: S311 - jitter, the same in every run
        )
        self._sink.start(self.dispatcher)
        self._chores = [asyncio.create_task(self.dispatcher.commits.regularly())]
        if isinstance(self._sink, Transactions):
            self._chores.append(asyncio.create_task(self._sink.run()))

    def delay(self, seconds: float) -> None:
        """Hear so late of what is written and committed."""
        self.source.seconds = seconds
        if isinstance(self._sink, MemorySink):
            self._sink.seconds = seconds

    def feed(self) -> bool:
        """Read on; returns whether there was something to read."""
        return self._log.is_reachable.is_set() and self.source.feed(self.dispatcher)

    def assign(self, partitions: Iterable[Partition]) -> None:
        self.source.assign(self.dispatcher, partitions)

    async def revoke(self, partitions: Sequence[Partition]) -> None:
        """Give partitions up in good order."""
        positions = await self.dispatcher.revoke(partitions)
        await self.source.commit(positions)
        self.source.release(partitions)

    async def leave(self) -> None:
        """End in good order, as on SIGTERM."""
        positions = await self.dispatcher.drain(self._lane.delivery.task_timeout_seconds)
        await self.source.commit(positions)
        self.crash()

    def crash(self) -> None:
        """Die without a word."""
        self.is_alive = False
        self.source.release(self.source.positions)
        self._sink.stop()
        self.dispatcher.cancel()
        for chore in self._chores:
            chore.cancel()


class Group:
    """Members by number, and who owns which partition. Make it inside the event loop."""

    def __init__(self, log: Log, partitions: Sequence[Partition], start: Callable[[], Worker]) -> None:
        self._log = log
        self._partitions = partitions
        self._start = start
        self._owners: dict[Partition, Worker] = {}
        self._unbalanced = asyncio.Event()
        self._is_balancing = False
        self._size = 0
        self.workers: dict[int, Worker] = {}
        self._chores = [
            asyncio.create_task(self._balance_regularly()),
            asyncio.create_task(self._feed_regularly()),
        ]

    @property
    def is_settled(self) -> bool:
        """Whether every partition has an owner and none is about to move."""
        return (
            not self._is_balancing
            and not self._unbalanced.is_set()
            and len(self.workers) == self._size
            and all(owner.is_alive for owner in self._owners.values())
        )

    def scale(self, size: int) -> None:
        """Let so many replicas be there; those with the highest numbers leave."""
        self._size = size
        for number in range(size):
            self._ensure(number)
        self._unbalanced.set()

    def crash(self, number: int) -> None:
        """Kill a replica; it is started again, and others have its partitions until then."""
        loop = asyncio.get_running_loop()
        self.workers.pop(number).crash()
        loop.call_later(NOTICED_SECONDS, self._unbalanced.set)
        loop.call_later(RESTARTED_SECONDS, self._ensure, number)

    async def restart(self, change: Callable[[], None]) -> None:
        """Let all replicas leave, change something, and start them again."""
        size = self._size
        self.scale(0)
        while not self.is_settled:
            self._log.changed.clear()
            await self._log.changed.wait()
        change()
        self.scale(size)

    async def end(self) -> None:
        """Stop everything."""
        for chore in self._chores:
            chore.cancel()
        for worker in self.workers.values():
            worker.crash()

    def _ensure(self, number: int) -> None:
        if number < self._size and number not in self.workers:
            self.workers[number] = self._start()
            self._unbalanced.set()

    async def _balance_regularly(self) -> None:
        while True:
            await self._unbalanced.wait()
            await self._log.is_reachable.wait()
            self._unbalanced.clear()
            self._is_balancing = True
            await self._balance()
            self._is_balancing = False
            self._log.changed.set()

    async def _balance(self) -> None:
        """Move as few partitions as will do: of replicas that are gone, that leave, or that own too many."""
        leaving = [self.workers.pop(number) for number in list(self.workers) if number >= self._size]
        wanted = dealt_out(self._partitions, list(self.workers.values()), self._owners)
        moving: dict[Worker, list[Partition]] = {}
        for partition, owner in self._owners.items():
            if owner.is_alive and owner not in leaving and wanted.get(partition) is not owner:
                moving.setdefault(owner, []).append(partition)
        await asyncio.gather(
            *(worker.leave() for worker in leaving),
            *(worker.revoke(partitions) for worker, partitions in moving.items()),
        )
        given: dict[Worker, list[Partition]] = {}
        for partition, worker in wanted.items():
            if self._owners.get(partition) is not worker and worker.is_alive:
                given.setdefault(worker, []).append(partition)
        for partition in self._partitions:
            if partition not in wanted:
                self._owners.pop(partition, None)
        for worker, partitions in given.items():
            self._owners |= dict.fromkeys(partitions, worker)
            worker.assign(partitions)

    async def _feed_regularly(self) -> None:
        while True:
            if sum(worker.feed() for worker in self.workers.values()):
                await asyncio.sleep(0)
                continue
            self._log.changed.clear()
            await self._log.changed.wait()


def dealt_out(
    partitions: Sequence[Partition], workers: Sequence[Worker], owners: Mapping[Partition, Worker]
) -> dict[Partition, Worker]:
    """Return who shall own what: as many each, give or take one, and as little moved as that allows."""
    wanted: dict[Partition, Worker] = {}
    counts = dict.fromkeys(workers, 0)
    if not workers:
        return wanted
    most = -(-len(partitions) // len(workers))
    for partition in partitions:
        owner = owners.get(partition)
        if owner in counts and counts[owner] < most:
            wanted[partition] = owner
            counts[owner] += 1
    for partition in partitions:
        if partition not in wanted:
            wanted[partition] = worker = min(workers, key=counts.__getitem__)
            counts[worker] += 1
    return wanted
