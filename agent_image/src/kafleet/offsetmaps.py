"""Which offsets of a partition are settled: what may be committed, and what is remembered beside it."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable


class OffsetMap:
    """Offsets of one partition in one assignment. Pure; `position` is the only thing ever committed.

    It begins at the committed offset (None: the group has none) with what earlier owners settled above it.
    Offsets that are left out between two fetched ones hold no record, and count as settled.
    """

    __slots__ = ("_earlier", "_is_known", "_unsettled", "next_offset")

    def __init__(self, committed: int | None = None, settled: Iterable[range] = ()) -> None:
        self._is_known = committed is not None
        self.next_offset = committed or 0
        """The lowest offset that may be fetched next; offsets may be left out, but never come again."""
        self._unsettled: dict[int, None] = {}  # fetched, in log order
        self._earlier = deque(settled)  # settled by earlier owners and not fetched by this one, rising

    @property
    def position(self) -> int | None:
        """The offset to commit: everything before it is settled. None while nothing is known."""
        if self._unsettled:
            return next(iter(self._unsettled))
        if self._earlier and self._earlier[0].start <= self.next_offset:
            return self._earlier[0].stop
        return self.next_offset if self._is_known else None

    def fetch(self, offset: int) -> bool:
        """Note an offset that was read, rising; False if it is settled already and must not be worked on."""
        if offset < self.next_offset:
            raise ValueError(f"offset {offset} was fetched already, {self.next_offset} is next")
        self.next_offset = offset + 1
        self._is_known = True
        if self._earlier:
            while self._earlier and self._earlier[0].stop <= offset:
                self._earlier.popleft()
            if self._earlier and self._earlier[0].start <= offset:
                return False
        self._unsettled[offset] = None
        return True

    def reach(self, end: int) -> None:
        """Note that everything that can be read before an offset was fetched: no record fills the rest."""
        self.next_offset = max(self.next_offset, end)
        self._is_known = True
        while self._earlier and self._earlier[0].stop <= end:
            self._earlier.popleft()

    def settle(self, offset: int) -> None:
        """Note that an offset is settled; each of those to be worked on once."""
        del self._unsettled[offset]

    def after(self, offsets: Collection[int]) -> OffsetMap:
        """Return the map as it will be when these are settled as well."""
        later = OffsetMap(self.next_offset if self._is_known else None, self._earlier)
        later._unsettled = dict.fromkeys([each for each in self._unsettled if each not in offsets])
        return later

    def settled(self) -> list[range]:
        """Return the ranges of settled offsets above the position, rising, with gaps between them."""
        position = self.position
        if position is None:
            return []
        ranges: list[range] = []
        end = position  # of what is looked at so far
        for offset in self._unsettled:
            if offset > end:
                ranges.append(range(end, offset))
            end = offset + 1
        if self.next_offset > end:
            ranges.append(range(end, self.next_offset))
            end = self.next_offset
        for earlier in self._earlier:
            if ranges and earlier.start <= ranges[-1].stop:
                ranges[-1] = range(ranges[-1].start, max(earlier.stop, ranges[-1].stop))
            elif earlier.start > position:
                ranges.append(earlier)
        return ranges
