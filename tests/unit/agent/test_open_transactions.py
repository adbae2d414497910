"""What is written into a transaction that has begun, before it is to be ended."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from confluent_kafka import KafkaError, KafkaException
from unit.agent.ledgers import Exact, Ledger, expected
from unit.agent.producers import Epoch, Idle
from unit.agent.samples import record
from virtual import run, until

from kafleet.epochs import GivenUp
from kafleet.ports import Assignment
from kafleet.records import Outgoing, Partition

if TYPE_CHECKING:
    from collections.abc import Sequence


class Client(Idle):
    """A producer that answers each write as it is told to, and keeps what it took."""

    def __init__(self, answers: Sequence[Exception | None] = ()) -> None:
        self.answers = list(answers)
        self.took: list[object] = []
        self.fatal: KafkaException | None = None

    def poll(self, _: float) -> None:
        if self.fatal is not None:
            raise self.fatal

    def produce(self, *given: object) -> None:
        answer = self.answers.pop(0) if self.answers else None
        if answer is not None:
            raise answer
        self.took.append(given[1])


def write_each(epoch: Epoch[Client], *values: bytes) -> None:
    for value in values:
        epoch.write([Outgoing("results", None, value, [])])


def test_what_the_client_has_no_room_for_is_written_in_order_when_it_has() -> None:
    client = Client([None, BufferError()])
    epoch = Epoch(client)
    write_each(epoch, b"1", b"2", b"3")

    assert client.took == [b"1"]
    epoch.flush()
    assert client.took == [b"1", b"2", b"3"]


@pytest.mark.parametrize(
    "error", [TypeError("headers"), KafkaException(KafkaError(KafkaError.MSG_SIZE_TOO_LARGE))]
)
def test_what_the_client_does_not_take_fails_the_transaction_and_is_named(error: Exception) -> None:
    epoch = Epoch(Client([None, error]))
    write_each(epoch, b"1", b"2", b"3")

    with pytest.raises(GivenUp):
        epoch.flush()
    assert list(epoch.failed) == [1]


def test_what_is_fatal_is_told_by_the_end_of_the_transaction() -> None:
    client = Client()
    epoch = Epoch(client)
    write_each(epoch, b"1")
    client.fatal = KafkaException(KafkaError(KafkaError._FATAL))
    epoch.serve()
    client.fatal = None

    with pytest.raises(KafkaException):
        epoch.flush()


def test_a_connection_that_was_lost_before_the_first_record_does_no_harm() -> None:
    epoch = Epoch(Client())
    epoch._notes.on_loss()
    write_each(epoch, b"1")
    epoch.flush()

    epoch._notes.on_loss()
    with pytest.raises(GivenUp):
        epoch.flush()


def test_what_handlers_end_with_is_written_before_the_transaction_is_to_be_ended() -> None:
    ledger = Ledger()
    ledger.seconds = 0.03

    async def story() -> None:
        await Exact(ledger, keys=2, count=200).finish(200)

    run(story())

    assert ledger.results == expected(2, 200)
    assert ledger.written_before > 100
    assert ledger.epochs == 1


def test_what_was_written_for_a_partition_that_has_gone_is_never_committed() -> None:
    """The transaction is aborted; what else was in it is committed by the next one."""
    ledger = Ledger()
    other = Partition("tasks", 1)

    async def story() -> None:
        replica = Exact(ledger, keys=1, count=1)
        await until(0.05)
        replica.dispatcher.assign({other: Assignment(1, 0, "")})
        replica.dispatcher.take([record(1, key=b"kept")])
        replica.dispatcher.take([record(0, key=b"gone")._replace(partition=other)])
        await until(0.08)
        assert len(ledger.written) == 2
        replica.dispatcher.lose([other])
        await replica.finish(2)

    run(story())

    assert ledger.results == {b"0": [b"0"], b"kept": [b"1"]}
    assert ledger.epochs == 2  # the first is the process's


def test_a_transaction_waits_for_what_is_on_its_way_but_not_for_ever() -> None:
    """The transactor's own wait would be a fight for the interpreter's lock, one record at a time."""
    ledger = Ledger()
    left = [500, 300, 100, 100]
    ledger.serve = lambda: left.pop(0) if left else 0  # type: ignore[method-assign]

    async def story(*, is_stuck: bool) -> float:
        if is_stuck:
            ledger.serve = lambda: 500  # type: ignore[method-assign]
        begins = asyncio.get_running_loop().time()
        replica = Exact(ledger, keys=1, count=1)
        await replica.sink.commit(())
        return asyncio.get_running_loop().time() - begins

    assert run(story(is_stuck=False)) < 0.1
    assert len(left) == 1
    assert 0.5 < run(story(is_stuck=True)) < 0.7
