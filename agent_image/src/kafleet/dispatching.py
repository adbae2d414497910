"""Which record is worked on when: order per key, bounded in flight, retries, and what may be committed.

Pure asyncio over values: records come from a `Source` and go to a `Sink`, the work is an `Attempting`.
Everything runs on one event loop. The invariant: an offset is settled only when all that its record emitted,
or its dead letter, is acknowledged; and nothing but the position of an offset map is ever committed.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

from kafleet.backlogs import Backlog, Item, Lot, most_in_flight
from kafleet.backoffs import Backoff
from kafleet.commits import Commits, plan
from kafleet.delivering import Deliveries
from kafleet.ports import Assignment
from kafleet.runners import Runners
from kafleet.shares import Shares
from kafleet.throttles import Throttle
from kafleet.trials import Trials

if TYPE_CHECKING:
    import random
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from structlog.typing import FilteringBoundLogger

    from kafleet.lanes import Lane
    from kafleet.metrics import Metrics
    from kafleet.ports import Attempting, Commit, Position, Sink, Source, WriteFailed
    from kafleet.records import Outgoing, Partition, Record
    from kafleet.verdicts import Verdict

_CANCEL_SECONDS = 1.0
_QUIET_SECONDS = 5.0


class Dispatcher:
    """Gives records out and keeps the books. Events of the log come in as method calls, in log order."""

    def __init__(
        self,
        lane: Lane,
        attempt: Attempting,
        source: Source,
        sink: Sink[Item],
        *,
        metrics: Metrics,
        logger: FilteringBoundLogger,
        commit: Commit | None = None,  # the source's, if nobody else commits
        randomness: random.Random | None = None,
    ) -> None:
        self._delivery = lane.delivery
        self._source = source
        self._sink = sink
        self._metrics = metrics
        self._logger = logger
        self._loop = asyncio.get_running_loop()
        self._backlog = Backlog(is_ordered=lane.delivery.ordering == "Key")
        self.commits = Commits(self, commit or source.commit, metrics=metrics)
        trials = Trials(attempt, self.commits, max_attempts=lane.delivery.max_attempts)
        self._runners = Runners(
            trials.attempt, is_needed=self._is_runnable, take=self._next, ended=self._tried
        )
        self._drained: dict[Lot, asyncio.Future[None]] = {}  # of lots that are leaving
        self._throttle = Throttle(logger, ended=self._runners.wake)
        self._deliveries = Deliveries(
            lane, Backoff(lane.delivery, randomness), self._throttle, metrics=metrics, logger=logger
        )
        self.in_flight = 0
        self.slots = 0  # of `concurrency`, in use
        self._concurrency = lane.delivery.concurrency
        self._most_in_flight = most_in_flight(lane.delivery)
        self.is_stopping = False
        self.is_suspended = False
        self.lots: dict[Partition, Lot] = {}
        self._shares = Shares(
            source, self.lots, self._backlog, held=lambda: self.held, busy=lambda: self.slots
        )

    @property
    def held(self) -> int:
        """Records that were read and are neither settled nor in flight."""
        return self._backlog.count - self.in_flight

    @property
    def size(self) -> int:
        """Bytes of the records that were read and are not settled."""
        return self._backlog.size

    @property
    def throttled_seconds(self) -> float:
        """How long this replica starts nothing, because a provider is full."""
        return self._throttle.seconds

    @property
    def oldest_runnable_seconds(self) -> float:
        """How long a record has been waiting that could be given out now: 0 unless something is wrong."""
        since = self._backlog.oldest_ready_since()
        return 0.0 if since is None or not self._may_start() else self._loop.time() - since

    def failing(self) -> list[Item]:
        """Return the records whose last attempt or write failed and that wait to be tried again."""
        return [item for lot in self.lots.values() for item in lot.items if item.fault is not None]

    def assign(self, assignments: Mapping[Partition, Assignment]) -> None:
        """Take partitions on, each in a new epoch, with what their last owner left beside its commit."""
        if self.is_stopping:
            return  # their records would not be taken, so nothing of them may be committed either
        for partition, assignment in assignments.items():
            self.lots[partition] = self._lot(partition, assignment)
            self._source.resume(partition)  # a pause of its last assignment may have come too late
        self._metrics.rebalanced("assigned")
        self._shares.balance()

    def take(self, records: Iterable[Record]) -> None:
        """Take records that were read; those of partitions that are gone or going are ignored."""
        consumed = skipped = 0
        now = self._loop.time()
        partition, lot = None, None
        for record in records:
            if record.partition is not partition:  # they come in runs
                partition = record.partition
                lot = self.lots.get(partition)
            if lot is None or lot.is_leaving or self.is_stopping:
                continue
            offset = record.offset
            if offset < lot.offsets.next_offset:
                lot = self._begin_again(lot, offset)
            if lot.fetch(offset):
                self._backlog.add(Item(record, lot), now)
                consumed += 1
            else:
                skipped += 1
        self._metrics.consumed(consumed, skipped)
        self._runners.wake()
        self._shares.look()

    def reach(self, ends: Mapping[Partition, int]) -> None:
        """Note where logs end, after the last record that was taken."""
        for partition in ends.keys() & self.lots.keys():
            self.lots[partition].reach(ends[partition])

    async def revoke(self, partitions: Iterable[Partition]) -> list[Position]:
        """Give partitions up in good order: finish what is in flight within the drain time, cancel the rest.

        Returns the positions that still have to be committed before another member may have the partitions.
        """
        self._metrics.rebalanced("revoked")
        lots = [lot for partition in partitions if (lot := self.lots.get(partition)) is not None]
        for lot in lots:
            self._leave(lot)
        await self._finish(lots, self._delivery.drain_seconds)
        positions = await self._close_quietly(lots, seconds=None)
        self._shares.balance()
        return positions

    def lose(self, partitions: Iterable[Partition]) -> None:
        """Drop partitions that another member may have already: cancel everything, commit nothing."""
        self._metrics.rebalanced("lost")
        self._drop(partitions)

    async def drain(self, seconds: float) -> list[Position]:
        """Start nothing more, finish what is in flight within so many seconds, cancel the rest.

        Returns the positions that still have to be committed.
        """
        self.is_stopping = True
        lots = list(self.lots.values())
        for lot in lots:
            self._leave(lot)
            self._source.pause(lot.partition)
        await self._finish(lots, seconds)
        positions = await self._close_quietly(lots, seconds=_QUIET_SECONDS)
        if self._runners.waiting:
            await asyncio.wait(self._runners.waiting, timeout=_CANCEL_SECONDS)
        return positions

    def cancel(self) -> None:
        """Stop working on everything at once: this process may not own its partitions any more."""
        self.is_stopping = True
        self._drop(list(self.lots))

    def suspend(self) -> None:
        """Cancel every handler and start none until `resume`; what a handler has ended with is written still.

        A cancelled attempt does not count, and its record stays where it is.
        """
        self.is_suspended = True
        for task in self._runners.waiting:
            task.cancel()

    def resume(self) -> None:
        """Go on after `suspend`."""
        self.is_suspended = False
        self._runners.wake()

    def settled(self, works: Sequence[Item]) -> None:
        """Note records of which everything is acknowledged."""
        settled = emitted = 0
        now = self._loop.time()
        for item in works:
            if not item.is_in_flight:
                continue
            settled += 1
            emitted += len(item.outgoing or ())
            if item.dead_reason is not None:
                self._deliveries.note_dead(item, item.dead_reason)
            lot = item.lot
            lot.settle(item.offset)
            self._land(item)
            self._backlog.remove(item, now)
        self._metrics.settled(settled, emitted)
        self._runners.wake()
        self._shares.look()

    def unwritten(self, work: Item, failures: Sequence[tuple[Outgoing, WriteFailed]]) -> None:
        """Note what of a record could not be written; it is tried again."""
        if work.is_in_flight:
            self._release(work, self._deliveries.again(work, failures))
            self._runners.wake()

    def plan(self, works: Sequence[Item]) -> tuple[list[Item], list[Position]]:
        """Return which of these records may be settled at once, and what is to be committed with them."""
        planned = plan(self.lots.values(), [each for each in works if each.is_in_flight], self._loop.time())
        self._shares.balance()  # the maps were measured just now
        return planned

    def awaits(self, work: Item) -> bool:
        """Tell whether a record is still to be settled here."""
        return work.is_in_flight

    def committed(self, positions: Sequence[Position]) -> None:
        """Note that positions are committed."""
        for position in positions:
            lot = self.lots.get(position.partition)
            if lot is not None:
                lot.acknowledge(position)
        self._backlog.release()
        self._runners.wake()

    def _drop(self, partitions: Iterable[Partition]) -> None:
        for lot in [self.lots[each] for each in partitions if each in self.lots]:
            self._leave(lot)
            self._close(lot)
        self._shares.balance()

    def _may_start(self) -> bool:
        return (
            self.slots < self._concurrency
            and self.in_flight < self._most_in_flight
            and not self.is_stopping
            and not self.is_suspended
            and not self._throttle.is_on
        )

    def _is_runnable(self) -> bool:
        if not self._backlog.has_ready:
            self._shares.look()
            return False
        return self._may_start()

    def _next(self) -> Item | None:
        """Give out the next record that is to be tried; those before it whose outputs wait are written."""
        while self._may_start() and (item := self._backlog.take()) is not None:
            item.is_in_flight = True
            item.has_slot = True
            item.lot.in_flight += 1
            self.in_flight += 1
            self.slots += 1
            if item.outgoing is None:
                return item
            self._write(item)
        self._shares.look()
        return None

    def _tried(self, item: Item, outcome: Verdict | BaseException, now: float) -> None:
        """Write what came of an attempt, or let its key wait; forget what is somebody else's now."""
        if isinstance(outcome, BaseException):
            delay: float | None = self._delay_after(item, outcome)
        else:
            delay = self._deliveries.judge(item, outcome, now - item.started_at)
        if delay is None and not item.lot.is_closed:
            self._write(item)
            return
        self._release(item, delay or 0.0)

    def _delay_after(self, item: Item, error: BaseException) -> float:
        """Return the seconds until the next attempt after one that came to no verdict."""
        if isinstance(error, asyncio.CancelledError):
            # By a suspension; where its partition is gone it is forgotten all the same.
            item.discount()
            return 0.0
        # A mistake of ours must neither lose the record nor stop the others.
        self._logger.error("internal error", **item.record.names, exc_info=error)
        return self._deliveries.fail(item, error)

    def _write(self, item: Item) -> None:
        """Write what a record emitted; with nothing to write it is settled."""
        if not item.outgoing:
            self.settled((item,))
            return
        self._sink.write(item, item.outgoing)
        self.slots -= item.has_slot
        item.has_slot = False
        if item.lot.is_exact:  # transactions take long, but keep the order
            self._backlog.free_key(item, self._loop.time())
            if self._backlog.suspects:
                self._backlog.give_back(item)

    def _release(self, item: Item, delay: float) -> None:
        """Let a record wait to be tried again; in a partition that is being given up, forget it."""
        self._land(item)
        if item.lot.is_leaving:
            self._backlog.remove(item, self._loop.time())
        else:
            item.timer = self._loop.call_later(delay, self._wake, item)

    def _land(self, item: Item) -> None:
        """Note that a record is not in flight any more."""
        lot = item.lot
        if item.has_slot:
            self.slots -= 1
            item.has_slot = False
        item.is_in_flight = False
        lot.in_flight -= 1
        self.in_flight -= 1
        if self._backlog.suspects:
            self._backlog.give_back(item)
        if lot.is_leaving and not lot.in_flight and (drained := self._drained.pop(lot, None)) is not None:
            drained.set_result(None)

    def _wake(self, item: Item) -> None:
        item.timer = None
        self._backlog.make_ready(item, self._loop.time())
        self._runners.wake()

    def _lot(self, partition: Partition, assignment: Assignment, changes: int = 0) -> Lot:
        return Lot(partition, assignment, self._delivery, now=self._loop.time(), changes=changes)

    async def _close_quietly(self, lots: Collection[Lot], *, seconds: float | None) -> list[Position]:
        """Give lots up while no transaction is under way; returns what is still to be committed of them.

        A commit that overtakes the end of a transaction would undo the positions in it. So nothing is
        committed where that end does not come in time: whoever has the partitions next waits for it.
        """
        is_quiet = False
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds), self._sink.quiet():
                is_quiet = True  # and stays so until this coroutine waits again
        for lot in (each for each in lots if not each.is_closed):  # some were lost, and are back perhaps
            self._close(lot)
            lot.is_undecided = not is_quiet
        return plan(lots, (), self._loop.time())[1]

    def _begin_again(self, lot: Lot, offset: int) -> Lot:
        """Start over a partition whose offsets went back: its topic was made again, or its log was cut."""
        self._logger.warning(
            "offsets went back, starting over",
            topic=lot.partition.topic,
            partition=lot.partition.number,
            expected=lot.offsets.next_offset,
            offset=offset,
        )
        self._leave(lot)
        self._close(lot)
        fresh = self.lots[lot.partition] = self._lot(lot.partition, Assignment(lot.epoch), lot.changes)
        fresh.is_paused = lot.is_paused
        return fresh

    def _leave(self, lot: Lot) -> None:
        lot.is_leaving = True
        self._backlog.drop(lot, self._loop.time())
        self._runners.wake()

    async def _finish(self, lots: Iterable[Lot], seconds: float) -> None:
        drained = [self._drained.setdefault(lot, self._loop.create_future()) for lot in lots if lot.in_flight]
        if drained:
            await asyncio.wait(drained, timeout=seconds)

    def _close(self, lot: Lot) -> None:
        """Give up what is in flight; what is being written may still come to be, it is not noted."""
        lot.is_closed = True
        self.lots.pop(lot.partition, None)
        for item in list(lot.items):
            if item.task is None:
                self._release(item, 0.0)
            else:
                item.task.cancel()
        self._runners.wake()
