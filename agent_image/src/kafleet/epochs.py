"""A producer of a transactional id in one epoch: what is written into its transactions, and their ends.

Nothing is sent again here. Whoever uses it drops it after any error; see `transactors`.
"""

from __future__ import annotations

import math
import time
from concurrent.futures import Future
from functools import partial
from threading import Thread
from typing import TYPE_CHECKING

from confluent_kafka import KafkaError, KafkaException, Producer, TopicPartition

from kafleet.clientlogs import ClientLog
from kafleet.ports import WriteFailed
from kafleet.writing import failure_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from confluent_kafka import Message

    from kafleet.ports import Position
    from kafleet.records import Outgoing

_SLACK_SECONDS = 5.0  # the coordinator may end a transaction only when we have given it up
_SLICE_SECONDS = 0.5
_INIT_SECONDS = 10.0
_SERVED_RECORDS = 50
"""After so many the client is served. It wants to free what it holds of each record, one by one and with the
interpreter's lock: in a thread that would be a fight for that lock as long as all else."""
# librdkafka's own codes have no other names.
FENCED = frozenset(
    {KafkaError._FENCED, KafkaError.PRODUCER_FENCED, KafkaError.INVALID_PRODUCER_EPOCH}  # noqa: SLF001
)
_OF_THE_EPOCH = FENCED | {
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
_TRANSPORT = KafkaError._TRANSPORT  # noqa: SLF001


class GivenUp(Exception):
    """A transaction cannot be ended in good order; why."""


class TookTooLong(GivenUp):
    """A transaction was not over in time."""


class Notes:
    """What a client has called back with. Apart from the producer, which would live on with its messages."""

    def __init__(self) -> None:
        self.failed: dict[int, WriteFailed] = {}
        self.cut: str | None = None  # how a connection was lost

    def clear(self) -> None:
        self.failed, self.cut = {}, None

    def note(self, index: int, error: KafkaError, topic: str) -> None:
        if error.code() not in _OF_THE_EPOCH:
            self.failed[index] = failure_of(error, topic)

    def on_delivery(self, index: int, error: KafkaError | None, message: Message) -> None:
        if error is not None:
            self.note(index, error, message.topic())

    def on_loss(self) -> None:
        self.cut = "a connection was lost"

    def on_error(self, error: KafkaError) -> None:
        if error.code() == _TRANSPORT:
            self.cut = error.str()


class ProducerEpoch:
    """Takes an epoch, then makes transactions that take so many `seconds` at most. Raises KafkaException.

    `write` never waits and is for the event loop as well, while no other thread is in here. All else blocks.
    """

    def __init__(
        self, settings: Mapping[str, object], *, seconds: float, is_stopping: Callable[[], bool]
    ) -> None:
        self._seconds = seconds
        self._is_stopping = is_stopping
        self._notes = Notes()
        self._on_delivery = self._notes.on_delivery
        self._producer = self._client(settings)
        self._producer.init_transactions(_INIT_SECONDS)
        self.begin()

    def begin(self) -> None:
        """Begin a transaction. The brokers hear of it, and its time runs, from its first record on."""
        self.written = 0
        """Of how many records something is in the transaction."""
        self._left: list[tuple[int, Outgoing]] = []  # for which the client had no room
        self._refusal: KafkaException | None = None
        self._deadline = math.inf
        self._producer.begin_transaction()

    @property
    def failed(self) -> Mapping[int, WriteFailed]:
        """Of the transaction begun last: what cannot be written and why, by the index of its record."""
        return self._notes.failed

    @property
    def seconds(self) -> float:
        """How long the transaction has been under way."""
        return self._seconds - self._left_seconds()

    def write(self, outgoing: Sequence[Outgoing]) -> None:
        """Write all that the next record led to. What came of it is told by the transaction's end."""
        if self._deadline is math.inf:
            self.start()
        index = self.written
        self.written += 1
        if not self.written % _SERVED_RECORDS:
            self.serve()
        for each in outgoing:
            if self._left:
                self._left.append((index, each))
                continue
            try:
                self._produce(index, each)
            except BufferError:
                self._left.append((index, each))
            except KafkaException as error:
                self._refusal = self._refusal or error
            except Exception as error:  # noqa: BLE001 - whatever it was, it must not pass for written
                self._notes.failed[index] = WriteFailed(f"{each.topic!r}: {error}")

    def serve(self) -> int:
        """Let the client call back; returns how many records are on their way."""
        try:
            self._producer.poll(0)
        except KafkaException as error:  # what is fatal
            self._refusal = self._refusal or error
        return len(self._producer)

    def start(self) -> None:
        """Let the transaction's time run, if it does not yet."""
        if self._deadline is math.inf:
            self.serve()  # what it has to say of the time before
            self._refusal = None
            self._notes.clear()
            self._deadline = time.monotonic() + self._seconds

    def flush(self) -> None:
        """Send what was written, and wait a moment for it."""
        for index, outgoing in self._left:
            self._produce_in_time(index, outgoing)
        self._producer.flush(_SLICE_SECONDS)
        self.check()
        if self._refusal is not None:
            raise self._refusal

    def standing(self, asked: Future[object | None]) -> object:
        """Wait for the group's metadata."""
        try:
            metadata = asked.result(self._left_seconds())
        except TimeoutError:
            raise GivenUp("the thread of the group's member is silent") from None
        if metadata is None:
            raise GivenUp("a partition was taken away")
        return metadata

    def send_offsets(self, positions: Sequence[Position], metadata: object) -> None:
        """Add positions to the transaction.

        The client's call heeds no timeout and may never return, where a connection is lost
        (librdkafka#5456). It is left behind then, in a thread of its own, as its producer is.
        """
        producer, seconds = self._producer, self._left_seconds()
        offsets = [TopicPartition(*each.partition, each.offset, each.metadata) for each in positions]
        sent: Future[None] = Future()

        def send() -> None:
            try:
                producer.send_offsets_to_transaction(offsets, metadata, seconds)
            except KafkaException as error:
                sent.set_exception(error)
            else:
                sent.set_result(None)

        Thread(target=send, name="kafka-offsets", daemon=True).start()
        while True:
            try:
                return sent.result(_SLICE_SECONDS)
            except TimeoutError:
                self._producer.poll(0)
                self.check()

    def commit(self) -> None:
        """Commit the transaction, with all that is in it."""
        while True:
            try:
                self._producer.commit_transaction(_SLICE_SECONDS)
            except KafkaException as error:
                self._producer.poll(0)
                self.check()
                if not error.args[0].retriable():
                    raise
            else:
                return

    def check(self) -> None:
        """Raise GivenUp where waiting would be for nothing."""
        if self._notes.failed:
            raise GivenUp(str(next(iter(self._notes.failed.values()))))
        if self._is_stopping():
            raise GivenUp("the process ends")
        if self._notes.cut is not None:  # what was on its way is not sent again
            raise GivenUp(self._notes.cut)
        if self._left_seconds() <= 0:
            raise TookTooLong(f"it took more than {self._seconds:g} s")

    def _left_seconds(self) -> float:
        return self._deadline - time.monotonic()

    def _produce(self, index: int, outgoing: Outgoing) -> None:
        try:
            # By position, as in `writing`.
            self._producer.produce(
                outgoing.topic,
                outgoing.value,
                outgoing.key,
                -1,
                partial(self._on_delivery, index),
                None,
                0,
                outgoing.headers,
            )
        except KafkaException as error:
            self._notes.note(index, error.args[0], outgoing.topic)
            raise

    def _produce_in_time(self, index: int, outgoing: Outgoing) -> None:
        while True:
            try:
                return self._produce(index, outgoing)
            except BufferError:
                self._producer.poll(_SLICE_SECONDS)
                self.check()
            except KafkaException:
                self.check()
                raise

    def _client(self, settings: Mapping[str, object]) -> Producer:
        never_ms = int(2 * self._seconds * 1000)  # with its jitter still after the producer is dropped
        return Producer(
            {
                **settings,
                "transaction.timeout.ms": int((self._seconds + _SLACK_SECONDS) * 1000),
                "retry.backoff.ms": never_ms,
                "retry.backoff.max.ms": never_ms,
                "topic.metadata.propagation.max.ms": 2_000,
                "delivery.report.only.error": True,
                "error_cb": self._notes.on_error,
            },
            logger=ClientLog(self._notes.on_loss),
        )
