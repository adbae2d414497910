"""Headers become values and values headers, whatever strangers write."""

from __future__ import annotations

import json
import struct
from contextlib import suppress
from datetime import UTC, datetime
from hashlib import blake2s
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from unit.agent.samples import record

from kafleet.envelopes import (
    _TYPES,
    Envelope,
    InvalidEnvelope,
    dead_letter_headers,
    emitted_headers,
    emitted_id,
    envelope_of,
    shared_headers,
)
from kafleet.verdicts import Fault

if TYPE_CHECKING:
    from kafleet.records import Headers

CONTRACT = Path(__file__).resolve().parents[3] / "agent_image" / "contract"
SCHEMA = Draft202012Validator(json.loads((CONTRACT / "envelope.schema.json").read_text()))
PARENT = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
NOW = datetime(2026, 11, 23, 12, 30, tzinfo=UTC)
names = st.sampled_from(
    ["ce_id", "ce_type", "ce_hops", "ce_deadline", "ce_correlationid", "traceparent", "mine"]
)
anything = st.lists(st.tuples(names, st.none() | st.binary(max_size=20)), max_size=8).map(tuple)


def test_a_record_without_headers_is_a_task_named_by_its_position() -> None:
    assert envelope_of(record(7)) == Envelope("tasks/0/7", None, "tasks/0/7")


def test_headers_are_understood() -> None:
    headers: Headers = (
        ("ce_id", b"one"),
        ("ce_type", b"refund"),
        ("ce_correlationid", b"tree"),
        ("ce_hops", b"3"),
        ("ce_deadline", b"2026-11-23T13:30:00+01:00"),
        ("traceparent", PARENT),
        ("tracestate", b"any=thing"),
        ("content-type", b"application/json"),
        ("mine", b"\xff"),
    )

    assert envelope_of(record(headers=headers)) == Envelope(
        "one",
        "refund",
        "tree",
        3,
        NOW,
        (("traceparent", PARENT), ("tracestate", b"any=thing")),
        "application/json",
    )


@pytest.mark.parametrize(
    "parent",
    [
        None,
        b"",
        b"00-x",
        b"\xff" * 55,
        PARENT.upper(),
        PARENT + b"0",
        b"ff" + PARENT[2:],
        b"00-" + b"0" * 32 + PARENT[35:],
        PARENT[:36] + b"0" * 16 + b"-01",
    ],
)
def test_a_trace_that_no_tracer_understands_is_not_passed_on(parent: bytes | None) -> None:
    headers: Headers = (("traceparent", parent), ("tracestate", b"any=thing"))

    assert envelope_of(record(headers=headers)).tracing == ()


def test_a_trace_of_a_later_version_is_passed_on() -> None:
    parent = b"01" + PARENT[2:] + b"-more"

    assert envelope_of(record(headers=(("traceparent", parent),))).tracing == (("traceparent", parent),)


@pytest.mark.parametrize("kind", [b"application/cloudevents+json", b"application/CloudEvents-batch+json"])
def test_structured_cloud_events_are_refused_with_the_way_out(kind: bytes) -> None:
    with pytest.raises(InvalidEnvelope, match="structured mode is not read; send it in binary mode"):
        envelope_of(record(headers=(("content-type", kind),)))


def test_without_a_correlation_id_the_record_is_the_root_of_its_tree() -> None:
    assert envelope_of(record(headers=(("ce_id", b"one"),))).correlation_id == "one"


def test_the_last_header_of_a_name_counts() -> None:
    assert envelope_of(record(headers=(("ce_hops", b"1"), ("ce_hops", b"2")))).hops == 2


def test_what_senders_make_up_is_not_remembered() -> None:
    """Nobody must fill the memory of an agent with types that never come again."""
    long = "x" * 1_000
    kinds = [long, *map(str, range(2_000))]

    read = [envelope_of(record(headers=(("ce_type", kind.encode()),))).type for kind in kinds]

    assert read == kinds
    assert len(_TYPES) < 1_000
    assert long.encode() not in _TYPES


@pytest.mark.parametrize("hops", [b"", b"-1", b"many", b"1.0", b" 1", "٣".encode(), b"9" * 5000, b"\xff"])
def test_hops_that_are_no_count_are_refused(hops: bytes) -> None:
    with pytest.raises(InvalidEnvelope, match="ce_hops"):
        envelope_of(record(headers=(("ce_hops", hops),)))


