"""Transactions without a client: what they commit is kept in a ledger."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import TYPE_CHECKING

from unit.agent.fleets import SILENT
from unit.agent.samples import TASKS, lane, record

from kafleet.commitmetadata import Progress, progress_from
from kafleet.dispatching import Dispatcher
from kafleet.metrics import Metrics
from kafleet.ports import Assignment, Position
from kafleet.records import Outgoing, Partition, Record
from kafleet.transactions import Transactions
from kafleet.transactors import Outcome
from kafleet.verdicts import Finished, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from kafleet.backlogs import Item
    from kafleet.ports import Attempting

    Judge = Callable[[Sequence[Item]], Outcome]


def committed(writes: Sequence[Item]) -> Outcome:
    return Outcome(is_committed=True, settled=range(len(writes)))


class Ledger:
    """Stands for the transactor: keeps what is committed, of what `judge` lets through."""

    def __init__(self, judge: Judge = committed) -> None:
        self.judge = judge
        self.sizes: list[int] = []  # of the transactions, committed or not
        self.results: defaultdict[bytes | None, list[bytes | None]] = defaultdict(list)
        self.position = Position(TASKS, 1, 0)
        self.begun: dict[Partition, int] = {}  # other partitions, and with how many writes
        self.written: list[Sequence[Outgoing]] = []  # into the transaction that has begun
        self.written_before = 0  # of records, before the transactions were to be ended
        self.epochs = 0
        self.seconds = 0.005

    def opened(self) -> Callable[[Sequence[Outgoing]], None]:
        return self.written.append

    def serve(self) -> int:
        return 0

    async def begin_epoch(self) -> None:
        self.epochs += 1
        self.written.clear()

    async def transact(self, works: Sequence[Item], positions: Sequence[Position]) -> Outcome:
        self.sizes.append(len(works))
        self.written_before += len(self.written)
        rest = [work.outgoing or () for work in works[len(self.written) :]]
        written, self.written = [*self.written, *rest], []
        assert written == [work.outgoing for work in works]
        await asyncio.sleep(self.seconds)
        outcome = self.judge(works)
        if outcome.is_committed:
            for position in positions:
                if position.partition == TASKS:
                    self.position = position
                else:
                    self.begun[position.partition] = len(works)
            for index in outcome.settled:
                for outgoing in written[index]:
                    self.results[outgoing.key].append(outgoing.value)
        return outcome

    @property
    def progress(self) -> Progress:
        """What is known beside the position."""
        return progress_from(self.position.offset, self.position.metadata)

    def stop(self) -> None:
        """Do nothing: there is nothing to end."""


class Source:
    """Never asked for more, and never for a commit: that is the transactions' affair."""

    def pause(self, _: Partition) -> None: ...

    def resume(self, _: Partition) -> None: ...

    def pace(self, _: float) -> None: ...

    async def commit(self, _: Sequence[Position]) -> Collection[Partition]:
        raise AssertionError


async def echo(record: Record, _: int) -> Verdict:
    await asyncio.sleep(0.001)
    return Finished((Outgoing("results", record.key, str(record.offset).encode(), []),))


class Exact:
    """One replica that delivers exactly once into a ledger. Make it inside the event loop."""

    def __init__(
        self,
        ledger: Ledger,
        keys: int,
        count: int,
        *,
        metadata: str = "",
        attempt: Attempting = echo,
        ordering: str = "Key",
    ) -> None:
        self.ledger = ledger
        self.failures: list[str] = []
        metrics = Metrics()
        self.sink = Transactions(
            ledger, is_ordered=ordering == "Key", metrics=metrics, fail=self.failures.append
        )
        self.dispatcher = Dispatcher(
            lane(guarantee="ExactlyOnce", concurrency=4, ordering=ordering),
            attempt,
            Source(),
            self.sink,
            metrics=metrics,
            logger=SILENT,
            commit=self.sink.commit,
        )
        self.sink.start(self.dispatcher)
        self.running = asyncio.create_task(self.sink.run())
        self.dispatcher.assign({TASKS: Assignment(1, 0, metadata)})
        self.take(keys, count)

    def take(self, keys: int, count: int) -> None:
        self.dispatcher.take(record(offset, key=b"%d" % (offset % keys)) for offset in range(count))

    async def finish(self, count: int) -> None:
        while self.ledger.position.offset < count:  # noqa: ASYNC110 - virtual time costs nothing
            await asyncio.sleep(0.05)
        self.running.cancel()
        self.sink.stop()


def expected(keys: int, count: int) -> dict[bytes, list[bytes]]:
    return {b"%d" % key: [b"%d" % offset for offset in range(key, count, keys)] for key in range(keys)}
