"""Writing records: settled is what all in-sync replicas have acknowledged.

The client is served on the event loop, every few milliseconds. A thread of its own would need the
interpreter's lock for each acknowledgement, and wait for it whenever the event loop is busy.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import nullcontext
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


class _Owed(tuple[Work, "Outgoing", list[Work], "Callable[[Work, Outgoing, WriteFailed], None]"]):
    """A work, an output of it, and where the work is noted when that is not owed any more: nobody holds this.

    The client holds what it may still call back, and calls back only where a write failed. So letting go of
    it without a call says that the write is acknowledged. A call for each would need an object that holds
    the whole record once more: as dear as writing it.
    """

    __slots__ = ()

    def __call__(self, error: KafkaError, _message: Message) -> None:
        work, outgoing, _, note = self
        note(work, outgoing, failure_of(error, outgoing.topic))

    def __del__(self) -> None:
        self[2].append(self[0])


class Writer(Generic[Work]):
    """An idempotent producer; `fail` is called on the event loop if it can never go on.

    Brokers that are away make a write wait, never fail.
    """

    def __init__(self, lane: Lane, client_id: str, *, fail: Callable[[str], None]) -> None:
        self._give_up = fail
        self._loop = asyncio.get_running_loop()
        self._answered: list[Work] = []  # since the client was served, for each output once
        self._open: dict[Work, int] = {}  # works of several outputs, and how many of them are not answered
        self._failures: dict[Work, list[tuple[Outgoing, WriteFailed]]] = {}  # of what is not answered yet
        self._seconds = _IDLE_SECONDS
        self._timer: asyncio.TimerHandle | None = None
        self._producer = Producer(
            producer_settings(lane, client_id) | {"delivery.report.only.error": True},
            logger=logging.getLogger("librdkafka"),
        )

    def start(self, settlements: Settlements[Work]) -> None:
        """Begin; what comes of writes is told to `settlements`."""
        self._settlements = settlements
        self._serve()

    def write(self, work: Work, outgoing: Sequence[Outgoing]) -> None:
        """Write all that one record led to."""
        if len(outgoing) > 1:
            self._open[work] = len(outgoing)
        for each in outgoing:
            try:
                # By position: keywords cost a third of a µs here.
                self._producer.produce(
                    each.topic,
                    each.value,
                    each.key,
                    -1,
                    _Owed((work, each, self._answered, self._note)),
                    None,
                    0,
                    each.headers,
                )
            except KafkaException as error:
                self._note(work, each, failure_of(error.args[0], each.topic))
            except Exception as error:  # noqa: BLE001 - whatever it was, it must not pass for acknowledged
                self._note(work, each, WriteFailed(f"{each.topic!r}: {error}"))
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
            self._give_up(f"the producer cannot go on: {error.args[0].str()}")
            return
        except Exception as error:  # noqa: BLE001 - whatever it was, to fall silent would be worse
            self._give_up(f"the producer cannot be served: {error!r}")
            return
        self._serve_in(_BUSY_SECONDS if self._answered else min(self._seconds * 1.5, _IDLE_SECONDS))
        if self._answered:
            answered = self._answered.copy()
            self._answered.clear()
            self._take([work for work in answered if self._is_answered(work)] if self._open else answered)

    def _note(self, work: Work, outgoing: Outgoing, failure: WriteFailed) -> None:
        """Note what failed; told when all of the work is answered."""
        self._failures.setdefault(work, []).append((outgoing, failure))

    def _is_answered(self, work: Work) -> bool:
        """Note that one output of a work is answered; tells whether it was the last one."""
        if work not in self._open:
            return True
        self._open[work] -= 1
        if self._open[work]:
            return False
        del self._open[work]
        return True

    def _take(self, answered: list[Work]) -> None:
        settled = [work for work in answered if work not in self._failures] if self._failures else answered
        for work in answered if self._failures else ():
            if (failures := self._failures.pop(work, None)) is not None:
                self._settlements.unwritten(work, failures)
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