@pytest.mark.parametrize("deadline", [b"", b"soon", b"12:00", b"9999-12-31T23:59:59-23:59"])
def test_a_deadline_that_is_no_time_is_refused(deadline: bytes) -> None:
    with pytest.raises(InvalidEnvelope, match="ce_deadline"):
        envelope_of(record(headers=(("ce_deadline", deadline),)))


def test_headers_that_cannot_be_read_are_refused() -> None:
    with pytest.raises(InvalidEnvelope, match="cannot be read"):
        envelope_of(record(headers=None))


@settings(deadline=None)
@given(anything)
def test_any_headers_give_an_envelope_or_a_refusal(headers: Headers) -> None:
    with suppress(InvalidEnvelope):
        assert envelope_of(record(headers=headers)).id


@settings(deadline=None)
@given(st.text(min_size=1), st.integers(0, 100), st.none() | st.binary(max_size=8), st.none() | st.just(NOW))
def test_emitted_headers_fit_the_contract_and_are_understood_again(
    cause_id: str, hops: int, key: bytes | None, deadline: datetime | None
) -> None:
    cause = Envelope(cause_id, None, "tree", hops, None, (("traceparent", PARENT),))
    identity = emitted_id("group", cause_id, 0)
    headers = emitted_headers(
        cause, shared_headers("group", "Verdict", "application/json", NOW), identity, key, deadline
    )

    SCHEMA.validate({name: (value or b"").decode() for name, value in headers})
    assert envelope_of(record(headers=headers)) == Envelope(
        identity, "Verdict", "tree", hops + 1, deadline, cause.tracing, "application/json"
    )
    assert dict(headers)["ce_causationid"] == cause_id.encode()


@settings(deadline=None)
@given(st.tuples(st.text(), st.text(), st.integers(0, 9)), st.tuples(st.text(), st.text(), st.integers(0, 9)))
def test_ids_are_the_same_on_every_attempt_and_differ_by_group_cause_and_position(
    one: tuple[str, str, int], other: tuple[str, str, int]
) -> None:
    group, cause, position = one
    seed = f"{group}\n{cause}\n{position}".encode()
    assert emitted_id(*one) == blake2s(seed, digest_size=16).hexdigest() == UUID(emitted_id(*one)).hex
    if one != other and "\n" not in one[0] + one[1] + other[0] + other[1]:
        assert emitted_id(*one) != emitted_id(*other)


def test_a_dead_letter_keeps_every_header_and_adds_the_cause_under_the_known_names() -> None:
    mine: Headers = (("mine", b"\xff"), ("mine", None), ("kafleet_reason", b"before"))
    fault = Fault("ValueError", "no", "Traceback …")
    headers = dead_letter_headers(
        record(7, headers=mine), reason="AttemptsExhausted", fault=fault, attempts=5, group="group"
    )

    assert headers[:3] == list(mine)
    added = dict(headers[3:])
    assert struct.unpack(">i", added["kafka_dlt-original-partition"] or b"") == (0,)
    assert struct.unpack(">q", added["kafka_dlt-original-offset"] or b"") == (7,)
    assert struct.unpack(">q", added["kafka_dlt-original-timestamp"] or b"") == (1_700_000_000_000,)
    assert {name: value for name, value in added.items() if not name.startswith("kafka_dlt-original-")} == {
        "kafka_dlt-exception-fqcn": b"ValueError",
        "kafka_dlt-exception-message": b"no",
        "kafka_dlt-exception-stacktrace": "Traceback …".encode(),
        "__connect.errors.topic": b"tasks",
        "__connect.errors.partition": b"0",
        "__connect.errors.offset": b"7",
        "__connect.errors.connector.name": b"group",
        "__connect.errors.exception.class.name": b"ValueError",
        "__connect.errors.exception.message": b"no",
        "__connect.errors.exception.stacktrace": "Traceback …".encode(),
        "kafleet_reason": b"AttemptsExhausted",
        "kafleet_attempts": b"5",
    }


def test_a_huge_or_unencodable_error_still_makes_a_dead_letter() -> None:
    fault = Fault("E", "\udcff" * 5_000, "x" * 1_000_000)
    headers = dead_letter_headers(record(headers=None), reason="r", fault=fault, attempts=0, group="g")

    assert sum(len(value or b"") for _, value in headers) < 60_000
