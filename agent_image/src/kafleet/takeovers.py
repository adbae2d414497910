"""Where an assigned partition begins: at its committed offset, with what was remembered beside it.

Both are read in one request, so that they belong together. Nothing is read of a partition before they are
known: a read that failed is tried again, never taken for an offset that is absent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from confluent_kafka import KafkaError, KafkaException, TopicPartition

if TYPE_CHECKING:
    from collections.abc import Callable

_CALL_SECONDS = 5.0


class Committed(Protocol):
    """What is needed of the consumer."""

    def committed(self, partitions: list[TopicPartition], timeout: float) -> list[TopicPartition]: ...

    def get_watermark_offsets(self, partition: TopicPartition, timeout: float) -> tuple[int, int]: ...

    def commit(self, *, offsets: list[TopicPartition], asynchronous: bool) -> list[TopicPartition] | None: ...


def starts_of(
    consumer: Committed,
    partitions: list[TopicPartition],
    *,
    is_pinned: bool,
    wait: Callable[[KafkaError], bool],
) -> list[TopicPartition] | None:
    """Return the partitions with committed offset and metadata; the offset is below 0 where there is none.

    `is_pinned`: where there is none, the end of the log is committed first. Otherwise a crash before the
    first commit would skip what arrived meanwhile. `wait` is called between attempts; None once it returns
    False.
    """
    while True:
        try:
            found = _checked(consumer.committed(partitions, timeout=_CALL_SECONDS))
            if is_pinned:
                _pin(consumer, [each for each in found if each.offset < 0])
        except KafkaException as error:
            if not wait(error.args[0]):
                return None
        else:
            return found


def _pin(consumer: Committed, fresh: list[TopicPartition]) -> None:
    for each in fresh:
        _, each.offset = consumer.get_watermark_offsets(each, timeout=_CALL_SECONDS)
    if fresh:
        _checked(consumer.commit(offsets=fresh, asynchronous=False) or [])


def _checked(results: list[TopicPartition]) -> list[TopicPartition]:
    """Raise the first error there is: half of an answer is no answer."""
    for result in results:
        if result.error is not None:
            raise KafkaException(result.error)
    return results
