"""Virtual time: an event loop whose clock jumps to the next timer instead of waiting for it.

The clock never jumps while something outside the loop may still answer: while a thread works or a socket is
open it runs as the clock on the wall does.
"""

from __future__ import annotations

import asyncio
import math
import selectors
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar, TypeVarTuple, Unpack

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Executor, Future

Arguments = TypeVarTuple("Arguments")
Found = TypeVar("Found")

_LOOKS_SECONDS = 0.05
"""How long to wait at a stretch for threads and sockets, by the clock on the wall."""
_SILENCE_SECONDS = 10.0
"""How long to wait, by the clock on the wall, where there is neither a timer nor a thread known to work."""
_OWN_SOCKETS = 1
"""What asyncio itself listens to: threads wake the loop by it."""


class Stuck(RuntimeError):
    """The loop has worked or waited for too long, by the clock on the wall."""


class _Selector(selectors.DefaultSelector):
    loop: VirtualLoop

    def select(self, timeout: float | None = None) -> Any:  # noqa: ANN401 - the selector's own type
        if time.monotonic() > self.loop.gives_up_at:
            raise Stuck("too slow")
        events = super().select(0)
        if events or timeout == 0:
            return events
        if self.loop.is_waited_for or len(self.get_map()) > _OWN_SOCKETS:
            longest = _LOOKS_SECONDS if timeout is None else min(timeout, _LOOKS_SECONDS)
            began = time.monotonic()
            events = super().select(longest)
            self.loop.now += min(time.monotonic() - began, math.inf if timeout is None else timeout)
        elif timeout is None:
            events = super().select(_SILENCE_SECONDS)
            if not events:
                raise Stuck("deadlock: nothing will ever happen again")
        else:
            self.loop.now += timeout
        return events


class VirtualLoop(asyncio.SelectorEventLoop):
    """`now` is the loop's clock, in seconds; it starts at 0.

    `gives_up_at` is a moment of `time.monotonic()` after which the loop raises Stuck.
    """

    def __init__(self) -> None:
        self.now = 0.0
        self.gives_up_at = math.inf
        self._calls = 0  # into threads, not ended yet
        self._pool: ThreadPoolExecutor | None = None
        selector = _Selector()
        selector.loop = self
        super().__init__(selector)

    @property
    def is_waited_for(self) -> bool:
        """Whether a thread works for the loop."""
        return self._calls > 0

    def time(self) -> float:
        return self.now

    def run_in_executor(
        self,
        executor: Executor | None,
        func: Callable[[Unpack[Arguments]], Found],
        *args: *Arguments,
    ) -> asyncio.Future[Found]:
        if executor is None:
            executor = self._pool = self._pool or ThreadPoolExecutor(thread_name_prefix="virtual")
        call = executor.submit(func, *args)
        self._calls += 1
        answer = asyncio.wrap_future(call, loop=self)
        call.add_done_callback(self._on_call_ended)  # after that of `wrap_future`: the answer comes first
        return answer

    def close(self) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=False)
        super().close()

    def _on_call_ended(self, _call: Future[Any]) -> None:
        with suppress(RuntimeError):  # the loop is closed
            self.call_soon_threadsafe(self._end_call)

    def _end_call(self) -> None:
        self._calls -= 1
