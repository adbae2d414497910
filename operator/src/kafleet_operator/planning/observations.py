"""What was seen of the world before planning. A failed read is `Unknown`: never absent, never zero."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from kafleet_operator.planning import names

if TYPE_CHECKING:
    from kafleet_operator.planning.draining import Leftover
    from kafleet_operator.planning.fleets import Json

# A ConfigMap or Secret as a hash a key, different for each content. A Secret's hashes tell nothing about it.
Content = Mapping[str, str]

DEFAULT_MAX_MESSAGE_BYTES = 1_048_588  # a broker's, unless it is told otherwise


@dataclass(frozen=True, slots=True)
class Unknown:
    """A read that failed; `reason` is a condition reason (`KafkaUnreachable`, `NotAuthorized`, …)."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class TopicState:
    """An existing topic.

    `overrides` are only the topic's own dynamic overrides, not inherited values; the last three are values in
    force, inherited or not. `retention_ms` -1 means for ever.
    """

    name: str
    id: str
    partitions: int
    replication_factor: int
    overrides: Mapping[str, str] = field(default_factory=dict)
    max_message_bytes: int = DEFAULT_MAX_MESSAGE_BYTES
    cleanup_policy: str = "delete"
    retention_ms: int = -1


@dataclass(frozen=True, slots=True)
class PartitionState:
    """Offsets of one partition of a group's input. `committed` is None where the group never committed.

    `settled` counts the records above it that the group has settled out of order.
    """

    topic: str
    partition: int
    start: int
    end: int
    committed: int | None
    settled: int = 0


@dataclass(frozen=True, slots=True)
class GroupState:
    """A consumer group; `state` is Kafka's name for it (Stable, Empty, Dead, Assigning, Reconciling)."""

    name: str
    state: str
    partitions: tuple[PartitionState, ...] = ()

    @property
    def has_members(self) -> bool:
        """Tell whether anybody is in it."""
        return self.state not in {"Empty", "Dead"}

    @property
    def is_assigned(self) -> bool:
        """Tell whether its members have taken every partition of the topics that they consume."""
        return self.state == "Stable"


class OpenTransaction(NamedTuple):
    """A transaction that is neither committed nor aborted; `coordinator` is the node that can end it."""

    group: str
    pod: str
    coordinator: int

    @property
    def id(self) -> str:
        """The transactional id, as agents make it."""
        return f"{self.group}/{self.pod}"


@dataclass(frozen=True, slots=True)
class Observed:
    """One look at everything a fleet touches.

    * `topics`: by topic name; None means seen to be absent.
    * `groups`: by group name; a group that does not exist has the state Dead.
    * `dead_letters`: records lying in each dead-letter topic, by topic name.
    * `objects`: owned Kubernetes objects as last seen, by (kind, name), status included.
    * `foreign`: names that objects of other owners hold, with who holds them, by (kind, name).
    * `leftovers`: lanes that the status tells of and the fleet has no more.
    * `references`: content of each ConfigMap and Secret that is referred to, by (kind, name); None means it
      does not exist.
    * `young_from`: by (topic, partition), the first offset whose record has not used half of the topic's
      retention; only of partitions that have a record waiting, and where that could be told.
    * `transactions`: open ones, by group, of lanes that deliver exactly once.
    * `absent_pods`: those that have a transaction open and that the API server, just asked, does not have.
    * `claims`: topics that other living resources claim, with the owner in words, by topic name.
    """

    topics: Mapping[str, TopicState | None] | Unknown
    groups: Mapping[str, GroupState | Unknown] = field(default_factory=dict)
    dead_letters: Mapping[str, int | Unknown] = field(default_factory=dict)
    objects: Mapping[tuple[str, str], Json] = field(default_factory=dict)
    pods: tuple[Json, ...] = ()
    foreign: Mapping[tuple[str, str], str] = field(default_factory=dict)
    leftovers: tuple[Leftover, ...] = ()
    references: Mapping[tuple[str, str], Content | Unknown | None] = field(default_factory=dict)
    transactions: Mapping[str, tuple[OpenTransaction, ...] | Unknown] = field(default_factory=dict)
    absent_pods: frozenset[str] = frozenset()
    claims: Mapping[str, str] = field(default_factory=dict)
    young_from: Mapping[tuple[str, int], int] = field(default_factory=dict)

    def pods_of(self, lane: str) -> list[Json]:
        """Return the pods of a lane."""
        return [pod for pod in self.pods if pod["metadata"]["labels"].get(names.LANE) == lane]
