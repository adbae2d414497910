"""Collecting what the oracle judges by: from the topics, the group's commits, and the journals of attempts.

Nothing of Kafleet is imported here.
"""

from __future__ import annotations

import json
import re
import struct
import time
from collections import defaultdict
from datetime import datetime
from typing import TYPE_CHECKING, Final

from chaos.facts import NO_KEY, Attempt, Identity, Input, Output
from confluent_kafka import Consumer, KafkaError, TopicPartition

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from confluent_kafka import Message

HEADER: Final = "chaos"
"""The header that names a record: key, sequence, and `dead` or `answer` for what must come of it."""
_OFFSETS_TOPIC: Final = "__consumer_offsets"
_OFFSET_COMMIT_VERSIONS: Final = (0, 1)
_JOINED: Final = re.compile(r"(\S+) INFO GroupMetadataManager .* Member (\S+) joins the consumer group ")
_SILENT_SECONDS: Final = 60.0
_AT_A_TIME: Final = 10_000


def header_of(key: str, sequence: int, *, is_poison: bool) -> bytes:
    """Return the header's value for a record."""
    return f"{key} {sequence} {'dead' if is_poison else 'answer'}".encode()


class Witness:
    """Reads topics to their ends, committed records only."""

    def __init__(self, bootstrap_servers: str) -> None:
        self._bootstrap_servers = bootstrap_servers
        self._wall_seconds = time.time() - time.monotonic()

    def inputs(self, topic: str) -> Iterator[Input]:
        for message in self._read(topic):
            identity, is_poison = _named(message)
            yield Input(identity, message.partition(), is_poison)

    def answers(self, topic: str) -> Iterator[Output]:
        for message in self._read(topic):
            answer = json.loads(message.value())
            identity = Identity(answer["key"], answer["sequence"])
            yield Output(identity, self._moment(message), answer["process"])

    def dead_letters(self, topic: str) -> Iterator[Output]:
        for message in self._read(topic):
            yield Output(_named(message)[0], self._moment(message), "")

    def commits(self, group: str, topic: str) -> dict[int, list[float]]:
        """Return when the brokers wrote down a commit of the group, by partition."""
        found: dict[int, list[float]] = defaultdict(list)
        for message in self._read(_OFFSETS_TOPIC):
            committed = _committed(message.key())
            if message.value() is not None and committed is not None and committed[:2] == (group, topic):
                found[committed[2]].append(self._moment(message))
        for moments in found.values():
            moments.sort()
        return found

    def _moment(self, message: Message) -> float:
        return float(message.timestamp()[1] / 1_000 - self._wall_seconds)

    def _read(self, topic: str) -> Iterator[Message]:
        consumer = Consumer(
            {
                "bootstrap.servers": self._bootstrap_servers,
                "group.id": "witness",
                "isolation.level": "read_committed",
                "enable.partition.eof": True,
                "auto.offset.reset": "earliest",
                "log_level": 0,
            }
        )
        try:
            partitions = consumer.list_topics(topic, timeout=30).topics[topic].partitions
            consumer.assign([TopicPartition(topic, number, 0) for number in partitions])
            unread = set(partitions)
            deadline = time.monotonic() + _SILENT_SECONDS
            while unread:
                for message in consumer.consume(_AT_A_TIME, 1.0):
                    deadline = time.monotonic() + _SILENT_SECONDS
                    error = message.error()
                    if error is None:
                        yield message
                    elif error.code() == KafkaError._PARTITION_EOF:
                        unread.discard(message.partition())
                assert time.monotonic() < deadline, f"cannot read {topic!r} to its end"
        finally:
            consumer.close()


def rejoins_in(log: Path) -> list[float]:
    """Return when a member that had been expelled joined again, as the broker's log says."""
    wall_seconds = time.time() - time.monotonic()
    members: set[str] = set()
    found = []
    for line in log.read_text(errors="replace").splitlines():
        joined = _JOINED.match(line)
        if joined is None:
            continue
        moment, member = joined.groups()
        if member in members:
            found.append(datetime.fromisoformat(moment).astimezone().timestamp() - wall_seconds)
        members.add(member)
    return found


def attempts_in(journal: Path) -> Iterator[Attempt]:
    """Read what a process did: each attempt when it begins, with no end, and once more if it has ended."""
    with journal.open() as lines:
        for line in lines:
            key, sequence, began, *rest = line.rstrip("\n").split(" ")
            begun = Attempt(Identity(key, int(sequence)), journal.stem, float(began), None, is_answered=False)
            yield begun._replace(ended=float(rest[0]), is_answered=rest[1] == "1") if rest else begun


def _named(message: Message) -> tuple[Identity, bool]:
    header = dict(message.headers() or ()).get(HEADER, b"")
    key, sequence, outcome = header.decode().split(" ")
    assert (message.key() or b"").decode() == key, "a record with the key of another"
    return Identity(key or NO_KEY, int(sequence)), outcome == "dead"


def _committed(key: bytes) -> tuple[str, str, int] | None:
    """Read a key of `__consumer_offsets`: group, topic and partition of a commit, None of anything else."""
    (version,) = struct.unpack_from(">h", key)
    if version not in _OFFSET_COMMIT_VERSIONS:
        return None
    place, names = 2, []
    for _ in range(2):
        (length,) = struct.unpack_from(">h", key, place)
        names.append(key[place + 2 : place + 2 + length].decode())
        place += 2 + length
    (partition,) = struct.unpack_from(">i", key, place)
    return names[0], names[1], partition
