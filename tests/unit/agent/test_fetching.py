"""What the client hands over becomes a record, also where the client itself stumbles."""

from __future__ import annotations

import pytest

from kafleet.fetching import _record
from kafleet.records import Headers, Partition, Record


class Message:
    """A client's message; `headers` raises as the binding does for a header name that is not UTF-8."""

    def __init__(self, headers: list[tuple[str, bytes | None]] | Exception | None) -> None:
        self._headers = headers

    def topic(self) -> str:
        return "tasks"

    def partition(self) -> int:
        return 3

    def offset(self) -> int:
        return 7

    def key(self) -> bytes:
        return b"k"

    def value(self) -> None:
        return None

    def timestamp(self) -> tuple[int, int]:
        return (1, 1_700_000_000_000)

    def headers(self) -> list[tuple[str, bytes | None]] | None:
        if isinstance(self._headers, Exception):
            raise self._headers
        return self._headers


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        (None, ()),
        ([("a", b"\xff"), ("a", None)], [("a", b"\xff"), ("a", None)]),
        (SystemError("headers() returned a result with an exception set"), None),
    ],
)
def test_a_message_becomes_a_record(
    headers: list[tuple[str, bytes | None]] | Exception | None, expected: Headers | None
) -> None:
    record = _record(Message(headers), Partition("tasks", 3))

    assert record == Record(Partition("tasks", 3), 7, b"k", None, expected, 1_700_000_000_000)
