"""Waiting for a condition, with a deadline."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TypeVar

from demo.errors import Failed

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")
POLL_SECONDS = 0.3


def until(
    what: str,
    probe: Callable[[], T | None],
    seconds: float,
    *,
    look: str = "",
    tell: Callable[[str], None] | None = None,
    tell_seconds: float = 8.0,
) -> T:
    """Ask `probe` until it answers something true, and return that; raise Failed after `seconds`.

    An error of the probe counts as "not yet" and is named if the deadline passes. `tell` gets a line each
    `tell_seconds`.
    """
    began = told = time.monotonic()
    last: object = None
    while True:
        try:
            answer = probe()
            if answer:
                return answer
            last = answer
        except Failed as error:
            last = error
        now = time.monotonic()
        if now - began > seconds:
            seen = f": {last}" if isinstance(last, Failed) else ""
            raise Failed(f"gave up waiting for {what} after {seconds:.0f} s{seen}", look)
        if tell and now - told >= tell_seconds:
            tell(f"waiting for {what}: {now - began:.0f} s")
            told = now
        time.sleep(POLL_SECONDS)
