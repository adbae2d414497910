"""How long to rest between two looks: never in step with others, and less and less often after failures."""

from __future__ import annotations

import asyncio
import contextlib
import random
from typing import Final

FIRST_RETRY_SECONDS: Final = 0.5
LAST_RETRY_SECONDS: Final = 10.0


def jittered(seconds: float) -> float:
    return seconds * random.uniform(0.9, 1.1)  # noqa: S311  no secret hangs on it


def backoff(failures: int) -> float:
    """Return the seconds to rest after so many failures in a row, at least one."""
    limit: float = min(FIRST_RETRY_SECONDS * 2 ** (failures - 1), LAST_RETRY_SECONDS)
    return limit * random.uniform(0.5, 1)  # noqa: S311  no secret hangs on it


async def woken(wake: asyncio.Event, seconds: float) -> bool:
    """Wait to be woken, for so long at most; tell whether that happened."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await wake.wait()
    return wake.is_set()
