"""Writing records: settled is what all in-sync replicas have acknowledged.

The client is served on the event loop, every few milliseconds. A thread of its own would need the
interpreter's lock for each acknowledgement, and wait for it whenever the event loop is busy.
"""

from __future__ import annotations

import asyncio
import logging
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

_BUSY_SECONDS = 0.002  # until the client is served again while acknowledgements come in
_IDLE_SECONDS = 0.1  # at most
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
        self._answered: list[_Write[Work]] = []  # since the client was served
        self._seconds = _IDLE_SECONDS
        self._timer: asyncio.TimerHandle | None = None
        self._producer = Producer(producer_settings(lane, client_id), logger=logging.getLogger("librdkafka"))

    def start(self, settlements: Settlements[Work]) -> None:
        """Begin; what comes of writes is told to `settlements`."""
        self._settlements = settlements
        self._serve()

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
                self._refuse(write, each, WriteFailed("the producer's queue is full"))
            except KafkaException as error:
                self._refuse(write, each, failure_of(error.args[0], each.topic))
        if self._seconds > _BUSY_SECONDS:
            self._serve_in(_BUSY_SECONDS)

    def quiet(self) -> AbstractAsyncContextManager[None]:
        """Return at once: there are no transactions."""
        return nullcontext()

    def stop(self) -> None:
        """Serve no more. What is not acknowledged by now was nobody's to wait for."""
        if self._timer is not None:
            self._timer.cancel()

    def _serve_in(self, seconds: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._seconds = seconds
        self._timer = self._loop.call_later(seconds, self._serve)

    def _serve(self) -> None:
        """Let the client call back, and pass on what it said."""
        try:
            self._producer.poll(0)
        except KafkaException as error:  # the client raises what is fatal, and does not call back
            self._fail(f"the producer cannot go on: {error.args[0].str()}")
            return
        except Exception as error:  # noqa: BLE001 - whatever it was, to fall silent would be worse
            self._fail(f"the producer cannot be served: {error!r}")
            return
        answered, self._answered = self._answered, []
        self._serve_in(_BUSY_SECONDS if answered else min(self._seconds * 1.5, _IDLE_SECONDS))
        if answered:
            self._take(answered)

    def _on_delivery(
        self, write: _Write[Work], outgoing: Outgoing, error: KafkaError | None, _message: Message
    ) -> None:
        if error is not None:
            write.failures.append((outgoing, failure_of(error, outgoing.topic)))
        self._answered.append(write)

    def _refuse(self, write: _Write[Work], outgoing: Outgoing, failure: WriteFailed) -> None:
        """Note what the client did not even take; told like everything else when it is served."""
        write.failures.append((outgoing, failure))
        self._answered.append(write)

    def _take(self, answered: list[_Write[Work]]) -> None:
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
