"""One look at everything a fleet touches. A failed read is `Unknown`; only a silent API server raises."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from kafleet_operator.effects.groups import Ends
from kafleet_operator.effects.views import OWNED, PODS
from kafleet_operator.errors import KafleetError
from kafleet_operator.planning.claims import claims_of_others
from kafleet_operator.planning.draining import leftovers_of
from kafleet_operator.planning.fencing import exact_groups, unseen_pods
from kafleet_operator.planning.observations import GroupState, Observed, OpenTransaction, TopicState, Unknown
from kafleet_operator.planning.recoveries import seconds_since
from kafleet_operator.planning.references import references_of
from kafleet_operator.planning.workloads import position_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kafleet_operator.effects.coordinators import Partition
    from kafleet_operator.effects.kafka import Kafka
    from kafleet_operator.effects.objects import Objects
    from kafleet_operator.effects.references import References
    from kafleet_operator.effects.views import View
    from kafleet_operator.planning.fleets import Fleet, Json, Owner
    from kafleet_operator.planning.references import Seen

TopicStates = dict[str, TopicState | None]
GroupStates = dict[str, GroupState | Unknown]
TransactionStates = dict[str, tuple[OpenTransaction, ...] | Unknown]
Inputs = dict[str, list[str]]  # topics by the group that consumes them


class Observer:
    """The eyes of one resource."""

    def __init__(
        self,
        owner: Owner,
        *,
        objects: Objects,
        references: References,
        view: View,
    ) -> None:
        self._owner = owner
        self._objects = objects
        self._references = references
        self._view = view
        self._are_topics_old = False

    async def observe_fleet(self, body: Json, fleet: Fleet, kafka: Kafka, *, anew: bool) -> Observed:
        """Look at what a fleet needs and has; `anew`: what was read for others will not do."""
        leftovers = leftovers_of(fleet, body.get("status", {}), self._objects.owned(), _seconds_since)
        names = {topic.name for topic in fleet.topics}.union(*(each.topics for each in leftovers))
        inputs = {lane.group: [fleet.topic(role).name for role in lane.inputs] for lane in fleet.lanes}
        inputs |= {each.group: list(each.topics) for each in leftovers}
        dead_letters = {fleet.topic(lane.dead_letters).name for lane in fleet.lanes}
        wanted = [(type_.kind, f"{fleet.owner.name}-{lane.name}") for lane in fleet.lanes for type_ in OWNED]
        (topics, groups, ends), transactions, foreign, references = await asyncio.gather(
            self._read_kafka(kafka, names, inputs, dead_letters, anew=anew),
            _read_transactions(kafka, fleet, anew=anew),
            self._objects.foreign(wanted),
            self.observe_references(fleet),
        )
        return self._observed(
            topics,
            groups=groups,
            dead_letters=_records_in(dead_letters, topics, ends),
            foreign=foreign,
            leftovers=leftovers,
            references=references,
            claims=self.claims_of_others(body, fleet),
            young_from=await _read_ages(kafka, fleet, topics, groups),
            transactions=transactions,
            absent_pods=await self._objects.absent("Pod", unseen_pods(transactions, self._pods())),
        )

    async def observe_references(self, fleet: Fleet) -> Seen:
        """Look at the ConfigMaps and Secrets that a fleet refers to; nothing is read twice for it."""
        return await self._references.observe(self._owner.key, _referenced(fleet))

    async def observe_remains(
        self, kafka: Kafka, *, topics: Iterable[str], groups: Iterable[str]
    ) -> Observed:
        """Look at what a resource that is going would leave behind."""
        self.forget_topics()
        inputs: dict[str, list[str]] = {group: [] for group in groups}
        states, seen, _ = await self._read_kafka(kafka, set(topics), inputs, set(), anew=True)
        return self._observed(states, groups=seen)

    def claims_of_others(self, body: Json, fleet: Fleet) -> dict[str, str]:
        """Return who else holds which topic of a fleet now."""
        return claims_of_others(body, self._view.claimants(topic.name for topic in fleet.topics))

    def forget_topics(self) -> None:
        """Read topics anew next time: they were changed."""
        self._are_topics_old = True

    def _observed(self, topics: TopicStates | Unknown, **seen: Any) -> Observed:  # noqa: ANN401 - Observed's fields
        return Observed(
            topics=topics,
            objects=self._objects.owned(),
            pods=self._pods(),
            **seen,
        )

    def _pods(self) -> tuple[Json, ...]:
        return tuple(self._view.members(self._owner.key, [PODS]))

    async def _read_topics(self, kafka: Kafka, names: set[str]) -> TopicStates | Unknown:
        try:
            topics = await kafka.topics.observe(names, anew=self._are_topics_old)
        except KafleetError as error:
            return Unknown(error.reason, str(error))
        self._are_topics_old = False
        return topics

    async def _read_kafka(
        self, kafka: Kafka, names: set[str], inputs: Inputs, counted: set[str], *, anew: bool
    ) -> tuple[TopicStates | Unknown, GroupStates, Ends]:
        """Return topics, the groups that consume `inputs`, and where those and `counted` topics end."""
        topics = await self._read_topics(kafka, names)
        groups, ends = await _read_groups(kafka, topics, inputs, counted, anew=anew)
        if ends.lacks_topic:
            # A topic vanished since topics were read last: look again, instead of calling it unknown.
            self.forget_topics()
            topics = await self._read_topics(kafka, names)
            groups, ends = await _read_groups(kafka, topics, inputs, counted, anew=True)
        return topics, groups, ends


def _seconds_since(at: str) -> float:
    return seconds_since(at, datetime.now(UTC))


def _referenced(fleet: Fleet) -> set[tuple[str, str]]:
    return {(reference.kind, reference.name) for reference in references_of(fleet)}


async def _read_groups(
    kafka: Kafka, topics: TopicStates | Unknown, inputs: Inputs, counted: set[str], *, anew: bool
) -> tuple[GroupStates, Ends]:
    if isinstance(topics, Unknown):
        return dict.fromkeys(inputs, topics), Ends({})
    consumed = {
        group: [partition for name in names for partition in _partitions(topics[name])]
        for group, names in inputs.items()
    }
    others = [partition for name in counted for partition in _partitions(topics[name])]
    # Of the rest one partition each, which tells whether the topic is still there.
    others += [partition for topic in topics.values() for partition in _partitions(topic)[:1]]
    return await kafka.groups.observe(consumed, others, anew=anew)


async def _read_transactions(kafka: Kafka, fleet: Fleet, *, anew: bool) -> TransactionStates:
    groups = exact_groups(fleet)
    return await kafka.transactions.observe(groups, anew=anew) if groups else {}


async def _read_ages(
    kafka: Kafka, fleet: Fleet, topics: TopicStates | Unknown, groups: GroupStates
) -> dict[Partition, int]:
    """Return where the records begin that have not used half of their retention, if older ones may wait."""
    if isinstance(topics, Unknown):
        return {}
    ends, ages = {}, {}
    for lane in fleet.lanes:
        group = groups[lane.group]
        for each in group.partitions if isinstance(group, GroupState) else ():
            topic, partition = topics[each.topic], (each.topic, each.partition)
            if topic and topic.retention_ms > 0 and each.end > position_of(each, lane):
                ends[partition], ages[partition] = each.end, topic.retention_ms // 2
    found = await kafka.groups.young_from(ages) if ages else {}
    return {partition: ends[partition] if offset < 0 else offset for partition, offset in found.items()}


def _records_in(names: set[str], topics: TopicStates | Unknown, ends: Ends) -> dict[str, int | Unknown]:
    if isinstance(topics, Unknown):
        return {}
    return {name: ends.records_in(_partitions(topics[name])) for name in names}


def _partitions(topic: TopicState | None) -> list[Partition]:
    return [(topic.name, number) for number in range(topic.partitions)] if topic else []
