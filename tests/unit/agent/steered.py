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

    def __init__(self) -> None:
        self.writes: list[Write] = []

    def write(self, work: Item, outgoing: Sequence[Outgoing]) -> None:
        self.writes.append(Write(work, outgoing))

    def quiet(self) -> AbstractAsyncContextManager[None]:
        return nullcontext()


@dataclass(eq=False)
class Member:
    """One replica, with all that it waits for; `begins` is told of each call of its handler."""

    begins: Callable[[Member, Call], None]
    source: Source
    is_ordered: bool
    sink: Sink = field(default_factory=Sink)
    calls: list[Call] = field(default_factory=list)
    leaving: dict[Partition, asyncio.Task[list[Position]]] = field(default_factory=dict)
    inherited: dict[Partition, dict[int, int]] = field(default_factory=dict)  # failed attempts, by offset

    def __repr__(self) -> str:
        return f"<member of {sorted(self.source.positions)}>"

    def start(self) -> None:
        self.dispatcher = Dispatcher(
            lane(
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

    async def attempt(self, record: Record, number: int) -> Verdict:
        call = Call(record, number, asyncio.get_running_loop().create_future())
        self.begins(self, call)
        self.calls.append(call)
        try:
            return await call.ending
        finally:
            self.calls.remove(call)
