"""What a handler returned, yielded or sent, as records to be written."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from kafleet.agents import Result, Send
from kafleet.envelopes import emitted_headers, emitted_id, stamp
from kafleet.payloads import encoded, kind_of
from kafleet.records import Outgoing

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from kafleet.envelopes import Envelope
    from kafleet.lanes import Lane
    from kafleet.records import Record

_DEFAULT_SEND_TYPE = "task"


def utc_now() -> datetime:
    return datetime.now(UTC)


class Emissions:
    """Of one lane; made on the event loop. `now` tells the time, with a zone."""

    def __init__(self, lane: Lane, *, now: Callable[[], datetime] = utc_now) -> None:
        self._group = lane.group
        self._sends = lane.sends
        self._output = lane.output_topic
        self._now = now
        self._loop = asyncio.get_running_loop()
        self._stamped_at = -1.0
        self._stamp = b""

    def outgoing(self, record: Record, envelope: Envelope, emitted: Sequence[object]) -> tuple[Outgoing, ...]:
        """Return the records to write; None and results of None are nothing. Raises what has no JSON."""
        if len(emitted) == 1:  # as nearly always
            emission = emitted[0]
            return () if _is_nothing(emission) else (self._outgoing(record, envelope, emission, 0),)
        something = [emission for emission in emitted if not _is_nothing(emission)]
        return tuple(
            self._outgoing(record, envelope, emission, position)
            for position, emission in enumerate(something)
        )

    def _outgoing(self, record: Record, envelope: Envelope, emission: object, position: int) -> Outgoing:
        identity = emitted_id(self._group, envelope.id, position)
        topic, payload, key, kind, deadline = self._output, emission, None, None, None
        if isinstance(emission, Send):
            topic, payload, deadline = self._sends[emission.lane], emission.payload, envelope.deadline
            kind = emission.type or _DEFAULT_SEND_TYPE
            # An id spreads work; never the parent's key.
            key = identity.encode() if emission.key is None else _key_bytes(emission.key)
        elif isinstance(emission, Result):
            payload, kind, key = emission.value, emission.type, _key_bytes(emission.key)
        key = record.key if key is None else key
        value, content_type = encoded(payload)
        headers = emitted_headers(
            envelope,
            identity=identity,
            source=self._group,
            kind=kind or kind_of(payload),
            key=key,
            content_type=content_type,
            time=self._time(),
            deadline=deadline,
        )
        return Outgoing(topic, key, value, headers)

    def _time(self) -> bytes:
        """Return ce_time, made anew when the event loop's clock has moved."""
        now = self._loop.time()
        if now != self._stamped_at:
            self._stamped_at = now
            self._stamp = stamp(self._now())
        return self._stamp


def _is_nothing(emission: object) -> bool:
    return emission is None or (isinstance(emission, Result) and emission.value is None)


def _key_bytes(key: str | bytes | None) -> bytes | None:
    return key.encode("utf-8", "surrogateescape") if isinstance(key, str) else key
