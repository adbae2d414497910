"""The plan that clears up behind a resource that is going."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kafleet_operator.planning.fleets import Fleet
    from kafleet_operator.planning.observations import Observed
    from kafleet_operator.planning.plans import Claim, Plan


def needs_finalizer(fleet: Fleet) -> bool:
    """Tell whether something outside Kubernetes must be cleared up before the resource may go."""
    raise NotImplementedError


def plan_deletion(observed: Observed, claims: tuple[Claim, ...], *, deletes_topics: bool) -> Plan:
    """Return the next steps of a deletion; `release` once nothing is left.

    `observed.groups` must hold exactly the groups of the resource (`groups_in` its status), `observed.topics`
    the topics it claims.
    """
    raise NotImplementedError
