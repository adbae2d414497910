"""Records that wait: behind their key, and in turn among partitions. Pure: the dispatcher decides when.

Of one key only the oldest record is ever ready or in flight, across partitions and assignments.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from kafleet.commitmetadata import Progress, metadata_of, progress_from
from kafleet.offsetmaps import OffsetMap
from kafleet.ports import Assignment, Position
from kafleet.suspects import IN_FLIGHT_PER_SLOT, Suspects

if TYPE_CHECKING:
    from asyncio import Task, TimerHandle
    from collections.abc import Collection

    from kafleet.lanes import Delivery
    from kafleet.records import Outgoing, Partition, Record
    from kafleet.verdicts import Fault

HELD_RECORDS = 10_000
"""Records that one replica holds, all partitions together: read, and neither settled nor in flight."""
HELD_BYTES = 64 * 1024 * 1024
"""Bytes of records that one replica has read and not settled, all partitions together."""


def most_in_flight(delivery: Delivery) -> int:
    """Return how many records of a replica may be with a handler or being written.

    Brokers that are away stop the work at that, so that a death then repeats no more. Transactions take their
    time; there only a partition's share of memory is the limit.
    """
    if delivery.guarantee == "ExactlyOnce":
        return HELD_RECORDS + delivery.concurrency
    return IN_FLIGHT_PER_SLOT * delivery.concurrency


class Lot:
    """What is known of one partition in one assignment; a partition that comes back begins a new lot.

    `is_leaving`: nothing new is given out. `is_closed`: somebody else owns it, nothing counts any more.
    `is_undecided`: it was closed with a transaction under way, which may go further than what is known here.
    """

    __slots__ = (
        "_acknowledged",
        "_changes",
        "committed",
        "epoch",
        "failed",
        "in_flight",
        "is_closed",
        "is_exact",
        "is_leaving",
        "is_paused",
        "is_undecided",
        "items",
        "map_fullness",
        "offsets",
        "partition",
        "ready",
        "size",
        "suspects",
    )

    def __init__(
        self,
        partition: Partition,
        assignment: Assignment,
        delivery: Delivery,
        *,
        now: float,
        changes: int = 0,
    ) -> None:
        self.partition = partition
        self.epoch, self.committed, metadata = assignment
        progress = Progress() if self.committed is None else progress_from(self.committed, metadata)
        self.offsets = OffsetMap(self.committed, progress.settled)
        self.failed = dict(progress.failed)  # attempts, by offset, of what is not settled
        self.suspects = Suspects(
            max(0, progress.unclean - 1), delivery.concurrency, now
        )  # one of them are we
        self.map_fullness = 0.0  # of its room, as of the last position
        self._changes = changes  # of what should be committed
        self._acknowledged = changes  # of those changes
        self.items: dict[Item, None] = {}  # not settled, in log order
        self.ready: deque[Item] = deque()
        self.in_flight = 0
        self.size = 0  # bytes of `items`
        self.is_exact = delivery.guarantee == "ExactlyOnce"  # nothing is settled that could be forgotten
        self.is_paused = False
        self.is_leaving = False
        self.is_closed = False
        self.is_undecided = False

    def fetch(self, offset: int) -> bool:
        """Note an offset that was read, rising; False if an earlier owner has settled it."""
        is_new = self.offsets.fetch(offset)
        if self.committed is None or not is_new:
            self._changes += 1
        return is_new

    def reach(self, end: int) -> None:
        """Note where the log ends: behind transaction markers, say, that are never fetched."""
        if end > self.offsets.next_offset and not self.is_leaving:  # then records before it were ignored
            self.offsets.reach(end)
            self._changes += 1

    def settle(self, offset: int) -> None:
        """Note that an offset is settled."""
        self.offsets.settle(offset)
        self._changes += 1
        if self.failed:
            self.failed.pop(offset, None)
        if self.suspects.deaths:
            self.suspects.settle(offset)

    def fail(self, offset: int, attempts: int) -> int:
        """Note how many attempts at an offset have failed by now; returns which change that is."""
        if attempts:
            self.failed[offset] = attempts
        else:
            self.failed.pop(offset, None)
        self._changes += 1
        return self._changes

    def uncommitted(self, now: float, settling: Collection[int] = ()) -> Position | None:
        """Return what should be committed once `settling` are settled, too; None if all is acknowledged.

        Whoever closes a partition always commits: that it was left in good order. While it is drained the
        answers tell whether it is ours still; the client hears of an expulsion only when it has let go. None
        as well where nothing may be forgotten and the map has no room for all.
        """
        if self.is_undecided:
            return None
        self._changes += self.suspects.clear(now, is_idle=not self.items)
        changes = self._changes + len(settling)
        offsets = self.offsets.after(settling) if settling else self.offsets
        offset = offsets.position
        if offset is None or not (self.is_leaving or changes > self._acknowledged):
            return None
        unclean = self.suspects.deaths + (not self.is_closed)
        failed = {each: count for each, count in self.failed.items() if each not in settling}
        metadata = metadata_of(offset, Progress(offsets.settled(), failed, unclean))
        self.map_fullness = metadata.fullness
        if self.is_exact and metadata.fullness > 1:
            return None
        return Position(self.partition, self.epoch, offset, metadata.text, changes)

    def acknowledge(self, position: Position) -> None:
        """Note that a position is committed; those of an earlier lot or assignment count for nothing."""
        if position.epoch != self.epoch or position.change <= self._acknowledged:
            return
        self._acknowledged = position.change
        self.committed = position.offset
        self.suspects.is_lifted = self.suspects.is_lifted or not self.suspects.deaths

    @property
    def held(self) -> int:
        """How many records were read and are neither settled nor in flight."""
        return len(self.items) - self.in_flight

    @property
    def changes(self) -> int:
        """How many changes there were that should be committed."""
        return self._changes

    def is_acknowledged(self, change: int) -> bool:
        """Tell whether a change is committed."""
        return self._acknowledged >= change


class Item:
    """A record on its way; `outgoing` must be acknowledged to settle it, None until its handler ended."""

    __slots__ = (
        "attempt",
        "dead_reason",
        "fault",
        "has_slot",
        "is_in_flight",
        "key",
        "lot",
        "next_of_key",
        "offset",
        "outgoing",
        "previous_of_key",
        "ready_since",
        "record",
        "size",
        "started_at",
        "task",
        "timer",
        "undelivered",
    )

    def __init__(self, record: Record, lot: Lot) -> None:
        self.record = record
        self.lot = lot
        # Once, as to look a field of a tuple up by its name costs several times as much as one of these.
        self.offset = offset = record.offset
        self.size = record.size
        self.attempt = 1 + lot.failed.get(offset, 0) if lot.failed else 1
        self.fault: Fault | None = None  # of the last attempt
        self.outgoing: tuple[Outgoing, ...] | None = None
        self.undelivered = 0  # times `outgoing` could not be written
        self.dead_reason: str | None = None  # why `outgoing` is its dead letter
        self.is_in_flight = False
        self.has_slot = False
        self.key: bytes | None = None  # if the next one of its key waits for it
        self.task: Task[None] | None = None  # of its attempt; else it never waited, or is being written
        self.started_at = 0.0
        self.ready_since = 0.0
        self.next_of_key: Item | None = None
        self.previous_of_key: Item | None = None
        self.timer: TimerHandle | None = None  # while it waits to be tried again

    def discount(self) -> None:
        """Take back an attempt that was counted beforehand and came to nothing."""
        if self.lot.failed.get(self.offset) == self.attempt:
            self.lot.fail(self.offset, self.attempt - 1)


class Backlog:
    """Queues by key and turns by partition. `is_ordered` False lets records of one key run side by side."""

    def __init__(self, *, is_ordered: bool) -> None:
        self._is_ordered = is_ordered
        self.count = 0  # of records that are not settled, all partitions together
        self.size = 0  # bytes of them
        self._last: dict[bytes, Item] = {}  # of each key; the others are linked to it
        self._turns: deque[Lot] = deque()  # lots with something ready, each once
        self.suspects: dict[Lot, set[Item]] = {}  # those that are out
        self._held_back: dict[Lot, None] = {}  # lots with something ready that wait for suspects to come back

    def add(self, item: Item, now: float) -> None:
        """Put a record at the end of its key's queue; it is ready at once if nothing is before it."""
        lot, size = item.lot, item.size
        lot.items[item] = None
        lot.size += size
        self.count += 1
        self.size += size
        if self._is_ordered and (key := item.record.key) is not None:
            item.key = key
            last = self._last
            if (before := last.get(key)) is not None:
                before.next_of_key = item
                item.previous_of_key = before
                last[key] = item
                return
            last[key] = item
        item.ready_since = now
        if not lot.ready:
            self._turns.append(lot)
        lot.ready.append(item)

    def make_ready(self, item: Item, now: float) -> None:
        """Let the first record of a key be taken, which was behind others or is to be tried again."""
        item.ready_since = now
        lot = item.lot
        ready = lot.ready
        if not ready:
            self._turns.append(lot)
        if lot.suspects.deaths and lot.suspects.awaits(item.offset):
            ready.appendleft(item)  # others would wait for it, few at a time
        else:
            ready.append(item)

    @property
    def has_ready(self) -> bool:
        """Whether something is ready; where it waits for suspects to come back, only `take` knows."""
        return bool(self._turns)

    def take(self) -> Item | None:
        """Return the next ready record, partitions taking turns; None if there is none."""
        turns = self._turns
        while turns:
            lot = turns.popleft()
            ready, suspects = lot.ready, lot.suspects
            if not suspects.is_lifted:
                if not self._is_room_for_suspect(lot):
                    self._held_back[lot] = None
                    continue
                self.suspects.setdefault(lot, set()).add(ready[0])
            item = ready.popleft()
            if ready:
                turns.append(lot)
            if suspects.deaths:
                suspects.give_out(item.offset)
            return item
        return None

    def give_back(self, item: Item) -> None:
        """Note that a record that was taken is not in flight any more. In vain where no suspects are out."""
        out = self.suspects.get(item.lot, set())
        out.discard(item)
        if not out:
            self.suspects.pop(item.lot, None)
        self.release()

    def release(self) -> None:
        """Look anew at what was held back because of suspects."""
        self._turns.extend(self._held_back)
        self._held_back.clear()

    def remove(self, item: Item, now: float) -> None:
        """Forget a record that is not waiting in `ready`; the next one of its key becomes ready."""
        lot, size = item.lot, item.size
        del lot.items[item]
        lot.size -= size
        self.count -= 1
        self.size -= size
        if item.key is not None:
            self.free_key(item, now)

    def free_key(self, item: Item, now: float) -> None:
        """Let the next record of a key go, though the first one is not settled."""
        key, item.key = item.key, None
        if key is None:
            return
        before, after = item.previous_of_key, item.next_of_key
        if after is None and before is None:
            del self._last[key]
            return
        if after is not None:
            after.previous_of_key = before
        elif before is not None:
            self._last[key] = before
        if before is not None:
            before.next_of_key = after
        elif after is not None:
            self.make_ready(after, now)

    def drop(self, lot: Lot, now: float) -> None:
        """Forget every record of a lot that is not in flight; those keep their key until they end."""
        if lot in self._held_back:
            del self._held_back[lot]
        elif lot.ready:
            self._turns.remove(lot)
        lot.ready.clear()
        # Newest first: removing the first of a key makes the next one ready, which may have to go as well.
        for item in reversed([item for item in lot.items if not item.is_in_flight]):
            if item.timer is not None:
                item.timer.cancel()
            self.remove(item, now)

    def oldest_ready_since(self) -> float | None:
        """When the record that has been ready longest became so."""
        return min((lot.ready[0].ready_since for lot in self._turns), default=None)

    def _is_room_for_suspect(self, lot: Lot) -> bool:
        limit = min(each.suspects.limit for each in (lot, *self.suspects))
        return sum(map(len, self.suspects.values())) < limit
