"""A replica whose every step a test decides: when handlers end, writes arrive and commits are answered."""

from __future__ import annotations

import asyncio
import random
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from unit.agent.fleets import SILENT
from unit.agent.samples import lane

from kafleet.dispatching import Dispatcher
from kafleet.metrics import Metrics
from kafleet.testing.memory import MemorySource

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence
    from contextlib import AbstractAsyncContextManager

    from unit.agent.memory import CheckedLog

    from kafleet.backlogs import Item
    from kafleet.ports import Position
    from kafleet.records import Outgoing, Partition, Record
    from kafleet.verdicts import Verdict

CONCURRENCY = 3
MAX_ATTEMPTS = 3


@dataclass(eq=False)
class Call:
    """A handler that runs: its future's result is what it will come to."""

    record: Record
    number: int
    ending: asyncio.Future[Verdict]

    def __repr__(self) -> str:
        return f"<attempt {self.number} at {self.record.name}>"


@dataclass(eq=False)
class Write:
    """What one record emitted; the brokers have it, and nobody has heard of it yet."""

    work: Item
    outgoing: Sequence[Outgoing]

    def __repr__(self) -> str:
        return f"<write of {self.work.record.name}>"


@dataclass(eq=False)
class Transaction:
    """What is in a transaction that was not ended yet, and who waits for it."""

    writes: Sequence[Write]
    positions: Sequence[Position]
    asked: Sequence[Asked]


@dataclass(eq=False)
class Asked:
    """A commit that was asked for and not answered; `kept` is what the brokers took, None before that."""

    positions: Sequence[Position]
    answer: asyncio.Future[Collection[Partition]]
    kept: set[Partition] | None = None


class Source(MemorySource):
    """Commits when it is told to."""

    def __init__(self, log: CheckedLog) -> None:
        super().__init__(log)
        self.asked: list[Asked] = []

    async def commit(self, positions: Sequence[Position]) -> Collection[Partition]:
        asked = Asked(positions, asyncio.get_running_loop().create_future())
        self.asked.append(asked)
        return await asked.answer


class Sink:
    """Keeps what is written until it is told to answer."""

    def __init__(self, *, is_transactional: bool) -> None:
        self.writes: list[Write] = []
        self.is_transactional = is_transactional
        self.lock = asyncio.Lock()  # held while a transaction is under way

    def write(self, work: Item, outgoing: Sequence[Outgoing]) -> None:
        self.writes.append(Write(work, outgoing))

    def quiet(self) -> AbstractAsyncContextManager[None]:
        return self.lock if self.is_transactional else nullcontext()


@dataclass(eq=False)
class Member:
    """One replica, with all that it waits for; `begins` is told of each call of its handler."""

    begins: Callable[[Member, Call], None]
    source: Source
    is_ordered: bool
    sink: Sink
    transaction: Transaction | None = None
    calls: list[Call] = field(default_factory=list)
    leaving: dict[Partition, asyncio.Task[list[Position]]] = field(default_factory=dict)
    stopping: asyncio.Task[list[Position]] | None = None
    inherited: dict[Partition, dict[int, int]] = field(default_factory=dict)  # failed attempts, by offset

    def __repr__(self) -> str:
        return f"<member of {sorted(self.source.positions)}>"

    def start(self) -> None:
        self.dispatcher = Dispatcher(
            lane(
                guarantee="ExactlyOnce" if self.sink.is_transactional else "AtLeastOnce",
                concurrency=CONCURRENCY,
                maxAttempts=MAX_ATTEMPTS,
                ordering="Key" if self.is_ordered else "None",
            ),
            self.attempt,
            self.source,
            self.sink,
            metrics=Metrics(),
            logger=SILENT,
            randomness=random.Random(7),  # noqa: S311 - a test's dice
        )
        self.committing = asyncio.get_running_loop().create_task(self.dispatcher.commits.regularly())

    async def begin_transaction(self) -> None:
        """Put all that was written into a transaction, with the positions that go with it."""
        await self.sink.lock.acquire()
        asked, self.source.asked = self.source.asked, []
        works, positions = self.dispatcher.plan([write.work for write in self.sink.writes])
        self.sink.writes = [write for write in self.sink.writes if self.dispatcher.awaits(write.work)]
        writes = [write for write in self.sink.writes if write.work in works]
        self.transaction = Transaction(writes, positions, asked)

    def end_transaction(self, *, is_committed: bool) -> None:
        """Tell what came of it; what was aborted is in the next one again."""
        transaction, self.transaction = self.transaction, None
        assert transaction is not None
        if is_committed:
            self.sink.writes = [write for write in self.sink.writes if write not in transaction.writes]
            self.dispatcher.settled([write.work for write in transaction.writes])
            self.dispatcher.committed(transaction.positions)
        for asked in transaction.asked:
            if not asked.answer.done():
                asked.answer.set_result(
                    {each.partition for each in transaction.positions} if is_committed else ()
                )
        self.sink.lock.release()

    async def attempt(self, record: Record, number: int) -> Verdict:
        call = Call(record, number, asyncio.get_running_loop().create_future())
        self.begins(self, call)
        self.calls.append(call)
        try:
            return await call.ending
        finally:
            self.calls.remove(call)
