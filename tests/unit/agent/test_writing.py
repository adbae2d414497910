"""Writing never falls silent: whatever happens there, the process learns of it."""

from __future__ import annotations

import asyncio
from typing import Any

from unit.agent.samples import lane

from kafleet.writing import Writer


class Broken:
    """A client in whose callbacks something goes wrong that nobody has thought of."""

    def poll(self, _seconds: float) -> int:
        raise ZeroDivisionError("in a callback")


def test_an_error_that_nobody_has_thought_of_ends_the_process() -> None:
    async def story() -> str:
        failed: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        writer: Writer[Any] = Writer(lane(), "pod-1", fail=failed.set_result)
        writer._producer = Broken()
        writer.start(None)  # type: ignore[arg-type] # nobody is told anything
        return await asyncio.wait_for(failed, 30)

    assert asyncio.run(story()) == "the producer cannot be served: ZeroDivisionError('in a callback')"
