"""What a resource's status says: deterministic, and the whole of it each time."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from kafleet_operator.planning import names
from kafleet_operator.planning.claims import topics_status
from kafleet_operator.planning.conditions import MAX_MESSAGE, Condition, conditions_for
from kafleet_operator.planning.draining import is_gone
from kafleet_operator.planning.observations import GroupState
from kafleet_operator.planning.offsets import known_after
from kafleet_operator.planning.recoveries import recoveries_status
from kafleet_operator.planning.workloads import lag_of, workload_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from kafleet_operator.errors import KafleetError
    from kafleet_operator.planning.draining import Leftover
    from kafleet_operator.planning.fleets import Fleet, Json, Lane
    from kafleet_operator.planning.observations import Observed
    from kafleet_operator.planning.plans import Claim, Outcome, Plan
    from kafleet_operator.planning.recoveries import Recovery

# Reasons of a condition that is not true and yet is what somebody asked for.
EXPECTED = frozenset({"RollingOut", "Suspended", "Draining", "Deleting"})


def report_status(
    fleet: Fleet,
    plan: Plan,
    outcome: Outcome,
    observed: Observed,
    *,
    previous: Mapping[str, Any],
    now: str,
    recoveries: Sequence[Recovery] = (),
) -> Json:
    """Return the whole status after a reconcile; `now` is RFC 3339.

    Conditions that did not turn keep their time; `recoveries` are those that were not reported yet.
    """
    before = {each["name"]: each for each in previous.get("lanes", ())}
    news = {
        lane.group: [each for each in recoveries if each.death.group == lane.group] for lane in fleet.lanes
    }
    lanes = [
        _lane(fleet, lane, plan, outcome, observed, before=before.get(lane.name, {}), news=news[lane.group])
        for lane in fleet.lanes
    ]
    lanes += [
        _left(fleet, each, observed, now) for each in observed.leftovers if not is_gone(fleet, each, observed)
    ]
    generation = fleet.owner.generation
    known = {name: lane.get("committedPartitions", 0) for name, lane in before.items()}
    conditions = conditions_for(fleet, plan, outcome, observed, known)
    return {
        "observedGeneration": generation,
        "conditions": _dated(conditions, previous, generation, now),
        "inbox": fleet.topic(fleet.inbox).name,
        "outbox": fleet.topic(fleet.outbox).name,
        "topics": topics_status(_settled(plan, outcome)),
        "lanes": lanes,
        **_totals(lanes),
        **_scale(fleet, outcome, observed),
    }


def report_claims(claims: tuple[Claim, ...], *, previous: Mapping[str, Any]) -> Json:
    """Return the previous status with the plan's claims: to be written, if it differs, before performing."""
    return {**previous, "topics": topics_status(claims)}


def report_invalid(error: KafleetError, *, previous: Mapping[str, Any], generation: int, now: str) -> Json:
    """Return the previous status with Accepted and Ready false: the fleet goes on as it was."""
    message = str(error)[:MAX_MESSAGE]
    news = tuple(Condition(kind, "False", error.reason, message) for kind in ("Ready", "Accepted"))
    return _with(news, previous, generation, now)


def report_deletion(
    plan: Plan, outcome: Outcome, *, previous: Mapping[str, Any], generation: int, now: str
) -> Json:
    """Return the previous status with Ready false for `Deleting`, saying what is waited for."""
    failures = tuple(sorted(f"{failure.subject}: {failure.message}" for failure in outcome.failures))
    message = "; ".join((*plan.notes, *failures))[:MAX_MESSAGE]
    return _with((Condition("Ready", "False", "Deleting", message),), previous, generation, now)


def transitions(previous: Mapping[str, Any], status: Mapping[str, Any]) -> list[tuple[str, str, str, str]]:
    """Return one (condition type, reason, message, "Normal" or "Warning") for each Event worth sending.

    What goes wrong is said by the condition it is about, what goes right by Ready alone.
    """
    before = {each["type"]: (each["status"], each["reason"]) for each in previous.get("conditions", ())}
    return [
        (each["type"], each["reason"], each["message"], _event_type(each))
        for each in status.get("conditions", ())
        if before.get(each["type"]) != (each["status"], each["reason"]) and _is_telling(each)
    ]


def _is_telling(condition: Mapping[str, Any]) -> bool:
    is_summary, is_true = condition["type"] == "Ready", condition["status"] == "True"
    return bool(is_summary == is_true or condition["reason"] == "Deleting")


def _event_type(condition: Mapping[str, Any]) -> str:
    is_fine = condition["status"] == "True" or condition["reason"] in EXPECTED
    return "Normal" if is_fine else "Warning"


