"""How much is read: each partition up to its share, and nothing while none is short of records.

Pausing a partition costs what was fetched ahead of it, so it is for those that would keep others waiting.
While all have enough, the source is just not asked for more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kafleet.backlogs import Backlog, Lot
    from kafleet.ports import Source
    from kafleet.records import Partition

_ENOUGH = 0.5
"""Of its share; a partition that has used up its share is read on when it is down to that."""


class Shares:
    """Of the partitions in `lots`."""

    def __init__(
        self, source: Source, lots: Mapping[Partition, Lot], backlog: Backlog, *, concurrency: int
    ) -> None:
        self._source = source
        self._lots = lots
        self._backlog = backlog
        self._concurrency = concurrency
        self._hungry: set[Lot] = set()  # those that have less than enough
        self._is_wanted = True  # more of anything

    def balance_all(self) -> None:
        """Look at all partitions."""
        for lot in self._lots.values():
            self.balance(lot)

    def balance(self, lot: Lot) -> None:
        """Pause a partition that has used up its share, and resume it at half of it."""
        if lot.is_closed:
            self._hungry.discard(lot)
            return
        fullness = lot.fullness(shares=len(self._lots), concurrency=self._concurrency)
        if not lot.is_paused and fullness >= 1:
            lot.is_paused = True
            self._source.pause(lot.partition)
        elif lot.is_paused and fullness <= _ENOUGH:
            lot.is_paused = False
            self._source.resume(lot.partition)
        if fullness < _ENOUGH and not lot.is_paused:
            self._hungry.add(lot)
        else:
            self._hungry.discard(lot)
        self.ask()

    def ask(self) -> None:
        """Ask for more if a partition is short of records, or if all that are held wait for something."""
        is_wanted = bool(self._hungry) or not self._backlog.has_ready
        if is_wanted != self._is_wanted:
            self._is_wanted = is_wanted
            self._source.want(is_wanted)
