"""One transaction after the other, under one transactional id. Everything here blocks: it is for a thread.

The invariant: what was not answered is never sent again in the same epoch of the id. librdkafka has no
transactions V2 (KIP-890): if an EndTxn is sent again, the first one may arrive late, in the midst of the
next transaction, and end that. So after any error the producer is dropped and the next one takes a new epoch,
which fences whatever is still on its way. Only then is read back what became of the transaction.
"""

from __future__ import annotations

import time
from concurrent.futures import Future
from functools import partial
from threading import Thread
from typing import TYPE_CHECKING, NamedTuple, Protocol

from confluent_kafka import KafkaError, KafkaException, Producer, TopicPartition

from kafleet.clientlogs import ClientLog
from kafleet.commitmetadata import progress_from
from kafleet.memberships import EXPELLED
from kafleet.ports import WriteFailed
from kafleet.records import Partition
from kafleet.writing import failure_of, producer_settings

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from confluent_kafka import Message
    from structlog.typing import FilteringBoundLogger

    from kafleet.lanes import Lane
    from kafleet.ports import Position
    from kafleet.records import Outgoing

TRANSACTION_SECONDS = 10.0
"""How long one transaction may take before its producer is dropped; doubled after each that took longer."""
_LONGEST_TRANSACTION_SECONDS = 160.0
_SLACK_SECONDS = 5.0  # the coordinator may end a transaction only when we have given it up
_SLICE_SECONDS = 0.5
_INIT_SECONDS = 10.0
_READ_SECONDS = 5.0
_PAUSE_SECONDS = 0.2
# librdkafka's own codes have no other names.
_FENCED = frozenset(
    {KafkaError._FENCED, KafkaError.PRODUCER_FENCED, KafkaError.INVALID_PRODUCER_EPOCH}  # noqa: SLF001
)
_OF_THE_EPOCH = _FENCED | {
    KafkaError._PURGE_QUEUE,  # noqa: SLF001
    KafkaError._PURGE_INFLIGHT,  # noqa: SLF001
    KafkaError._STATE,  # noqa: SLF001
    KafkaError._FATAL,  # noqa: SLF001
    KafkaError.OUT_OF_ORDER_SEQUENCE_NUMBER,
    KafkaError.UNKNOWN_PRODUCER_ID,
    KafkaError.INVALID_PRODUCER_ID_MAPPING,
    KafkaError.INVALID_TXN_STATE,
}
"""What is wrong with the transaction, not with the record that is told of it."""
_OF_A_TOPIC = frozenset(
    {
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.TOPIC_EXCEPTION,
        KafkaError.UNKNOWN_TOPIC_OR_PART,
    }
)
"""What a record can do to the transaction it is in, without being told of it."""
_TRANSPORT = KafkaError._TRANSPORT  # noqa: SLF001


class Write(NamedTuple):
    """All that one record led to; settled by the transaction that holds it."""

    partition: Partition
    offset: int
    outgoing: Sequence[Outgoing]


class Outcome(NamedTuple):
    """What came of the writes, by index; `failed` tells why one cannot be made. Others may be made again."""

    is_committed: bool
    settled: Collection[int] = ()
    failed: Mapping[int, WriteFailed] = {}


class Membership(Protocol):
    """What is needed of the group's member."""

    def standing(self, positions: Sequence[Position], /) -> Future[object | None]:
        """Ask for the group's metadata; None if a position is of an assignment that is over."""

    def committed(self, partitions: Sequence[Partition], *, seconds: float) -> list[TopicPartition]:
        """Read what the group has committed; transactions that are not decided are waited for."""

    def undecided(self, partitions: Sequence[Partition], /) -> Collection[Partition]:
        """Ask of which partitions a transaction holds the position."""

    def expelled(self) -> None:
        """Take note that the group does not know this member any more."""


class CannotGoOn(Exception):
    """The transactional id is somebody else's now."""


class _GivenUp(Exception):
    """A transaction cannot be ended in good order; why."""


class _TookTooLong(_GivenUp):
    """A transaction was not over in time."""


