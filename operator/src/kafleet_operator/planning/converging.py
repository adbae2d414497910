"""The plan that brings the world closer to a fleet."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kafleet_operator.planning.fleets import Fleet
    from kafleet_operator.planning.observations import Observed
    from kafleet_operator.planning.plans import Claim, Plan


def plan_fleet(
    fleet: Fleet, observed: Observed, claims: tuple[Claim, ...], *, agent_image: str, image_pull_policy: str
) -> Plan:
    """Return the next steps towards a fleet; an empty plan (`plan.is_empty`) once the world is as wished."""
    raise NotImplementedError
