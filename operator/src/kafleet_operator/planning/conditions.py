"""What each condition says, one function a condition: what could not be read makes it Unknown first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from kafleet_operator.planning import names
from kafleet_operator.planning.observations import GroupState, Unknown
from kafleet_operator.planning.offsets import lost_in
from kafleet_operator.planning.workloads import lag_of, position_of, workload_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from kafleet_operator.planning.fleets import Fleet, Lane
    from kafleet_operator.planning.observations import Observed
    from kafleet_operator.planning.plans import Failure, Outcome, Plan

# One message never fills a status.
MAX_MESSAGE = 1024


@dataclass(frozen=True, slots=True)
class Condition:
    """One condition of a status, without its times."""

    type: str
    status: Literal["True", "False", "Unknown"]
    reason: str
    message: str


def conditions_for(
    fleet: Fleet, plan: Plan, outcome: Outcome, observed: Observed, known: Mapping[str, int]
) -> tuple[Condition, ...]:
    """Return every condition, the summary first.

    `known` is how many partitions had a committed offset before, by lane.
    """
    parts = (
        accepted(plan, observed),
        topics_ready(fleet, plan, outcome, observed),
        agents_ready(fleet, plan, outcome, observed),
        progressing(fleet, plan, observed, known),
    )
    return (ready(parts), *parts)


def ready(parts: Iterable[Condition]) -> Condition:
    """Summarise: what is wrong goes before what is unknown, and both before what is right."""
    ordered = sorted(parts, key=lambda part: ["False", "Unknown", "True"].index(part.status))
    worst = ordered[0]
    if worst.status == "True":
        return Condition("Ready", "True", "AllReady", "every topic and every agent is as wished")
    return Condition("Ready", worst.status, worst.reason, worst.message)


def accepted(plan: Plan, observed: Observed) -> Condition:
    """Say whether the spec makes sense and what it refers to exists."""
    for _, content in sorted(observed.references.items()):
        if isinstance(content, Unknown):
            return _unknown("Accepted", content)
    return _refused("Accepted", plan) or Condition(
        "Accepted", "True", "AllReady", "the spec makes sense and its references exist"
    )


def topics_ready(fleet: Fleet, plan: Plan, outcome: Outcome, observed: Observed) -> Condition:
    """Say whether every topic exists as wished."""
    if isinstance(observed.topics, Unknown):
        return _unknown("TopicsReady", observed.topics)
    failed = _failed("TopicsReady", (each for each in outcome.failures if _is_of_topic(each)))
    if verdict := _refused("TopicsReady", plan) or failed:
        return verdict
    topics = {topic.name for topic in fleet.topics}
    existing = {claim.name for claim in plan.claims if claim.id} | set(outcome.created_topics)
    if waiting := sorted(topics - existing):
        return Condition("TopicsReady", "False", "RollingOut", f"missing: {', '.join(map(repr, waiting))}")
    return Condition("TopicsReady", "True", "AllReady", f"{len(topics)} topics are as wished")


def agents_ready(fleet: Fleet, plan: Plan, outcome: Outcome, observed: Observed) -> Condition:
    """Say whether every lane has its replicas ready and its group assigned."""
    seen = (observed.groups, observed.transactions)
    found = [each.get(lane.group) for each in seen for lane in fleet.lanes]
    unreadable = next((each for each in found if isinstance(each, Unknown)), None)
    if unreadable and not fleet.is_suspended:
        return _unknown("AgentsReady", unreadable)
    failed = _failed("AgentsReady", (each for each in outcome.failures if not _is_of_topic(each)))
    if verdict := _refused("AgentsReady", plan) or failed:
        return verdict
    if outcome.held:
        return _not_ready("RollingOut", "; ".join(outcome.held))
    if fleet.is_suspended:
        return Condition(
            "AgentsReady", "False", "Suspended", "no agent shall run; set suspend: false to go on"
        )
    verdicts = (_lane_ready(fleet, lane, outcome, observed) for lane in fleet.lanes)
    return next((verdict for verdict in verdicts if verdict), None) or Condition(
        "AgentsReady", "True", "AllReady", "every agent is ready and has joined its group"
    )


def progressing(fleet: Fleet, plan: Plan, observed: Observed, known: Mapping[str, int]) -> Condition:
    """Say whether records move: no lane has records waiting and nobody to take them."""
    for lane in fleet.lanes:
        group = observed.groups.get(lane.group)
        if isinstance(group, Unknown):
            return _unknown("Progressing", group)
        if group and (topics := lost_in(group, plan, known.get(lane.name, 0))):
            message = (
                f"group {group.name!r} had offsets of {', '.join(map(repr, topics))} that Kafka has no more; "
                f"lane {lane.name!r} begins at startFrom: {lane.delivery.start_from}"
            )
            return Condition("Progressing", "False", "OffsetsLost", message)
        if group and (topics := _aging(group, lane, observed)):
            message = (
                f"records of {', '.join(map(repr, topics))} that lane {lane.name!r} has still to settle have "
                "used half of their retention; raise retention.ms, or see why they wait"
            )
            return Condition("Progressing", "False", "RetentionRisk", message)
        if group and lag_of(group, lane) and not group.has_members:
            reason = "Suspended" if fleet.is_suspended else "RollingOut"
            message = f"records wait in lane {lane.name!r}, and group {lane.group!r} has no member"
            return Condition("Progressing", "False", reason, message)
    return Condition("Progressing", "True", "AllReady", "no record waits without an agent to take it")


def _aging(group: GroupState, lane: Lane, observed: Observed) -> list[str]:
    """Return the topics whose oldest unsettled record has used half of the retention."""
    young_from = observed.young_from
    return sorted(
        {
            each.topic
            for each in group.partitions
            if position_of(each, lane) < min(each.end, young_from.get((each.topic, each.partition), 0))
        }
    )


def _lane_ready(fleet: Fleet, lane: Lane, outcome: Outcome, observed: Observed) -> Condition | None:
    """Return what keeps a lane from being ready, None if nothing does."""
    name = names.object_name(fleet.owner, lane.name)
    workload = workload_of(fleet, lane, outcome, observed)
    if workload is None:
        return _not_ready("RollingOut", f"Deployment {name!r} is being created")
    if workload.crashing:
        pods = ", ".join(workload.crashing)
        cause = f": {workload.trouble}" if workload.trouble else ""
        message = f"agents end again and again: {pods}{cause}; see kubectl logs --previous"
        return _not_ready("CrashLooping", message)
    if not workload.is_rolled_out:
        trouble = f": {workload.trouble}" if workload.trouble else ""
        counts = f"{min(workload.ready, workload.updated)} of {workload.wished} agents"
        return _not_ready("RollingOut", f"{counts} of lane {lane.name!r} are new and ready{trouble}")
    group = observed.groups.get(lane.group)
    if workload.wished and not (isinstance(group, GroupState) and group.is_assigned):
        return _not_ready("RollingOut", f"group {lane.group!r} has partitions without a member")
    return None


def _not_ready(reason: str, message: str) -> Condition:
    return Condition("AgentsReady", "False", reason, message[:MAX_MESSAGE])


def _refused(condition: str, plan: Plan) -> Condition | None:
    refusals = [refusal for refusal in plan.refusals if refusal.condition == condition]
    if not refusals:
        return None
    message = "; ".join(refusal.message for refusal in refusals)
    return Condition(condition, "False", refusals[0].reason, message[:MAX_MESSAGE])


def _is_of_topic(failure: Failure) -> bool:
    return failure.subject.startswith("topic ")


def _failed(condition: str, failures: Iterable[Failure]) -> Condition | None:
    listed = sorted(failures, key=lambda failure: (failure.subject, failure.reason))
    if not listed:
        return None
    message = "; ".join(f"{failure.subject}: {failure.message}" for failure in listed)
    return Condition(condition, "False", listed[0].reason, message[:MAX_MESSAGE])


def _unknown(condition: str, unknown: Unknown) -> Condition:
    return Condition(condition, "Unknown", unknown.reason, unknown.message[:MAX_MESSAGE])
