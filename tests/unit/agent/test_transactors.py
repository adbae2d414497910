"""Who is to blame for a transaction that failed: whoever is, lets the next of its key go first."""

from __future__ import annotations

from concurrent.futures import Future
from typing import TYPE_CHECKING

import pytest
from confluent_kafka import KafkaError, KafkaException, TopicPartition
from unit.agent.fleets import SILENT
from unit.agent.samples import TASKS, lane

from kafleet.records import Outgoing
from kafleet.transactors import Transactor, Write

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kafleet.ports import Position
    from kafleet.records import Partition

WRITE = Write(TASKS, 5, (Outgoing("results", b"k", b"5", ()),))


class Nobody:
    """A member of a group that has committed nothing."""

    def standing(self, _: Sequence[Position]) -> Future[object | None]:
        return Future()

    def committed(self, partitions: Sequence[Partition], *, seconds: float) -> list[TopicPartition]:
        assert seconds
        return [TopicPartition(*partition, 0, "") for partition in partitions]

    def expelled(self) -> None:
        """Do nothing."""


class Failing(Transactor):
    """Every transaction ends with the error; epochs are there for the asking."""

    error: KafkaError

    def begin_epoch(self) -> None:
        self._producer = object()  # never touched

    def _transact(self, *_: object) -> None:
        raise KafkaException(self.error)


@pytest.mark.parametrize(
    ("code", "is_blamed"),
    [
        (KafkaError._TIMED_OUT, False),
        (KafkaError.ILLEGAL_GENERATION, False),
        (KafkaError.NOT_COORDINATOR, False),
        (KafkaError.TOPIC_AUTHORIZATION_FAILED, True),
    ],
)
def test_a_write_alone_is_to_blame_only_for_what_a_record_can_cause(code: int, *, is_blamed: bool) -> None:
    transactor = Failing(lane(guarantee="ExactlyOnce"), "pod", Nobody(), logger=SILENT)
    transactor.error = KafkaError(code)
    outcome = transactor.transact([WRITE], [])

    assert not outcome.is_committed
    assert list(outcome.failed) == ([0] if is_blamed else [])
