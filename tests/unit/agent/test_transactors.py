"""What becomes of a transaction that fails, and who is to blame for it."""

from __future__ import annotations

import logging
from concurrent.futures import Future
from functools import partial
from threading import Event
from typing import TYPE_CHECKING, Any

import pytest
from confluent_kafka import KafkaError, KafkaException, TopicPartition
from unit.agent.fleets import SILENT
from unit.agent.producers import Epoch, Idle
from unit.agent.samples import TASKS, lane, record

from kafleet.backlogs import Item, Lot
from kafleet.clientlogs import ClientLog
from kafleet.ports import Assignment, Position
from kafleet.records import Outgoing, Partition
from kafleet.transactors import Transactor

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from kafleet.epochs import Notes, ProducerEpoch

    Cut = Callable[[Notes], None]


def written() -> Item:
    """Return a record whose handler has ended."""
    item = Item(record(5), Lot(TASKS, Assignment(1, 5), lane().delivery, now=0.0))
    item.outgoing = (Outgoing("results", b"k", b"5", []),)
    return item


WORK = written()


class Nobody:
    """A member of a group that has committed nothing."""

    def standing(self, _: Sequence[Position]) -> Future[object | None]:
        return Future()

    def committed(self, partitions: Sequence[Partition], *, seconds: float) -> list[TopicPartition]:
        assert seconds
        return [TopicPartition(*partition, 0, "") for partition in partitions]

    def undecided(self, _: Sequence[Partition]) -> Sequence[Partition]:
        return ()

    def expelled(self) -> None:
        """Do nothing."""


class Client(Idle):
    """A producer; the sending of positions does not return before it `may_return`."""

    def __init__(self) -> None:
        self.may_return = Event()
        self.cut: Callable[[], None] | None = None
        self._is_sending = False

    def poll(self, _: float) -> None:
        if self.cut is not None and self._is_sending:
            self.cut()

    def send_offsets_to_transaction(self, *_: object) -> None:
        self._is_sending = True
        self.may_return.wait()


class Failing(Transactor):
    """Every transaction ends with the error; epochs are there for the asking."""

    error: Exception

    def _next_epoch(self) -> Epoch[Client]:
        return Epoch(Client())

    def _transact(self, *_: object) -> None:
        raise self.error


class Member(Nobody):
    """A member in good standing."""

    def standing(self, _: Sequence[Position]) -> Future[object | None]:
        future: Future[object | None] = Future()
        future.set_result(object())
        return future


class WithClients(Transactor):
    """Each epoch has a client of its own, of which the first never returns."""

    clients: list[Client]
    cut: Cut | None

    def _next_epoch(self) -> Epoch[Client]:
        client = Client()
        if self.clients:
            client.may_return.set()
        self.clients.append(client)
        epoch = Epoch(client, self._seconds)
        client.cut = partial(self.cut, epoch._notes) if self.cut else None
        return epoch


def fails(notes: Notes) -> None:
    notes.on_error(KafkaError(KafkaError._TRANSPORT))


def is_closed(notes: Notes) -> None:
    client_log = ClientLog(notes.on_loss)
    client_log.log(logging.INFO, "%s [%s] %s", "GETPID", "pod#producer-1", "retrying")
    assert notes.cut is None
    client_log.log(logging.INFO, "%s [%s] %s", "FAIL", "pod#producer-1", "connection closed by peer")


@pytest.mark.parametrize("cut", [None, fails, is_closed])
def test_a_client_that_never_returns_is_left_behind(cut: Cut | None) -> None:
    """At the end of the transaction's time, or at once if a connection is lost."""
    transactor = WithClients(lane(guarantee="ExactlyOnce"), "pod", Member(), logger=SILENT)
    transactor.clients, transactor.cut = [], cut
    transactor._seconds = 60.0 if cut else 1.0

    assert not transactor.transact([WORK], []).is_committed
    assert len(transactor.clients) == 2
    assert transactor.transact([WORK], []).is_committed
    transactor.clients[0].may_return.set()


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
    transactor.error = KafkaException(KafkaError(code))
    outcome = transactor.transact([WORK], [])

    assert not outcome.is_committed
    assert list(outcome.failed) == ([0] if is_blamed else [])


