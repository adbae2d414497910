"""Taking a partition over: from its committed offset, with what was remembered beside it.

Both are read in one request, so that they belong together. Before anything is read of the partition it is
committed that one more owner may die; see `suspects`. With transactions that is in one of them. What fails is
tried again, never taken for an absent offset.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from confluent_kafka import KafkaError, KafkaException, TopicPartition

from kafleet.commitmetadata import metadata_of, progress_from

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

_CALL_SECONDS = 5.0
_DECISION_SECONDS = 2.0
_TIMED_OUT = KafkaError._TIMED_OUT  # noqa: SLF001 - librdkafka's own codes have no other name


class Committed(Protocol):
    """What is needed of the consumer."""

    def list_topics(self, topic: str, timeout: float) -> object: ...

    def committed(self, partitions: list[TopicPartition], timeout: float) -> list[TopicPartition]: ...

    def get_watermark_offsets(self, partition: TopicPartition, timeout: float) -> tuple[int, int]: ...


async def take_over(
    partitions: list[TopicPartition],
    read: Callable[[list[TopicPartition]], Awaitable[list[TopicPartition]]],
    begin: Callable[[list[TopicPartition]], Awaitable[bool]],
    *,
    wait: Callable[[list[TopicPartition], KafkaError | None], Awaitable[bool]],
) -> None:
    """Begin partitions as soon as `read` returns where, and `begin` says that it is committed so.

    `wait` is called between attempts, with what is left; nothing more is taken over once it returns False.
    """
    left = partitions
    while left:
        error: KafkaError | None = None
        try:
            starts = await read(left)
            if await begin(starts):
                begun = {(each.topic, each.partition) for each in starts}
                left = [each for each in left if (each.topic, each.partition) not in begun]
        except KafkaException as failed:
            error = failed.args[0]
        if left and not await wait(left, error):
            return


def starts_of(
    consumer: Committed, partitions: list[TopicPartition], *, start_from: str
) -> list[TopicPartition]:
    """Return the partitions with offset and metadata as they are committed now, and one more owner.

    Those whose offsets a transaction holds are left out. Where the group never committed, that is the first
    offset or, with `start_from` "latest", the next one: a crash before the first commit must not skip what
    arrives meanwhile.
    """
    if not partitions:
        return []
    starts = []
    found = _decided(consumer, partitions)
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


def _decided(consumer: Committed, partitions: list[TopicPartition]) -> list[TopicPartition]:
    """Return what is committed; one undecided offset holds up the client's answer for all, not for others."""
    try:
        return checked(consumer.committed(partitions, timeout=_DECISION_SECONDS))
    except KafkaException as error:
        if len(partitions) == 1 or error.args[0].code() != _TIMED_OUT:
            raise
    found = []
    for each in partitions:
        with suppress(KafkaException):
            found += checked(consumer.committed([each], timeout=_DECISION_SECONDS))
    return found


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
