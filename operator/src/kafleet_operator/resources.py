"""One resource, from its first sight until it is gone: observe, plan, perform, report.

Each reconcile decides from what is, never from what changed, so that it may run at any time, any number of
times, and after any crash.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, Literal

import structlog

from kafleet_operator.api.kinds import KINDS
from kafleet_operator.effects.objects import Objects
from kafleet_operator.effects.observing import Observer
from kafleet_operator.effects.performing import perform
from kafleet_operator.effects.recovering import Recoverer
from kafleet_operator.effects.resources import Resources, has_finalizer, is_going
from kafleet_operator.effects.views import PODS, View, key_of
from kafleet_operator.errors import (
    ApiUnavailable,
    Conflict,
    InvalidSpec,
    KafleetError,
    NotAuthorized,
    NotFound,
    ReferenceNotFound,
)
from kafleet_operator.metrics import FLEETS
from kafleet_operator.planning.claims import claims_in, groups_in
from kafleet_operator.planning.converging import plan_fleet
from kafleet_operator.planning.deleting import needs_finalizer, plan_deletion
from kafleet_operator.planning.fleets import Owner
from kafleet_operator.planning.names import ADOPT
from kafleet_operator.planning.observations import Unknown
from kafleet_operator.planning.patterns import fleet_for
from kafleet_operator.planning.plans import Outcome
from kafleet_operator.planning.recoveries import deaths_in, words_for
from kafleet_operator.planning.status import (
    report_claims,
    report_deletion,
    report_invalid,
    report_status,
    transitions,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from kafleet_operator.effects.api_server import ApiServer
    from kafleet_operator.effects.kafka import Connect, Kafka
    from kafleet_operator.effects.recovering import Spawn
    from kafleet_operator.effects.references import References
    from kafleet_operator.planning.fleets import Fleet, Json
    from kafleet_operator.planning.observations import Observed
    from kafleet_operator.planning.plans import Plan
    from kafleet_operator.planning.recoveries import Recovery
    from kafleet_operator.settings import Settings

log = structlog.get_logger("kafleet.reconciling")

STALE_SECONDS: Final = 60.0  # and three observations: when what was seen last is no longer told to Prometheus

# settled: nothing to do until something changes; advanced: look again at once; failed: again after a while.
Ending = Literal["settled", "advanced", "failed"]


@dataclass(frozen=True, slots=True)
class World:
    """What all resources share: how to reach the two servers, and what is known."""

    settings: Settings
    api: ApiServer
    connect: Connect
    view: View
    references: References


class Resource:
    """One resource, from its first sight until it is gone. Remembers only what may be forgotten."""

    def __init__(self, owner: Owner, world: World, spawn: Spawn, wake: Callable[[], None]) -> None:
        self.owner = owner
        self._settings = world.settings
        self._connect = world.connect
        self._view = world.view
        self._resources = Resources(world.api, world.view)
        self._objects = Objects(world.api, world.view, owner)
        self._observer = Observer(
            owner,
            objects=self._objects,
            references=world.references,
            view=world.view,
        )
        self._recoverer = Recoverer(spawn, wake)
        self._kafka: Kafka | None = None
        self._groups: frozenset[str] = frozenset()
        self._log = log.bind(resource=str(owner))

    def recover(self) -> None:
        """Begin to take dead agents out of their groups, as far as it is known where; waits for nothing."""
        if self._kafka:
            pods = self._view.members(self.owner.key, [PODS])
            self._recoverer.recover(deaths_in(pods, self._groups), self._kafka.groups)

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
        kafka = await self._cluster(fleet)
        self._serve(kafka, (lane.group for lane in fleet.lanes))
        await self._keep_finalizer(body, is_needed=needs_finalizer(fleet))
        observed = await self._observer.observe_fleet(body, fleet, kafka, anew=anew)
        observed, plan = await self._claim(fleet, observed)
        outcome = await self._perform(plan, kafka)
        FLEETS.saw(fleet, observed, seconds=STALE_SECONDS + 3 * self._settings.observe_seconds)
        recoveries = self._recoverer.news
        status = report_status(
            fleet, plan, outcome, observed, previous=self._status(), now=_now(), recoveries=recoveries
        )
        await self._tell(status)
        await self._tell_recoveries(recoveries)
        return _ending(observed, plan, outcome)

    async def _clear_up(self, body: Json) -> Ending:
        if not has_finalizer(body):
            return "settled"
        try:
            fleet = self._fleet(body)
            deletes_topics, kafka = fleet.deletes_topics, await self._cluster(fleet)
        except InvalidSpec:
            self._log.warning("topics and groups stay: the spec that would say to delete them is invalid")
            deletes_topics, kafka = False, await self._connect(self._settings.connection, {})
        self._serve(kafka, groups_in(self._status()))
        claims = claims_in(self._status())
        observed = await self._observer.observe_remains(
            kafka, topics=[claim.name for claim in claims], groups=groups_in(self._status())
        )
        if _is_locked_out(observed) and await self._resources.is_namespace_going(body):
            # The Secret went first, and nobody can bring it back: the namespace would wait for ever.
            self._log.warning(
                "topics and groups stay: the credentials went with the namespace",
                topics=[claim.name for claim in claims],
                groups=groups_in(self._status()),
            )
            await self._resources.drop_finalizer(body)
            return "settled"
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

    async def _cluster(self, fleet: Fleet) -> Kafka:
        """Connect to the fleet's brokers, with what its Secrets hold now."""
        seen = await self._observer.observe_references(fleet) if fleet.connection.secret_keys() else {}
        return await self._connect(fleet.connection, seen)

    def _fleet(self, body: Json) -> Fleet:
        return fleet_for(
            owner_of(body),
            KINDS[self.owner.kind].parse(body),
            bootstrap_servers=self._settings.bootstrap_servers,
            adopts_topics=body["metadata"].get("annotations", {}).get(ADOPT) == "true",
        )

    def _serve(self, kafka: Kafka, groups: Iterable[str]) -> None:
        self._kafka, self._groups = kafka, frozenset(groups)
        self.recover()

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
        observed = replace(observed, claims=self._observer.claims_of_others(self._body(), fleet))
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

    async def _tell_recoveries(self, recoveries: tuple[Recovery, ...]) -> None:
        """Post an Event for each recovery, now that the status has them."""
        self._recoverer.told(recoveries)
        for recovery in recoveries:
            await self._resources.post_event(
                self._body(),
                reason="Recovered",
                message=words_for(recovery),
                severity="Warning",
                action="RemoveMember",
                now=_now_exactly(),
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


def _is_locked_out(observed: Observed) -> bool:
    """Tell whether Kafka cannot be asked: a Secret with credentials is gone, or the right to read it."""
    reasons = {ReferenceNotFound.reason, NotAuthorized.reason}
    return isinstance(observed.topics, Unknown) and observed.topics.reason in reasons


def owner_of(body: Json) -> Owner:
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