class Slow(Failing):
    """No transaction is over in time."""

    def _next_epoch(self) -> Epoch[Client]:
        return Epoch(Client(), seconds=0.0)

    def _transact(self, *arguments: Any) -> None:  # noqa: ANN401 - as the other's
        epoch: ProducerEpoch = arguments[0]
        epoch.start()
        epoch.check()


def test_a_write_alone_that_brokers_take_for_ever_to_accept_waits_for_its_next_try() -> None:
    """Else it would be tried first again and again, and everything else of the replica would wait."""
    transactor = Slow(lane(guarantee="ExactlyOnce"), "pod", Nobody(), logger=SILENT)

    assert list(transactor.transact([WORK], []).failed) == [0]
    assert not transactor.transact([WORK, WORK], []).failed


class Ended(Client):
    """A producer of a coordinator that forgets a marker: the group holds the positions until the next one."""

    def __init__(self, group: Undecided) -> None:
        super().__init__()
        self.may_return.set()
        self._group = group

    def send_offsets_to_transaction(self, *arguments: Any) -> None:  # noqa: ANN401 - as the client's
        offsets = arguments[0]
        self._group.pending = {Partition(each.topic, each.partition): each for each in offsets}

    def commit_transaction(self, _: float) -> None:
        if self._group.forgets:
            self._group.forgets = False
            raise KafkaException(KafkaError(KafkaError._STATE))
        self._group.found |= self._group.pending
        self._group.pending = {}


class Undecided(Member):
    """A group that answers for no partition of which a position is pending."""

    def __init__(self) -> None:
        self.forgets = True
        self.is_ours = True
        self.pending: dict[Partition, TopicPartition] = {}
        self.found: dict[Partition, TopicPartition] = {}

    def standing(self, _: Sequence[Position]) -> Future[object | None]:
        future: Future[object | None] = Future()
        future.set_result(object() if self.is_ours or self.forgets else None)
        return future

    def committed(self, partitions: Sequence[Partition], *, seconds: float) -> list[TopicPartition]:
        assert seconds
        if self.pending.keys() & set(partitions):
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT))
        return [self.found.get(each, TopicPartition(*each, 0, "")) for each in partitions]

    def undecided(self, partitions: Sequence[Partition]) -> list[Partition]:
        return [each for each in partitions if each in self.pending]


class Forgotten(Transactor):
    """Each epoch has a client of its own; a new one decides nothing, as the coordinator knows of nothing."""

    group: Undecided
    epochs = 0

    def _next_epoch(self) -> Epoch[Client]:
        self.epochs += 1
        return Epoch(Ended(self.group))


def forgotten(group: Undecided) -> Forgotten:
    transactor = Forgotten(lane(guarantee="ExactlyOnce"), "pod", group, logger=SILENT)
    transactor.group = group
    return transactor


@pytest.mark.timeout(20)
def test_a_commit_of_which_the_group_was_not_told_is_made_again() -> None:
    group = Undecided()
    transactor = forgotten(group)
    outcome = transactor.transact([WORK], [Position(TASKS, 1, 6, "")])

    assert outcome.is_committed
    assert set(outcome.settled) == {0}
    assert not group.pending
    assert group.found[TASKS].offset == 6


@pytest.mark.timeout(20)
def test_what_others_have_by_now_is_neither_waited_for_nor_committed_again() -> None:
    group = Undecided()
    group.is_ours = False
    transactor = forgotten(group)

    assert not transactor.transact([WORK], [Position(TASKS, 1, 6, "")]).is_committed
    assert not group.found


@pytest.mark.timeout(20)
def test_positions_whose_commit_was_never_asked_for_are_not_committed_by_the_next_one() -> None:
    group = Undecided()
    transactor = forgotten(group)
    group.pending = {TASKS: TopicPartition(*TASKS, 6, "")}
    transactor.begin_epoch()

    transactor._end_again([Position(TASKS, 1, 6, "")], [])

    assert not group.found
    assert transactor.epochs == 2  # the second aborts it
