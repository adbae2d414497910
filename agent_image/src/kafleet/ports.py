"""What the dispatcher needs of the world: where records come from, where they go, and who works on them.

No call blocks; all are made on the event loop. Tests put an in-memory log here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Collection, Coroutine, Sequence
    from contextlib import AbstractAsyncContextManager

    from kafleet.records import Outgoing, Partition, Record
    from kafleet.verdicts import Verdict

Work = TypeVar("Work")
"""Whatever a dispatcher knows a record by whose outputs are to be written; a sink only hands it back."""
Work_contra = TypeVar("Work_contra", contravariant=True)


class WriteFailed(Exception):
    """A record could not be written now; it may be later."""


class RecordRefused(WriteFailed):
    """The brokers will never take this record as it is (too large, say)."""


class Position(NamedTuple):
    """What to commit: everything before `offset` is settled, `metadata` tells what is above it.

    Valid only in the assignment `epoch` of that partition. `change` tells the dispatcher how far it goes.
    """

    partition: Partition
    epoch: int
    offset: int
    metadata: str = ""
    change: int = 0


class Assignment(NamedTuple):
    """Where a partition begins in a new epoch: what the group has committed, None where it never did."""

    epoch: int
    committed: int | None = None
    metadata: str | None = None


class Commit(Protocol):
    """Commits; the partitions that were acknowledged. Never raises: what failed is left out."""

    def __call__(self, positions: Sequence[Position], /) -> Awaitable[Collection[Partition]]: ...


class Source(Protocol):
    """Where records come from."""

    def pause(self, partition: Partition, /) -> None: ...

    def resume(self, partition: Partition, /) -> None: ...

    def pace(self, seconds: float, /) -> None:
        """Leave so many seconds between batches: 0 for all there is, infinity for nothing for now.

        Pausing costs a source what it has fetched ahead, this costs nothing.
        """

    @property
    def commit(self) -> Commit: ...


class Sink(Protocol[Work_contra]):
    """Where records go. What came of them it tells its `Settlements`, on the event loop and in batches."""

    def write(self, work: Work_contra, outgoing: Sequence[Outgoing], /) -> None:
        """Write all that one record led to, at least one; never answers before it returns."""

    def quiet(self) -> AbstractAsyncContextManager[object]:
        """No transaction is under way while this is entered: positions that are taken then are final."""


class Settlements(Protocol[Work]):
    """Who is told what came of writes. Of work that was given up meanwhile nothing is noted."""

    def settled(self, works: Sequence[Work], /) -> None:
        """Note works of which everything is acknowledged; with transactions, committed."""

    def unwritten(self, work: Work, failures: Sequence[tuple[Outgoing, WriteFailed]], /) -> None:
        """Note what of one work could not be written; the rest of it is acknowledged."""

    def plan(self, works: Sequence[Work], /) -> tuple[list[Work], list[Position]]:
        """Return which of these works may be settled at once, and what is to be committed with them.

        Without works: what is to be committed now. Works that were given up are left out, and with
        transactions those that an offset map has no room for before others are settled.
        """

    def awaits(self, work: Work, /) -> bool:
        """Tell whether a work is still to be settled here; else its partition may be somebody else's."""

    def committed(self, positions: Sequence[Position], /) -> None:
        """Note that positions are committed which `plan` returned."""


class Attempting(Protocol):
    """Makes one attempt at a record; raises nothing but its own cancellation."""

    def __call__(self, record: Record, number: int, /) -> Coroutine[Any, Any, Verdict]: ...
