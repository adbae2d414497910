"""Tasks that make one attempt after the other, so that a handler that never waits costs a call and no task.

A runner goes through what is ready until a handler waits; from then on it is that attempt's alone, and
another runner goes on. What an attempt leaves behind, context variables or a cancellation, ends the runner
with it: the next attempt never sees it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextvars import copy_context
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Generator

    from kafleet.backlogs import Item
    from kafleet.verdicts import Verdict

TURN_ATTEMPTS = 100
"""After so many attempts everybody else on the event loop has a turn."""
TURN_SECONDS = 0.005
"""Or after so long."""


class Runners:
    """Made on the event loop; make attempts at what `take` returns, as long as it returns something.

    `is_needed` tells whether it would. `ended` is told what came of each attempt, or the error that it
    raised, and when; outside of the attempt's context.
    """

    def __init__(
        self,
        attempt: Callable[[Item], Awaitable[Verdict]],
        *,
        is_needed: Callable[[], bool],
        take: Callable[[], Item | None],
        ended: Callable[[Item, Verdict | BaseException, float], None],
    ) -> None:
        self._attempt = attempt
        self._is_needed = is_needed
        self._take = take
        self._ended = ended
        self._loop = asyncio.get_running_loop()
        self._context = copy_context()
        self._awake = 0  # runners whose attempt, if they have one, does not wait
        self.waiting: dict[asyncio.Task[None], Item] = {}
        """Attempts whose handlers wait, by the tasks to cancel."""

    def wake(self, most: int = 1) -> None:
        """Let so many look for work on the loop's next turn, if there is some."""
        while self._awake < most and self._is_needed():
            self._awake += 1
            runner = _Runner(self)
            # Not in the present context: it may be that of an attempt.
            runner.task = asyncio.Task(runner, loop=self._loop, context=self._context.copy())

    async def run(self, runner: _Runner) -> None:
        """Make attempts until there is nothing to take, or it is somebody else's turn."""
        clean = copy_context()
        clock = self._loop.time
        try:
            now = clock()
            ends = now + TURN_SECONDS
            for _ in range(TURN_ATTEMPTS):
                item = self._take()
                if item is None:
                    return
                item.started_at = now
                runner.item = item
                try:
                    outcome: Verdict | BaseException = await self._attempt(item)
                except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - told, and judged there
                    outcome = error
                finally:
                    runner.item = None
                    has_waited = item.task is not None
                    if has_waited:
                        self._awake += 1
                        del self.waiting[runner.task]
                        item.task = None
                now = clock()
                if has_waited:
                    ends = now + TURN_SECONDS  # the others had theirs
                try:  # at once where nothing was set; values that cannot be compared are others
                    is_clean = copy_context() == clean and not runner.task.cancelling()
                except Exception:  # noqa: BLE001 - values of any type
                    is_clean = False
                try:
                    if is_clean:
                        self._ended(item, outcome, now)
                    else:
                        self._context.copy().run(self._ended, item, outcome, now)
                except Exception as error:  # noqa: BLE001 - a mistake of ours must not stop the others
                    self._loop.call_exception_handler({"message": "ending an attempt", "exception": error})
                if now >= ends or not is_clean:
                    break
        finally:
            self._awake -= 1
            del runner.task  # which has the runner: a circle that only the collector would find
        self.wake()

    def wait(self, runner: _Runner, item: Item) -> None:
        """Let two others go on: so a thousand attempts that wait are begun within ten turns of the loop."""
        item.task = runner.task
        self.waiting[runner.task] = item
        self._awake -= 1
        self.wake(self._awake + 2)


class _Runner(Coroutine[Any, Any, None]):
    """What a task runs: it knows when its attempt waits, as then it gives a future to the task."""

    __slots__ = ("_runners", "_steps", "item", "task")

    task: asyncio.Task[None]

    def __init__(self, runners: Runners) -> None:
        self._runners = runners
        self._steps = runners.run(self)
        self.item: Item | None = None

    def send(self, value: Any) -> Any:  # noqa: ANN401 - as in Coroutine
        return self._waits_for(self._steps.send(value))

    def throw(self, *error: Any) -> Any:  # noqa: ANN401 - as in Coroutine
        return self._waits_for(self._steps.throw(*error))

    def close(self) -> None:
        self._steps.close()

    def __await__(self) -> Generator[Any, Any, None]:
        return self._steps.__await__()

    def _waits_for(self, future: Any) -> Any:  # noqa: ANN401 - as in Coroutine
        if self.item is not None and self.item.task is None:
            self._runners.wait(self, self.item)
        return future
