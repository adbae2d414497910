"""A plan is what to do next and why; an outcome is what came of it. Neither knows how it is carried out."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from itertools import chain
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from kafleet_operator.planning.fleets import Json
    from kafleet_operator.planning.observations import OpenTransaction


@dataclass(frozen=True, slots=True)
class Refusal:
    """A wish that is not granted, or not yet: the condition it falsifies, why, and the way out."""

    condition: str
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class CreateTopic:
    name: str
    partitions: int
    replication_factor: int
    config: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class GrowTopic:
    name: str
    partitions: int


@dataclass(frozen=True, slots=True)
class ConfigureTopic:
    """Set overrides, and reset those in `reset` to the broker's default."""

    name: str
    set: Mapping[str, str]
    reset: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ResetOffsets:
    """Let a group without members begin at the start of a topic, whatever it has committed."""

    group: str
    topic: str
    partitions: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Claim:
    """A topic name this resource holds, as recorded in `status.topics` before the topic is created.

    `id` is empty until the topic was seen to exist; `is_created` tells a topic that we made from one that was
    adopted. A topic that is not `managed` is somebody else's: remembered here, but nobody is kept from it.
    `replaces` is the id of the topic of this name before it, until nothing is left of that one.
    """

    role: str
    name: str
    id: str = ""
    partitions: int | None = None
    is_created: bool = False
    managed: bool = True
    replaces: str = ""


@dataclass(frozen=True, slots=True)
class Dependent:
    """An object to be applied if every step that it needs has worked; `needs` are a `Failure`'s subjects."""

    manifest: Json
    needs: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Plan:
    """Steps of one reconcile, in the order of the fields; `notes` say why, for logs and golden tests."""

    claims: tuple[Claim, ...] = ()
    end_transactions: tuple[OpenTransaction, ...] = ()
    create_topics: tuple[CreateTopic, ...] = ()
    grow_topics: tuple[GrowTopic, ...] = ()
    configure_topics: tuple[ConfigureTopic, ...] = ()
    reset_offsets: tuple[ResetOffsets, ...] = ()
    apply_objects: tuple[Json, ...] = ()
    apply_dependents: tuple[Dependent, ...] = ()
    delete_objects: tuple[tuple[str, str], ...] = ()
    delete_groups: tuple[str, ...] = ()
    delete_topics: tuple[tuple[str, str], ...] = ()  # (name, id): deleted only while the id is still that
    release: bool = False  # nothing is left to clean up: drop the finalizer
    refusals: tuple[Refusal, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Nothing to do: no step is left; claims, refusals and notes are no steps."""
        return not (
            self.end_transactions
            or self.create_topics
            or self.grow_topics
            or self.configure_topics
            or self.reset_offsets
            or self.apply_objects
            or self.apply_dependents
            or self.delete_objects
            or self.delete_groups
            or self.delete_topics
            or self.release
        )


@dataclass(frozen=True, slots=True)
class Failure:
    """One step that failed; `subject` is like `topic 'x'` or `Deployment 'x'`."""

    subject: str
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a plan: failures side by side with what worked."""

    created_topics: Mapping[str, str] = field(default_factory=dict)  # name → topic id
    applied: Mapping[tuple[str, str], Json] = field(default_factory=dict)  # as the API server returned them
    failures: tuple[Failure, ...] = ()
    held: tuple[str, ...] = ()  # what was not applied, in words, because a step that it needs failed


def subject_of(manifest: Json) -> str:
    """Return how failures name an object."""
    return f"{manifest['kind']} {manifest['metadata']['name']!r}"


def held_back(dependent: Dependent, failures: Iterable[Failure]) -> str | None:
    """Say why an object is not applied now, None if all that it needs has worked."""
    missing = sorted(dependent.needs & {failure.subject for failure in failures})
    return f"{subject_of(dependent.manifest)} waits for {', '.join(missing)}" if missing else None


def refusal(condition: str, reason: str, message: str) -> Plan:
    """Return a plan that only refuses, and says so."""
    return Plan(refusals=(Refusal(condition, reason, message),), notes=(f"refuse: {message}",))


_SEQUENCES = [each.name for each in fields(Plan) if each.name != "release"]


def join(plans: Iterable[Plan]) -> Plan:
    """Return one plan with the steps of all, each sort in the order given."""
    parts = tuple(plans)
    steps = {name: tuple(chain.from_iterable(getattr(part, name) for part in parts)) for name in _SEQUENCES}
    return Plan(**steps, release=any(part.release for part in parts))
