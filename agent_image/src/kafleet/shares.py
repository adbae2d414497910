"""How much is read, and of which partitions: memory is bounded in all, and divided where it is short.

Pausing a partition costs what was fetched ahead of it, so it is for those that would keep others waiting.
While enough is at hand, the source is just not asked for more.
"""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING

from kafleet.backlogs import HELD_BYTES, HELD_RECORDS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from kafleet.backlogs import Backlog, Lot
    from kafleet.ports import Source
    from kafleet.records import Partition

MAP_SHARE = 0.75
"""Share of the offset map's room beyond which a partition takes no new records."""
_AT_HAND = 0.02
"""Of that room, and as many records again as handlers have. With less at hand all is read.

With more, only for partitions that have nothing: the rest waits where it was fetched, at less cost. When many
handlers end at once, as many can begin.
"""
_ENOUGH = 0.25
"""Of that room, at most so much. And when no more than this is used, no partition is paused for it."""
_LENT = 0.5
"""Of that room, to whoever comes first. The rest is divided: once that is used, each has a share."""
_LOOK_SECONDS = 0.1
"""How often to look for records of partitions that have none, while others have enough."""
_BALANCE_SECONDS = 0.005
"""How long what happened may wait for a look at each partition: at 500 of them one takes 0.2 ms."""


class Shares:
    """Of the partitions in `lots`, the room for what is read."""

    def __init__(
        self,
        source: Source,
        lots: Mapping[Partition, Lot],
        backlog: Backlog,
        *,
        held: Callable[[], int],  # records, in all
        busy: Callable[[], int],  # handlers
    ) -> None:
        self._source = source
        self._lots = lots
        self._backlog = backlog
        self._held = held
        self._busy = busy
        self._loop = asyncio.get_running_loop()
        self._balancing: asyncio.TimerHandle | None = None
        self._used = 0.0  # of the room, by all
        self._has_enough = False
        self._is_any_paused = False
        self._is_any_empty = False
        self._is_any_map_full = False
        self._pace = 0.0

    def balance(self) -> None:
        """Pause partitions that have used up their share while room is short; resume them when it is not."""
        if self._balancing is not None:
            self._balancing.cancel()
            self._balancing = None
        self._measure()
        self._is_any_paused = self._is_any_empty = self._is_any_map_full = False
        for lot in self._lots.values():
            if not lot.is_paused and self._is_full(lot, 1.0, _LENT):
                lot.is_paused = True
                self._source.pause(lot.partition)
            elif lot.is_paused and not self._is_full(lot, 0.5, _ENOUGH):
                lot.is_paused = False
                self._source.resume(lot.partition)
            if lot.is_paused:
                self._is_any_paused = True
            elif not lot.held:
                self._is_any_empty = True
            if lot.map_fullness >= MAP_SHARE:
                self._is_any_map_full = True
        self._ask()

    def look(self) -> None:
        """Look at what was taken, given out or settled: at all together, and in a moment at each if need be.

        This is called with each record; with hundreds of partitions it must not look at each of them.
        """
        self._measure()
        self._ask()
        is_short = self._has_enough or self._is_any_paused or self._is_any_map_full
        if is_short and self._balancing is None:
            self._balancing = self._loop.call_later(_BALANCE_SECONDS, self.balance)

    def _measure(self) -> None:
        self._used = max(self._held() / HELD_RECORDS, self._backlog.size / HELD_BYTES)
        self._has_enough = self._used >= min(_AT_HAND + self._busy() / HELD_RECORDS, _ENOUGH)

    def _ask(self) -> None:
        if not self._has_enough or not self._backlog.has_ready:
            pace = 0.0
        else:
            pace = _LOOK_SECONDS if self._is_any_empty else math.inf
        if pace != self._pace:
            self._pace = pace
            self._source.pace(pace)

    def _is_full(self, lot: Lot, most: float, used: float) -> bool:
        """Tell whether a partition has that much of its share of memory while so much of all is used.

        Or that much of its offset map. But with nothing at hand only reading on can make room: what fills the
        map then was left by others.
        """
        if lot.items and lot.map_fullness >= most * MAP_SHARE:
            return True
        share = most * (1 - _LENT) / len(self._lots)
        return self._used >= used and (lot.held >= share * HELD_RECORDS or lot.size >= share * HELD_BYTES)
