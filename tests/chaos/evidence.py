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

from chaos.oracle import NO_KEY, Attempt, Identity, Input, Output
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

    def inputs(self, topic: str) -> list[Input]:
        return [
            Input(identity, message.partition(), is_poison)
            for message in self._read(topic)
            for identity, is_poison in [_named(message)]
        ]

    def answers(self, topic: str) -> list[Output]:
        found = []
        for message in self._read(topic):
            answer = json.loads(message.value())
            identity = Identity(answer["key"], answer["sequence"])
            found.append(Output(identity, self._moment(message), answer["process"]))
        return found

    def dead_letters(self, topic: str) -> list[Output]:
        return [Output(_named(message)[0], self._moment(message), "") for message in self._read(topic)]

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


def attempts_in(folder: Path) -> list[Attempt]:
    """Read the journals: a line with key, sequence and begin, and one more with end and success."""
    found = []
    for journal in sorted(folder.glob("*.attempts")):
        process = journal.stem
        open_attempts: dict[str, Identity] = {}
        for line in journal.read_text().splitlines():
            key, sequence, began, *rest = line.split(" ")
            name = f"{key} {sequence} {began}"
            if not rest:
                open_attempts[name] = Identity(key, int(sequence))
                continue
            ended, is_answered = rest
            identity = open_attempts.pop(name)
            found.append(Attempt(identity, process, float(began), float(ended), is_answered == "1"))
        for name, identity in open_attempts.items():
            found.append(Attempt(identity, process, float(name.rpartition(" ")[2]), None, is_answered=False))
    return found


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
