"""Writing records: settled is what all in-sync replicas have acknowledged."""

from __future__ import annotations

import asyncio
import logging
import threading
from contextlib import nullcontext
from functools import partial
from typing import TYPE_CHECKING, Generic

from confluent_kafka import KafkaError, KafkaException, Producer

from kafleet.connections import librdkafka_settings
from kafleet.ports import RecordRefused, Work, WriteFailed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractAsyncContextManager

    from confluent_kafka import Message

    from kafleet.lanes import Lane
    from kafleet.ports import Settlements
    from kafleet.records import Outgoing

_POLL_SECONDS = 0.1
_REFUSALS = frozenset(
    {
        KafkaError.MSG_SIZE_TOO_LARGE,
        KafkaError.INVALID_MSG,
        KafkaError.INVALID_RECORD,
        KafkaError.POLICY_VIOLATION,
    }
)


class _Write(Generic[Work]):
    """What is on its way of one work."""

    __slots__ = ("failures", "left", "work")

    def __init__(self, work: Work, left: int) -> None:
        self.work = work
        self.left = left  # not answered yet
        self.failures: list[tuple[Outgoing, WriteFailed]] = []


class Writer(Generic[Work]):
    """An idempotent producer; `fail` is called on the event loop if it can never go on.

    Brokers that are away make a write wait, never fail.
    """

    def __init__(self, lane: Lane, client_id: str, *, fail: Callable[[str], None]) -> None:
        self._fail = fail
        self._loop = asyncio.get_running_loop()
        self._answered: list[_Write[Work]] = []  # of one poll; touched by the thread only
        self._is_stopping = False
        self._producer = Producer(producer_settings(lane, client_id), logger=logging.getLogger("librdkafka"))
        self._thread = threading.Thread(target=self._run, name="kafka-writer", daemon=True)

    def start(self, settlements: Settlements[Work]) -> None:
        """Begin; what comes of writes is told to `settlements`."""
        self._settlements = settlements
        self._thread.start()

    def write(self, work: Work, outgoing: Sequence[Outgoing]) -> None:
        """Write all that one record led to."""
        write = _Write(work, len(outgoing))
        for each in outgoing:
            try:
                self._producer.produce(
                    each.topic,
                    key=each.key,
                    value=each.value,
                    headers=list(each.headers),
                    on_delivery=partial(self._on_delivery, write, each),
                )
            except BufferError:
                self._loop.call_soon(self._refuse, write, each, WriteFailed("the producer's queue is full"))
            except KafkaException as error:
                self._loop.call_soon(self._refuse, write, each, failure_of(error.args[0], each.topic))

    def quiet(self) -> AbstractAsyncContextManager[None]:
        """Return at once: there are no transactions."""
        return nullcontext()

    def stop(self) -> None:
        """End the thread. What is not acknowledged by now was nobody's to wait for."""
        self._is_stopping = True

    def _run(self) -> None:
        while not self._is_stopping:
            try:
                self._producer.poll(_POLL_SECONDS)
            except KafkaException as error:  # the client raises what is fatal, and does not call back
                self._tell(self._fail, f"the producer cannot go on: {error.args[0].str()}")
                return
            if self._answered:
                answered, self._answered = self._answered, []
                self._tell(self._take, answered)

    def _tell(self, function: Callable[..., None], argument: object) -> None:
        try:
            self._loop.call_soon_threadsafe(function, argument)
        except RuntimeError:  # the loop is closed: the process is ending without us
            self._is_stopping = True

    def _on_delivery(
        self, write: _Write[Work], outgoing: Outgoing, error: KafkaError | None, _message: Message
    ) -> None:
        if error is not None:
            write.failures.append((outgoing, failure_of(error, outgoing.topic)))
        self._answered.append(write)

    def _refuse(self, write: _Write[Work], outgoing: Outgoing, failure: WriteFailed) -> None:
        write.failures.append((outgoing, failure))
        self._take([write])

    def _take(self, answered: list[_Write[Work]]) -> None:
        """Count answers on the event loop: some come from there, the others from the thread."""
        settled = []
        for write in answered:
            write.left -= 1
            if write.left:
                continue
            if write.failures:
                self._settlements.unwritten(write.work, write.failures)
            else:
                settled.append(write.work)
        if settled:
            self._settlements.settled(settled)


def producer_settings(lane: Lane, client_id: str) -> dict[str, object]:
    return {
        **librdkafka_settings(lane),
        "client.id": client_id,
        "acks": "all",
        "enable.idempotence": True,
        "partitioner": "murmur2_random",
        "message.timeout.ms": 0,
        # The broker's and the topic's limits decide what is too large, not the client's.
        "message.max.bytes": 1_000_000_000,
        "reconnect.backoff.max.ms": 2_000,
    }


def failure_of(error: KafkaError, topic: str) -> WriteFailed:
    kind = RecordRefused if error.code() in _REFUSALS else WriteFailed
    return kind(f"{topic!r}: {error.str()}")
