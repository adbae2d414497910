"""What is to be committed, and committing at least each second while there is something."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from kafleet.backlogs import Item, Lot
    from kafleet.metrics import Metrics
    from kafleet.ports import Commit, Position, Settlements

COMMIT_SECONDS = 1.0


class Commits:
    """One commit at a time; what `settlements` says is to be committed goes to `commit`."""

    def __init__(self, settlements: Settlements[Item], commit: Commit, *, metrics: Metrics) -> None:
        self._settlements = settlements
        self._commit = commit
        self._metrics = metrics
        self._lock = asyncio.Lock()

    async def commit(self) -> None:
        """Commit of every partition what has changed, and wait for the answer."""
        async with self._lock:
            _, positions = self._settlements.plan(())
            if not positions:
                return
            partitions = await self._commit(positions)
            acknowledged = [position for position in positions if position.partition in partitions]
            self._settlements.committed(acknowledged)
            self._metrics.committed(len(acknowledged), len(positions) - len(acknowledged))

    async def until(self, is_committed: Callable[[], bool]) -> None:
        """Commit until something is."""
        while not is_committed():
            await self.commit()
            if not is_committed():
                await asyncio.sleep(COMMIT_SECONDS)

    async def regularly(self) -> None:
        """Commit each second; runs until cancelled."""
        while True:
            await asyncio.sleep(COMMIT_SECONDS)
            await self.commit()


def plan(lots: Iterable[Lot], works: Sequence[Item], now: float) -> tuple[list[Item], list[Position]]:
    """Return which of these records may be settled at once, and what is to be committed with them."""
    settling: defaultdict[Lot, list[int]] = defaultdict(list)
    for item in works:
        settling[item.lot].append(item.offset)
    positions = []
    fitting: dict[Lot, frozenset[int]] = {}
    is_room = True
    for lot in lots:
        offsets = sorted(settling.pop(lot, ()))
        fitting[lot] = frozenset(offsets)
        while (position := lot.uncommitted(now, fitting[lot])) is None and offsets:
            del offsets[len(offsets) // 2 :]  # the map has no room for all; the lowest make some
            fitting[lot] = frozenset(offsets)
            is_room = False
        if position is not None:
            positions.append(position)
    if is_room and not settling:
        return list(works), positions
    return [item for item in works if item.offset in fitting.get(item.lot, ())], positions
