"""Every kind of the API: a new one is added here, and its `fleet_for` in `planning/patterns.py`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kafleet_operator.api.agentgroups import AgentGroupSpec, parse_agent_group

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pydantic import BaseModel

GROUP = "kafleet.dev"
VERSION = "v1alpha1"


@dataclass(frozen=True, slots=True)
class Kind:
    """What the outside needs to know of a kind; `parse` reads a whole resource, or raises InvalidSpec.

    `replicas_path` is the field that `kubectl scale` changes, None where there is no such field.
    """

    name: str
    plural: str
    short_name: str
    description: str
    spec: type[BaseModel]
    parse: Callable[[Mapping[str, Any]], BaseModel]
    replicas_path: str | None = None


KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind(
            name="AgentGroup",
            plural="agentgroups",
            short_name="ag",
            description="Workers that share the tasks of one topic as a consumer group: records of one key "
            "go to one worker, in order, and answers go to a topic of results.",
            spec=AgentGroupSpec,
            parse=parse_agent_group,
            replicas_path=".spec.workers.replicas",
        ),
    )
}
