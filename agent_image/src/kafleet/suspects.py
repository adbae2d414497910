"""Records that may kill the process: those of a partition whose owners died one after the other.

Pure. An owner commits, before it begins, that one more may die, and takes that back when it leaves in good
order. So whoever finds a count above 0 knows how many owners in a row have died.
"""

from __future__ import annotations

IN_FLIGHT_PER_SLOT = 2
"""While one record is with a handler, another one's outputs may be on their way to the brokers."""
TRIAL_SECONDS = 10.0
"""An owner that dies sooner counts as one in a row, whatever it has settled."""
_INNOCENT_DEATHS = 1
"""A single death is a lost node, say: only from the second in a row on records are suspected."""


class Suspects:
    """Of one partition in one assignment: all its records, until the owner has proved to survive them.

    That is when it has lived for `TRIAL_SECONDS` since `now`, and as many records as can have been in flight
    when the last owner died are settled: the first that are given out, as the last owner will have begun with
    them, too. Were they the first of the log, one that waits behind others of its key would hold up them all.
    """

    __slots__ = ("_concurrency", "_has_settled", "_open", "_room", "_trial_ends", "deaths", "is_lifted")

    def __init__(self, deaths: int, concurrency: int, now: float) -> None:
        self.deaths = deaths  # of owners in a row, before this one
        self.is_lifted = deaths <= _INNOCENT_DEATHS  # nobody is suspected, or not any more
        self._concurrency = concurrency
        self._room = IN_FLIGHT_PER_SLOT * concurrency if deaths else 0
        self._open: set[int] = set()
        self._has_settled = False
        self._trial_ends = now + TRIAL_SECONDS

    def give_out(self, offset: int) -> None:
        """Note that a record is being worked on, for the first time or again."""
        if self._room and offset not in self._open:
            self._room -= 1
            self._open.add(offset)

    def awaits(self, offset: int) -> bool:
        """Tell whether a record that was given out has to be settled before the deaths can be forgotten."""
        return offset in self._open

    def settle(self, offset: int) -> None:
        """Note that a record is settled."""
        self._open.discard(offset)
        self._has_settled = True

    def clear(self, now: float, *, is_idle: bool) -> bool:
        """Forget the deaths if they are disproved; `is_idle` tells that no record is at hand.

        Returns whether there was something to forget; once that is committed, `is_lifted` may be set. Nothing
        settled proves nothing.
        """
        is_proved = self._has_settled and not self._open and (is_idle or not self._room)
        if not self.deaths or not is_proved or now < self._trial_ends:
            return False
        self.deaths = self._room = 0
        return True

    @property
    def limit(self) -> int:
        """How many suspects may be in flight at once: half as many with each death, at last one alone."""
        return max(1, self._concurrency >> max(0, self.deaths - _INNOCENT_DEATHS))
