"""Values that many want to know, read together."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Mapping

Key = TypeVar("Key")
Value = TypeVar("Value")

# What nobody has asked for this long is not read along any more.
FORGET_SECONDS: Final = 60.0


class Batches(Generic[Key, Value]):
    """Reads values for all who want them, one batch at a time.

    `read` returns a value for each key, errors included. A value is good for `fresh_seconds`; a batch that is
    due reads along whatever is half as old, so that the wishes of many become one request.
    """

    def __init__(
        self, read: Callable[[Collection[Key]], Awaitable[Mapping[Key, Value]]], fresh_seconds: float
    ) -> None:
        self._read = read
        self._fresh_seconds = fresh_seconds
        self._wanted_at: dict[Key, float] = {}
        self._read_at: dict[Key, float] = {}
        self._values: dict[Key, Value] = {}
        self._queue: set[Key] = set()
        self._batch: asyncio.Task[None] | None = None

    async def get(self, keys: Collection[Key], *, anew: bool = False) -> dict[Key, Value]:
        """Return a value for each key; `anew`: none that was read before this call."""
        now = _now()
        oldest = now if anew else now - self._fresh_seconds
        self._wanted_at.update(dict.fromkeys(keys, now))
        while missing := [key for key in keys if self._read_at.get(key, float("-inf")) < oldest]:
            self._queue.update(missing)
            if self._batch is None or self._batch.done():
                self._batch = asyncio.create_task(self._read_batch())
            # Whoever asked may be cancelled; the others still wait for it.
            await asyncio.shield(self._batch)
        return {key: self._values[key] for key in keys}

    async def _read_batch(self) -> None:
        now = _now()
        self._forget(now)
        old = now - self._fresh_seconds / 2
        keys = self._queue | {key for key in self._wanted_at if self._read_at.get(key, now) <= old}
        self._queue = set()
        self._values.update(await self._read(keys))
        self._read_at.update(dict.fromkeys(keys, now))

    def _forget(self, now: float) -> None:
        for key in [key for key, at in self._wanted_at.items() if now - at > FORGET_SECONDS]:
            for store in (self._wanted_at, self._read_at, self._values):
                store.pop(key, None)


def _now() -> float:
    return asyncio.get_running_loop().time()
