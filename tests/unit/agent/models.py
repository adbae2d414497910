"""What models of the protocol share: visiting every state, and what an owner of a partition knows."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from kafleet.commitmetadata import Progress, metadata_of, progress_from
from kafleet.offsetmaps import OffsetMap

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Iterator

CONCURRENCY = 2
KEYS = "aab"  # of the records: the second one waits for the first
Offsets = frozenset[int]
NONE: Offsets = frozenset()
State = TypeVar("State", bound="Hashable")


class Broken(AssertionError):
    """A promise was broken; the steps that led to it."""


def explore(
    state: State,
    steps: Callable[[State], Iterable[tuple[str, State]]],
    fault: Callable[[State], str | None],
    is_done: Callable[[State], bool],
) -> int:
    """Visit every state that can be reached; returns how many. Whatever cannot go on must be done."""
    seen: dict[State, tuple[State, str] | None] = {state: None}
    left = deque([state])
    while left:
        state = left.popleft()  # breadth first: the shortest history is found first
        following = list(steps(state))
        wrong = fault(state) or (None if following or is_done(state) else "nothing can happen any more")
        if wrong is not None:
            raise Broken(f"{wrong}, after: {', '.join(path_to(state, seen))}")
        for name, after in following:
            if after not in seen:
                seen[after] = state, name
                left.append(after)
    return len(seen)


def path_to(state: State, seen: dict[State, tuple[State, str] | None]) -> list[str]:
    names = []
    while (came := seen[state]) is not None:
        state, name = came
        names.append(name)
    return names[::-1]


class Committed(NamedTuple):
    """What the group's coordinator keeps."""

    offset: int
    metadata: str

    @property
    def claims(self) -> Offsets:
        """The offsets that it calls settled."""
        above = {each for run in progress_from(*self).settled for each in run}
        return frozenset(range(self.offset)) | above


NOTHING = Committed(0, "")


@dataclass(frozen=True, slots=True)
class Owner:
    """What one owner of the partition knows. `epoch` is that of its assignment."""

    epoch: int
    start: Committed | None = None  # what it has read, and marked
    is_marked: bool = False
    fetched: int = 0
    running: Offsets = NONE
    ended: Offsets = NONE  # whose outputs are on their way
    settled: Offsets = NONE
    failed: tuple[int, ...] = (0,) * len(KEYS)  # attempts, by offset
    is_leaving: bool = False

    @property
    def unsettled(self) -> Offsets:
        """What was given out or waits to be."""
        assert self.start is not None
        return frozenset(range(self.start.offset, self.fetched)) - self.start.claims - self.settled

    def startable(self) -> Iterator[int]:
        """Yield the records whose turn it is."""
        busy = self.running | self.ended
        for offset in sorted(self.unsettled - busy):
            if not any(KEYS[before] == KEYS[offset] for before in self.unsettled if before < offset):
                yield offset


@cache
def position_of(owner: Owner, settling: Offsets = NONE, *, is_closed: bool = False) -> Committed:
    """Return what an owner commits once `settling` are settled, too, by the engine's own values."""
    assert owner.start is not None
    found = progress_from(*owner.start)
    offsets = OffsetMap(owner.start.offset, found.settled)
    for offset in range(owner.start.offset, owner.fetched):
        offsets.fetch(offset)
    settled = owner.settled | settling
    for offset in sorted(settled):
        offsets.settle(offset)
    failed = {each: count for each, count in enumerate(owner.failed) if count and each not in settled}
    unclean = max(0, found.unclean - 1) + (not is_closed)
    position = offsets.position
    assert position is not None
    return Committed(position, metadata_of(position, Progress(offsets.settled(), failed, unclean)).text)


def subsets(offsets: Offsets) -> Iterator[Offsets]:
    """Yield all subsets."""
    members = sorted(offsets)
    for bits in range(1 << len(members)):
        yield frozenset(each for place, each in enumerate(members) if bits >> place & 1)
