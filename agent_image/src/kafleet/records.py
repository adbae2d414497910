"""Records as values: what was read from the log, and what is to be written to it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

Header = tuple[str, bytes | None]
Headers = Sequence[Header]


class Partition(NamedTuple):
    """One partition of a topic."""

    topic: str
    number: int


class Record(NamedTuple):
    """A record as it was read; `headers` None cannot be read, `timestamp_ms` is since the epoch."""

    partition: Partition
    offset: int
    key: bytes | None
    value: bytes | None
    headers: Headers | None = ()
    timestamp_ms: int = 0

    @property
    def size(self) -> int:
        """Bytes of its key, its value and its headers' values."""
        _, _, key, value, headers, _ = self
        size = (len(key) if key else 0) + (len(value) if value else 0)
        for _, content in headers or ():
            if content:
                size += len(content)
        return size

    @property
    def name(self) -> str:
        """`<topic>/<partition>/<offset>`: the id of a record that brings none."""
        return f"{self.partition.topic}/{self.partition.number}/{self.offset}"

    @property
    def names(self) -> dict[str, object]:
        """What a line in the log names it by."""
        topic, number = self.partition
        return {"topic": topic, "partition": number, "offset": self.offset, "key": text_of(self.key)}


class Outgoing(NamedTuple):
    """A record to be written; the partitioner chooses the partition from the key."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: list[Header]  # as the client wants them


def text_of(raw: bytes | None) -> str | None:
    """Bytes as readable text for logs and /status; what is not UTF-8 is escaped, never an error."""
    return None if raw is None else raw.decode("utf-8", "backslashreplace")
