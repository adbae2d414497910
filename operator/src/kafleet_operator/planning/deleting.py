"""The plan that clears up behind a resource that is going.

Agents go first, then their groups, then the topics that the resource itself created: no agent ever loses a
topic under its feet. What Kubernetes owns goes with the resource, by owner references.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from kafleet_operator.planning.observations import Unknown
from kafleet_operator.planning.plans import Plan

if TYPE_CHECKING:
    from kafleet_operator.planning.fleets import Fleet
    from kafleet_operator.planning.observations import Observed
    from kafleet_operator.planning.plans import Claim


def needs_finalizer(fleet: Fleet) -> bool:
    """Tell whether something outside Kubernetes must be cleared up before the resource may go."""
    return fleet.deletes_topics


def plan_deletion(observed: Observed, claims: tuple[Claim, ...], *, deletes_topics: bool) -> Plan:
    """Return the next steps of a deletion; `release` once nothing is left.

    `observed.groups` must hold exactly the groups of the resource (`groups_in` its status), `observed.topics`
    the topics it claims.
    """
    if not deletes_topics:
        return Plan(claims=claims, release=True, notes=("release: topics and offsets are kept",))
    stages = (_plan_agents(observed), _plan_groups(observed), _plan_topics(observed, claims))
    done = Plan(claims=claims, release=True, notes=("release: nothing is left",))
    return next((replace(stage, claims=claims) for stage in stages if stage != Plan()), done)


def _plan_agents(observed: Observed) -> Plan:
    deployments = tuple(sorted(key for key in observed.objects if key[0] == "Deployment"))
    if deployments:
        return Plan(
            delete_objects=deployments, notes=tuple(f"delete {kind} {name!r}" for kind, name in deployments)
        )
    pods = sorted(pod["metadata"]["name"] for pod in observed.pods)
    return Plan(notes=(f"wait for the end of pods {', '.join(pods)}",)) if pods else Plan()


def _plan_groups(observed: Observed) -> Plan:
    leftover, notes = [], []
    for name, group in sorted(observed.groups.items()):
        if isinstance(group, Unknown):
            notes.append(_wait_for(group))
        elif group.has_members:
            notes.append(f"wait for group {name!r} to lose its last member")
        elif group.state != "Dead":
            leftover.append(name)
            notes.append(f"delete group {name!r}")
    return Plan(delete_groups=tuple(leftover), notes=tuple(notes))


def _plan_topics(observed: Observed, claims: tuple[Claim, ...]) -> Plan:
    if not any(claim.is_created for claim in claims):
        return Plan()
    if isinstance(observed.topics, Unknown):
        return Plan(notes=(_wait_for(observed.topics),))
    # A claim without an id was written just before its topic was made.
    seen = [(claim, observed.topics.get(claim.name)) for claim in claims if claim.is_created]
    ours = tuple((state.name, state.id) for claim, state in seen if state and claim.id in {"", state.id})
    return Plan(delete_topics=ours, notes=tuple(f"delete topic {name!r}" for name, _ in ours))


def _wait_for(unknown: Unknown) -> str:
    return f"wait: {unknown.message}; to leave topics and offsets behind set deletionPolicy: Retain"
