"""How much waits in a lane, and for how long, out of offsets alone: no record is read for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from kafleet_operator.planning.workloads import lag_of, position_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kafleet_operator.planning.fleets import Lane
    from kafleet_operator.planning.observations import GroupState

Mark = tuple[float, int]  # when a partition's end was first seen at an offset (seconds), and that offset
Marks = tuple[Mark, ...]  # oldest first

MOST_MARKS: Final = 24


@dataclass(frozen=True, slots=True)
class Backlog:
    """A lane's input as it was seen at `at` (seconds of any clock).

    `written` is how many records its partitions ever had, `lag` how many of them are not settled; `marks` is
    what is remembered of each partition (topic, number) where some are not.
    """

    at: float
    written: int
    lag: int
    marks: Mapping[tuple[str, int], Marks]

    def oldest_seconds(self, now: float) -> float:
        """Return how long the oldest unsettled record has been known to wait at least; 0 if none waits."""
        return now - min((marks[0][0] for marks in self.marks.values()), default=now)


def backlog_of(group: GroupState, lane: Lane, before: Backlog | None, now: float) -> Backlog:
    """Return what waits now; `before` is the last one known of this lane."""
    known, marks, written = before.marks if before else {}, dict[tuple[str, int], Marks](), 0
    for each in group.partitions:
        written += each.end
        position = position_of(each, lane)
        if each.end > position:
            key = (each.topic, each.partition)
            marks[key] = _marks(known.get(key, ()), position, each.end, now)
    return Backlog(now, written, lag_of(group, lane), marks)


def _marks(known: Marks, position: int, end: int, now: float) -> Marks:
    """Return the marks between the oldest unsettled record and the end.

    The first one says when the oldest was there at the latest. A mark beyond the end is of a topic that was
    made again.
    """
    if known and known[0][1] > position and known[-1][1] == end:
        return known
    marks = tuple(mark for mark in known if position < mark[1] <= end)
    if not marks or marks[-1][1] < end:
        marks = (*marks, (now, end))
    # Every second one less: what is lost is precision, in proportion to the age.
    return marks if len(marks) <= MOST_MARKS else (*marks[:-1:2], marks[-1])
