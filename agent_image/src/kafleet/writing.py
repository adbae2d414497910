"""Writing records, each acknowledged by all in-sync replicas before its future is done."""

from __future__ import annotations

import asyncio
import logging
import threading
from functools import partial
from typing import TYPE_CHECKING

from confluent_kafka import KafkaError, KafkaException, Producer

from kafleet.connections import librdkafka_settings
from kafleet.ports import RecordRefused, WriteFailed

if TYPE_CHECKING:
    from collections.abc import Callable

    from confluent_kafka import Message

    from kafleet.lanes import Lane
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

Acknowledgement = tuple[asyncio.Future[None], WriteFailed | None]


class Writer:
    """An idempotent producer; `fail` is called on the event loop if it can never go on.

    Brokers that are away make a write wait, never fail.
    """

    def __init__(self, lane: Lane, client_id: str, *, fail: Callable[[str], None]) -> None:
        self._fail = fail
        self._loop = asyncio.get_running_loop()
        self._acknowledged: list[Acknowledgement] = []  # of one poll; touched by the thread only
        self._is_stopping = False
        self._producer = Producer(_settings(lane, client_id), logger=logging.getLogger("librdkafka"))
        self._thread = threading.Thread(target=self._run, name="kafka-writer", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def produce(self, outgoing: Outgoing) -> asyncio.Future[None]:
        """Write a record; the future is done when it is acknowledged, or holds WriteFailed."""
        written: asyncio.Future[None] = self._loop.create_future()
        try:
            self._producer.produce(
                outgoing.topic,
                key=outgoing.key,
                value=outgoing.value,
                headers=list(outgoing.headers),
                on_delivery=partial(self._on_delivery, written),
            )
        except BufferError:
            written.set_exception(WriteFailed("the producer's queue is full"))
        except KafkaException as error:
            written.set_exception(_failure(error.args[0], outgoing.topic))
        return written

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
            if self._acknowledged:
                acknowledged, self._acknowledged = self._acknowledged, []
                self._tell(_resolve_all, acknowledged)

    def _tell(self, function: Callable[..., None], argument: object) -> None:
        try:
            self._loop.call_soon_threadsafe(function, argument)
        except RuntimeError:  # the loop is closed: the process is ending without us
            self._is_stopping = True

    def _on_delivery(self, written: asyncio.Future[None], error: KafkaError | None, message: Message) -> None:
        failure = None if error is None else _failure(error, message.topic())
        self._acknowledged.append((written, failure))


def _settings(lane: Lane, client_id: str) -> dict[str, object]:
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


def _failure(error: KafkaError, topic: str) -> WriteFailed:
    kind = RecordRefused if error.code() in _REFUSALS else WriteFailed
    return kind(f"{topic!r}: {error.str()}")


def _resolve_all(acknowledged: list[Acknowledgement]) -> None:
    for written, failure in acknowledged:
        if written.done():
            continue
        if failure is None:
            written.set_result(None)
        else:
            written.set_exception(failure)
