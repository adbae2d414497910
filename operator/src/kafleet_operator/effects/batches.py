"""Values that many want to know, read together; steps that many want done, done together."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Mapping

Key = TypeVar("Key")
Value = TypeVar("Value")
Step = TypeVar("Step")
Result = TypeVar("Result")

# Of the time between two observations of a fleet: each finds values that are new, and most find them read.
FRESH_SHARE: Final = 0.8
# What nobody has asked for this long is not read along any more.
FORGET_SECONDS: Final = 60.0
# How long the first step waits for others to go with it.
GATHER_SECONDS: Final = 0.01


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


class Bundles(Generic[Step, Result]):
    """Does the steps that many ask for within a moment by one request.

    `do` takes steps by name and returns a result for each, errors included; what it raises, all are told.
    """

    def __init__(self, do: Callable[[Mapping[str, Step]], Awaitable[Mapping[str, Result]]]) -> None:
        self._do = do
        self._open: _Bundle[Step, Result] | None = None

    async def ask(self, steps: Mapping[str, Step]) -> dict[str, Result]:
        """Return the result of each step; two different steps of one name never share a request."""
        bundle = self._open
        if bundle is None or any(bundle.steps.get(name, step) != step for name, step in steps.items()):
            bundle = self._open = _Bundle({})
            bundle.doing = asyncio.create_task(self._send(bundle))
        bundle.steps.update(steps)
        assert bundle.doing  # noqa: S101  it was begun with the bundle
        # Whoever asked may be cancelled; the others still wait for it.
        results = await asyncio.shield(bundle.doing)
        return {name: results[name] for name in steps}

    async def _send(self, bundle: _Bundle[Step, Result]) -> Mapping[str, Result]:
        await asyncio.sleep(GATHER_SECONDS)
        if self._open is bundle:
            self._open = None
        return await self._do(bundle.steps)


@dataclass(slots=True)
class _Bundle(Generic[Step, Result]):
    steps: dict[str, Step]
    doing: asyncio.Task[Mapping[str, Result]] | None = None


def _now() -> float:
    return asyncio.get_running_loop().time()
