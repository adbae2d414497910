"""What the dispatcher needs of the world: where records come from, where they go, and who works on them.

No call blocks; all are made on the event loop. Tests put an in-memory log here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Awaitable, Mapping, Sequence

    from kafleet.records import Outgoing, Partition, Record
    from kafleet.verdicts import Verdict


class WriteFailed(Exception):
    """A record could not be written now; it may be later."""


class RecordRefused(WriteFailed):
    """The brokers will never take this record as it is (too large, say)."""


class Position(NamedTuple):
    """Everything before `offset` is settled; valid only in the assignment `epoch` of that partition."""

    partition: Partition
    epoch: int
    offset: int


class Source(Protocol):
    """Where records come from."""

    def pause(self, partition: Partition, /) -> None: ...

    def resume(self, partition: Partition, /) -> None: ...

    def commit(self, positions: Sequence[Position], /) -> Awaitable[Mapping[Partition, int]]:
        """Commit; the offsets that were acknowledged. Never raises: what failed is left out."""


class Sink(Protocol):
    """Where records go."""

    def produce(self, outgoing: Outgoing, /) -> Awaitable[None]:
        """Write a record; done when acknowledged, or with WriteFailed."""


class Attempting(Protocol):
    """Makes one attempt at a record; raises nothing but its own cancellation."""

    def __call__(self, record: Record, number: int, /) -> Awaitable[Verdict]: ...
