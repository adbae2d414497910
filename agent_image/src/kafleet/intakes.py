"""Taking what was fetched, on the event loop and little by little, where it is worked on at once.

What is there is read without waiting. When there is nothing, the Kafka thread waits for a next record, and
hands that over: one of the two reads at a time. Were the thread to read it all, both would wait for the
interpreter's lock, and every record would be in the cache of a core that does not work on it.
"""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from kafleet.fetching import Batch

_FEW_RECORDS = 50
"""At first. Each batch that was not enough lets the next one be twice as large."""
_MANY_RECORDS = 1_000
"""At most. And while there is enough: to get past what there is of the partitions that have enough."""


class Fetched(Protocol):
    """Where records are read from."""

    def read(self, most: int, /) -> Batch:
        """Return what is there, without waiting."""


class Intake:
    """Made on the event loop; `take` is given what was read, `fail` is told why it cannot go on.

    `idle` is called when there is nothing to read: from then on it is somebody else's turn, until `begin`.
    """

    def __init__(
        self,
        fetched: Fetched,
        take: Callable[[Batch], None],
        *,
        idle: Callable[[], None],
        fail: Callable[[str], None],
    ) -> None:
        self._fetched = fetched
        self._take = take
        self._idle = idle
        self._fail = fail
        self._loop = asyncio.get_running_loop()
        self._pace = 0.0
        self._most = _FEW_RECORDS
        self._read_at = -math.inf
        self._is_reading = False
        self._next: asyncio.Handle | None = None

    def begin(self, first: Batch) -> None:
        """Take what somebody has waited for, and read on."""
        self._is_reading = True
        self._most = _FEW_RECORDS
        self._take(first)
        self._go_on()

    def pace(self, seconds: float) -> None:
        """Leave so many seconds between batches: what was fetched stays where it is, nothing is lost."""
        self._pace = seconds
        if seconds:
            self._most = _FEW_RECORDS
        if self._is_reading:
            self._go_on()

    def _go_on(self) -> None:
        if self._next is not None:
            self._next.cancel()
            self._next = None
        if not self._pace:
            self._next = self._loop.call_soon(self._read)
        elif math.isfinite(self._pace):
            self._next = self._loop.call_at(self._read_at + self._pace, self._read)

    def _read(self) -> None:
        self._read_at = self._loop.time()
        try:
            batch = self._fetched.read(_MANY_RECORDS if self._pace else self._most)
            self._most = min(2 * self._most, _MANY_RECORDS)
            if batch.records or batch.ends:
                self._take(batch)
                self._go_on()
                return
        except Exception as error:  # noqa: BLE001 - whatever it was, to fall silent would be worse
            self._fail(f"records cannot be read: {error}")
            return
        self._is_reading = False
        self._idle()
