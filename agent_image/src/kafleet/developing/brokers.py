"""The broker inside `kafleet dev`: librdkafka's mock cluster, in this process, for other processes to join.

It speaks Kafka's protocol well enough for one agent, and proves nothing about Kafka. It keeps what is in its
topics as long as this process lives, the newest 5 MB of each partition.
"""

from __future__ import annotations

import logging
import socket
import struct
import threading
import time
from typing import TYPE_CHECKING, Self

from confluent_kafka import Consumer, Producer, TopicPartition

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from confluent_kafka import Message

_POLL_SECONDS = 0.1
_ANSWER_SECONDS = 10.0
_LOOK_SECONDS = 0.2
_UNREAD_BYTES = 1024 * 1024  # of what is produced before the agent has to have settled it
_CONSUMER_GROUP_HEARTBEAT = 68
_LEAVING = -1  # as a member's epoch


class EmbeddedBroker:
    """A broker with these topics. `seen` is called in a thread of ours with each record in any of them."""

    def __init__(self, topics: Iterable[str], seen: Callable[[Message], None]) -> None:
        self._topics = tuple(topics)
        self._seen = seen
        self._is_stopping = threading.Event()
        self._quiet = logging.getLogger("kafleet.embedded-broker")
        self._quiet.addHandler(logging.NullHandler())
        self._quiet.propagate = False
        self._producer = Producer(
            {
                "bootstrap.servers": "embedded",
                "test.mock.num.brokers": 1,
                "partitioner": "murmur2_random",
                "log_level": 0,
            },
            logger=self._quiet,
        )
        # Topics appear when somebody asks for them.
        listed = [self._producer.list_topics(topic, timeout=_ANSWER_SECONDS) for topic in self._topics]
        broker = next(iter(listed[0].brokers.values()))
        self.address = f"{broker.host}:{broker.port}"
        self._partitions = [
            TopicPartition(topic, number, 0)
            for topic, metadata in zip(self._topics, listed, strict=True)
            for number in metadata.topics[topic].partitions
        ]
        self._threads = [threading.Thread(target=target, daemon=True) for target in (self._serve, self._look)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_stopping.set()
        for thread in self._threads:
            thread.join()

    def feed(
        self, topic: str, records: Iterable[tuple[bytes | None, bytes]], kind: str | None, group: str
    ) -> None:
        """Produce keys and values; waits for the group now and then, as the broker keeps only so much."""
        headers = [] if kind is None else [("ce_type", kind.encode())]
        unread = 0
        for key, value in records:
            if unread > _UNREAD_BYTES:
                self._await_settled(topic, group)
                unread = 0
            self._producer.produce(topic, key=key, value=value, headers=headers)
            unread += len(key or b"") + len(value)

    def remove_member(self, group: str, member: str) -> None:
        """Let a member that is dead leave its group, as the operator does, so that nobody waits for it.

        There is no call for it in the client: this is a ConsumerGroupHeartbeat, version 1 (KIP-848).
        """
        nothing, none = b"\0", struct.pack(">i", -1)
        request = b"".join(
            (
                struct.pack(">hhih", _CONSUMER_GROUP_HEARTBEAT, 1, 1, -1) + nothing,  # header, no client id
                _compact(group) + _compact(member) + struct.pack(">i", _LEAVING),
                nothing * 2 + none + nothing * 4 + nothing,  # everything else is left out
            )
        )
        host, _, port = self.address.rpartition(":")
        with socket.create_connection((host, int(port)), _ANSWER_SECONDS) as connection:
            connection.sendall(struct.pack(">i", len(request)) + request)
            connection.recv(1)  # it has answered: the member is gone

    def _await_settled(self, topic: str, group: str) -> None:
        """Wait until the group has committed all there is of a topic."""
        self._producer.flush()
        client = Consumer(
            {"bootstrap.servers": self.address, "group.id": group, "log_level": 0}, logger=self._quiet
        )
        ours = [partition for partition in self._partitions if partition.topic == topic]
        while not self._is_stopping.is_set():
            ends = [client.get_watermark_offsets(each, timeout=_ANSWER_SECONDS)[1] for each in ours]
            committed = [each.offset for each in client.committed(ours, timeout=_ANSWER_SECONDS)]
            if all(offset >= end for offset, end in zip(committed, ends, strict=True) if end):
                break
            time.sleep(_LOOK_SECONDS)
        client.close()

    def _serve(self) -> None:
        while not self._is_stopping.is_set():
            self._producer.poll(_POLL_SECONDS)

    def _look(self) -> None:
        client = Consumer(
            {
                "bootstrap.servers": self.address,
                "group.id": "kafleet-dev-looks",
                "fetch.wait.max.ms": 10,
                "log_level": 0,
            },
            logger=self._quiet,
        )
        client.assign(self._partitions)
        while not self._is_stopping.is_set():
            message = client.poll(_POLL_SECONDS)
            if message is not None and message.error() is None:
                self._seen(message)
        client.close()


def _compact(text: str) -> bytes:
    """Encode a short text as Kafka's flexible versions do: its length plus one, and itself."""
    encoded = text.encode()
    return bytes([len(encoded) + 1]) + encoded
