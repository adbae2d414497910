"""Taking a partition over: from its committed offset, with what was remembered beside it.

Both are read in one request, so that they belong together. Before anything is read of the partition it is
committed that one more owner may die; see `suspects`. With transactions that is in one of them. What fails is
tried again, never taken for an absent offset.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from confluent_kafka import KafkaError, KafkaException, TopicPartition

from kafleet.commitmetadata import metadata_of, progress_from

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

_CALL_SECONDS = 5.0


class Committed(Protocol):
    """What is needed of the consumer."""

    def list_topics(self, topic: str, timeout: float) -> object: ...

    def committed(self, partitions: list[TopicPartition], timeout: float) -> list[TopicPartition]: ...

    def get_watermark_offsets(self, partition: TopicPartition, timeout: float) -> tuple[int, int]: ...


async def taken_over(
    read: Callable[[], Awaitable[list[TopicPartition]]],
    commit: Callable[[list[TopicPartition]], Awaitable[bool]],
    *,
    wait: Callable[[KafkaError | None], Awaitable[bool]],
) -> list[TopicPartition]:
    """Return the partitions that `read` returns, once `commit` says that all of them are committed so.

    `wait` is called between attempts; nothing is taken over once it returns False.
    """
    while True:
        error: KafkaError | None = None
        try:
            starts = await read()
            if await commit(starts):
                return starts
        except KafkaException as failed:
            error = failed.args[0]
        if not await wait(error):
            return []


def starts_of(
    consumer: Committed, partitions: list[TopicPartition], *, start_from: str
) -> list[TopicPartition]:
    """Return the partitions with offset and metadata as they are committed now, and one more owner.

    Where the group never committed, that is the first offset or, with `start_from` "latest", the next one: a
    crash before the first commit must not skip what arrives meanwhile.
    """
    if not partitions:
        return []
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
        starts.append(TopicPartition(each.topic, each.partition, offset, marked(offset, each.metadata)))
    return starts


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
