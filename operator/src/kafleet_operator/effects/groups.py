"""Consumer groups: how they are, how far they are, and what lies in topics; read for all fleets together."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from kafleet_operator.effects.batches import FRESH_SHARE, Batches
from kafleet_operator.effects.coordinators import Coordinators
from kafleet_operator.effects.leaders import Leaders
from kafleet_operator.errors import KafleetError, NotFound
from kafleet_operator.planning.commits import settled_above
from kafleet_operator.planning.observations import GroupState, PartitionState, Unknown

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from kafleet_operator.effects.coordinators import GroupReading, Partition
    from kafleet_operator.effects.leaders import Aged, Range
    from kafleet_operator.effects.nodes import Nodes
    from kafleet_operator.planning.plans import ResetOffsets

    Reading = GroupReading | KafleetError

Wish = tuple[str, tuple["Partition", ...]]  # a group, and the partitions that it should consume


@dataclass(frozen=True, slots=True)
class Ends:
    """The first and the next offset of each partition, or why they could not be read."""

    ranges: Mapping[Partition, Range | KafleetError]

    @property
    def lacks_topic(self) -> bool:
        """Tell whether a partition was seen not to exist."""
        return any(isinstance(found, NotFound) for found in self.ranges.values())

    def records_in(self, partitions: Iterable[Partition]) -> int | Unknown:
        """Return how many records lie in partitions, as far as offsets tell."""
        records = 0
        for partition in partitions:
            found = self.ranges[partition]
            if isinstance(found, KafleetError):
                return Unknown(found.reason, str(found))
            records += found[1] - found[0]
        return records


class Groups:
    """The consumer groups of one Kafka cluster, and the ends of its partitions.

    Each group has a coordinator and each partition a leader: one that is silent is no news of the others.
    """

    def __init__(self, nodes: Nodes, observe_seconds: float) -> None:
        fresh_seconds = FRESH_SHARE * observe_seconds
        self._coordinators = Coordinators(nodes)
        self._readings: Batches[Wish, Reading] = Batches(partial(_read, self._coordinators), fresh_seconds)
        leaders = Leaders(nodes)
        self._ranges: Batches[Partition, Range | KafleetError] = Batches(leaders.ranges, fresh_seconds)
        self._young: Batches[Aged, int | KafleetError] = Batches(leaders.young_from, fresh_seconds)

    async def observe(
        self, inputs: Mapping[str, Iterable[Partition]], others: Iterable[Partition] = (), *, anew: bool
    ) -> tuple[dict[str, GroupState | Unknown], Ends]:
        """Return each group, or why it is unknown, and the ends of its partitions and of `others`.

        `inputs` names the partitions each group should consume. Unless `anew`, a reading for somebody else
        that is younger than an observation will do.
        """
        wishes = [(group, tuple(sorted(partitions))) for group, partitions in inputs.items()]
        partitions = {partition for _, wanted in wishes for partition in wanted} | set(others)
        readings, ranges = await asyncio.gather(
            self._readings.get(wishes, anew=anew), self._ranges.get(partitions, anew=anew)
        )
        return {wish[0]: _state(wish, readings[wish], ranges) for wish in wishes}, Ends(ranges)

    async def young_from(self, ages: Mapping[Partition, int]) -> dict[Partition, int]:
        """Return the first offset not older than an age in milliseconds, -1 if all are older.

        A partition whose leader does not tell is left out.
        """
        found = await self._young.get(list(ages.items()))
        return {
            partition: offset
            for (partition, _), offset in found.items()
            if not isinstance(offset, KafleetError)
        }

    async def members(self, group: str) -> dict[str, tuple[Partition, ...]]:
        """Return a group's members by id, with the partitions that each holds; raises if it cannot."""
        return await self._coordinators.members(group)

    async def committed(self, group: str, partitions: Collection[Partition]) -> dict[Partition, int | None]:
        """Return what a group has committed of partitions; None where nothing, or where it cannot be told."""
        reading = (await self._coordinators.read({group: partitions}))[group]
        commits = {} if isinstance(reading, KafleetError) else reading.commits
        offsets = {partition: commit.offset for partition, commit in commits.items() if commit.offset >= 0}
        return {partition: offsets.get(partition) for partition in partitions}

    async def remove(self, group: str, member_id: str) -> None:
        """Take a dead member out of its group; one that is gone already needs nothing."""
        await self._coordinators.remove(group, member_id)

    async def reset(self, steps: Iterable[ResetOffsets]) -> dict[str, KafleetError]:
        """Let groups begin at the start of topics; return what went wrong, by group."""
        partitions: dict[str, list[Partition]] = defaultdict(list)
        for step in steps:
            partitions[step.group] += [(step.topic, number) for number in step.partitions]
        return await self._coordinators.reset(partitions)

    async def delete(self, names: Iterable[str]) -> dict[str, KafleetError]:
        """Delete groups; return what went wrong, by group. A group that is not there is deleted."""
        return await self._coordinators.delete(names)


async def _read(coordinators: Coordinators, wishes: Collection[Wish]) -> dict[Wish, Reading]:
    wanted: dict[str, set[Partition]] = {group: set() for group, _ in wishes}
    for group, partitions in wishes:  # a group comes twice where its topic has just grown
        wanted[group].update(partitions)
    readings = await coordinators.read(wanted)
    return {wish: readings[wish[0]] for wish in wishes}


def _state(
    wish: Wish, reading: Reading, ranges: Mapping[Partition, Range | KafleetError]
) -> GroupState | Unknown:
    group, partitions = wish
    if isinstance(reading, KafleetError):
        return Unknown(reading.reason, f"group {group!r}: {reading}")
    states = []
    for partition in partitions:
        ends = ranges[partition]
        if isinstance(ends, KafleetError):
            return Unknown(ends.reason, f"group {group!r}: {ends}")
        offset, metadata = reading.commits[partition]
        states.append(
            PartitionState(
                *partition,
                *ends,
                committed=offset if offset >= 0 else None,
                settled=settled_above(offset, metadata),
            )
        )
    return GroupState(group, reading.state, tuple(states))
