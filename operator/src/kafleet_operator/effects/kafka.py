"""The Kafka clusters that fleets use, each connected to once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

from kafleet_operator.effects.brokers import Brokers
from kafleet_operator.effects.groups import Groups
from kafleet_operator.effects.topics import Topics

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True)
class Kafka:
    """One Kafka cluster. Not slotted: it is referenced weakly."""

    topics: Topics
    groups: Groups


def connector() -> Callable[[str], Kafka]:
    """Return a function from bootstrap servers to their cluster; equal addresses share one connection.

    The connection ends with the last fleet that holds it. A useless address is a cluster that never answers.
    """
    known: WeakValueDictionary[str, Kafka] = WeakValueDictionary()

    def connect(bootstrap_servers: str) -> Kafka:
        kafka = known.get(bootstrap_servers)
        if kafka is None:
            brokers = Brokers(bootstrap_servers)
            kafka = known[bootstrap_servers] = Kafka(Topics(brokers), Groups(brokers))
        return kafka

    return connect
