"""Whatever strangers write: the right answer, or a dead letter with a clear cause; nothing waits for it."""

from __future__ import annotations

import importlib
import json
import warnings
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from integration.agent.lanes import LARGEST_RECORD

if TYPE_CHECKING:
    from confluent_kafka import Message
    from integration.agent.lanes import KafkaLane

TRACE = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
TEN_MEGABYTES = 10 << 20
Headers = tuple[tuple[str, bytes | None], ...]


@dataclass(frozen=True)
class Case:
    """A record, and what comes of it: an answer, or a dead letter with a reason and words of its cause."""

    name: str
    value: bytes | None
    reason: str | None = None
    cause: str = ""
    headers: Headers = ()
    key: bytes | None = b"k"
    attempts: int = 0

    @property
    def identity(self) -> bytes:
        return self.name.encode()


GOOD = b'{"number": 1}'
BAD_VALUES = [
    Case("a tombstone", None, "InvalidPayload", "no value (a tombstone)"),
    Case("an empty value", b"", "InvalidPayload", "Invalid JSON: EOF"),
    Case("half of a JSON value", b'{"number":', "InvalidPayload", "Invalid JSON: EOF"),
    Case("two JSON values", GOOD * 2, "InvalidPayload", "Invalid JSON: trailing characters"),
    Case("no UTF-8", b'{"number": "\xff"}', "InvalidPayload", "Invalid JSON: invalid unicode"),
    Case("a byte order mark", b"\xef\xbb\xbf" + GOOD, "InvalidPayload", "Invalid JSON: expected value"),
    Case("a field of another type", b'{"number": "many"}', "InvalidPayload", "number: Input should be"),
    Case("a missing field", b"{}", "InvalidPayload", "number: Field required"),
    Case("another shape", b"[1]", "InvalidPayload", "value: Input should be"),
    Case("a hundred thousand brackets", b"[" * 100_000, "InvalidPayload", "recursion limit exceeded"),
    Case("a number of 5,000 digits", b'{"number": %s}' % (b"9" * 5_000), "InvalidPayload", "out of range"),
    Case("ten megabytes of no JSON", b"x" * TEN_MEGABYTES, "InvalidPayload", "Invalid JSON: expected value"),
    Case(
        "Avro, as its content type says",
        b"\x00\x00\x00\x00\x07\x02",
        "InvalidPayload",
        "expected value at line 1 column 1; its content-type is 'application/avro'",
        (("content-type", b"application/avro"),),
    ),
    Case("fails always", b'{"number": 1, "failures": 99}', "AttemptsExhausted", "attempt 3 of 1", attempts=3),
    Case("rejected by the handler", b'{"number": 1, "failures": -1}', "Rejected", "no wish to", attempts=1),
]
BAD_HEADERS = [
    Case(
        "structured CloudEvents",
        b'{"specversion": "1.0", "data": {"number": 1}}',
        "InvalidEnvelope",
        "structured mode is not read; send it in binary mode",
        (("content-type", b"application/cloudevents+json; charset=utf-8"),),
    ),
    Case("hops that are no count", GOOD, "InvalidEnvelope", "'ce_hops' must be", (("ce_hops", b"many"),)),
    Case("an id that is no UTF-8", GOOD, "InvalidEnvelope", "'ce_id' is not UTF-8", (("ce_id", b"\xff"),)),
    Case(
        "a deadline that is no time",
        GOOD,
        "InvalidEnvelope",
        "'ce_deadline' must",
        (("ce_deadline", b"soon"),),
    ),
    Case("too many hops", GOOD, "HopLimit", "9 hops, the limit is 8", (("ce_hops", b"9"),)),
    Case("too late", GOOD, "DeadlineExceeded", "has passed", (("ce_deadline", b"2020-01-01T00:00:00Z"),)),
]
ANSWERED = [
    Case("ten megabytes of JSON", b'{"number": 1, "padding": "%s"}' % (b"x" * TEN_MEGABYTES)),
    Case("no key", GOOD, key=None),
    Case("an empty key", GOOD, key=b""),
    Case("a key that is no UTF-8", GOOD, key=b"\xff\x00"),
    Case(
        "JSON under another content type", GOOD, headers=(("content-type", b"text/plain; charset=latin-1"),)
    ),
    Case("a content type that is no UTF-8", GOOD, headers=(("content-type", b"\xff"),)),
    Case("unknown headers that are no UTF-8", GOOD, headers=(("mine", b"\xff\x00"), ("", b""), ("é", None))),
    Case("the last of several", GOOD, headers=(("ce_hops", b"99"), ("ce_hops", b"many"), ("ce_hops", b"2"))),
    Case("ten thousand headers", GOOD, headers=tuple((f"h{number}", b"x") for number in range(10_000))),
    Case(
        "headers without values", GOOD, headers=tuple((f"ce_{name}", None) for name in ("id", "hops", "type"))
    ),
    Case("a time that is none", GOOD, headers=(("ce_time", b"yesterday"), ("ce_specversion", b"7"))),
    Case("a damaged trace", GOOD, headers=(("traceparent", b"00-x"), ("tracestate", b"\xff"))),
]


