"""What a handler returned, yielded or sent, as records to be written."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from kafleet.agents import Result, Send
from kafleet.envelopes import emitted_headers, emitted_id, shared_headers
from kafleet.payloads import encoded, kind_of
from kafleet.records import Outgoing

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from kafleet.envelopes import Envelope
    from kafleet.lanes import Lane
    from kafleet.records import Headers, Record

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
        self._shared_at = -1.0
        self._shared: dict[tuple[str | None, type], Headers] = {}  # by what was asked for, and the payload's

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
        topic, payload, key, kind, deadline = self._output, emission, record.key, None, None
        if isinstance(emission, Send):
            topic, payload, deadline = self._sends[emission.lane], emission.payload, envelope.deadline
            kind = emission.type or _DEFAULT_SEND_TYPE
            # An id spreads work; never the parent's key.
            key = identity.encode() if emission.key is None else _key_bytes(emission.key)
        elif isinstance(emission, Result):
            payload, kind = emission.value, emission.type
            key = key if emission.key is None else _key_bytes(emission.key)
        value, content_type = encoded(payload)
        shared = self._shared_headers(kind, payload, content_type)
        headers = emitted_headers(envelope, shared, identity, key, deadline)
        # Without a step through NamedTuple's own `__new__`, which is written in Python.
        return tuple.__new__(Outgoing, (topic, key, value, headers))

    def _shared_headers(self, kind: str | None, payload: object, content_type: str) -> Headers:
        """Return the headers that outputs have in common until the event loop's clock moves."""
        now = self._loop.time()
        if now != self._shared_at:
            self._shared_at = now
            self._shared.clear()
        known = kind, type(payload)
        shared = self._shared.get(known)
        if shared is None:
            shared = shared_headers(self._group, kind or kind_of(payload), content_type, self._now())
            self._shared[known] = shared
        return shared


def _is_nothing(emission: object) -> bool:
    return emission is None or (isinstance(emission, Result) and emission.value is None)


def _key_bytes(key: str | bytes) -> bytes:
    return key.encode("utf-8", "surrogateescape") if isinstance(key, str) else key
