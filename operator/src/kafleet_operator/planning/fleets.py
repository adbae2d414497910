"""The values every pattern is turned into: a fleet is the topics that must exist and the lanes that must run.

Nothing after `fleet_for` may ask which kind a fleet came from.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kafleet_operator.planning.connections import Connection

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Owner:
    """The custom resource a fleet belongs to."""

    api_version: str
    kind: str
    namespace: str
    name: str
    uid: str
    generation: int = 0

    @property
    def key(self) -> tuple[str, str, str]:
        """What tells resources apart while they live: kind, namespace, name."""
        return (self.kind, self.namespace, self.name)

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic that must exist.

    `partitions` is None where somebody else decides (`managed` is False); `replication_factor` -1 means the
    broker's default. `is_named` says that the user named it: such a topic is never adopted silently.
    """

    role: str
    name: str
    partitions: int | None
    replication_factor: int = -1
    config: Mapping[str, str] = field(default_factory=dict)
    managed: bool = True
    may_grow: bool = False
    is_named: bool = False


@dataclass(frozen=True, slots=True)
class Agent:
    """What runs in a lane's pods.

    `image` None means the chart's agent image; `pod_template` is laid over the template made of the rest.
    """

    handler: str
    image: str | None = None
    code_config_map: str | None = None
    config: Json = field(default_factory=dict)
    env: tuple[Json, ...] = ()
    env_from: tuple[Json, ...] = ()
    resources: Json = field(default_factory=dict)
    pod_template: Json = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Delivery:
    """How a lane treats each record. Durations in seconds."""

    guarantee: Literal["AtLeastOnce", "ExactlyOnce"] = "AtLeastOnce"
    ordering: Literal["Key", "None"] = "Key"
    concurrency: int = 64
    task_timeout_seconds: float = 60.0
    max_attempts: int = 5
    backoff_initial_seconds: float = 1.0
    backoff_max_seconds: float = 60.0
    drain_timeout_seconds: float = 30.0
    hop_limit: int = 32
    start_from: Literal["earliest", "latest"] = "earliest"


@dataclass(frozen=True, slots=True)
class Lane:
    """One consumer group doing one job. Topics are named by their role in the fleet.

    `path` is the place in the spec that asks for it, for messages; `sends` maps the lanes that `ctx.send` may
    address to the role of their inbox.
    """

    name: str
    group: str
    inputs: tuple[str, ...]
    output: str
    dead_letters: str
    replicas: int
    agent: Agent
    delivery: Delivery
    path: str
    sends: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Fleet:
    """Everything one resource asks for. `scale_lane` is the lane behind the scale subresource, if any."""

    owner: Owner
    topics: tuple[Topic, ...]
    lanes: tuple[Lane, ...]
    inbox: str
    outbox: str
    connection: Connection
    is_suspended: bool = False
    deletes_topics: bool = False
    adopts_topics: bool = False
    scale_lane: str | None = None

    def topic(self, role: str) -> Topic:
        """Return the topic of that role; KeyError if the fleet has none."""
        for topic in self.topics:
            if topic.role == role:
                return topic
        raise KeyError(role)
