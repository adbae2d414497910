"""Questions to brokers and removals of members, by the operator's own connections."""

from __future__ import annotations

import asyncio
import gc
from typing import TYPE_CHECKING, Any, TypeVar

from kafleet_operator.effects.groups import Groups
from kafleet_operator.effects.nodes import Nodes
from kafleet_operator.planning.connections import Connection

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

Found = TypeVar("Found")


def asked(servers: str, question: Callable[[Nodes], Coroutine[Any, Any, Found]]) -> Found:
    """Ask brokers by connections of its own."""

    async def ask() -> Found:
        return await question(Nodes(Connection(servers), {}))

    try:
        return asyncio.run(ask())
    finally:
        gc.collect()  # closes them, here and now: later it might be in the thread that they live in


def remove(servers: str, group: str, member: str) -> None:
    """Take a member out of its group, as the operator does; nothing happens if it is gone already."""
    asked(servers, lambda nodes: Groups(nodes, 5).remove(group, member))
