"""What a member makes of its client's complaints. No broker is there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from confluent_kafka import KafkaError
from unit.agent.fleets import SILENT

from kafleet.contacts import Contact
from kafleet.memberships import Membership

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from confluent_kafka import TopicPartition

    from kafleet.records import Partition


class Nobody:
    """Is told of no rebalance: there is none."""

    def assigned(self, _: Sequence[TopicPartition]) -> None: ...

    def revoked(self, _: Sequence[Partition]) -> None: ...

    def lost(self) -> None: ...


@pytest.fixture
def member() -> Iterator[Membership]:
    settings = {"bootstrap.servers": "127.0.0.1:1", "group.id": "group", "log_level": 0}
    made = Membership(settings, Contact(), Nobody(), logger=SILENT, joined=lambda _: None)
    yield made
    made.consumer.close()


@pytest.mark.parametrize(
    ("error", "fatal"),
    [
        (KafkaError(KafkaError._FATAL, "fenced"), "the consumer cannot go on: fenced"),
        (
            KafkaError(KafkaError.FENCED_INSTANCE_ID, "fenced", fatal=True),
            "the consumer cannot go on: fenced",
        ),
        (KafkaError(KafkaError._TRANSPORT, "refused"), None),
        (KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED, "no rights"), None),
    ],
)
def test_a_client_that_can_never_go_on_is_not_waited_for(
    member: Membership, error: KafkaError, fatal: str | None
) -> None:
    """The client's own word for it is not enough: `fatal()` of such an error is False."""
    member.report(error)

    assert member.fatal == fatal
    assert (error.code() == KafkaError._FATAL) <= (not error.fatal())
