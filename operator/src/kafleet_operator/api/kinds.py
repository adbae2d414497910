"""Every kind of the API: a new one is added here, and its `fleet_for` in `planning/patterns.py`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kafleet_operator.api.agentgroups import parse_agent_group

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pydantic import BaseModel

GROUP = "kafleet.dev"
VERSION = "v1alpha1"


@dataclass(frozen=True, slots=True)
class Kind:
    """What the outside needs to know of a kind: its names, and how to read one (raises InvalidSpec)."""

    name: str
    plural: str
    short_name: str
    parse: Callable[[Mapping[str, Any]], BaseModel]


KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (Kind(name="AgentGroup", plural="agentgroups", short_name="ag", parse=parse_agent_group),)
}
