"""The loop: every resource is looked at when something about it changed, and every few seconds anyway.

One reconcile at a time a resource, a bounded number in all. Each decides from what is, never from what
changed, so that it may run at any time, any number of times, and after any crash.
"""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING, Final

import structlog

from kafleet_operator.effects.references import References
from kafleet_operator.effects.views import View, list_all
from kafleet_operator.errors import KafleetError
from kafleet_operator.metrics import FLEETS, RECONCILES
from kafleet_operator.pacing import backoff, jittered, woken
from kafleet_operator.resources import Resource, World, owner_of

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from kafleet_operator.effects.api_server import ApiServer
    from kafleet_operator.effects.kafka import Connect
    from kafleet_operator.effects.views import Key
    from kafleet_operator.planning.fleets import Json
    from kafleet_operator.resources import Ending
    from kafleet_operator.settings import Settings

log = structlog.get_logger("kafleet.reconciling")

PARALLEL: Final = 16
RECONCILE_SECONDS: Final = 120.0
PACE_SECONDS: Final = 0.5  # between two reconciles of one resource, so that a burst of triggers makes one
FIRST_ADVANCE_SECONDS: Final = 0.1
STUCK_SECONDS: Final = 180.0


class Reconciler:
    """Keeps every resource as it is wished to be, from `start` to `stop`."""

    def __init__(self, settings: Settings, api: ApiServer, connect: Connect) -> None:
        self._view = View()
        self._references = References(api, settings, wake=self._wake)
        self._world = World(settings, api, connect, self._view, self._references)
        self._slots = asyncio.Semaphore(PARALLEL)
        self._wakes: dict[Key, asyncio.Event] = {}
        self._known: dict[Key, Resource] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._busy_since: dict[Key, float] = {}
        self._finished_at = 0.0
        self._is_listed = False

    async def start(self) -> None:
        """Wait until everything was listed once, then reconcile in the background."""
        failures = 0
        while not await self._list_all():
            failures += 1
            await asyncio.sleep(backoff(failures))
        self._is_listed = True
        self._spawn(self._list_forever())

    async def stop(self) -> None:
        """Let go at once: what is half done now is found half done, and finished, next time."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._references.stop()

    def saw(self, change: str | None, body: Json) -> None:
        """Take in a watch event: the change as Kubernetes calls it (None: first listed), and the object."""
        for key in self._view.drop(body) if change == "DELETED" else self._view.put(body):
            if key in self._known:
                self._known[key].recover()  # beside the reconcile, which may be slow, or rest
            self._wake(key)

    def ills(self) -> str:
        """Say if reconciles are waiting and none has finished for `STUCK_SECONDS`; empty if all is well."""
        since = max(self._finished_at, min(self._busy_since.values(), default=math.inf))
        is_stuck = asyncio.get_running_loop().time() - since > STUCK_SECONDS
        return "reconciles are waiting and none finishes" if is_stuck else ""

    def lacks(self) -> str:
        """Say if edits are not acted on yet; empty once everything was listed."""
        return "" if self._is_listed else "what there is was not listed yet"

    def _wake(self, key: Key) -> None:
        if key in self._wakes:
            self._wakes[key].set()
        elif self._view[key]:
            self._wakes[key] = asyncio.Event()
            self._spawn(self._keep(key))

    def _spawn(self, coroutine: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _list_forever(self) -> None:
        """List everything anew now and then: a watch may be silent, or miss a deletion at a reconnect."""
        failures = 0
        while True:
            await asyncio.sleep(
                backoff(failures) if failures else jittered(self._world.settings.resync_seconds)
            )
            failures = 0 if await self._list_all() else failures + 1

    async def _list_all(self) -> bool:
        try:
            changed = await list_all(self._world.api, self._view, self._world.settings.namespaces)
        except KafleetError as error:
            log.warning("cannot list what there is; trying again", reason=error.reason, error=str(error))
            return False
        except Exception:
            log.exception("cannot understand what is listed; trying again")
            return False
        for key in changed:
            self._wake(key)
        return True

    async def _keep(self, key: Key) -> None:
        """Reconcile one resource again and again until it is gone."""
        wake, failures, advances = self._wakes[key], 0, 0
        anew = True  # something happened: what was read for others before will not do
        while body := self._view[key]:
            wake.clear()
            resource = self._known.get(key)
            if resource is None or resource.owner.uid != body["metadata"]["uid"]:
                resource = Resource(owner_of(body), self._world, self._spawn, wake.set)
                self._known[key] = resource
            ending = await self._run(key, resource, anew=anew)
            failures = failures + 1 if ending == "failed" else 0
            advances = advances + 1 if ending == "advanced" else 0
            if not advances:
                await asyncio.sleep(PACE_SECONDS)
            is_woken = await woken(wake, self._rest_seconds(failures, advances))
            anew = is_woken or ending != "settled"
        FLEETS.gone(key)
        self._known.pop(key, None)
        del self._wakes[key]
        self._references.forget(key)

    async def _run(self, key: Key, resource: Resource, *, anew: bool) -> Ending:
        loop = asyncio.get_running_loop()
        begun = self._busy_since[key] = loop.time()
        ending: Ending = "failed"
        try:
            async with self._slots, asyncio.timeout(RECONCILE_SECONDS):
                begun = loop.time()
                ending = await resource.reconcile(anew=anew)
        except TimeoutError:
            log.warning("a reconcile took too long; trying again", resource=str(resource.owner))
        except Exception:
            log.exception("a defect could not even be reported; trying again", resource=str(resource.owner))
        finally:
            del self._busy_since[key]
            self._finished_at = loop.time()
        RECONCILES.add(key[0], ending, self._finished_at - begun)
        return ending

    def _rest_seconds(self, failures: int, advances: int) -> float:
        if failures:
            return backoff(failures)
        observe_seconds = jittered(self._world.settings.observe_seconds)
        # Almost at once, then slower and slower, should a plan never come to its end.
        advance_seconds: float = FIRST_ADVANCE_SECONDS * 2 ** (advances - 1)
        return min(advance_seconds, observe_seconds) if advances else observe_seconds
