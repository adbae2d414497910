"""Record headers as values and back: CloudEvents 1.0 in Kafka's binary mode, and the cause on a dead letter.

Pure. The value of a record is never touched here.
"""

from __future__ import annotations

import re
import struct
from datetime import UTC, datetime
from functools import lru_cache
from hashlib import blake2s
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from kafleet.records import text_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from kafleet.records import Header, Headers, Record
    from kafleet.verdicts import Fault

Read = TypeVar("Read")
_TRACEPARENT = re.compile(rb"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(-.*)?")
_STRUCTURED = "application/cloudevents"
_REMEMBERED_SIZE = 100
_REMEMBERED_COUNT = 256
_MAX_HOPS = 2**31 - 1
_MESSAGE_LIMIT = 1_000
_TRACE_LIMIT = 8_000


class InvalidEnvelope(ValueError):
    """A header that Kafleet must understand cannot be understood; the message names it."""


class Envelope(NamedTuple):
    """What the headers say about a record. `type` and `content_type` are None where the sender said none."""

    id: str
    type: str | None
    correlation_id: str
    hops: int = 0
    deadline: datetime | None = None
    tracing: Headers = ()
    content_type: str | None = None


def envelope_of(record: Record) -> Envelope:
    """Read the headers, or raise InvalidEnvelope. A record without any is a task named by its position."""
    headers = record.headers
    if headers is None:
        raise InvalidEnvelope("the headers cannot be read: a header's name is not UTF-8")
    if not headers:
        return Envelope(id=record.name, type=None, correlation_id=record.name)
    last = dict(headers)
    get = last.get
    content_type = _CONTENT_TYPES[get("content-type")]
    try:
        identity = raw.decode() if (raw := get("ce_id")) else record.name
        deadline = get("ce_deadline")
        # Not by the class's own `__new__`, which is written in Python.
        return tuple.__new__(
            Envelope,
            (
                identity,
                _TYPES[get("ce_type")],
                raw.decode() if (raw := get("ce_correlationid")) else identity,
                _HOPS[get("ce_hops")],
                None if deadline is None else _moment(deadline.decode()),
                _tracing(last) if "traceparent" in last else (),
                content_type,
            ),
        )
    except UnicodeDecodeError as error:
        name = next(name for name, raw in last.items() if raw == error.object)
        raise InvalidEnvelope(f"header {name!r} is not UTF-8") from None


def emitted_id(group: str, cause: str, position: int) -> str:
    """Id of the n-th record that a lane emits because of one record: the same on every attempt.

    128 bits of BLAKE2 as 32 digits, which most libraries and databases take for a UUID.
    """
    return blake2s(f"{group}\n{cause}\n{position}".encode(), digest_size=16).hexdigest()


def shared_headers(source: str, kind: str, content_type: str, time: datetime) -> Headers:
    """Headers that many of a lane's outputs share, whatever they come of; `kind` becomes their ce_type."""
    return (
        ("ce_specversion", b"1.0"),
        ("ce_source", source.encode()),
        ("ce_type", kind.encode()),
        ("content-type", content_type.encode()),
        ("ce_time", stamp(time)),
    )


def emitted_headers(
    cause: Envelope, shared: Headers, identity: str, key: bytes | None, deadline: datetime | None
) -> list[Header]:
    """Headers of a record that `cause` made a lane emit, beside those that are shared."""
    cause_id, _, correlation_id, hops, _, tracing, _ = cause
    headers = [
        *shared,
        ("ce_id", identity.encode()),
        ("ce_correlationid", correlation_id.encode()),
        ("ce_causationid", cause_id.encode()),
        _hops_header(hops + 1),
        *tracing,
    ]
    if key is not None and (key.isascii() or _is_text(key)):
        headers.append(("ce_subject", key))
    if deadline is not None:
        headers.append(("ce_deadline", stamp(deadline)))
    return headers


@lru_cache(maxsize=256)
def _hops_header(hops: int) -> Header:
    return ("ce_hops", b"%d" % hops)


