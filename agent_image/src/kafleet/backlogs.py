"""Records that wait: behind their key, and in turn among partitions. Pure: the dispatcher decides when.

Of one key only the oldest record is ever ready or in flight, across partitions and assignments.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from kafleet.watermarks import Watermark

if TYPE_CHECKING:
    from asyncio import TimerHandle

    from kafleet.records import Outgoing, Partition, Record
    from kafleet.verdicts import Fault

HELD_RECORDS = 10_000
"""Records that one replica keeps, all partitions together; each partition may keep its share."""
HELD_BYTES = 64 * 1024 * 1024
"""Bytes of records that one replica keeps, all partitions together; each partition may keep its share."""
WINDOW = 10_000
"""Offsets a partition may be ahead of its oldest unsettled record; bounds what a crash repeats."""


class Lot:
    """What is known of one partition in one assignment; a partition that comes back begins a new lot.

    `is_leaving`: nothing new is given out. `is_closed`: somebody else owns it, nothing counts any more.
    """

    __slots__ = (
        "committed",
        "epoch",
        "in_flight",
        "is_closed",
        "is_leaving",
        "is_paused",
        "items",
        "partition",
        "ready",
        "size",
        "watermark",
    )

    def __init__(self, partition: Partition, epoch: int) -> None:
        self.partition = partition
        self.epoch = epoch
        self.watermark = Watermark()
        self.committed: int | None = None
        self.items: dict[Item, None] = {}  # not settled, in log order
        self.ready: deque[Item] = deque()
        self.in_flight = 0
        self.size = 0  # bytes of `items`
        self.is_paused = False
        self.is_leaving = False
        self.is_closed = False

    def fullness(self, *, shares: int, concurrency: int) -> float:
        """Return how much of its share of memory a partition has used, or of its window; 1 is full."""
        records = (HELD_RECORDS + concurrency) / shares
        size = HELD_BYTES / shares
        return max(len(self.items) / records, self.size / size, len(self.watermark) / WINDOW)


class Item:
    """A record on its way; `outgoing` must be acknowledged to settle it, None until its handler ended."""

    __slots__ = (
        "attempt",
        "dead_reason",
        "fault",
        "is_in_flight",
        "lot",
        "outgoing",
        "ready_since",
        "record",
        "size",
        "timer",
        "undelivered",
    )

    def __init__(self, record: Record, lot: Lot) -> None:
        self.record = record
        self.lot = lot
        self.size = record.size
        self.attempt = 1
        self.fault: Fault | None = None  # of the last attempt
        self.outgoing: tuple[Outgoing, ...] | None = None
        self.undelivered = 0  # times `outgoing` could not be written
        self.dead_reason: str | None = None  # why `outgoing` is its dead letter
        self.is_in_flight = False
        self.ready_since = 0.0
        self.timer: TimerHandle | None = None  # while it waits to be tried again


class Backlog:
    """Queues by key and turns by partition. `is_ordered` False lets records of one key run side by side."""

    def __init__(self, *, is_ordered: bool) -> None:
        self._is_ordered = is_ordered
        self._queues: dict[bytes, deque[Item]] = {}
        self._turns: deque[Lot] = deque()  # lots with something ready, each once

    def add(self, item: Item, now: float) -> None:
        """Put a record at the end of its key's queue; it is ready at once if nothing is before it."""
        item.lot.items[item] = None
        item.lot.size += item.size
        key = self._key_of(item)
        if key is None:
            self.make_ready(item, now)
            return
        queue = self._queues.setdefault(key, deque())
        queue.append(item)
        if queue[0] is item:
            self.make_ready(item, now)

    def make_ready(self, item: Item, now: float) -> None:
        """Let the first record of a key be taken, for the first time or again."""
        item.ready_since = now
        if not item.lot.ready:
            self._turns.append(item.lot)
        item.lot.ready.append(item)

    def take(self) -> Item | None:
        """Return the next ready record, partitions taking turns; None if there is none."""
        if not self._turns:
            return None
        lot = self._turns.popleft()
        item = lot.ready.popleft()
        if lot.ready:
            self._turns.append(lot)
        return item

    def remove(self, item: Item, now: float) -> None:
        """Forget a record that is not waiting in `ready`; the next one of its key becomes ready."""
        del item.lot.items[item]
        item.lot.size -= item.size
        key = self._key_of(item)
        if key is None:
            return
        queue = self._queues[key]
        was_first = queue[0] is item
        queue.remove(item)
        if not queue:
            del self._queues[key]
        elif was_first:
            self.make_ready(queue[0], now)

    def drop(self, lot: Lot, now: float) -> None:
        """Forget every record of a lot that is not in flight; those keep their key until they end."""
        if lot.ready:
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

    def _key_of(self, item: Item) -> bytes | None:
        return item.record.key if self._is_ordered else None
