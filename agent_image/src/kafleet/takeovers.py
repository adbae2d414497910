"""Taking a partition over: from its committed offset, with what was remembered beside it.

Both are read in one request, so that they belong together. Before anything is read of the partition a commit
says that one more owner may die; see `suspects`. What fails is tried again, never taken for an absent offset.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from confluent_kafka import KafkaError, KafkaException, TopicPartition

from kafleet.commitmetadata import metadata_of, progress_from

if TYPE_CHECKING:
    from collections.abc import Callable

_CALL_SECONDS = 5.0


class Committed(Protocol):
    """What is needed of the consumer."""

    def list_topics(self, topic: str, timeout: float) -> object: ...

    def committed(self, partitions: list[TopicPartition], timeout: float) -> list[TopicPartition]: ...

    def get_watermark_offsets(self, partition: TopicPartition, timeout: float) -> tuple[int, int]: ...

    def commit(self, *, offsets: list[TopicPartition], asynchronous: bool) -> list[TopicPartition] | None: ...


def taken_over(
    consumer: Committed,
    partitions: list[TopicPartition],
    *,
    start_from: str,
    wait: Callable[[KafkaError], bool],
) -> list[TopicPartition] | None:
    """Return the partitions with offset and metadata as they are committed now.

    Where the group never committed, that is the first offset or, with `start_from` "latest", the next one: a
    crash before the first commit must not skip what arrives meanwhile. `wait` is called between attempts;
    None once it returns False.
    """
    while partitions:
        try:
            starts = []
            found = checked(consumer.committed(partitions, timeout=_CALL_SECONDS))
            for topic in {each.topic for each in found if each.offset < 0}:
                # Else a partition that was added stays unknown to a client that knew its topic before.
                consumer.list_topics(topic, timeout=_CALL_SECONDS)
            for each in found:
                offset = each.offset
                if offset < 0:
                    ends = consumer.get_watermark_offsets(each, timeout=_CALL_SECONDS)
                    offset = ends[start_from == "latest"]
                metadata = marked(offset, each.metadata)
                starts.append(TopicPartition(each.topic, each.partition, offset, metadata))
            checked(consumer.commit(offsets=starts, asynchronous=False) or [])
        except KafkaException as error:
            if not wait(error.args[0]):
                return None
        else:
            return starts
    return []


def marked(committed: int, metadata: str | None) -> str:
    """Return metadata that says that one more owner has not left in good order yet."""
    progress = progress_from(committed, metadata)
    return metadata_of(committed, replace(progress, unclean=progress.unclean + 1)).text


def checked(results: list[TopicPartition]) -> list[TopicPartition]:
    """Raise the first error there is: half of an answer is no answer."""
    for result in results:
        if result.error is not None:
            raise KafkaException(result.error)
    return results