def dead_letter_headers(
    record: Record, *, reason: str, fault: Fault, attempts: int, group: str
) -> list[Header]:
    """Return the record's own headers, then the cause under Spring's, Connect's and Kafleet's names.

    `attempts` counts calls of the handler. Spring writes numbers as big-endian integers (int partition, long
    offset and timestamp), Connect as text.
    """
    topic, number = record.partition
    message = _short(fault.message, _MESSAGE_LIMIT)
    traceback = _short(fault.traceback, _TRACE_LIMIT)
    replaced = {name for name, _ in fault.tracing}
    return [
        *(header for header in record.headers or () if header[0] not in replaced),
        *fault.tracing,
        ("kafka_dlt-original-topic", topic.encode()),
        ("kafka_dlt-original-partition", struct.pack(">i", number)),
        ("kafka_dlt-original-offset", struct.pack(">q", record.offset)),
        ("kafka_dlt-original-timestamp", struct.pack(">q", record.timestamp_ms)),
        ("kafka_dlt-original-consumer-group", group.encode()),
        ("kafka_dlt-exception-fqcn", fault.kind.encode()),
        ("kafka_dlt-exception-message", message),
        ("kafka_dlt-exception-stacktrace", traceback),
        ("__connect.errors.topic", topic.encode()),
        ("__connect.errors.partition", str(number).encode()),
        ("__connect.errors.offset", str(record.offset).encode()),
        ("__connect.errors.connector.name", group.encode()),
        ("__connect.errors.exception.class.name", fault.kind.encode()),
        ("__connect.errors.exception.message", message),
        ("__connect.errors.exception.stacktrace", traceback),
        ("kafleet_reason", reason.encode()),
        ("kafleet_attempts", str(attempts).encode()),
    ]


class _Readings(dict[bytes | None, Read]):
    """Headers' values as they were read: what records repeat is read once, at a fifth of a call's cost.

    What is long, or comes when there are many, is not kept, whoever may have sent it.
    """

    def __init__(self, read: Callable[[bytes], Read], absent: Read) -> None:
        super().__init__({None: absent})
        self._read = read

    def __missing__(self, raw: bytes) -> Read:
        value = self._read(raw)
        if len(raw) <= _REMEMBERED_SIZE and len(self) < _REMEMBERED_COUNT:
            self[raw] = value
        return value


def _content_type(raw: bytes) -> str | None:
    text = text_of(raw)
    if text is not None and text.lower().startswith(_STRUCTURED):
        raise InvalidEnvelope(
            f"content-type {text[:80]!r}: a CloudEvent in structured mode is not read;"
            " send it in binary mode, with its attributes as headers"
        )
    return text


def _tracing(headers: dict[str, bytes | None]) -> Headers:
    """Pass on what a tracer understands; the W3C wants anything else ignored, and never an error of it."""
    parent = headers["traceparent"]
    if parent is None or not _TRACEPARENT.fullmatch(parent):
        return ()
    if "tracestate" in headers:
        return (("traceparent", parent), ("tracestate", headers["tracestate"]))
    return (("traceparent", parent),)


def _hops(raw: bytes) -> int:
    text = raw.decode()
    if not (
        text.isascii() and text.isdigit() and len(text) <= len(str(_MAX_HOPS)) and int(text) <= _MAX_HOPS
    ):
        raise InvalidEnvelope(f"header 'ce_hops' must be a count, not {text[:40]!r}")
    return int(text)


def _type(raw: bytes) -> str | None:
    return raw.decode() or None


_CONTENT_TYPES = _Readings(_content_type, None)
_TYPES = _Readings(_type, None)
_HOPS = _Readings(_hops, 0)


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise InvalidEnvelope(f"header 'ce_deadline' must be an RFC 3339 time, not {text[:40]!r}") from None


def stamp(moment: datetime) -> bytes:
    """Return a time as headers carry it, RFC 3339."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z").encode()


def _is_text(raw: bytes) -> bool:
    try:
        raw.decode()
    except UnicodeDecodeError:
        return False
    return True


def _short(text: str, limit: int) -> bytes:
    shortened = text if len(text) <= limit else f"{text[: limit - 1]}…"
    return shortened.encode("utf-8", "backslashreplace")
