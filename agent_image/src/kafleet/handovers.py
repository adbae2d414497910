"""Giving partitions up in good order: what is in flight may end within a time, the rest is cancelled."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol

from kafleet.commits import plan

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from kafleet.backlogs import Item, Lot
    from kafleet.ports import Position, Sink
    from kafleet.records import Partition

_CANCEL_SECONDS = 1.0
_QUIET_SECONDS = 5.0


class Owner(Protocol):
    """Whoever works on partitions; `drained` are told when nothing of a lot that is leaving is in flight."""

    @property
    def lots(self) -> dict[Partition, Lot]: ...

    @property
    def drained(self) -> dict[Lot, asyncio.Future[None]]: ...

    @property
    def waiting(self) -> Collection[asyncio.Task[None]]: ...

    def leave(self, lots: Iterable[Lot], /) -> None: ...

    def close(self, lots: Iterable[Lot], /) -> None: ...

    def stop(self) -> None: ...


class Handovers:
    """Of the partitions of one owner; made on the event loop."""

    def __init__(self, owner: Owner, sink: Sink[Item]) -> None:
        self._owner = owner
        self._sink = sink
        self._loop = asyncio.get_running_loop()

    async def revoke(self, partitions: Iterable[Partition], seconds: float) -> list[Position]:
        """Finish what is in flight within so many seconds, and cancel the rest.

        Returns the positions that still have to be committed before another member may have the partitions.
        """
        lots = [lot for each in partitions if (lot := self._owner.lots.get(each)) is not None]
        self._owner.leave(lots)
        await self._finish(lots, seconds)
        return await self._close_quietly(lots, seconds=None)

    async def drain(self, seconds: float) -> list[Position]:
        """Do so with all there are, for good."""
        self._owner.stop()
        lots = list(self._owner.lots.values())
        self._owner.leave(lots)
        await self._finish(lots, seconds)
        positions = await self._close_quietly(lots, seconds=_QUIET_SECONDS)
        if self._owner.waiting:
            await asyncio.wait(self._owner.waiting, timeout=_CANCEL_SECONDS)
        return positions

    async def _finish(self, lots: Iterable[Lot], seconds: float) -> None:
        futures = self._owner.drained
        drained = [futures.setdefault(lot, self._loop.create_future()) for lot in lots if lot.in_flight]
        if drained:
            await asyncio.wait(drained, timeout=seconds)

    async def _close_quietly(self, lots: Collection[Lot], *, seconds: float | None) -> list[Position]:
        """Give lots up while no transaction is under way; returns what is still to be committed of them.

        A commit that overtakes the end of a transaction would undo the positions in it. So nothing is
        committed where that end does not come in time: whoever has the partitions next waits for it.
        """
        is_quiet = False
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds), self._sink.quiet():
                is_quiet = True  # and stays so until this coroutine waits again
        self._owner.close(
            [each for each in lots if not each.is_closed]
        )  # some were lost, and are back perhaps
        return plan(lots, (), self._loop.time())[1] if is_quiet else []
