"""The client that fetches records. It is told which partitions to read, and is no member of any group.

The group's member is another client (`memberships`): as long as a member has not answered a revocation, the
client library stops fetching for it altogether. And without rebalances of its own, whole batches may be taken
from it: nothing can happen to a partition in the middle of one.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from threading import Lock
from typing import TYPE_CHECKING, NamedTuple

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from kafleet.records import Partition, Record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from confluent_kafka import Message

_LEARN_SECONDS = 1.0
_END_REACHED = KafkaError._PARTITION_EOF  # noqa: SLF001 - librdkafka's own codes have no other name
SETTINGS: Mapping[str, object] = {
    "enable.auto.commit": False,
    "enable.auto.offset.store": False,
    # startFrom latest is done by pinning; a position that retention overtook must never skip to the end.
    "auto.offset.reset": "earliest",
    "isolation.level": "read_committed",
    "enable.partition.eof": True,
    # The client's cost of a small record is many times its size and counts towards none of its limits, so
    # memory at a lag is kept down by fetching little at a time, and at once again: by default a partition
    # with 100,000 records, or 1 MiB of them, is fetched ahead, and a full queue is left alone for a second.
    "queued.max.messages.kbytes": 16_384,
    "queued.min.messages": 2_000,
    "fetch.message.max.bytes": 131_072,
    "fetch.queue.backoff.ms": 10,
    # A record above fetch.max.bytes still comes, alone; above this limit it would stop its partition.
    "receive.message.max.bytes": 1_000_000_000,
}


class Batch(NamedTuple):
    """Records in log order, and offsets at which a partition's log ended after them.

    Such an end lies behind transaction markers and compacted records, which nobody is ever handed.
    """

    records: Sequence[Record]
    ends: Mapping[Partition, int]


_NOTHING = Batch((), {})


class Fetcher:
    """Reads partitions; `report` is told of what goes wrong.

    For one thread, but for `read`. What one assignment has left is never read in the next: whoever reads
    takes the records at once, and a partition begins only when its end was taken note of.
    """

    def __init__(self, settings: Mapping[str, object], report: Callable[[KafkaError], None]) -> None:
        self._report = report
        self._consumer = Consumer(
            {**settings, **SETTINGS, "error_cb": report}, logger=logging.getLogger("librdkafka")
        )
        self._in_use = Lock()  # by one thread at a time
        self._paused: set[Partition] = set()
        self.partitions: set[Partition] = set()

    def begin(self, starts: Sequence[TopicPartition]) -> None:
        """Read partitions, each from its offset."""
        with self._in_use:
            # Where topics lead is asked now, else a first partition is begun up to a second late.
            with suppress(KafkaException):  # why, tells the member, which is as far
                for topic in {each.topic for each in starts}:
                    self._consumer.list_topics(topic, timeout=_LEARN_SECONDS)
            self._consumer.incremental_assign(list(starts))
        self.partitions.update(Partition(each.topic, each.partition) for each in starts)

    def end(self, partitions: Iterable[Partition]) -> None:
        """Read nothing more of partitions, and drop what was fetched of them."""
        known = self.partitions.intersection(partitions)
        for partition in known & self._paused:
            self.resume(partition)  # the client would not read it when it comes back, however it comes
        if known:
            with self._in_use:
                self._consumer.incremental_unassign([TopicPartition(*each) for each in known])
        self.partitions -= known

    def pause(self, partition: Partition) -> None:
        """Fetch nothing more of a partition for a while."""
        if partition in self.partitions - self._paused:
            with self._in_use:
                self._consumer.pause([TopicPartition(*partition)])
            self._paused.add(partition)

    def resume(self, partition: Partition) -> None:
        """Fetch a paused partition again."""
        if partition in self._paused:
            with self._in_use:
                self._consumer.resume([TopicPartition(*partition)])
            self._paused.remove(partition)

    def wait(self, seconds: float) -> Batch:
        """Return the first record there is, waiting so long for it."""
        first = self._consumer.poll(seconds)
        return _NOTHING if first is None else self._batch([first])

    def read(self, most: int) -> Batch:
        """Return what is there, without waiting; nothing if it is in use just now, or closed.

        A client lets one call in at a time, so that this one would wait as long as the other one takes.
        """
        if not self._in_use.acquire(blocking=False):
            return _NOTHING
        try:
            messages = self._consumer.consume(most, 0)
        finally:
            self._in_use.release()
        return self._batch(messages) if messages else _NOTHING

    def _batch(self, messages: Sequence[Message]) -> Batch:
        records, ends = [], {}
        partition = Partition("", -1)
        for message in messages:
            error = message.error()
            if error is None:
                if message.partition() != partition.number or message.topic() != partition.topic:
                    partition = Partition(message.topic(), message.partition())
                records.append(_record(message, partition))
            elif error.code() == _END_REACHED:
                ends[Partition(message.topic(), message.partition())] = message.offset()
            else:
                self._report(error)
        return Batch(records, ends)

    def close(self) -> None:
        """Let go of the connections."""
        self._in_use.acquire()  # for good: to close a client under a call crashes the process
        self._consumer.close()


def _record(message: Message, partition: Partition) -> Record:
    try:
        headers = message.headers() or ()
    except (SystemError, UnicodeDecodeError):  # a header's name that is not UTF-8 (the binding raises either)
        headers = None
    # Without a step through NamedTuple's own `__new__`, which is written in Python.
    return tuple.__new__(
        Record,
        (partition, message.offset(), message.key(), message.value(), headers, message.timestamp()[1]),
    )
