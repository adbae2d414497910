"""Attempts, and among them those that may kill the process: they are counted before they are made."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from kafleet.verdicts import Fault, Refused

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from kafleet.backlogs import Item
    from kafleet.commits import Commits
    from kafleet.ports import Attempting
    from kafleet.verdicts import Verdict


class Trials:
    """Made on the event loop; `commits` is how a count is kept for whoever comes after a death."""

    def __init__(self, attempt: Attempting, commits: Commits, *, max_attempts: int) -> None:
        self._attempt = attempt
        self._commits = commits
        self._max_attempts = max_attempts
        self._loop = asyncio.get_running_loop()
        self._last: Item | None = None  # that was tried alone

    def attempt(self, item: Item) -> Awaitable[Verdict]:
        """Try a record."""
        suspects = item.lot.suspects
        if not suspects.is_lifted and suspects.limit == 1:
            return self._attempt_alone(item)
        return self._attempt(item.record, item.attempt)

    async def _attempt_alone(self, item: Item) -> Verdict:
        """Count the attempt first; the last one was the last.

        With transactions, the one that counts it also settles the record before it.
        """
        if item.attempt > self._max_attempts:
            died = Fault("ProcessDied", f"the process died {item.attempt - 1} times while it ran alone")
            return Refused("ProcessDied", died)
        last, self._last = self._last, item
        change = item.lot.fail(item.offset, item.attempt)
        await self._commits.until(lambda: item.lot.is_acknowledged(change) and not _may_repeat(last, item))
        item.started_at = self._loop.time()
        return await self._attempt(item.record, item.attempt)


def _may_repeat(last: Item | None, item: Item) -> bool:
    """Tell whether the last one's outputs wait for their transaction: a death now would count against it."""
    return last is not None and last is not item and last.is_in_flight
