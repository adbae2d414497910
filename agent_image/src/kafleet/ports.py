"""What the dispatcher needs of the world: where records come from, where they go, and who works on them.

No call blocks; all are made on the event loop. Tests put an in-memory log here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Awaitable, Collection, Sequence

    from kafleet.records import Outgoing, Partition, Record
    from kafleet.verdicts import Verdict


class WriteFailed(Exception):
    """A record could not be written now; it may be later."""


class RecordRefused(WriteFailed):
    """The brokers will never take this record as it is (too large, say)."""


class Position(NamedTuple):
    """What to commit: everything before `offset` is settled, `metadata` tells what is above it.

    Valid only in the assignment `epoch` of that partition.
    """

    partition: Partition
    epoch: int
    offset: int
    metadata: str = ""


class Assignment(NamedTuple):
    """Where a partition begins in a new epoch: what the group has committed, None where it never did."""

    epoch: int
    committed: int | None = None
    metadata: str | None = None


class Source(Protocol):
    """Where records come from."""

    def pause(self, partition: Partition, /) -> None: ...

    def resume(self, partition: Partition, /) -> None: ...

    def commit(self, positions: Sequence[Position], /) -> Awaitable[Collection[Partition]]:
        """Commit; the partitions that were acknowledged. Never raises: what failed is left out."""


class Sink(Protocol):
    """Where records go."""

    def produce(self, outgoing: Outgoing, /) -> Awaitable[None]:
        """Write a record; done when acknowledged, or with WriteFailed."""


class Attempting(Protocol):
    """Makes one attempt at a record; raises nothing but its own cancellation."""

    def __call__(self, record: Record, number: int, /) -> Awaitable[Verdict]: ...
