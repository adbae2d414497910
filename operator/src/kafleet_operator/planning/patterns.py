"""Which function turns which kind into a fleet: the only place after parsing that knows kinds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kafleet_operator.planning import agentgroups

if TYPE_CHECKING:
    from collections.abc import Callable

    from kafleet_operator.planning.fleets import Fleet, Owner

PATTERNS: dict[str, Callable[..., Fleet]] = {"AgentGroup": agentgroups.fleet_for}


def fleet_for(owner: Owner, spec: Any, *, bootstrap_servers: str, adopts_topics: bool) -> Fleet:  # noqa: ANN401 - each kind has its own spec
    """Return the fleet that a resource asks for; `spec` is what `KINDS[owner.kind].parse` returned."""
    return PATTERNS[owner.kind](owner, spec, bootstrap_servers=bootstrap_servers, adopts_topics=adopts_topics)
