"""One transaction after the other, under one transactional id. Everything here blocks: it is for a thread.

The invariant: what was not answered is never sent again in the same epoch of the id. librdkafka has no
transactions V2 (KIP-890): if an EndTxn is sent again, the first one may arrive late, in the midst of the
next transaction, and end that. So after any error the producer is dropped and the next one takes a new epoch,
which fences whatever is still on its way. Only then is read back what became of the transaction.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple, Protocol

from confluent_kafka import KafkaError, KafkaException

from kafleet.commitmetadata import progress_from
from kafleet.epochs import FENCED, GivenUp, ProducerEpoch, TookTooLong
from kafleet.memberships import EXPELLED
from kafleet.ports import WriteFailed
from kafleet.records import Partition
from kafleet.writing import producer_settings

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
    from concurrent.futures import Future

    from confluent_kafka import TopicPartition
    from structlog.typing import FilteringBoundLogger

    from kafleet.backlogs import Item
    from kafleet.lanes import Lane
    from kafleet.ports import Position
    from kafleet.records import Outgoing

TRANSACTION_SECONDS = 10.0
"""How long one transaction may take before its producer is dropped; doubled after each that took longer."""
_LONGEST_TRANSACTION_SECONDS = 160.0
_READ_SECONDS = 5.0
_PAUSE_SECONDS = 0.2
_OF_A_TOPIC = frozenset(
    {
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.TOPIC_EXCEPTION,
        KafkaError.UNKNOWN_TOPIC_OR_PART,
    }
)
"""What a record can do to the transaction it is in, without being told of it."""


class Outcome(NamedTuple):
    """What came of the works, by index; `failed` tells why one cannot be made. Others may be made again."""

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
        self._epoch: ProducerEpoch | None = None
        self._complaint: str | None = None  # of the brokers, about a new epoch
        self._asked: Mapping[Partition, Position] = {}  # whose commit was asked for last

    def opened(self) -> Callable[[Sequence[Outgoing]], None] | None:
        """Return what writes into the transaction that has begun, without waiting; None if none has."""
        return None if self._epoch is None else self._epoch.write

    def serve(self) -> int:
        """Let the client call back, without waiting; returns how many records are on their way."""
        return 0 if self._epoch is None else self._epoch.serve()

    def begin_epoch(self) -> None:
        """Take a new epoch: what an earlier producer of this id has open is aborted, and itself fenced."""
        self._epoch = None
        while not self.is_stopping:
            try:
                self._epoch = self._next_epoch()
            except KafkaException as error:
                self._complain(error.args[0])
                time.sleep(_PAUSE_SECONDS)
            else:
                self._complaint = None
                return

    def transact(self, works: Sequence[Item], positions: Sequence[Position]) -> Outcome:
        """Write what works led to and commit positions; returns when it is certain what came of it.

        Of the first works it was written since the transaction has begun.
        """
        if self._epoch is None:
            self.begin_epoch()
        epoch, self._epoch = self._epoch, None
        if epoch is None:
            return Outcome(is_committed=False)
        try:
            self._transact(epoch, works, positions)
        except (KafkaException, GivenUp) as error:
            problem = error.with_traceback(None)  # whose frames would keep the producer alive
        else:
            self._go_on(epoch)
            return Outcome(is_committed=True, settled=range(len(works)))
        failed, seconds = dict(epoch.failed), epoch.seconds
        del epoch
        return self._resolved(works, positions, problem, failed, seconds)

    def _transact(self, epoch: ProducerEpoch, works: Sequence[Item], positions: Sequence[Position]) -> None:
        epoch.start()
        standing = self._membership.standing(positions)
        for work in works[epoch.written :]:
            epoch.write(work.outgoing or ())
        # First the records: while the markers of the last transaction are being written, the coordinator
        # answers offsets with CONCURRENT_TRANSACTIONS, and librdkafka would wait for its retry.
        epoch.flush()
        epoch.send_offsets(positions, epoch.standing(standing))
        self._asked = {each.partition: each for each in positions}
        epoch.commit()

    def _go_on(self, epoch: ProducerEpoch) -> None:
        """Begin the next transaction; where that fails, the next one begins with a new epoch."""
        try:
            epoch.begin()
        except KafkaException as error:
            self._logger.warning("cannot go on, taking a new epoch", error=str(error))
        else:
            self._epoch = epoch

    def _resolved(
        self,
        works: Sequence[Item],
        positions: Sequence[Position],
        error: Exception,
        failed: dict[int, WriteFailed],
        seconds: float,
    ) -> Outcome:
        """Fence the transaction, and learn from what is committed then what came of it."""
        code = error.args[0].code() if isinstance(error, KafkaException) else None
        if code in EXPELLED:
            self._membership.expelled()
        if code in FENCED and seconds < self._seconds:
            # The coordinator fences by itself only what took longer. Taking the id back would not end it.
            raise CannotGoOn(f"another process has taken the transactional id {self.transactional_id!r} over")
        self._logger.warning("transaction failed, taking a new epoch", error=str(error))
        if isinstance(error, TookTooLong):
            self._seconds = min(2 * self._seconds, _LONGEST_TRANSACTION_SECONDS)
        else:
            self._seconds = TRANSACTION_SECONDS
        if len(works) == 1 and (code in _OF_A_TOPIC or isinstance(error, TookTooLong)):
            failed.setdefault(0, WriteFailed(str(error)))  # it waits for its next try, the others go on
        self.begin_epoch()
        settled = frozenset(self._settled(works, positions))
        if settled:  # then all are, but for those of partitions that others have by now
            return Outcome(is_committed=True, settled=settled)
        return Outcome(is_committed=False, failed=failed)

    def _settled(self, works: Sequence[Item], positions: Sequence[Position]) -> Iterator[int]:
        partitions = list({each.record.partition for each in works} | {each.partition for each in positions})
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
            for index, work in enumerate(works):
                offset, above = known.get(work.record.partition, (0, ()))
                if work.record.offset < offset or any(work.record.offset in run for run in above):
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
        except (KafkaException, GivenUp, TimeoutError) as error:
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
        epoch, self._epoch = self._epoch, None
        if epoch is None or metadata is None:
            return  # the next transaction begins with a new epoch
        epoch.start()
        try:
            epoch.send_offsets(asked if is_commit else held, metadata)
            if is_commit:
                epoch.commit()
        except (KafkaException, GivenUp) as error:
            self._logger.warning("transaction failed, taking a new epoch", error=str(error))
        del epoch
        self.begin_epoch()  # which aborts what is open

    def _complain(self, error: KafkaError) -> None:
        if error.str() != self._complaint:
            self._complaint = error.str()
            self._logger.error(
                "cannot begin transactions, trying again",
                transactional_id=self.transactional_id,
                error=self._complaint,
            )

    def _next_epoch(self) -> ProducerEpoch:
        settings = {**self._settings, "transactional.id": self.transactional_id}
        return ProducerEpoch(settings, seconds=self._seconds, is_stopping=lambda: self.is_stopping)
