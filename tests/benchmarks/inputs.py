"""Topics full of records that name themselves, and an oracle that reads what became of them.

A value begins with `PP:NNNNNNNN:`, the partition and the offset of the input record. So the oracle needs to
know nothing of who worked on it: every record below the committed offset must have an output.
"""

from __future__ import annotations

import itertools
import time
from array import array
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from confluent_kafka import (
    Consumer,
    ConsumerGroupTopicPartitions,
    IsolationLevel,
    KafkaError,
    KafkaException,
    Producer,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient, NewTopic, OffsetSpec
from integration.servers import eventually

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

HEADERS: Final = [
    ("ce_specversion", b"1.0"),
    ("ce_id", b"0c6b1c4e-6d0e-4b53-a2d4-5e0c1f6d8a11"),
    ("ce_source", b"benchmark"),
    ("ce_type", b"task"),
    ("content-type", b"application/octet-stream"),
]
SIZE: Final = 200
SILENCE_SECONDS: Final = 10.0
_END: Final = KafkaError._PARTITION_EOF


@dataclass(frozen=True, slots=True)
class Input:
    """A topic of so many records; `keys` keys in each partition, or each record its own if None.

    Values are 200 bytes long, unless records are small: as little as names them, and no headers.
    """

    servers: str
    topic: str
    partitions: int
    records: int
    keys: int | None = None
    is_small: bool = False

    def create(self) -> None:
        """Make the topic."""
        create_topics(AdminClient({"bootstrap.servers": self.servers}), {self.topic: {}}, self.partitions)

    def fill(self) -> None:
        """Write all records, each partition as many."""
        producer = Producer(
            {"bootstrap.servers": self.servers, "linger.ms": 50, "queue.buffering.max.messages": 500_000}
        )
        for number, partition in itertools.product(range(self.in_each), range(self.partitions)):
            self.produce(producer, partition, number)
        producer.flush()

    def produce(self, producer: Producer, partition: int, number: int) -> None:
        """Write the record that will have that offset in that partition."""
        key = b"%d-%d" % (partition, number if self.keys is None else number % self.keys)
        value = named(partition, number)
        headers = None
        if not self.is_small:
            value, headers = value.ljust(SIZE, b"."), HEADERS
        while True:
            try:
                producer.produce(self.topic, value, key, partition=partition, headers=headers)
            except BufferError:
                producer.poll(0.1)
            else:
                return

    @property
    def in_each(self) -> int:
        """How many records a partition holds."""
        return self.records // self.partitions


def named(partition: int, number: int) -> bytes:
    """Return what the value of that record begins with."""
    return b"%02d:%08d:" % (partition, number)


class Output(NamedTuple):
    """What the oracle looks at in a record; `appended` in ms since the epoch."""

    value: bytes
    has_headers: bool
    appended: int


@dataclass(frozen=True, slots=True)
class Findings:
    """What the oracle found: counts of records, and when outputs were appended (sorted, ms since the epoch).

    `lost`: below the committed offset and without an output. `misordered`: came before an earlier one of its
    key had its first output.
    """

    lost: int
    repeated: int
    misordered: int
    bare: int
    committed: int
    appended: array[int]

    @property
    def is_right(self) -> bool:
        return not (self.lost or self.misordered or self.bare) and self.committed > 0

    @property
    def said(self) -> str:
        return (
            f"{self.committed} committed, of which {self.lost} lost; {len(self.appended)} written, "
            f"{self.repeated} of them repeated, {self.misordered} too early, {self.bare} without headers"
        )


def judge(source: Input, outputs: Iterable[Output], committed: Mapping[int, int]) -> Findings:
    """Compare outputs, each partition's in order, with what was committed of the input, by partition."""
    seen = [bytearray(source.in_each) for _ in range(source.partitions)]
    latest: dict[tuple[int, int], int] = {}
    appended: array[int] = array("q")
    repeated = misordered = bare = 0
    for value, has_headers, moment in outputs:
        partition, number = int(value[:2]), int(value[3:11])
        appended.append(moment)
        bare += not has_headers
        if seen[partition][number]:
            repeated += 1
            continue
        seen[partition][number] = 1
        if source.keys is not None:
            key = partition, number % source.keys
            misordered += latest.get(key, -1) > number
            latest[key] = number
    lost = sum(offset - sum(seen[partition][:offset]) for partition, offset in committed.items())
    return Findings(
        lost=lost,
        repeated=repeated,
        misordered=misordered,
        bare=bare,
        committed=sum(committed.values()),
        appended=array("q", sorted(appended)),
    )


def read(servers: str, topic: str) -> Iterator[Output]:
    """Yield all committed records of a topic, each partition's in order."""
    consumer = Consumer(
        {
            "bootstrap.servers": servers,
            "group.id": "oracle",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "isolation.level": "read_committed",
        }
    )
    partitions = consumer.list_topics(topic).topics[topic].partitions
    consumer.assign([TopicPartition(topic, partition, 0) for partition in partitions])
    left = set(partitions)
    try:
        heard = time.monotonic()
        while left:
            records = consumer.consume(10_000, 0.1)
            if records:
                heard = time.monotonic()
            elif time.monotonic() - heard > SILENCE_SECONDS:
                raise RuntimeError(f"cannot read {topic!r} to its end")
            for record in records:
                if record.error() is None:
                    yield Output(record.value(), bool(record.headers()), record.timestamp()[1])
                elif record.error().code() == _END:
                    left.discard(record.partition())
                else:
                    raise KafkaException(record.error())
    finally:
        consumer.close()


def create_topics(
    admin: AdminClient, configurations: Mapping[str, Mapping[str, str]], partitions: int
) -> None:
    """Make topics and wait until they have leaders."""
    new = [NewTopic(name, partitions, 1, config=dict(given)) for name, given in configurations.items()]
    for created in admin.create_topics(new).values():
        created.result()
    for name in configurations:
        eventually(lambda name=name: _has_leaders(admin, name, partitions))  # type: ignore[misc]


def written_to(admin: AdminClient, topic: str, partitions: int) -> int:
    """Return how many offsets a topic has given out to committed records and to markers."""
    wanted = {TopicPartition(topic, partition): OffsetSpec.latest() for partition in range(partitions)}
    listed = admin.list_offsets(wanted, isolation_level=IsolationLevel.READ_COMMITTED)
    return sum(found.result().offset for found in listed.values())


def committed_by(admin: AdminClient, group: str, source: Input) -> dict[int, int]:
    """Return what a group has committed, by partition."""
    places = [TopicPartition(source.topic, partition) for partition in range(source.partitions)]
    asked = admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(group, places)])
    return {place.partition: max(0, place.offset) for place in asked[group].result().topic_partitions}


def _has_leaders(admin: AdminClient, topic: str, partitions: int) -> bool:
    try:
        return written_to(admin, topic, partitions) >= 0
    except KafkaException:
        return False
