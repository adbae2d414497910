"""A pause that a provider asked for: while it lasts, this replica starts nothing."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from structlog.typing import FilteringBoundLogger


class Throttle:
    """Made on the event loop; `ended` is called when the pause is over."""

    def __init__(self, logger: FilteringBoundLogger, *, ended: Callable[[], None]) -> None:
        self._logger = logger
        self._ended = ended
        self._loop = asyncio.get_running_loop()
        self.is_on = False
        self._timer: asyncio.TimerHandle | None = None

    @property
    def seconds(self) -> float:
        """How long it lasts from now on."""
        return 0.0 if self._timer is None else max(0.0, self._timer.when() - self._loop.time())

    def begin(self, seconds: float) -> None:
        """Pause for so long; a longer pause that is on already stays."""
        if seconds <= self.seconds:
            return
        if self._timer is not None:
            self._timer.cancel()
        self.is_on = True
        self._timer = self._loop.call_later(seconds, self._end)
        self._logger.warning("a provider is full, this replica starts nothing", seconds=seconds)

    def _end(self) -> None:
        self._timer = None
        self.is_on = False
        self._ended()
