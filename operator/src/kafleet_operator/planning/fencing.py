"""Which open transactions nobody will end any more: those of pods that are gone for good.

Readers of what is committed would wait for them until brokers end them, 25 seconds later at most. A pod whose
container restarts ends its own, and one that is merely unreachable may be at work: both are left alone.
"""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING

from kafleet_operator.planning.observations import Unknown
from kafleet_operator.planning.plans import Plan

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from kafleet_operator.planning.fleets import Fleet, Json
    from kafleet_operator.planning.observations import Observed, OpenTransaction

# Of a pod in one of these phases every container has ended, and none will start again.
_ENDED = frozenset({"Failed", "Succeeded"})


def exact_groups(fleet: Fleet) -> list[str]:
    """Return the groups of a fleet whose agents make transactions."""
    return [lane.group for lane in fleet.lanes if lane.delivery.guarantee == "ExactlyOnce"]


def unseen_pods(
    transactions: Mapping[str, tuple[OpenTransaction, ...] | Unknown], pods: Iterable[Json]
) -> frozenset[str]:
    """Return the pods that have a transaction open and were not seen: they are gone, or new, or not ours."""
    return frozenset(each.pod for each in _known(transactions)) - {pod["metadata"]["name"] for pod in pods}


def plan_fencing(observed: Observed) -> Plan:
    """Plan the end of every open transaction whose pod has ended, or is known not to exist."""
    ended = {pod["metadata"]["name"] for pod in observed.pods if pod.get("status", {}).get("phase") in _ENDED}
    gone = ended | observed.absent_pods
    left = tuple(each for each in _known(observed.transactions) if each.pod in gone)
    notes = tuple(f"end the transaction {each.id!r}: its pod is gone" for each in left)
    return Plan(end_transactions=left, notes=notes)


def _known(
    transactions: Mapping[str, tuple[OpenTransaction, ...] | Unknown],
) -> Iterable[OpenTransaction]:
    return chain.from_iterable(each for each in transactions.values() if not isinstance(each, Unknown))
