"""The loop: every resource is looked at when something about it changed, and every few seconds anyway.

One reconcile at a time a resource, a bounded number in all. Each decides from what is, never from what
changed, so that it may run at any time, any number of times, and after any crash.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, Literal

import structlog

from kafleet_operator.api.kinds import KINDS
from kafleet_operator.effects.objects import Objects
from kafleet_operator.effects.observing import Observer
from kafleet_operator.effects.performing import perform
from kafleet_operator.effects.references import References
from kafleet_operator.effects.resources import Resources, has_finalizer, is_going
from kafleet_operator.effects.views import View, key_of, list_all
from kafleet_operator.errors import ApiUnavailable, Conflict, InvalidSpec, KafleetError, NotFound
from kafleet_operator.metrics import FLEETS, RECONCILES
from kafleet_operator.pacing import backoff, jittered, woken
from kafleet_operator.planning.claims import claims_in, groups_in
from kafleet_operator.planning.connections import Connection
from kafleet_operator.planning.converging import plan_fleet
from kafleet_operator.planning.deleting import needs_finalizer, plan_deletion
from kafleet_operator.planning.fleets import Owner
from kafleet_operator.planning.names import ADOPT
from kafleet_operator.planning.observations import Unknown
from kafleet_operator.planning.patterns import fleet_for
from kafleet_operator.planning.plans import Outcome
from kafleet_operator.planning.status import (
    report_claims,
    report_deletion,
    report_invalid,
    report_status,
    transitions,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

    from kafleet_operator.effects.api_server import ApiServer
    from kafleet_operator.effects.kafka import Kafka
    from kafleet_operator.effects.views import Key
    from kafleet_operator.planning.fleets import Fleet, Json
    from kafleet_operator.planning.observations import Observed
    from kafleet_operator.planning.plans import Plan
    from kafleet_operator.settings import Settings

log = structlog.get_logger("kafleet.reconciling")

PARALLEL: Final = 16
RECONCILE_SECONDS: Final = 120.0
PACE_SECONDS: Final = 0.5  # between two reconciles of one resource, so that a burst of triggers makes one
FIRST_ADVANCE_SECONDS: Final = 0.1
STUCK_SECONDS: Final = 180.0
STALE_SECONDS: Final = 60.0  # and three observations: when what was seen last is no longer told to Prometheus

# settled: nothing to do until something changes; advanced: look again at once; failed: again after a while.
Ending = Literal["settled", "advanced", "failed"]


@dataclass(frozen=True, slots=True)
class World:
    """What all resources share: how to reach the two servers, and what is known."""

    settings: Settings
    api: ApiServer
    connect: Callable[[Connection], Awaitable[Kafka]]
    view: View


class Reconciler:
    """Keeps every resource as it is wished to be, from `start` to `stop`."""

    def __init__(
        self, settings: Settings, api: ApiServer, connect: Callable[[Connection], Awaitable[Kafka]]
    ) -> None:
        self._world = World(settings, api, connect, View())
        self._view = self._world.view
        self._slots = asyncio.Semaphore(PARALLEL)
        self._wakes: dict[Key, asyncio.Event] = {}
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

    def saw(self, change: str | None, body: Json) -> None:
        """Take in a watch event: the change as Kubernetes calls it (None: first listed), and the object."""
        for key in self._view.drop(body) if change == "DELETED" else self._view.put(body):
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
        resource: Resource | None = None
        while body := self._view[key]:
            wake.clear()
            if resource is None or resource.owner.uid != body["metadata"]["uid"]:
                resource = Resource(_owner(body), self._world)
            ending = await self._run(key, resource, anew=anew)
            failures = failures + 1 if ending == "failed" else 0
            advances = advances + 1 if ending == "advanced" else 0
            if not advances:
                await asyncio.sleep(PACE_SECONDS)
            is_woken = await woken(wake, self._rest_seconds(failures, advances))
            anew = is_woken or ending != "settled"
        FLEETS.gone(key)
        del self._wakes[key]

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


class Resource:
    """One resource, from its first sight until it is gone. Remembers only what may be forgotten."""

    def __init__(self, owner: Owner, world: World) -> None:
        self.owner = owner
        self._settings = world.settings
        self._connect = world.connect
        self._view = world.view
        self._resources = Resources(world.api, world.view)
        self._objects = Objects(world.api, world.view, owner)
        self._observer = Observer(
            owner,
            objects=self._objects,
            references=References(world.api, owner.namespace, world.settings.observe_seconds),
            view=world.view,
            observe_seconds=world.settings.observe_seconds,
        )
        self._log = log.bind(resource=str(owner))

    async def reconcile(self, *, anew: bool) -> Ending:
        """Bring the world one step closer to the spec, and report; `anew`: not by what others read before."""
        body = self._view[self.owner.key]
        if body is None or body["metadata"]["uid"] != self.owner.uid:
            return "settled"
        try:
            return await (self._clear_up(body) if is_going(body) else self._converge(body, anew=anew))
        except (ApiUnavailable, Conflict, NotFound) as error:
            # The resource changed or went meanwhile, or nobody could be told: the next look decides anew.
            self._log.warning("reconcile was interrupted; trying again", error=str(error))
            return "failed"
        except KafleetError as error:
            self._log.warning("reconcile failed; trying again", reason=error.reason, error=str(error))
            await self._report_defect(body, error)
            return "failed"
        except Exception as error:  # noqa: BLE001  whatever is wrong with one resource stays with it
            self._log.exception("reconcile failed; trying again")
            defect = f"{type(error).__name__}: {error}; the operator's log has the traceback"
            await self._report_defect(body, KafleetError(defect))
            return "failed"

    async def _converge(self, body: Json, *, anew: bool) -> Ending:
        try:
            fleet = self._fleet(body)
        except InvalidSpec as error:
            return await self._report_invalid(body, error)
        kafka = await self._connect(fleet.connection)
        await self._keep_finalizer(body, is_needed=needs_finalizer(fleet))
        observed = await self._observer.observe_fleet(body, fleet, kafka, anew=anew)
        observed, plan = await self._claim(fleet, observed)
        outcome = await self._perform(plan, kafka)
        FLEETS.saw(fleet, observed, seconds=STALE_SECONDS + 3 * self._settings.observe_seconds)
        status = report_status(fleet, plan, outcome, observed, previous=self._status(), now=_now())
        await self._tell(status)
        return _ending(observed, plan, outcome)

    async def _clear_up(self, body: Json) -> Ending:
        if not has_finalizer(body):
            return "settled"
        try:
            fleet = self._fleet(body)
            deletes_topics, connection = fleet.deletes_topics, fleet.connection
        except InvalidSpec:
            self._log.warning("topics and groups stay: the spec that would say to delete them is invalid")
            deletes_topics, connection = False, Connection(self._settings.bootstrap_servers)
        kafka = await self._connect(connection)
        claims = claims_in(self._status())
        observed = await self._observer.observe_remains(
            body, kafka, topics=[claim.name for claim in claims], groups=groups_in(self._status())
        )
        plan = plan_deletion(observed, claims, deletes_topics=deletes_topics)
        outcome = await self._perform(plan, kafka)
        if plan.release and not outcome.failures:
            await self._resources.drop_finalizer(body)
            return "settled"
        status = report_deletion(
            plan, outcome, previous=self._status(), generation=body["metadata"]["generation"], now=_now()
        )
        await self._tell(status)
        return _ending(observed, plan, outcome)

    def _fleet(self, body: Json) -> Fleet:
        return fleet_for(
            _owner(body),
            KINDS[self.owner.kind].parse(body),
            bootstrap_servers=self._settings.bootstrap_servers,
            adopts_topics=body["metadata"].get("annotations", {}).get(ADOPT) == "true",
        )

    async def _keep_finalizer(self, body: Json, *, is_needed: bool) -> None:
        if is_needed:
            await self._resources.set_finalizer(body)
        else:
            await self._resources.drop_finalizer(body)

    async def _claim(self, fleet: Fleet, observed: Observed) -> tuple[Observed, Plan]:
        """Plan, and put the names the plan will hold into the status before anything is made under them."""
        plan = self._plan(fleet, observed)
        claimed = report_claims(plan.claims, previous=self._status())
        if claimed == self._status():
            return observed, plan
        body = self._body()
        await self._resources.write_status(body, claimed)
        # Two resources may have claimed one name at the same time: plan again, seeing the other's claim.
        observed = replace(observed, claims=self._observer.claims_of_others(self._body()))
        return observed, self._plan(fleet, observed)

    def _plan(self, fleet: Fleet, observed: Observed) -> Plan:
        return plan_fleet(
            fleet,
            observed,
            claims_in(self._status()),
            agent_image=self._settings.agent_image,
            image_pull_policy=self._settings.agent_image_pull_policy,
        )

    async def _perform(self, plan: Plan, kafka: Kafka) -> Outcome:
        if plan.is_empty:
            return Outcome()
        self._observer.forget_topics()
        outcome = await perform(plan, kafka=kafka, objects=self._objects)
        failures = [f"{failure.subject}: {failure.message}" for failure in outcome.failures]
        self._log.info("carried out a plan", notes=plan.notes, failures=failures)
        return outcome

    async def _report_invalid(self, body: Json, error: KafleetError) -> Ending:
        generation = body["metadata"]["generation"]
        await self._tell(report_invalid(error, previous=self._status(), generation=generation, now=_now()))
        return "settled"

    async def _report_defect(self, body: Json, error: KafleetError) -> None:
        with contextlib.suppress(KafleetError):
            await self._report_invalid(body, error)

    async def _tell(self, status: Json) -> None:
        """Write the status, and an Event and a log line for each of its conditions that turned."""
        body, previous = self._body(), self._status()
        FLEETS.told(self.owner.key, status)
        await self._resources.write_status(body, status)
        for condition, reason, message, severity in transitions(previous, status):
            level = log.warning if severity == "Warning" else log.info
            level(
                "condition turned",
                resource=str(self.owner),
                condition=condition,
                reason=reason,
                message=message,
            )
            await self._resources.post_event(
                body, reason=reason, message=message, severity=severity, action=condition, now=_now_exactly()
            )

    def _body(self) -> Json:
        """Return the newest body, our own writes included; NotFound once the resource is gone."""
        body = self._view[self.owner.key]
        if body is None or body["metadata"]["uid"] != self.owner.uid:
            raise NotFound(f"{self.owner} is gone")
        return body

    def _status(self) -> Json:
        status: Json = self._body().get("status", {})
        return status


def _owner(body: Json) -> Owner:
    kind, namespace, name = key_of(body)
    metadata = body["metadata"]
    return Owner(body["apiVersion"], kind, namespace, name, metadata["uid"], metadata.get("generation", 0))


def _ending(observed: Observed, plan: Plan, outcome: Outcome) -> Ending:
    if outcome.failures or isinstance(observed.topics, Unknown):
        return "failed"
    return "settled" if plan.is_empty else "advanced"


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _now_exactly() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
