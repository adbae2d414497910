"""An AgentGroup as a fleet: workers take tasks and write results."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kafleet_operator.api.agentgroups import AgentGroupSpec
    from kafleet_operator.planning.fleets import Fleet, Owner


def fleet_for(owner: Owner, spec: AgentGroupSpec, *, bootstrap_servers: str, adopts_topics: bool) -> Fleet:
    """Return the fleet of an AgentGroup; `bootstrap_servers` is the chart's, which the spec may override."""
    raise NotImplementedError
