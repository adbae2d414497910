"""The status of a fleet that is well, but for what a test gives."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jsonschema
from unit.operator.planning.samples import DEAD, FLEET, TASKS, planned, running, topics

from kafleet_operator.api.conditions import REASONS
from kafleet_operator.api.schemas import structural_schema
from kafleet_operator.api.statuses import Status
from kafleet_operator.planning.observations import GroupState, Observed, PartitionState, Unknown
from kafleet_operator.planning.plans import Claim, Outcome
from kafleet_operator.planning.status import (
    report_status,
)

if TYPE_CHECKING:
    from kafleet_operator.planning.fleets import Fleet, Json
    from kafleet_operator.planning.recoveries import Recovery

DEPLOYMENT = ("Deployment", "triage-workers")
GROUP = "support.triage.workers"
DOWN = Unknown("KafkaUnreachable", "nobody answers")
NOW, LATER = "2026-11-23T05:00:00Z", "2026-11-23T06:00:00Z"
SCHEMA = structural_schema(Status)


def partitions(*committed: int | None) -> tuple[PartitionState, ...]:
    return tuple(PartitionState(TASKS.name, number, 2, 10, at) for number, at in enumerate(committed))


def group(*committed: int | None, members: int = 2) -> GroupState:
    state = "Stable" if members else "Empty"
    return GroupState(GROUP, state, partitions(*committed))


def objects(
    fleet: Fleet = FLEET,
    *,
    ready: int = 2,
    updated: int = 2,
    **status: Any,  # noqa: ANN401 - as the deployment controller writes it
) -> dict[tuple[str, str], Json]:
    seen = running(fleet)
    counts = {"replicas": 2, "readyReplicas": ready, "updatedReplicas": updated, "observedGeneration": 1}
    seen[DEPLOYMENT] = {**seen[DEPLOYMENT], "status": {**counts, **status}}
    return seen


def report(
    *,
    fleet: Fleet = FLEET,
    outcome: Outcome | None = None,
    previous: Json | None = None,
    now: str = NOW,
    recoveries: tuple[Recovery, ...] = (),
    seen: Any = None,  # noqa: ANN401 - topics as planned() takes them
    claims: tuple[Claim, ...] = (),
    **observed: Any,  # noqa: ANN401 - any field of an observation
) -> Json:
    """Return the status of a fleet that is well, but for what is given; it fits the schema."""
    looked: dict[str, Any] = {
        "groups": {GROUP: group(10)},
        "dead_letters": {DEAD.name: 0},
        "objects": objects(),
    } | observed
    seen = topics() if seen is None else seen
    plan = planned(seen, claims, fleet=fleet, **looked)
    status = report_status(
        fleet,
        plan,
        outcome or Outcome(),
        Observed(topics=seen, **looked),
        previous=previous or {},
        now=now,
        recoveries=recoveries,
    )
    jsonschema.validate(status, SCHEMA)
    assert {each["reason"] for each in status["conditions"]} <= REASONS.keys()
    return status


def condition(status: Json, kind: str) -> tuple[str, str]:
    found = by_type(status, kind)
    return found["status"], found["reason"]


def by_type(status: Json, kind: str) -> Json:
    found: Json = next(each for each in status["conditions"] if each["type"] == kind)
    return found
