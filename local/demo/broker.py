"""The broker seen from this machine: feed a topic, read one back, look at a consumer group."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from confluent_kafka import (
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    Producer,
)
from confluent_kafka import TopicPartition as Partition
from confluent_kafka.admin import AdminClient, OffsetSpec

from demo.checking import Answer, Place
from demo.errors import Failed

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

T = TypeVar("T")
REQUEST_SECONDS = 30.0
ACKNOWLEDGE_SECONDS = 60.0
READ_SECONDS = 120.0
LOOK = "local/cluster kubectl -n kafka logs statefulset/kafka --tail=50"


@dataclass(frozen=True, slots=True)
class Record:
    """A record to send, or as read back; header values as text."""

    key: str
    value: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Share:
    """One partition of a group: how far it is committed and filled, and who holds it ("" for nobody).

    `member` is the group member's id, new with every start of a process; `pod` its client id.
    """

    committed: int
    end: int
    member: str = ""
    pod: str = ""

    @property
    def lag(self) -> int:
        return self.end - self.committed


Shares = dict[int, Share]


def lag_of(shares: Shares) -> int:
    """Add up the records that are not committed yet."""
    return sum(share.lag for share in shares.values())


def held_by(shares: Shares) -> dict[str, list[int]]:
    """Return each pod's partitions; under "" those that nobody holds."""
    held: dict[str, list[int]] = {}
    for partition, share in sorted(shares.items()):
        held.setdefault(share.pod, []).append(partition)
    return held