def _with(
    news: tuple[Condition, ...], previous: Mapping[str, Any], generation: int, now: str
) -> dict[str, Any]:
    dated = _dated(news, previous, generation, now)
    kept = [each for each in previous.get("conditions", ()) if each["type"] not in {new.type for new in news}]
    return {**previous, "observedGeneration": generation, "conditions": [*dated, *kept]}


def _dated(
    conditions: Iterable[Condition], previous: Mapping[str, Any], generation: int, now: str
) -> list[dict[str, Any]]:
    before = {each["type"]: each for each in previous.get("conditions", ())}
    return [
        {
            "type": condition.type,
            "status": condition.status,
            "reason": condition.reason,
            "message": condition.message,
            "observedGeneration": generation,
            "lastTransitionTime": _since(condition, before.get(condition.type), now),
        }
        for condition in conditions
    ]


def _since(condition: Condition, before: Mapping[str, Any] | None, now: str) -> str:
    if before is None or before["status"] != condition.status:
        return now
    return str(before["lastTransitionTime"])


def _settled(plan: Plan, outcome: Outcome) -> list[Claim]:
    """Return the claims with the ids of the topics just made.

    A topic that we neither made nor failed to make, somebody else made in between: it is used, but never ours
    to delete.
    """
    failed = {failure.subject for failure in outcome.failures if failure.reason != "TopicConflict"}
    ours = outcome.created_topics
    taken = {
        step.name
        for step in plan.create_topics
        if step.name not in ours and f"topic {step.name!r}" not in failed
    }
    return [
        replace(
            claim,
            id=claim.id or ours.get(claim.name, ""),
            is_created=claim.is_created and claim.name not in taken,
        )
        for claim in plan.claims
    ]


def _lane(
    fleet: Fleet,
    lane: Lane,
    plan: Plan,
    outcome: Outcome,
    observed: Observed,
    *,
    before: Mapping[str, Any],
    news: Sequence[Recovery],
) -> dict[str, Any]:
    workload = workload_of(fleet, lane, outcome, observed)
    group = observed.groups.get(lane.group)
    lag, committed = before.get("lag"), before.get("committedPartitions", 0)
    if isinstance(group, GroupState):
        lag, committed = lag_of(group, lane), known_after(group, plan, committed)
    dead_letters = observed.dead_letters.get(fleet.topic(lane.dead_letters).name)
    if not isinstance(dead_letters, int):
        dead_letters = before.get("deadLetters")
    wished = 0 if fleet.is_suspended else lane.replicas
    status = {
        "name": lane.name,
        "group": lane.group,
        "replicas": workload.wished if workload else wished,
        "readyReplicas": workload.ready if workload else 0,
        "lag": lag,
        "deadLetters": dead_letters,
        "committedPartitions": committed or None,
        "recoveries": recoveries_status(before.get("recoveries", {}), news) or None,
    }
    return {name: value for name, value in status.items() if value is not None}


def _left(fleet: Fleet, leftover: Leftover, observed: Observed, now: str) -> dict[str, Any]:
    """Return what is said of a lane that is no longer wished, for as long as something of it is left."""
    deployment = observed.objects.get(("Deployment", names.object_name(fleet.owner, leftover.lane)), {})
    return {
        "name": leftover.lane,
        "group": leftover.group,
        "replicas": deployment.get("spec", {}).get("replicas", 0),
        "readyReplicas": (deployment.get("status") or {}).get("readyReplicas", 0),
        "drainingSince": leftover.since or now,
    }


def _totals(lanes: list[dict[str, Any]]) -> dict[str, int]:
    """Sum up the lanes; what is not known of any lane is left out."""
    names_of = {"desiredReplicas": "replicas", "readyReplicas": "readyReplicas"}
    names_of |= {"lag": "lag", "deadLetters": "deadLetters"}
    known = {total: [lane[name] for lane in lanes if name in lane] for total, name in names_of.items()}
    known["recoveries"] = [lane["recoveries"]["count"] for lane in lanes if "recoveries" in lane]
    return {total: sum(values) for total, values in known.items() if values}


def _scale(fleet: Fleet, outcome: Outcome, observed: Observed) -> dict[str, Any]:
    """Return what the scale subresource and autoscalers read."""
    for lane in fleet.lanes:
        if lane.name == fleet.scale_lane:
            workload = workload_of(fleet, lane, outcome, observed)
            labels = names.selector_labels(fleet.owner, lane.name)
            selector = ",".join(f"{name}={value}" for name, value in labels.items())
            return {"replicas": workload.existing if workload else 0, "selector": selector}
    return {}
