"""Judging repeats: which of them the commits explain, and what each death may cost. Imports no Kafleet."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from typing import TYPE_CHECKING, Final

from chaos.facts import CLOCK_SECONDS, EVERYBODY
from chaos.judgements import Death

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from chaos.facts import Absence, Attempt, Evidence, Expelled, Identity, Input, Output
    from chaos.judgements import Judgement
    from chaos.owners import Owners

_SNAPSHOT_SECONDS: Final = 1.0  # what is acknowledged may take so long to be seen by a busy process
_UNKNOWING_COMMITS: Final = 1  # the first commit after a settlement may have been put together before it
_COMMITTING_SECONDS: Final = 15.0  # a second is promised; a busy machine may be late


class Repeats:
    """Whether the commits explain that a record was worked on again after its outcome was written.

    A successor knows what the last acknowledged commit of its predecessor knew. The first commit after the
    outcome may have been put together before it was acknowledged; the second one knows of it.
    """

    def __init__(
        self,
        evidence: Evidence,
        inputs: Mapping[Identity, Input],
        outcomes: Mapping[Identity, Sequence[Output]],
        owners: Owners,
        expelled: Expelled,
    ) -> None:
        self._evidence = evidence
        self._inputs = inputs
        self._outcomes = outcomes
        self._expelled = expelled
        self._owners = owners
        self._deaths: dict[str, float] = {}
        self._absences: dict[str, list[Absence]] = defaultdict(list)
        for absence in evidence.absences:
            self._absences[absence.process].append(absence)
            if absence.is_death:
                self._deaths[absence.process] = absence.began

    def judge(self, judgement: Judgement) -> None:
        """Judge each attempt at what was done, each death, and how long outcomes stayed uncommitted."""
        for process in self._deaths:
            judgement.deaths[process] = Death()
        self._forgettable(judgement)
        charged: set[tuple[str, Identity]] = set()
        for again in self._evidence.attempts:
            if again.ended is None and again.process in self._deaths:
                judgement.deaths[again.process].in_flight += 1
            output = self._known(again)
            if output is None:
                continue
            judgement.reworked += 1
            if again.identity not in self._inputs or self._expelled.has(again.process, again.started):
                continue
            if not self._is_excused(output, again):
                judgement.needless.add(
                    f"{again.identity} of {output.process or 'nobody'} again by {again.process}, "
                    f"{again.started - output.appended:.1f} s after its outcome"
                )
            elif self._is_of_the_death(output, again):
                charged.add((output.process, again.identity))
        for process, _ in charged:
            judgement.deaths[process].repeated += 1

    def _is_of_the_death(self, output: Output, again: Attempt) -> bool:
        """Tell whether it is the death of who had an outcome, and nothing before it, that made it forgotten.

        Who was expelled, or cut off from the broker, had not committed it in time, or not its partitions any
        more, when it died.
        """
        died = self._deaths.get(output.process, float("inf"))
        return died <= again.started and died <= min(self._disturbances(output, again))

    def _known(self, again: Attempt) -> Output | None:
        """Return the outcome that whoever begins an attempt should know; None if there was none.

        That is the last one, but for those of processes that did not own their partitions any more, unless
        there are no others.
        """
        before = [
            each
            for each in self._outcomes.get(again.identity, ())
            if each.appended + CLOCK_SECONDS < again.started
        ]
        owned = [each for each in before if not self._expelled.has(each.process, each.appended)]
        return max(owned or before, key=lambda each: each.appended, default=None)

    def _is_excused(self, output: Output, again: Attempt) -> bool:
        disturbed = min(self._disturbances(output, again), default=None)
        if disturbed is None:
            return False
        partition = self._inputs[again.identity].partition
        # A process that repeats its own work does not say when it was gone.
        owned = (
            float("-inf")
            if output.process == again.process
            else self._owners.owned_until(partition, output.process, output.appended, self._expelled)
        )
        return self._is_forgettable(output, partition, max(disturbed, owned))

    def _is_forgettable(self, output: Output, partition: int, until: float) -> bool:
        """Tell whether no commit before a moment must have known of an outcome."""
        commits = self._evidence.commits.get(partition, ())
        known = bisect_right(commits, output.appended + _SNAPSHOT_SECONDS)
        return bisect_left(commits, until) - known <= _UNKNOWING_COMMITS

    def _disturbances(self, output: Output, again: Attempt) -> Iterator[float]:
        """Tell when whoever had the outcome was disturbed between it and the repeat."""
        named = [*self._absences.get(output.process, ()), *self._absences.get(EVERYBODY, ())]
        for absence in named if output.process else self._evidence.absences:
            if absence.began <= again.started and absence.ended >= output.appended - _SNAPSHOT_SECONDS:
                yield absence.began

    def _forgettable(self, judgement: Judgement) -> None:
        """Count what each death may make forgotten, and find what was not committed in time."""
        for identity, outputs in self._outcomes.items():
            origin = self._inputs.get(identity)
            if origin is None:
                continue
            for output in outputs:
                died = self._deaths.get(output.process)
                if died is not None and self._is_forgettable(output, origin.partition, died):
                    judgement.deaths[output.process].forgettable += 1
                if not self._is_committed_in_time(output, origin.partition):
                    judgement.uncommitted.add(f"{identity} of {output.process or 'nobody'}")

    def _is_committed_in_time(self, output: Output, partition: int) -> bool:
        """Tell whether a commit followed an outcome, unless whoever had it was disturbed."""
        commits = self._evidence.commits.get(partition, ())
        following = bisect_left(commits, output.appended)
        due = output.appended + _COMMITTING_SECONDS
        if following < len(commits) and commits[following] <= due:
            return True
        named = [*self._absences.get(output.process, ()), *self._absences.get(EVERYBODY, ())]
        return any(
            absence.began <= due and absence.ended >= output.appended - _COMMITTING_SECONDS
            for absence in (named if output.process else self._evidence.absences)
        )
