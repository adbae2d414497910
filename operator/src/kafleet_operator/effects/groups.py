"""Consumer groups: who is in them, how far they are, and what lies in topics."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from confluent_kafka import TopicPartition
from confluent_kafka.admin import OffsetSpec

from kafleet_operator.errors import KafleetError, NotFound
from kafleet_operator.planning.observations import GroupState, PartitionState, Unknown

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from kafleet_operator.effects.brokers import Brokers

Partition = tuple[str, int]  # topic, number

# Kafka's names where they are not simply the client's without underscores.
STATES: Final = {
    "PREPARING_REBALANCING": "PreparingRebalance",
    "COMPLETING_REBALANCING": "CompletingRebalance",
}


@dataclass(frozen=True, slots=True)
class Ends:
    """The first and the next offset of each partition that could be read, and why others could not."""

    offsets: Mapping[Partition, tuple[int, int]]
    errors: Mapping[Partition, KafleetError]

    def records_in(self, partitions: list[Partition]) -> int | Unknown:
        """Return how many records lie in partitions, as far as offsets tell."""
        error = self.error_in(partitions)
        if error:
            return Unknown(error.reason, str(error))
        return sum(self.offsets[partition][1] - self.offsets[partition][0] for partition in partitions)

    def error_in(self, partitions: Iterable[Partition]) -> KafleetError | None:
        return next((self.errors[partition] for partition in partitions if partition in self.errors), None)


class Groups:
    """The consumer groups of one Kafka cluster.

    Each group has a coordinator and each partition a leader: one that is silent is no news of the others.
    """

    def __init__(self, brokers: Brokers) -> None:
        self._brokers = brokers

    async def observe(
        self, inputs: Mapping[str, Iterable[Partition]], ends: Ends
    ) -> dict[str, GroupState | Unknown]:
        """Return each group, or why it is unknown; `inputs` names the partitions it should consume."""
        if not inputs:
            return {}
        wanted = {group: sorted(partitions) for group, partitions in inputs.items()}
        answers = await self._brokers.ask("observe", wanted)
        return {group: _state(group, answers[group], wanted[group], ends) for group in wanted}

    async def ends(self, partitions: Iterable[Partition]) -> Ends:
        """Return where partitions begin and end; raises if nothing could be read."""
        wanted = [TopicPartition(topic, number) for topic, number in sorted(set(partitions))]
        if not wanted:
            return Ends({}, {})
        first, last = await asyncio.gather(
            self._offsets(wanted, OffsetSpec.earliest()), self._offsets(wanted, OffsetSpec.latest())
        )
        errors = {
            partition: result
            for side in (first, last)
            for partition, result in side.items()
            if isinstance(result, KafleetError)
        }
        return Ends(
            {
                partition: (first[partition], last[partition])
                for partition in first
                if partition not in errors
            },
            errors,
        )

    async def delete(self, names: Iterable[str]) -> dict[str, KafleetError]:
        """Delete groups; return what went wrong, by group. A group that is not there is deleted."""
        results = await self._brokers.ask("delete", {name: [] for name in names})
        return {
            name: result
            for name, result in results.items()
            if isinstance(result, KafleetError) and not isinstance(result, NotFound)
        }

    async def _offsets(self, wanted: list[TopicPartition], spec: OffsetSpec) -> dict[Partition, Any]:
        results = await self._brokers.call(
            "list_offsets",
            lambda client, seconds: client.list_offsets(dict.fromkeys(wanted, spec), request_timeout=seconds),
            scope=tuple({partition.topic: None for partition in wanted}),
        )
        return {
            (key.topic, key.partition): result if isinstance(result, KafleetError) else result.offset
            for key, result in results.items()
        }


def _state(
    group: str, answer: dict[str, Any] | KafleetError, partitions: list[Partition], ends: Ends
) -> GroupState | Unknown:
    if isinstance(answer, NotFound):
        return GroupState(group, "Dead", 0)
    if isinstance(answer, KafleetError):
        return Unknown(answer.reason, f"group {group!r}: {answer}")
    if error := ends.error_in(partitions):
        return Unknown(error.reason, f"group {group!r}: {error}")
    committed = {(topic, number): offset for topic, number, offset in answer["committed"]}
    assigned = {(topic, number) for topic, number in answer["assigned"]}
    return GroupState(
        name=group,
        state=STATES.get(answer["state"], answer["state"].title()),
        members=answer["members"],
        partitions=tuple(
            PartitionState(*partition, *ends.offsets[partition], committed.get(partition))
            for partition in partitions
        ),
        is_assigned=bool(partitions) and assigned.issuperset(partitions),
    )
