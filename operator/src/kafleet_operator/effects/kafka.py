"""The Kafka clusters that fleets use, each connected to once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

from kafleet_operator.effects.brokers import Brokers
from kafleet_operator.effects.groups import Groups
from kafleet_operator.effects.nodes import Nodes
from kafleet_operator.effects.topics import Topics

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from kafleet_operator.planning.connections import Connection


@dataclass(frozen=True)
class Kafka:
    """One Kafka cluster. Not slotted: it is referenced weakly."""

    topics: Topics
    groups: Groups


def connector(observe_seconds: float) -> Callable[[Connection], Awaitable[Kafka]]:
    """Return a function from connections to their cluster; equal ones share its clients and what they read.

    The clients end with the last fleet that holds them. A useless address is a cluster that never answers.
    """
    known: WeakValueDictionary[Connection, Kafka] = WeakValueDictionary()

    async def connect(connection: Connection) -> Kafka:
        kafka = known.get(connection)
        if kafka is None:
            nodes = Nodes(connection.bootstrap_servers, {})
            topics = Topics(Brokers(connection), observe_seconds)
            kafka = known[connection] = Kafka(topics, Groups(nodes, observe_seconds))
        return kafka

    return connect
