"""Time limits of attempts: what `asyncio.timeout` does, with one timer for all of them.

A timer for each attempt costs more than most handlers that are quick. As nearly all limits are the lane's,
they end in the order in which they began.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import TracebackType

_EARLY_SECONDS = 0.002  # a timer of the event loop may be early by its resolution


class TimedOut(Exception):
    """An attempt took longer than it may."""


class Alarms:
    """Time limits, most of them of so many `seconds`. Made on the event loop."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self.loop = asyncio.get_running_loop()
        self._usual: dict[Alarm, None] = {}  # those of the usual length that are set, in order
        self._timer: asyncio.TimerHandle | None = None  # for the first of them, or for one before it

    def within(self, seconds: float) -> Alarm:
        """Return a context that cancels what runs in it after so long, and makes of that TimedOut."""
        return Alarm(self, seconds)

    def set(self, alarm: Alarm, seconds: float) -> None:
        """Let an alarm ring after so many seconds."""
        if seconds != self._seconds:
            alarm.timer = self.loop.call_later(seconds, alarm.ring)
            return
        alarm.rings_at = self.loop.time() + seconds
        self._usual[alarm] = None
        if self._timer is None:
            self._timer = self.loop.call_at(alarm.rings_at, self._ring)

    def clear(self, alarm: Alarm) -> None:
        """Let an alarm not ring any more."""
        if alarm.timer is None:
            self._usual.pop(alarm, None)
        else:
            alarm.timer.cancel()

    def _ring(self) -> None:
        """Ring what is due; those that were cleared are not there any more."""
        self._timer = None
        now = self.loop.time() + _EARLY_SECONDS
        while self._usual:
            alarm = next(iter(self._usual))
            if alarm.rings_at > now:
                self._timer = self.loop.call_at(alarm.rings_at, self._ring)
                return
            del self._usual[alarm]
            alarm.ring()


class Alarm:
    """One limit; cancels the task that entered it."""

    __slots__ = ("_alarms", "_cancelling", "_has_rung", "_seconds", "_task", "rings_at", "timer")

    def __init__(self, alarms: Alarms, seconds: float) -> None:
        self._alarms = alarms
        self._seconds = seconds
        self._has_rung = False
        self.timer: asyncio.TimerHandle | None = None
        self.rings_at = 0.0

    def __enter__(self) -> None:
        task = asyncio.current_task(self._alarms.loop)
        if task is None:
            raise RuntimeError("only a task can be cancelled")
        self._task = task
        self._cancelling = task.cancelling()
        self._alarms.set(self, self._seconds)

    def __exit__(
        self, kind: type[BaseException] | None, _error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        self._alarms.clear(self)
        # As in `asyncio.timeout`: somebody else's cancellation that came as well must go on.
        is_ours = self._has_rung and self._task.uncancel() <= self._cancelling
        if is_ours and kind is not None and issubclass(kind, asyncio.CancelledError):
            raise TimedOut(f"no result within {self._seconds:g} s") from None

    def ring(self) -> None:
        """Cancel the task."""
        self._has_rung = True
        self._task.cancel()
