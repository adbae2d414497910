"""What to do where a topic was deleted outside and made again: nobody goes on at offsets of the old one.

Kafka keeps offsets by name. An agent that still works on records of the old topic commits their offsets under
the name that by then is the new one's, and whoever begins there skips as many new records. So agents of the
lane end first, then its group is set to the start of the new topic, then agents start again.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from kafleet_operator.planning.observations import GroupState
from kafleet_operator.planning.plans import Plan, Refusal, ResetOffsets, join, refusal

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kafleet_operator.planning.fleets import Fleet, Lane
    from kafleet_operator.planning.observations import Observed
    from kafleet_operator.planning.plans import Claim


def plan_replacements(fleet: Fleet, observed: Observed, topics: Plan, known: Iterable[Claim]) -> Plan:
    """Return the plan for topics with what those need that replace others; `known` are the claims so far.

    A claim says that it `replaces` another until that was told in a status, and nothing is left to do.
    """
    told = {(claim.name, claim.id) for claim in known if claim.replaces and claim.id}
    claims, plans = [], []
    for claim in topics.claims:
        if not claim.replaces or not _is_there(claim):
            claims.append(claim)
            continue
        steps = _plan_groups(fleet, observed, claim)
        is_over = steps == Plan() and (claim.name, claim.id) in told
        claims.append(replace(claim, replaces="") if is_over else claim)
        plans += [] if is_over else [_lost(claim), steps]
    return join((replace(topics, claims=tuple(claims)), *plans))


def begins_anew(lane: Lane, topics: Plan) -> bool:
    """Tell whether the agents of a lane must end before anybody reads the topic that replaces its input."""
    return any(_is_there(claim) and claim.role in lane.inputs for claim in topics.claims if claim.replaces)


def _is_there(claim: Claim) -> bool:
    """Tell whether a topic exists, or does so after the plan."""
    return bool(claim.id) or claim.managed


def _lost(claim: Claim) -> Plan:
    message = f"topic {claim.name!r} was deleted outside and made again: the records in it are lost"
    return refusal("TopicsReady", "TopicLost", message)


def _plan_groups(fleet: Fleet, observed: Observed, claim: Claim) -> Plan:
    return join(_plan_group(lane, observed, claim) for lane in fleet.lanes if claim.role in lane.inputs)


def _plan_group(lane: Lane, observed: Observed, claim: Claim) -> Plan:
    group = observed.groups.get(lane.group)
    if not isinstance(group, GroupState) or group.has_members or observed.pods_of(lane.name) or not claim.id:
        message = f"agents of lane {lane.name!r} end, so that none goes on where the old {claim.name!r} was"
        return Plan(refusals=(Refusal("AgentsReady", "RollingOut", message),), notes=(message,))
    # One that never committed begins at the start by itself, unless it is told to begin at the end.
    fine = {0, None} if lane.delivery.start_from == "earliest" else {0}
    stale = tuple(
        each.partition for each in group.partitions if each.topic == claim.name and each.committed not in fine
    )
    if not stale:
        return Plan()
    message = f"group {lane.group!r} is set to the start of topic {claim.name!r}"
    return Plan(
        reset_offsets=(ResetOffsets(lane.group, claim.name, stale),),
        refusals=(Refusal("AgentsReady", "RollingOut", message),),
        notes=(message,),
    )
