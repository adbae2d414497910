"""Asking which positions of a group are undecided, which a client that waits for them does not tell.

Only where they have been for seconds: librdkafka aborts the process if a broker is lost in the midst of this
question (its issue 4605).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from confluent_kafka import ConsumerGroupTopicPartitions, KafkaError, TopicPartition
from confluent_kafka.admin import AdminClient

from kafleet.connections import librdkafka_settings
from kafleet.records import Partition

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from kafleet.lanes import Lane

_ANSWER_SECONDS = 5.0


def undecided_of(lane: Lane, partitions: Sequence[Partition]) -> Collection[Partition]:
    """Return the partitions whose position in the lane's group a transaction holds; blocks."""
    client = AdminClient({**librdkafka_settings(lane), "log_level": 0})
    asked = ConsumerGroupTopicPartitions(lane.group, [TopicPartition(*each) for each in partitions])
    [answer] = client.list_consumer_group_offsets(
        [asked], require_stable=True, request_timeout=_ANSWER_SECONDS
    ).values()
    return frozenset(
        Partition(each.topic, each.partition)
        for each in answer.result().topic_partitions
        if each.error is not None and each.error.code() == KafkaError.UNSTABLE_OFFSET_COMMIT
    )
