"""Virtual time for tests: an event loop whose clock jumps to the next timer instead of waiting for it."""

from __future__ import annotations

import asyncio
import selectors
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Coroutine

Found = TypeVar("Found")
_THREAD_SECONDS = 10.0


class _Selector(selectors.DefaultSelector):
    loop: VirtualLoop

    def select(self, timeout: float | None = None) -> Any:  # noqa: ANN401 - the selector's own type
        events = super().select(0)
        if not events and timeout is None:
            events = super().select(_THREAD_SECONDS)  # only a thread can still bring something
            assert events, "deadlock: nothing will ever happen again"
        elif not events and timeout:
            self.loop.now += timeout
        return events


class VirtualLoop(asyncio.SelectorEventLoop):
    """`now` is the loop's clock; it starts at 0."""

    def __init__(self) -> None:
        self.now = 0.0
        selector = _Selector()
        selector.loop = self
        super().__init__(selector)

    def time(self) -> float:
        return self.now


def run(coroutine: Coroutine[Any, Any, Found]) -> Found:
    """Run a coroutine in virtual time."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(coroutine)


async def until(moment: float) -> None:
    """Wait until the loop's clock shows that moment."""
    await asyncio.sleep(moment - asyncio.get_running_loop().time())
