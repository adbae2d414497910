"""Noticing partitions that nobody reads on, though records wait and nothing stands in the way.

Seen from inside, a partition that the client does not fetch any more is one in which nothing is written. So
another client is asked now and then where those logs end of which nothing is at hand.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Protocol

from confluent_kafka import IsolationLevel, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from kafleet.connections import librdkafka_settings
from kafleet.records import Partition

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from kafleet.backlogs import Lot
    from kafleet.lanes import Lane

    Ends = Callable[[Collection[Partition]], Mapping[Partition, int]]
    Place = tuple[int, int]  # in which assignment, and which offset is next

_LOOK_SECONDS = 60.0
_CALL_SECONDS = 10.0


class Assigned(Protocol):
    """Whoever knows what is at hand of the partitions of this replica."""

    @property
    def lots(self) -> Mapping[Partition, Lot]: ...


class Stalls:
    """Looks each minute; `ends` tells where logs end as far as that can be told now, and may block."""

    def __init__(self, assigned: Assigned, ends: Ends) -> None:
        self._assigned = assigned
        self._ends = ends
        self._since: dict[Partition, tuple[Place, float]] = {}

    @property
    def longest_seconds(self) -> float:
        """How long records have been lying that should have been read; 0 unless something is wrong."""
        places, now = self._hungry(), asyncio.get_running_loop().time()
        return max(
            (now - at for each, (place, at) in self._since.items() if places.get(each) == place), default=0.0
        )

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            await self._look()

    async def _look(self) -> None:
        looked_at, places = asyncio.get_running_loop().time(), self._hungry()
        ends = await asyncio.to_thread(self._ends, places) if places else {}
        before, self._since = self._since, {}
        for partition, place in places.items():
            if ends.get(partition, -1) > place[1]:
                known_place, since = before.get(partition, (None, looked_at))
                self._since[partition] = (place, since if known_place == place else looked_at)

    def _hungry(self) -> dict[Partition, Place]:
        """Return where partitions are read on of which nothing is at hand: the next record would be taken."""
        return {
            partition: (lot.epoch, lot.offsets.next_offset)
            for partition, lot in self._assigned.lots.items()
            if not (lot.items or lot.is_leaving)
        }


class LogEnds:
    """Asks brokers where logs end, for those who read what is committed."""

    def __init__(self, lane: Lane) -> None:
        self._lane = lane
        self._client: AdminClient | None = None  # a busy replica never needs it

    def __call__(self, partitions: Collection[Partition]) -> dict[Partition, int]:
        """Return the ends that brokers tell within a while; blocks."""
        if self._client is None:
            self._client = AdminClient(
                librdkafka_settings(self._lane), logger=logging.getLogger("librdkafka")
            )
        wanted = {TopicPartition(*each): OffsetSpec.latest() for each in partitions}
        asked = self._client.list_offsets(
            wanted, isolation_level=IsolationLevel.READ_COMMITTED, request_timeout=_CALL_SECONDS
        )
        ends = {}
        for each, answer in asked.items():
            try:
                ends[Partition(each.topic, each.partition)] = answer.result().offset
            except KafkaException:  # the reader meets the same brokers, and says so
                continue
        return ends
