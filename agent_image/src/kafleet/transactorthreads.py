"""The thread in which transactions are made."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from kafleet.backlogs import Item
    from kafleet.ports import Position
    from kafleet.records import Outgoing
    from kafleet.transactors import Outcome, Transactor


class InThread:
    """A transactor in a thread of its own, for an event loop."""

    def __init__(self, transactor: Transactor) -> None:
        self._transactor = transactor
        self._loop = asyncio.get_running_loop()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="kafka-transactions")

    def opened(self) -> Callable[[Sequence[Outgoing]], None] | None:
        return self._transactor.opened()

    def serve(self) -> int:
        return self._transactor.serve()

    async def begin_epoch(self) -> None:
        await self._loop.run_in_executor(self._thread, self._transactor.begin_epoch)

    async def transact(self, works: Sequence[Item], positions: Sequence[Position]) -> Outcome:
        return await self._loop.run_in_executor(self._thread, self._transactor.transact, works, positions)

    def stop(self) -> None:
        """Give up what is under way, without waiting for that."""
        self._transactor.is_stopping = True
        self._thread.shutdown(wait=False, cancel_futures=True)