class Transactor:
    """Makes transactions. Brokers that are away are waited for; CannotGoOn once the id is taken."""

    def __init__(
        self, lane: Lane, client_id: str, membership: Membership, *, logger: FilteringBoundLogger
    ) -> None:
        self.transactional_id = f"{lane.group}/{client_id}"
        self.is_stopping = False
        self._settings = producer_settings(lane, client_id)
        self._membership = membership
        self._logger = logger
        self._seconds = TRANSACTION_SECONDS
        self._producer: Producer | None = None
        self._complaint: str | None = None  # of the brokers, about a new epoch
        self._failed: dict[int, WriteFailed] = {}
        self._cut: str | None = None  # how a connection was lost since the transaction began
        self._asked: Mapping[Partition, Position] = {}  # whose commit was asked for last

    def begin_epoch(self) -> None:
        """Take a new epoch: what an earlier producer of this id has open is aborted, and itself fenced."""
        while not self.is_stopping:
            producer = Producer(self._epoch_settings(), logger=ClientLog(self._on_loss))
            try:
                producer.init_transactions(_INIT_SECONDS)
            except KafkaException as error:
                self._complain(error.args[0])
                time.sleep(_PAUSE_SECONDS)
            else:
                self._producer = producer
                self._complaint = None
                return

    def transact(self, writes: Sequence[Write], positions: Sequence[Position]) -> Outcome:
        """Make writes and commit positions in one transaction; returns when it is certain what came of it."""
        if self._producer is None:
            self.begin_epoch()
        producer, self._producer = self._producer, None
        if producer is None:
            return Outcome(is_committed=False)
        began = time.monotonic()
        try:
            self._transact(producer, writes, positions, began + self._seconds)
        except (KafkaException, _GivenUp) as error:
            problem = error.with_traceback(None)  # whose frames would keep the producer alive
        else:
            self._producer = producer
            return Outcome(is_committed=True, settled=range(len(writes)))
        del producer
        return self._resolved(writes, positions, problem, time.monotonic() - began)

    def _transact(
        self, producer: Producer, writes: Sequence[Write], positions: Sequence[Position], deadline: float
    ) -> None:
        producer.poll(0)  # what it has to say of the time before
        self._failed, self._cut = {}, None
        standing = self._membership.standing(positions)
        producer.begin_transaction()
        for index, write in enumerate(writes):
            for outgoing in write.outgoing:
                self._produce(producer, index, outgoing, deadline)
        # First the records: while the markers of the last transaction are being written, the coordinator
        # answers offsets with CONCURRENT_TRANSACTIONS, and librdkafka would wait for its retry.
        producer.flush(_SLICE_SECONDS)
        self._check(deadline)
        try:
            metadata = standing.result(deadline - time.monotonic())
        except TimeoutError:
            raise _GivenUp("the thread of the group's member is silent") from None
        if metadata is None:
            raise _GivenUp("a partition was taken away")
        self._send_offsets(producer, positions, metadata, deadline)
        self._asked = {each.partition: each for each in positions}
        self._commit(producer, deadline)

    def _commit(self, producer: Producer, deadline: float) -> None:
        while True:
            try:
                producer.commit_transaction(_SLICE_SECONDS)
            except KafkaException as error:
                producer.poll(0)
                self._check(deadline)
                if not error.args[0].retriable():
                    raise
            else:
                return

    def _send_offsets(
        self, producer: Producer, positions: Sequence[Position], metadata: object, deadline: float
    ) -> None:
        """Add positions to the transaction.

        The client's call heeds no timeout and may never return, where a connection is lost
        (librdkafka#5456). It is left behind then, in a thread of its own, as its producer is.
        """
        offsets = [TopicPartition(*each.partition, each.offset, each.metadata) for each in positions]
        sent: Future[None] = Future()

        def send() -> None:
            try:
                producer.send_offsets_to_transaction(offsets, metadata, deadline - time.monotonic())
            except KafkaException as error:
                sent.set_exception(error)
            else:
                sent.set_result(None)

        Thread(target=send, name="kafka-offsets", daemon=True).start()
        while True:
            try:
                return sent.result(_SLICE_SECONDS)
            except TimeoutError:
                producer.poll(0)
                self._check(deadline)

    def _produce(self, producer: Producer, index: int, outgoing: Outgoing, deadline: float) -> None:
        while True:
            try:
                # By position, as in `writing`.
                producer.produce(
                    outgoing.topic,
                    outgoing.value,
                    outgoing.key,
                    -1,
                    partial(self._on_delivery, index),
                    None,
                    0,
                    list(outgoing.headers),
                )
            except BufferError:
                producer.poll(_SLICE_SECONDS)
                self._check(deadline)
            except KafkaException as error:
                self._note(index, error.args[0], outgoing.topic)
                self._check(deadline)
                raise
            else:
                return

    def _on_delivery(self, index: int, error: KafkaError | None, message: Message) -> None:
        if error is not None:
            self._note(index, error, message.topic())

    def _note(self, index: int, error: KafkaError, topic: str) -> None:
        if error.code() not in _OF_THE_EPOCH:
            self._failed[index] = failure_of(error, topic)

    def _check(self, deadline: float) -> None:
        """Give up where waiting would be for nothing."""
        if self._failed:
            raise _GivenUp(str(next(iter(self._failed.values()))))
        if self.is_stopping:
            raise _GivenUp("the process ends")
        if self._cut is not None:  # what was on its way is not sent again
            raise _GivenUp(self._cut)
        if time.monotonic() >= deadline:
            raise _TookTooLong(f"it took more than {self._seconds:g} s")

    def _resolved(
        self, writes: Sequence[Write], positions: Sequence[Position], error: Exception, seconds: float
    ) -> Outcome:
        """Fence the transaction, and learn from what is committed then what came of it."""
        code = error.args[0].code() if isinstance(error, KafkaException) else None
        if code in EXPELLED:
            self._membership.expelled()
        if code in _FENCED and seconds < self._seconds:
            # The coordinator fences by itself only what took longer. Taking the id back would not end it.
            raise CannotGoOn(f"another process has taken the transactional id {self.transactional_id!r} over")
        self._logger.warning("transaction failed, taking a new epoch", error=str(error))
        if isinstance(error, _TookTooLong):
            self._seconds = min(2 * self._seconds, _LONGEST_TRANSACTION_SECONDS)
        else:
            self._seconds = TRANSACTION_SECONDS
        failed = dict(self._failed)
        if len(writes) == 1 and (code in _OF_A_TOPIC or isinstance(error, _TookTooLong)):
            failed.setdefault(0, WriteFailed(str(error)))  # it waits for its next try, the others go on
        self.begin_epoch()
        settled = frozenset(self._settled(writes, positions))
        if settled:  # then all are, but for those of partitions that others have by now
            return Outcome(is_committed=True, settled=settled)
        return Outcome(is_committed=False, failed=failed)

    def _settled(self, writes: Sequence[Write], positions: Sequence[Position]) -> Iterator[int]:
        partitions = list({each.partition for each in writes} | {each.partition for each in positions})
        while partitions and not self.is_stopping:
            try:
                found = self._membership.committed(partitions, seconds=_READ_SECONDS)
            except KafkaException as error:
                self._logger.warning("cannot read back what is committed", error=error.args[0].str())
                partitions = self._owned(partitions, positions)
                time.sleep(_PAUSE_SECONDS)
                continue
            known = {
                Partition(each.topic, each.partition): (
                    each.offset,
                    progress_from(each.offset, each.metadata).settled,
                )
                for each in found
            }
            for index, write in enumerate(writes):
                offset, above = known.get(write.partition, (0, ()))
                if write.offset < offset or any(write.offset in run for run in above):
                    yield index
            return

    def _owned(self, partitions: list[Partition], positions: Sequence[Position]) -> list[Partition]:
        """Return of partitions that are undecided those that are still ours, which may get decided by this.

        Only a transaction of this id can hold the position of a partition that stayed ours, and the new epoch
        ended what was open. So the coordinator counts it as over, and has not told the group; see
        docs/decisions/0038. What the group holds is decided with the next transaction of this id.
        """
        try:
            ours = {each.partition: each for each in positions if self._standing(each)}
            held = self._membership.undecided(list(ours)) if ours else ()
            asked = [self._asked[each] for each in held if each in self._asked]
            asked = [each for each in asked if self._standing(each)]
            if held:
                self._end_again([ours[each] for each in held], asked)
        except (KafkaException, _GivenUp, TimeoutError) as error:
            self._logger.warning("cannot look for undecided positions", error=str(error))
            return partitions
        return [each for each in partitions if each in ours]

    def _standing(self, position: Position) -> object | None:
        return self._membership.standing([position]).result(_READ_SECONDS)

    def _end_again(self, held: Sequence[Position], asked: Sequence[Position]) -> None:
        """End a transaction with the positions that are held: by a commit if that was asked for of all."""
        is_commit = len(asked) == len(held)
        self._logger.warning("positions stay undecided, ending their transaction again", commit=is_commit)
        metadata = self._standing(held[0])
        producer, self._producer = self._producer, None
        if producer is None or metadata is None:
            return  # the next transaction begins with a new epoch
        self._failed, self._cut = {}, None
        deadline = time.monotonic() + self._seconds
        try:
            producer.begin_transaction()
            self._send_offsets(producer, asked if is_commit else held, metadata, deadline)
            if is_commit:
                self._commit(producer, deadline)
        except (KafkaException, _GivenUp) as error:
            self._logger.warning("transaction failed, taking a new epoch", error=str(error))
        del producer
        self.begin_epoch()  # which aborts what is open

    def _complain(self, error: KafkaError) -> None:
        if error.str() != self._complaint:
            self._complaint = error.str()
            self._logger.error(
                "cannot begin transactions, trying again",
                transactional_id=self.transactional_id,
                error=self._complaint,
            )

    def _on_loss(self) -> None:
        self._cut = "a connection was lost"

    def _on_error(self, error: KafkaError) -> None:
        if error.code() == _TRANSPORT:
            self._cut = error.str()

    def _epoch_settings(self) -> dict[str, object]:
        never_ms = int(2 * self._seconds * 1000)  # with its jitter still after the producer is dropped
        return {
            **self._settings,
            "transactional.id": self.transactional_id,
            "transaction.timeout.ms": int((self._seconds + _SLACK_SECONDS) * 1000),
            "retry.backoff.ms": never_ms,
            "retry.backoff.max.ms": never_ms,
            "topic.metadata.propagation.max.ms": 2_000,
            "delivery.report.only.error": True,
            "error_cb": self._on_error,
        }
