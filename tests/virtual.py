"""Virtual time for tests."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeVar

from kafleet.testing.clocks import VirtualLoop

if TYPE_CHECKING:
    from collections.abc import Coroutine

Found = TypeVar("Found")


def run(coroutine: Coroutine[Any, Any, Found]) -> Found:
    """Run a coroutine in virtual time."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(coroutine)


async def until(moment: float) -> None:
    """Wait until the loop's clock shows that moment."""
    await asyncio.sleep(moment - asyncio.get_running_loop().time())
