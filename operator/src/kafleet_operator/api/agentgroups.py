"""The AgentGroup resource: workers that share one task topic as a consumer group."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

if TYPE_CHECKING:
    from collections.abc import Mapping


class AgentGroupSpec(BaseModel):
    """What a user asks for; every default is filled in."""


def parse_agent_group(body: Mapping[str, Any]) -> AgentGroupSpec:
    """Read the spec of a whole resource; InvalidSpec names the field and the way out."""
    raise NotImplementedError
