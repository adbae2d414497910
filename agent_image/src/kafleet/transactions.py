"""Writing records in transactions: settled is what was committed together with the positions that say so.

One transaction at a time. What handlers end with is written into the one that has begun, at once, while it is
in the processor's cache; while that is being ended it waits for the next one. After a failure everything
waits: the next transaction is filled only when it is to be ended, with what is not to blame.

The invariants: positions are committed here and in this order only, but for those of whoever gives partitions
up, while it is `quiet`; what records of one key led to is written in the order in which their handlers ended;
and a transaction that holds anything else than its positions say is never committed.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple, Protocol

from kafleet.transactors import CannotGoOn

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence
    from contextlib import AbstractAsyncContextManager

    from kafleet.backlogs import Item
    from kafleet.metrics import Metrics
    from kafleet.ports import Position, Settlements
    from kafleet.records import Outgoing, Partition
    from kafleet.transactors import Outcome

INTERVAL_SECONDS = 0.1
"""From the begin of one transaction to that of the next, if it took no longer and nobody asks for one."""
_MARKERS_SECONDS = 0.03
"""How long a transaction without records waits for some, and for the markers of the one before it."""
_LARGEST = 10_000
_SERVE_SECONDS = 0.002
_LAST_RECORDS = 100
"""So many on their way may be left to the transactor's thread."""
_FLUSH_SECONDS = 0.5


class Transacting(Protocol):
    """Makes transactions, one at a time; see `transactors`. Raises CannotGoOn."""

    def opened(self) -> Callable[[Sequence[Outgoing]], None] | None:
        """Return what writes all that one record led to into the transaction that has begun; never waits."""

    def serve(self) -> int:
        """Let the client call back, without waiting; returns how many records are on their way."""

    async def begin_epoch(self) -> None:
        """Abort what was written into a transaction and not committed."""

    async def transact(self, works: Sequence[Item], positions: Sequence[Position], /) -> Outcome:
        """Write what works led to, but for the first ones, of which it was written already, and commit."""

    def stop(self) -> None: ...


class _Asked(NamedTuple):
    """Somebody who waits for a commit, of partitions that begin as well."""

    beginnings: Sequence[Position]
    answer: asyncio.Future[Collection[Partition]]