class Broker:
    """A Kafka at one bootstrap address. Every method raises Failed when the broker does not do as asked."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._options = {"bootstrap.servers": address, "log_level": 0}
        # librdkafka 2.16 clings this long to the coordinator of a broker that was restarted meanwhile.
        self._admin = AdminClient({**self._options, "metadata.max.age.ms": 5000})

    def feed(self, topic: str, records: Iterable[Record]) -> None:
        """Send the records in order and return when every one is acknowledged."""
        refused: list[str] = []

        def note(error: KafkaError | None, _: object) -> None:
            if error:
                refused.append(error.str())

        producer = Producer(
            {
                **self._options,
                "enable.idempotence": True,
                "partitioner": "murmur2_random",  # the partition that a Java producer would choose
                "delivery.timeout.ms": int(ACKNOWLEDGE_SECONDS * 1000),
                "linger.ms": 20,
            }
        )
        for record in records:
            producer.produce(topic, record.value, record.key, headers=dict(record.headers), on_delivery=note)
            producer.poll(0)
        unsent = producer.flush(ACKNOWLEDGE_SECONDS)
        if refused or unsent:
            why = refused[0] if refused else "no answer"
            raise Failed(f"{len(refused) + unsent} records were not acknowledged by {topic!r}: {why}", LOOK)

    def ends(self, topic: str) -> dict[int, int]:
        """Return the end offset of every partition, without the records of open transactions."""
        found = self._ask(
            f"{topic!r} cannot be listed", lambda: self._admin.list_topics(topic, REQUEST_SECONDS)
        )
        if found.topics[topic].error:
            raise Failed(f"{topic!r} cannot be listed: {found.topics[topic].error.str()}", LOOK)
        asked = {Partition(topic, number): OffsetSpec.latest() for number in found.topics[topic].partitions}
        futures = self._admin.list_offsets(asked, request_timeout=REQUEST_SECONDS)
        return {
            partition.partition: self._ask(f"{topic!r} has no end offsets", future.result).offset
            for partition, future in futures.items()
        }

    def read(self, topic: str, since: Mapping[int, int]) -> list[Record]:
        """Read every partition from the offset in `since` to its end now; each key's records in log order."""
        consumer = Consumer(
            {
                **self._options,
                "group.id": "kafleet-reader",  # required, and never joined: assign() does without
                "enable.auto.commit": False,
                "enable.partition.eof": True,
                "isolation.level": "read_committed",
            }
        )
        unread = set(since)
        records = []
        deadline = time.monotonic() + READ_SECONDS
        try:
            consumer.assign([Partition(topic, number, offset) for number, offset in since.items()])
            while unread:
                if time.monotonic() > deadline:
                    raise Failed(f"{topic!r} could not be read to its end in {READ_SECONDS:.0f} s", LOOK)
                for message in consumer.consume(500, timeout=1.0):
                    error = message.error()
                    if error is None:
                        records.append(record_of(message))
                    elif error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 - public in all but its name
                        unread.discard(message.partition())
                    elif not error.retriable():
                        raise Failed(f"{topic!r} cannot be read: {error.str()}", LOOK)
        finally:
            consumer.close()
        return records

    def read_all(self, topic: str) -> list[Record]:
        """Read a topic from its beginning to its end now."""
        return self.read(topic, dict.fromkeys(self.ends(topic), 0))

    def shares(self, group: str, topic: str) -> Shares:
        """Look at a group's work on a topic, by partition; a partition never committed counts from 0."""
        ends = self.ends(topic)
        described = self._admin.describe_consumer_groups([group], request_timeout=REQUEST_SECONDS)
        reason = f"the group {group!r} cannot be read"
        members = self._ask(reason, described[group].result).members
        # Asked by a consumer that never joins: librdkafka's admin request for offsets ends the whole process
        # when the group's coordinator changes meanwhile (librdkafka#5040).
        reader = Consumer({**self._options, "group.id": group, "enable.auto.commit": False})
        try:
            asked = [Partition(topic, number) for number in ends]
            committed = self._ask(reason, lambda: reader.committed(asked, REQUEST_SECONDS))
        finally:
            reader.close()
        holders = {
            held.partition: (member.member_id, member.client_id)
            for member in members
            for held in member.assignment.topic_partitions
            if held.topic == topic
        }
        return {
            each.partition: Share(
                max(each.offset, 0), ends[each.partition], *holders.get(each.partition, ("", ""))
            )
            for each in committed
        }

    def topics(self) -> set[str]:
        """Return the names of all topics."""
        return set(
            self._ask(
                "topics cannot be listed", lambda: self._admin.list_topics(timeout=REQUEST_SECONDS)
            ).topics
        )

    def groups(self) -> set[str]:
        """Return the names of all consumer groups, empty ones included."""
        listing = self._ask(
            "groups cannot be listed",
            self._admin.list_consumer_groups(request_timeout=REQUEST_SECONDS).result,
        )
        return {group.group_id for group in listing.valid}

    def delete(self, topics: Collection[str], groups: Collection[str]) -> None:
        """Delete topics and groups."""
        futures = {}
        if groups:
            futures.update(self._admin.delete_consumer_groups(list(groups), request_timeout=REQUEST_SECONDS))
        if topics:
            futures.update(self._admin.delete_topics(list(topics), request_timeout=REQUEST_SECONDS))
        for name, future in futures.items():
            self._ask(f"{name!r} cannot be deleted", future.result)

    @staticmethod
    def _ask(reason: str, question: Callable[[], T]) -> T:
        try:
            return question()
        except KafkaException as error:
            raise Failed(f"{reason}: {error.args[0].str()}", LOOK) from error


def record_of(message: Message) -> Record:
    """Turn the client's message into a record; a missing key, value or header value is empty."""
    return Record(
        key=(message.key() or b"").decode(errors="replace"),
        value=message.value() or b"",
        headers={name: (value or b"").decode(errors="replace") for name, value in message.headers() or []},
    )


def task(run: str, place: Place, payload: Mapping[str, Any], kind: str) -> Record:
    """Make a task as a CloudEvent; `run` becomes the correlation id that everything caused by it carries."""
    return Record(
        place.key,
        json.dumps(payload).encode(),
        {
            "ce_specversion": "1.0",
            "ce_id": f"{run}/{place}",
            "ce_source": "kafleet-demo",
            "ce_type": kind,
            "ce_subject": place.key,
            "ce_correlationid": run,
            "content-type": "application/json",
        },
    )


def answers_of(run: str, records: Iterable[Record]) -> list[Answer]:
    """Decode the results that belong to a run."""
    return [
        Answer(place_of(record), record.headers.get("ce_id", ""), json.loads(record.value))
        for record in records
        if record.headers.get("ce_correlationid") == run
    ]


def places_of(run: str, records: Iterable[Record]) -> list[Place]:
    """Name the tasks of a run among dead letters, whose key and value are the task's own."""
    return [place_of(record) for record in records if record.headers.get("ce_correlationid") == run]


def place_of(record: Record) -> Place:
    return Place(record.key, json.loads(record.value)["number"])
