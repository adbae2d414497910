"""What a lane's Deployment, pods and group say about it, read out of what was observed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kafleet_operator.planning import names
from kafleet_operator.planning.troubles import crashing, trouble_of

if TYPE_CHECKING:
    from kafleet_operator.planning.fleets import Fleet, Lane
    from kafleet_operator.planning.observations import GroupState, Observed, PartitionState
    from kafleet_operator.planning.plans import Outcome


@dataclass(frozen=True, slots=True)
class Workload:
    """The agents of a lane as Kubernetes sees them.

    `existing` pods may be more than `wished` ones while a rollout is under way, and `updated` ones are those
    of the newest kind. `crashing` names pods in a crash loop; `trouble` says in words what keeps agents from
    running, if anything is known.
    """

    wished: int
    existing: int
    ready: int
    updated: int
    is_rolled_out: bool
    crashing: tuple[str, ...] = ()
    trouble: str = ""


def workload_of(fleet: Fleet, lane: Lane, outcome: Outcome, observed: Observed) -> Workload | None:
    """Return how a lane's agents are, None while it has no Deployment."""
    key = ("Deployment", names.object_name(fleet.owner, lane.name))
    deployment = outcome.applied.get(key) or observed.objects.get(key)
    if deployment is None:
        return None
    wished = deployment["spec"].get("replicas", 1)
    status = deployment.get("status") or {}
    existing, ready, updated = (
        status.get(count, 0) for count in ("replicas", "readyReplicas", "updatedReplicas")
    )
    is_seen = status.get("observedGeneration", 0) >= deployment["metadata"].get("generation", 1)
    pods = observed.pods_of(lane.name)
    return Workload(
        wished=wished,
        existing=existing,
        ready=ready,
        updated=updated,
        # Of no agents there is nothing to wait for.
        is_rolled_out=existing == ready == updated == wished and (is_seen or wished == 0),
        crashing=crashing(pods),
        trouble=trouble_of(status, pods),
    )


def lag_of(group: GroupState, lane: Lane) -> int:
    """Return how many records wait in a lane's input: what is settled out of order does not."""
    return sum(
        max(0, partition.end - position_of(partition, lane) - _settled(partition))
        for partition in group.partitions
    )


def position_of(partition: PartitionState, lane: Lane) -> int:
    """Return the offset of the oldest record that a lane has still to settle, should there be one."""
    if partition.committed is not None:
        return max(partition.committed, partition.start)
    return partition.end if lane.delivery.start_from == "latest" else partition.start


def _settled(partition: PartitionState) -> int:
    # Where retention has overtaken the commit, what was settled above it may be gone as well.
    is_overtaken = partition.committed is None or partition.committed < partition.start
    return 0 if is_overtaken else partition.settled