def test_each_bad_record_gives_its_answer_or_a_dead_letter_and_holds_nothing_up(lane: KafkaLane) -> None:
    """Of each key a last good record is answered, which it is only when all before it are settled."""
    for topic in (lane.tasks, lane.dead_letters):
        lane.limit(topic, LARGEST_RECORD)
    cases = [*BAD_VALUES, *ANSWERED, *BAD_HEADERS]
    for case in cases:
        lane.write(case.key, case.value, [("x-case", case.identity), *case.headers])
    lane.write(b"k", b'{"number": 2}', [("x-case", b"the last")])
    lane.flush()
    worker = lane.worker("a")
    lane.await_done()

    letters = {header(letter, "x-case"): letter for letter in lane.read(lane.dead_letters)}
    origins = {header(task, "x-case"): task for task in lane.read(lane.tasks)}
    answers = defaultdict(list)
    for answer in lane.read(lane.results):
        answers[header(answer, "ce_causationid")].append(answer)
    for case in cases:
        origin = origins[case.identity]
        name = f"{origin.topic()}/{origin.partition()}/{origin.offset()}".encode()
        if case.reason is None:
            assert case.identity not in letters, case.name
            [answer] = answers[name]
            assert (answer.key(), json.loads(answer.value())) == (case.key, {"number": 1, "attempt": 1}), (
                case.name
            )
            assert "traceparent" not in dict(answer.headers())
        else:
            assert name not in answers, case.name
            check_letter(letters.pop(case.identity), origin, case)
    assert letters == {}
    assert len(worker.events("attempt failed")) == len(BAD_VALUES) + len(BAD_HEADERS) + 2  # one thrice
    assert worker.events("attempt failed")[0].keys() >= {
        *("topic", "partition", "offset", "key", "record_id", "correlation_id", "attempt", "error")
    }


class Damaged(str):
    """A header's name that no client writes, for kafka-python to write: not UTF-8."""

    __slots__ = ()

    def encode(self, *_: object) -> bytes:
        return b"\xff\xfe"


def test_a_header_whose_name_cannot_be_read_makes_a_dead_letter_without_headers(lane: KafkaLane) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it looks up its plug-ins in a deprecated way
        producer = importlib.import_module("kafka").KafkaProducer(bootstrap_servers=lane.bootstrap_servers)
        producer.send(lane.tasks, GOOD, b"k", [("fine", b"1"), (Damaged("damaged"), b"2")]).get(30)
        producer.close()
    lane.write(b"k", b'{"number": 2}')
    lane.flush()
    lane.worker("a")
    lane.await_done()

    [letter] = lane.read(lane.dead_letters)
    assert (letter.key(), letter.value()) == (b"k", GOOD)
    assert header(letter, "kafleet_reason") == b"InvalidEnvelope"
    assert "a header's name is not UTF-8" in str(header(letter, "kafka_dlt-exception-message"))
    assert header(letter, "fine") is None
    assert lane.answers() == {b"k": [2]}


def check_letter(letter: Message, origin: Message, case: Case) -> None:
    """Key, value and headers are the record's, and the cause is added in all three languages."""
    added = dict(letter.headers()[len(origin.headers()) :])
    assert (letter.key(), letter.value()) == (case.key, case.value), case.name
    assert letter.headers()[: len(origin.headers())] == origin.headers()
    assert added["kafleet_reason"].decode() == case.reason, case.name
    assert int(added["kafleet_attempts"]) == case.attempts
    cause = added["kafka_dlt-exception-message"].decode()
    assert case.cause in cause, case.name
    assert added["__connect.errors.exception.message"].decode() == cause
    assert added["kafka_dlt-original-topic"] == added["__connect.errors.topic"] == origin.topic().encode()
    assert int.from_bytes(added["kafka_dlt-original-partition"], "big") == origin.partition()
    assert int.from_bytes(added["kafka_dlt-original-offset"], "big") == origin.offset()


def header(message: Message, name: str) -> bytes | None:
    found: bytes | None = dict(message.headers()).get(name)
    return found