class Transactions:
    """A sink that is `run` as long as the process lives; calls `fail` with a reason if it can never go on."""

    def __init__(
        self, transactor: Transacting, *, is_ordered: bool, metrics: Metrics, fail: Callable[[str], None]
    ) -> None:
        self._transactor = transactor
        self._is_ordered = is_ordered  # within each key
        self._metrics = metrics
        self._fail = fail
        self._loop = asyncio.get_running_loop()
        self._waiting: dict[Item, None] = {}  # in order, those of the present transaction first
        self._written = 0  # of them, into the transaction that has begun
        self._put: Callable[[Sequence[Outgoing]], None] | None = None  # writes into it; None while none may
        self._failed: set[Item] = set()  # that keep their place there, and are written again later
        self._asked: list[_Asked] = []  # for a commit of positions
        self._is_wanted = asyncio.Event()
        self._is_written = asyncio.Event()
        self._is_noted = False  # in both: to set what is set costs as much as much else here
        self._is_asked = asyncio.Event()
        self._lock = asyncio.Lock()
        self._largest = _LARGEST  # records whose outputs are in one transaction

    def start(self, settlements: Settlements[Item]) -> None:
        """Begin to take an epoch; what comes of writes is told to `settlements`."""
        self._settlements = settlements
        self._ready = self._loop.create_task(self._transactor.begin_epoch())

    def write(self, work: Item, outgoing: Sequence[Outgoing]) -> None:
        """Write all that one record led to, into the transaction that has begun or with the next one."""
        self._waiting[work] = None
        if self._failed:
            self._failed.discard(work)
        if self._put is not None and self._written < self._largest:
            self._written += 1
            self._put(outgoing)
        if not self._is_noted:
            self._is_noted = True
            self._is_written.set()
            self._is_wanted.set()

    async def commit(self, _positions: Sequence[Position]) -> Collection[Partition]:
        """Commit, in the next transaction, the positions as they are by then; returns whose they were."""
        return await self._ask(())

    async def begin(self, positions: Sequence[Position]) -> Collection[Partition]:
        """Commit, in the next transaction, where partitions begin that are being taken over.

        A commit of its own that is sent again, because its connection was lost, could arrive once more when
        transactions have gone further, and take their positions back.
        """
        return await self._ask(positions)

    async def _ask(self, beginnings: Sequence[Position]) -> Collection[Partition]:
        asked = _Asked(beginnings, self._loop.create_future())
        self._asked.append(asked)
        self._is_asked.set()
        self._is_wanted.set()
        return await asked.answer

    def quiet(self) -> AbstractAsyncContextManager[None]:
        """No transaction is under way while this is entered."""
        return self._lock

    def stop(self) -> None:
        """Make no more. What is not committed by now was nobody's to wait for."""
        self._ready.cancel()
        self._transactor.stop()

    async def run(self) -> None:
        """Make transactions until cancelled."""
        try:
            await self._ready
            while True:
                await self._is_wanted.wait()
                if not self._waiting:
                    await _wait(self._is_written, self._loop.time() + _MARKERS_SECONDS)
                began = self._loop.time()
                async with self._lock:
                    await self._transact()
                await _wait(self._is_asked, began + INTERVAL_SECONDS)
        except CannotGoOn as error:
            self._fail(str(error))

    async def _transact(self) -> None:
        await self._flush()
        asked, self._asked = self._asked, []
        self._is_asked.clear()
        self._is_written.clear()
        self._is_noted = False
        for gone in [work for work in self._failed if work.lot.is_closed]:
            self._failed.discard(gone)
            del self._waiting[gone]
        batch = list(islice(self._writable(), self._written or self._largest))
        works, planned = self._settlements.plan(batch)
        positions = [*planned, *(position for each in asked for position in each.beginnings)]
        await self._abandon_unless(works, batch)
        if len(works) < len(batch):
            for given_up in [work for work in batch if not self._settlements.awaits(work)]:
                del self._waiting[given_up]
        committed: Collection[Partition] = ()
        if positions:
            self._put, self._written = None, 0
            outcome = await self._transactor.transact(works, positions)
            self._tell(works, positions, outcome)
            if outcome.is_committed:
                committed = {position.partition for position in positions}
                self._open()
        if not self._waiting and not self._asked:
            self._is_wanted.clear()
            self._is_noted = False
        for each in asked:
            if not each.answer.done():
                each.answer.set_result(committed)

    async def _flush(self) -> None:
        """Write no more, and wait a moment until nearly all that was written is acknowledged."""
        self._put = None
        ends = self._loop.time() + _FLUSH_SECONDS
        # The client tells only who asks.
        while self._transactor.serve() > _LAST_RECORDS and self._loop.time() < ends:  # noqa: ASYNC110
            await asyncio.sleep(_SERVE_SECONDS)

    def _open(self) -> None:
        """Write what waits into the transaction that has begun; from now on others do so at once."""
        put = self._transactor.opened()
        if put is None or self._failed:
            return
        for given_up in [work for work in self._waiting if not self._settlements.awaits(work)]:
            del self._waiting[given_up]
        for work in islice(self._waiting, self._largest):
            self._written += 1
            put(work.outgoing or ())
        self._put = put

    async def _abandon_unless(self, works: Sequence[Item], batch: Sequence[Item]) -> None:
        """Abort what was written into the transaction unless all of it is to be settled now.

        Somebody else may have the partition by now, or the offset map has no room.
        """
        if works[: self._written] != batch[: self._written]:
            self._put, self._written = None, 0
            await self._transactor.begin_epoch()

    def _writable(self) -> Iterable[Item]:
        """Return what may be written, in order; in a key nothing overtakes what could not be written yet."""
        if not self._failed:
            return self._waiting
        held: set[bytes | None] = set()
        writable = []
        for work in self._waiting:
            key = work.record.key if self._is_ordered else None
            if work in self._failed:
                held.add(key)
            elif key is None or key not in held:
                writable.append(work)
        return writable

    def _tell(self, works: Sequence[Item], positions: Sequence[Position], outcome: Outcome) -> None:
        """Note what came of a transaction, and how large the next one may be."""
        self._metrics.transacted(is_committed=outcome.is_committed)
        settled = [works[index] for index in sorted(outcome.settled)]
        for work in settled:
            self._waiting.pop(work, None)  # it may have been given up meanwhile
        self._settlements.settled(settled)
        if outcome.is_committed:
            self._settlements.committed(positions)
            self._largest = min(2 * self._largest, _LARGEST)
            return
        for index, error in outcome.failed.items():
            self._failed.add(works[index])
            # Nothing of an aborted transaction is there, so all of it has to be written again.
            failures = [(each, error) for each in works[index].outgoing or ()]
            self._settlements.unwritten(works[index], failures)
        if not works:
            return
        # What is not to blame goes alone, so that every other transaction at least gets on. Where nothing
        # tells what is to blame, smaller and smaller ones will.
        left = len(works) - len(outcome.failed)
        self._largest = max(1, left if outcome.failed else left // 2)


async def _wait(event: asyncio.Event, until: float) -> None:
    """Wait for an event, but not for longer."""
    with suppress(TimeoutError):
        async with asyncio.timeout_at(until):
            await event.wait()
