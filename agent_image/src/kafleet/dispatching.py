"""Which record is worked on when: order per key, bounded in flight, retries, and what may be committed.

Pure asyncio over values: records come from a `Source` and go to a `Sink`, the work is an `Attempting`.
Everything runs on one event loop. The invariant: an offset is settled only when all that its record emitted,
or its dead letter, is acknowledged; and nothing but the position of an offset map is ever committed.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

from kafleet.backlogs import Backlog, Item, Lot
from kafleet.backoffs import Backoff
from kafleet.delivering import Deliveries
from kafleet.ports import Assignment, Position
from kafleet.verdicts import Failed, Fault, Finished, Postponed, Refused, Saturated, Verdict

if TYPE_CHECKING:
    import random
    from collections.abc import Iterable, Mapping

    from structlog.typing import FilteringBoundLogger

    from kafleet.lanes import Lane
    from kafleet.metrics import Metrics
    from kafleet.ports import Attempting, Sink, Source
    from kafleet.records import Partition, Record

COMMIT_SECONDS = 1.0
LONGEST_WAIT_SECONDS = 86_400.0
"""What a handler may ask for at most: while it waits, its key waits, and the topic's retention runs."""
_CANCEL_SECONDS = 1.0


class Dispatcher:
    """Gives records out and keeps the books. Events of the log come in as method calls, in log order."""

    def __init__(
        self,
        lane: Lane,
        attempt: Attempting,
        source: Source,
        sink: Sink,
        *,
        metrics: Metrics,
        logger: FilteringBoundLogger,
        randomness: random.Random | None = None,
    ) -> None:
        self._delivery = lane.delivery
        self._attempt = attempt
        self._source = source
        self._metrics = metrics
        self._logger = logger
        self._backoff = Backoff(lane.delivery, randomness)
        self._deliveries = Deliveries(lane, sink, self._backoff, metrics=metrics, logger=logger)
        self._loop = asyncio.get_running_loop()
        self._backlog = Backlog(is_ordered=lane.delivery.ordering == "Key")
        self._tasks: dict[Item, asyncio.Task[float | None]] = {}
        self._throttle_timer: asyncio.TimerHandle | None = None  # while it runs nothing is started
        self._committing = asyncio.Lock()
        self.is_stopping = False
        self.is_suspended = False
        self.lots: dict[Partition, Lot] = {}

    @property
    def in_flight(self) -> int:
        return len(self._tasks)

    @property
    def held(self) -> int:
        """Records that were read and are neither settled nor in flight."""
        return sum(len(lot.items) - lot.in_flight for lot in self.lots.values())

    @property
    def size(self) -> int:
        """Bytes of the records that were read and are not settled."""
        return sum(lot.size for lot in self.lots.values())

    @property
    def throttled_seconds(self) -> float:
        """How long this replica starts nothing, because a provider is full."""
        return (
            0.0 if self._throttle_timer is None else max(0.0, self._throttle_timer.when() - self._loop.time())
        )

    @property
    def oldest_runnable_seconds(self) -> float:
        """How long a record has been waiting that could be given out now: 0 unless something is wrong."""
        since = self._backlog.oldest_ready_since()
        return 0.0 if since is None or not self._may_start() else self._loop.time() - since

    def seconds_to_retry(self, item: Item) -> float | None:
        """Return when a record is tried again; None if it does not wait for a time."""
        return None if item.timer is None else item.timer.when() - self._loop.time()

    def failing(self) -> list[Item]:
        """Return the records whose last attempt or write failed and that wait to be tried again."""
        items = (item for lot in self.lots.values() for item in lot.items)
        return [item for item in items if item.fault is not None]

    def assign(self, assignments: Mapping[Partition, Assignment]) -> None:
        """Take partitions on, each in a new epoch, with what their last owner left beside its commit."""
        for partition, assignment in assignments.items():
            self.lots[partition] = self._lot(partition, assignment)
        self._metrics.rebalanced("assigned")
        self._balance_all()

    def take(self, records: Iterable[Record]) -> None:
        """Take records that were read; those of partitions that are gone or going are ignored."""
        touched = set()
        consumed = skipped = 0
        for record in records:
            lot = self.lots.get(record.partition)
            if lot is None or lot.is_leaving or self.is_stopping:
                continue
            if record.offset < lot.offsets.next_offset:
                lot = self._begin_again(lot, record.offset)
            if lot.fetch(record.offset):
                self._backlog.add(Item(record, lot), self._loop.time())
                touched.add(lot)
                consumed += 1
            else:
                skipped += 1
        self._metrics.consumed(consumed, skipped)
        self._pump()
        for lot in touched:
            self._balance(lot)

    async def revoke(self, partitions: Iterable[Partition]) -> list[Position]:
        """Give partitions up in good order: finish what is in flight within the drain time, cancel the rest.

        Returns the positions that still have to be committed before another member may have the partitions.
        """
        self._metrics.rebalanced("revoked")
        lots = [lot for partition in partitions if (lot := self.lots.get(partition)) is not None]
        for lot in lots:
            self._leave(lot)
        await self._finish(lots, self._delivery.drain_seconds)
        for lot in lots:
            self._close(lot)
        self._balance_all()
        return self._uncommitted(lots)

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
        for lot in lots:
            self._close(lot)
        if self._tasks:
            await asyncio.wait(self._tasks.values(), timeout=_CANCEL_SECONDS)
        return self._uncommitted(lots)

    def cancel(self) -> None:
        """Stop working on everything at once: this process may not own its partitions any more."""
        self.is_stopping = True
        self._drop(list(self.lots))

    def suspend(self) -> None:
        """Cancel every handler and start none until `resume`; what a handler has ended with is written still.

        A cancelled attempt does not count, and its record stays where it is.
        """
        self.is_suspended = True
        for item, task in self._tasks.items():
            if item.outgoing is None:
                task.cancel()

    def resume(self) -> None:
        """Go on after `suspend`."""
        self.is_suspended = False
        self._pump()

    async def commit(self) -> None:
        """Commit of every partition what has changed, and wait for the answer."""
        async with self._committing:
            now = self._loop.time()
            changed = [(lot, *found) for lot in self.lots.values() if (found := lot.uncommitted(now))]
            self._balance_all()  # the maps were measured just now
            if not changed:
                return
            acknowledged = await self._source.commit([position for _, _, position in changed])
            for lot, change, position in changed:
                if position.partition in acknowledged:
                    lot.acknowledge(change, position)
            self._metrics.committed(len(acknowledged), len(changed) - len(acknowledged))
        self._backlog.release(self._loop.time())
        self._pump()

    async def commit_regularly(self) -> None:
        """Commit at least each second while there is something to commit; runs until cancelled."""
        while True:
            await asyncio.sleep(COMMIT_SECONDS)
            await self.commit()

    def _drop(self, partitions: Iterable[Partition]) -> None:
        for partition in partitions:
            lot = self.lots.get(partition)
            if lot is not None:
                self._leave(lot)
                self._close(lot)
        self._balance_all()

    def _may_start(self) -> bool:
        return (
            not self.is_stopping
            and not self.is_suspended
            and len(self._tasks) < self._delivery.concurrency
            and self._throttle_timer is None
        )

    def _pump(self) -> None:
        while self._may_start() and (item := self._backlog.take()) is not None:
            item.is_in_flight = True
            item.lot.in_flight += 1
            task = self._tasks[item] = self._loop.create_task(self._advance(item))
            task.add_done_callback(partial(self._ended, item))

    def _ended(self, item: Item, task: asyncio.Task[float | None]) -> None:
        """Settle the record, let its key wait, or forget it because it is somebody else's now.

        A callback, not the end of the task: a task that is cancelled before its first step never runs.
        """
        del self._tasks[item]
        item.is_in_flight = False
        item.lot.in_flight -= 1
        self._backlog.give_back(item, self._loop.time())
        delay = self._delay_after(item, task)
        if delay is not None and not item.lot.is_leaving:
            self._hold(item, delay)
        else:
            self._backlog.remove(item, self._loop.time())
        self._pump()
        if not item.lot.is_leaving:
            self._balance(item.lot)

    def _delay_after(self, item: Item, task: asyncio.Task[float | None]) -> float | None:
        if task.cancelled():  # by a suspension; where its partition is gone it is forgotten all the same
            item.discount()
            return 0.0
        error = task.exception()
        if error is not None:  # a mistake of ours must neither lose the record nor stop the others
            self._logger.error("internal error", **item.record.names, exc_info=error)
            return self._deliveries.fail(item, error)
        if task.result() is None:
            item.lot.settle(item.record.offset)
            self._metrics.settled()
        return task.result()

    async def _advance(self, item: Item) -> float | None:
        """Hold a slot for one attempt or one try to write; None when settled, else the seconds to wait."""
        if item.outgoing is None and not item.lot.suspects.is_lifted and item.lot.suspects.limit == 1:
            await self._count_beforehand(item)
        if item.outgoing is None:
            started = self._loop.time()
            verdict = await self._attempt(item.record, item.attempt)
            self._metrics.attempted(type(verdict).__name__.lower(), self._loop.time() - started)
            delay = self._judge(item, verdict)
            if delay is not None:
                return delay
        return await self._deliveries.deliver(item)

    async def _count_beforehand(self, item: Item) -> None:
        """Count an attempt that may kill the process before it is made; the last one was the last."""
        if item.attempt > self._delivery.max_attempts:
            died = Fault("ProcessDied", f"the process died {item.attempt - 1} times while it ran alone")
            self._deliveries.bury(item, "ProcessDied", died, item.attempt - 1)
            return
        change = item.lot.fail(item.record.offset, item.attempt)
        while not item.lot.is_acknowledged(change):
            await self.commit()
            if not item.lot.is_acknowledged(change):
                await asyncio.sleep(COMMIT_SECONDS)

    def _judge(self, item: Item, verdict: Verdict) -> float | None:
        """Decide on an attempt; None when there is something to write, else the seconds until the next."""
        match verdict:
            case Finished(outgoing):
                item.outgoing = outgoing
                item.fault = None
            case Refused(reason, fault, was_called):
                self._deliveries.bury(item, reason, fault, item.attempt if was_called else item.attempt - 1)
            case Failed(fault) if item.attempt >= self._delivery.max_attempts:
                self._deliveries.bury(item, "AttemptsExhausted", fault, item.attempt)
            case Failed(fault):
                item.fault = fault
                item.lot.fail(item.record.offset, item.attempt)
                item.attempt += 1
                return self._backoff.seconds(item.attempt - 1)
            case Postponed(after):
                item.discount()
                return min(after, LONGEST_WAIT_SECONDS)
            case Saturated(after):
                item.discount()
                self._throttle(min(after, LONGEST_WAIT_SECONDS))
                return 0.0
        return None

    def _hold(self, item: Item, delay: float) -> None:
        item.timer = self._loop.call_later(delay, self._wake, item)

    def _wake(self, item: Item) -> None:
        item.timer = None
        self._backlog.make_ready(item, self._loop.time())
        self._pump()

    def _throttle(self, seconds: float) -> None:
        if seconds <= self.throttled_seconds:
            return
        if self._throttle_timer is not None:
            self._throttle_timer.cancel()
        self._throttle_timer = self._loop.call_later(seconds, self._end_throttle)
        self._logger.warning("a provider is full, this replica starts nothing", seconds=seconds)

    def _end_throttle(self) -> None:
        self._throttle_timer = None
        self._pump()

    def _balance_all(self) -> None:
        for lot in self.lots.values():
            self._balance(lot)

    def _balance(self, lot: Lot) -> None:
        """Pause a partition that has used up its share, and resume it at half of it."""
        if lot.is_closed:
            return
        fullness = lot.fullness(shares=len(self.lots), concurrency=self._delivery.concurrency)
        if not lot.is_paused and fullness >= 1:
            lot.is_paused = True
            self._source.pause(lot.partition)
        elif lot.is_paused and fullness <= 0.5:  # noqa: PLR2004 - half, as the docstring says
            lot.is_paused = False
            self._source.resume(lot.partition)

    def _lot(self, partition: Partition, assignment: Assignment) -> Lot:
        return Lot(partition, assignment, concurrency=self._delivery.concurrency, now=self._loop.time())

    def _uncommitted(self, lots: Iterable[Lot]) -> list[Position]:
        return [found[1] for lot in lots if (found := lot.uncommitted(self._loop.time()))]

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
        fresh = self.lots[lot.partition] = self._lot(lot.partition, Assignment(lot.epoch))
        fresh.is_paused = lot.is_paused
        return fresh

    def _leave(self, lot: Lot) -> None:
        lot.is_leaving = True
        self._backlog.drop(lot, self._loop.time())
        self._pump()

    async def _finish(self, lots: Iterable[Lot], seconds: float) -> None:
        tasks = [self._tasks[item] for lot in lots for item in lot.items]
        if tasks:
            await asyncio.wait(tasks, timeout=seconds)

    def _close(self, lot: Lot) -> None:
        lot.is_closed = True
        self.lots.pop(lot.partition, None)
        for item in lot.items:
            self._tasks[item].cancel()
