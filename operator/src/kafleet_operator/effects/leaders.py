"""Questions to partition leaders: where each partition begins and ends, and where its young records do."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar

from kafleet_operator.effects.coordinators import by_topic
from kafleet_operator.effects.nodes import SEARCHES, Moved
from kafleet_operator.effects.protocol import ListOffsetsRequest, MetadataRequest
from kafleet_operator.errors import KafleetError, NotFound

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from kafleet_operator.effects.coordinators import Partition
    from kafleet_operator.effects.nodes import Nodes

EARLIEST, LATEST = -2, -1
NO_REPLICA: Final = -1
# Later versions name topics by id, or ask for what is stored elsewhere.
METADATA_VERSION: Final = 9
LIST_OFFSETS_VERSION: Final = 9

Answer = TypeVar("Answer")
Range = tuple[int, int]  # the first offset and the next one
Aged = tuple["Partition", int]  # and an age in milliseconds
AskAt = Callable[[int, list["Partition"]], Awaitable[dict["Partition", Answer | KafleetError]]]


class Leaders:
    """The leaders of one Kafka cluster's partitions; remembers who they are until somebody is not."""

    def __init__(self, nodes: Nodes) -> None:
        self._nodes = nodes
        self._known: dict[Partition, int] = {}

    async def ranges(self, partitions: Collection[Partition]) -> dict[Partition, Range | KafleetError]:
        """Return where each partition begins and ends, or why that is not known; NotFound if it is absent."""
        return await self._ask_each(partitions, self._ranges_at)

    async def young_from(self, aged: Collection[Aged]) -> dict[Aged, int | KafleetError]:
        """Return the first offset of each partition that is not older than its age, -1 if all are."""
        by_age: dict[int, list[Partition]] = defaultdict(list)
        for partition, age in aged:
            by_age[age].append(partition)
        now = int(time.time() * 1000)

        async def ask(age: int, partitions: list[Partition]) -> dict[Aged, int | KafleetError]:
            found = await self._ask_each(partitions, partial(self._offsets, timestamp=now - age))
            return {(partition, age): offset for partition, offset in found.items()}

        told = await asyncio.gather(*(ask(*each) for each in by_age.items()))
        return {key: offset for answers in told for key, offset in answers.items()}

    async def _ask_each(
        self, partitions: Collection[Partition], ask_at: AskAt[Answer]
    ) -> dict[Partition, Answer | KafleetError]:
        """Ask each leader for its partitions; whoever does not lead any more is looked for once."""
        answers: dict[Partition, Answer | KafleetError] = {}
        missing = list(partitions)
        for delay in SEARCHES:
            await asyncio.sleep(delay)
            answers |= await self._find(missing)
            places: dict[int, list[Partition]] = defaultdict(list)
            for partition in missing:
                if partition in self._known:
                    places[self._known[partition]].append(partition)
            for told in await asyncio.gather(*(self._ask_one(*place, ask_at) for place in places.items())):
                answers |= told
            missing = [partition for partition in missing if isinstance(answers[partition], Moved)]
            if not missing:
                break
        return answers

    async def _ask_one(
        self, node: int, partitions: list[Partition], ask_at: AskAt[Answer]
    ) -> dict[Partition, Answer | KafleetError]:
        try:
            answers = await ask_at(node, partitions)
        except KafleetError as error:
            self._forget(partitions)
            return dict.fromkeys(partitions, error)
        self._forget(
            partition for partition, answer in answers.items() if isinstance(answer, (Moved, NotFound))
        )
        return answers

    async def _ranges_at(
        self, node: int, partitions: list[Partition]
    ) -> dict[Partition, Range | KafleetError]:
        begins, ends = await asyncio.gather(
            self._offsets(node, partitions, timestamp=EARLIEST),
            self._offsets(node, partitions, timestamp=LATEST),
        )
        answers: dict[Partition, Range | KafleetError] = {}
        for partition in partitions:
            begin, end = begins[partition], ends[partition]
            if isinstance(begin, KafleetError):
                answers[partition] = begin
            else:
                answers[partition] = end if isinstance(end, KafleetError) else (begin, end)
        return answers

    async def _offsets(
        self, node: int, partitions: list[Partition], *, timestamp: int
    ) -> dict[Partition, int | KafleetError]:
        topic_class = ListOffsetsRequest.ListOffsetsTopic
        request = ListOffsetsRequest(
            replica_id=NO_REPLICA,
            isolation_level=0,
            topics=[
                topic_class(
                    name=topic,
                    partitions=[
                        topic_class.ListOffsetsPartition(
                            partition_index=number, current_leader_epoch=-1, timestamp=timestamp
                        )
                        for number in numbers
                    ],
                )
                for topic, numbers in by_topic(partitions).items()
            ],
            max_version=LIST_OFFSETS_VERSION,
        )
        answer = await self._nodes.ask(request, node)
        return {
            (topic.name, each.partition_index): self._nodes.error_of(each.error_code) or each.offset
            for topic in answer.topics
            for each in topic.partitions
        }

    async def _find(self, partitions: list[Partition]) -> dict[Partition, KafleetError]:
        """Learn who leads partitions; return why that is not known, by partition."""
        unknown = [partition for partition in partitions if partition not in self._known]
        if not unknown:
            return {}
        request = MetadataRequest(
            topics=[MetadataRequest.MetadataRequestTopic(name=topic) for topic in by_topic(unknown)],
            allow_auto_topic_creation=False,
            max_version=METADATA_VERSION,
        )
        try:
            answer = await self._nodes.ask(request)
        except KafleetError as error:
            return dict.fromkeys(unknown, error)
        topics = {topic.name: topic for topic in answer.topics}
        errors = {partition: self._learn(partition, topics[partition[0]]) for partition in unknown}
        return {partition: error for partition, error in errors.items() if error}

    def _learn(self, partition: Partition, topic: Any) -> KafleetError | None:  # noqa: ANN401 - kafka-python is untyped
        if error := self._nodes.error_of(topic.error_code):
            return error
        found = next((each for each in topic.partitions if each.partition_index == partition[1]), None)
        if found is None:
            return NotFound(f"topic {partition[0]!r} has no partition {partition[1]}")
        if error := self._nodes.error_of(found.error_code):
            return error
        self._known[partition] = found.leader_id
        return None

    def _forget(self, partitions: Iterable[Partition]) -> None:
        for partition in partitions:
            self._known.pop(partition, None)
