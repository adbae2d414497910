"""A value becomes what the annotation asks for, or a clear refusal; a return value becomes bytes."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import Annotated, Any, Literal, NewType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, Field, StringConstraints
from typing_extensions import TypeAliasType, TypedDict

from kafleet.payloads import InvalidPayload, decoder_for, encoded, kind_of


class Ticket(BaseModel):
    text: str
    level: Annotated[int, Field(ge=0)] = 0


@dataclass
class Point:
    x: int
    y: int = 0


class Refund(BaseModel):
    kind: Literal["refund"]
    amount: int


class Sale(BaseModel):
    kind: Literal["sale"]


class Row(TypedDict, total=False):
    name: str


Order = Annotated[Refund | Sale, Field(discriminator="kind")]
Maybe = TypeAliasType("Maybe", Ticket | None)
Text = NewType("Text", str)
Short = Annotated[str, StringConstraints(max_length=3)]


@pytest.mark.parametrize(
    ("annotation", "value", "expected"),
    [
        (Ticket, b'{"text": "hi"}', Ticket(text="hi")),
        (Point, b'{"x": 1}', Point(1)),
        (dict, b'{"a": [1]}', {"a": [1]}),
        (dict[str, int], b'{"a": 1}', {"a": 1}),
        (list, b"[1, null]", [1, None]),
        (list[Ticket], b'[{"text": "hi"}]', [Ticket(text="hi")]),
        (Ticket | Point, b'{"x": 1}', Point(1)),
        (Any, b"3", 3),
        (str, "grüß".encode(), "grüß"),
        (str, b'"quoted"', '"quoted"'),
        (str, b"", ""),
        (bytes, b"\xff\x00", b"\xff\x00"),
        (bytes | None, b"", b""),
        (bytes | None, None, None),
        (str | None, b"x", "x"),
        (Ticket | None, None, None),
        (Ticket | None, b"null", None),
        (Order, b'{"kind": "refund", "amount": 3}', Refund(kind="refund", amount=3)),
        (Order | None, None, None),
        (Annotated[Ticket | None, Field(description="a ticket")], None, None),
        (Maybe, None, None),
        (Maybe, b'{"text": "hi"}', Ticket(text="hi")),
        (Row, b'{"name": "Ada"}', {"name": "Ada"}),
        (Text, b'"as it is"', '"as it is"'),
        (Short, b"abc", "abc"),
        (Short | None, None, None),
        (Annotated[bytes, "raw"], b"\xff", b"\xff"),
        (str | dict[str, int], b'"quoted"', "quoted"),
    ],
)
def test_the_annotation_says_what_the_value_becomes(
    annotation: object, value: bytes | None, expected: object
) -> None:
    assert decoder_for(annotation)(value) == expected


@pytest.mark.parametrize(
    ("annotation", "value", "reason"),
    [
        (Ticket, b"", "value: Invalid JSON: EOF"),
        (Ticket, b"{", "value: Invalid JSON: EOF"),
        (Ticket, b"\xff", "value: Invalid JSON"),
        (Ticket, b"[]", "value: "),
        (Ticket, b'{"text": 1, "level": -1}', "text: .*; level: "),
        (Ticket, b"[" * 100_000, "value: Invalid JSON: recursion limit"),
        (Ticket, None, "tombstone"),
        (dict, b"[]", "value: "),
        (Order, b'{"kind": "gift"}', "value: Input tag 'gift'"),
        (Order, None, "tombstone"),
        (Row, b'{"name": 1}', "name: "),
        (Short, b"abcd", "value: String should have at most 3"),
        (Short, b"\xff", "not UTF-8"),
        (str, b"\xff", "not UTF-8: invalid start byte at byte 0"),
        (str, None, "tombstone"),
        (bytes, None, "tombstone"),
    ],
)
def test_a_value_that_does_not_fit_is_refused_with_the_reason(
    annotation: object, value: bytes | None, reason: str
) -> None:
    with pytest.raises(InvalidPayload, match=reason):
        decoder_for(annotation)(value)


def test_a_refusal_never_shows_the_value() -> None:
    with pytest.raises(InvalidPayload) as caught:
        decoder_for(Ticket)(b'{"text": ["secret"], "level": "secret"}')

    assert "secret" not in str(caught.value)


@settings(deadline=None)
@given(st.sampled_from([Ticket, Point, dict, list, str, bytes, Any]), st.none() | st.binary())
def test_any_value_is_decoded_or_refused(annotation: object, value: bytes | None) -> None:
    with suppress(InvalidPayload):
        decoder_for(annotation)(value)


def test_an_annotation_that_nothing_can_make_is_a_type_error() -> None:
    class Opaque:
        pass

    with pytest.raises(TypeError, match="Unable to generate pydantic-core schema"):
        decoder_for(Opaque)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (Ticket(text="grüß"), ('{"text":"grüß","level":0}'.encode(), "application/json")),
        (Point(1), (b'{"x":1,"y":0}', "application/json")),
        ({"a": [1, None, float("nan")]}, (b'{"a":[1,null,null]}', "application/json")),
        (0, (b"0", "application/json")),
        ("text", (b"text", "text/plain; charset=utf-8")),
        (b"\xff", (b"\xff", "application/octet-stream")),
    ],
)
def test_return_values_become_bytes(value: object, expected: tuple[bytes, str]) -> None:
    assert encoded(value) == expected


@settings(deadline=None)
@given(st.text() | st.binary())
def test_text_and_bytes_come_through_unchanged(value: str | bytes) -> None:
    assert decoder_for(type(value))(encoded(value)[0]) == value


def test_the_type_of_a_result_is_its_class() -> None:
    results: list[object] = [Ticket(text=""), Point(1), {}, "x"]

    assert [kind_of(each) for each in results] == ["Ticket", "Point", "result", "result"]
