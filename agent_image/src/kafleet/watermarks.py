"""Which offset of a partition may be committed: the first one that is not settled."""

from __future__ import annotations

from collections import deque


class Watermark:
    """Offsets of one partition in one assignment. Pure; `position` is the only thing ever committed."""

    __slots__ = ("_next", "_open", "_settled")

    def __init__(self) -> None:
        self._open: deque[int] = deque()  # fetched and not passed, in log order
        self._settled: set[int] = set()  # those of `_open` that are settled
        self._next: int | None = None

    def __len__(self) -> int:
        """Offsets between the position and the newest fetched one, settled or not."""
        return len(self._open)

    @property
    def next_offset(self) -> int:
        """The lowest offset that may be fetched next; offsets may be left out, but never come again."""
        return 0 if self._next is None else self._next

    @property
    def position(self) -> int | None:
        """The offset to commit: everything before it is settled. None while nothing was fetched."""
        return self._open[0] if self._open else self._next

    def fetch(self, offset: int) -> None:
        """Note an offset that was read; they come in rising order."""
        if offset < self.next_offset:
            raise ValueError(f"offset {offset} was fetched already, {self.next_offset} is next")
        self._open.append(offset)
        self._next = offset + 1

    def settle(self, offset: int) -> None:
        """Note that an offset is settled; each of the fetched ones once."""
        self._settled.add(offset)
        while self._open and self._open[0] in self._settled:
            self._settled.remove(self._open.popleft())
