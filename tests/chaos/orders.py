"""Judging order: of answers, and of the attempts of each key. Nothing of Kafleet is imported."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from chaos.facts import EVERYBODY, NO_KEY, Identity

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from chaos.facts import Attempt, Evidence, Expelled, Input, Output
    from chaos.judgements import Judgement
    from chaos.owners import Owners


def judge_orders(evidence: Evidence, passed: Passed, expelled: Expelled, judgement: Judgement) -> None:
    """Judge the order within each key."""
    _answers(evidence.answers, expelled, judgement)
    deaths = {absence.process: absence.began for absence in evidence.absences if absence.is_death}
    by_key: dict[str, list[Attempt]] = defaultdict(list)
    for attempt in evidence.attempts:
        if attempt.identity.key != NO_KEY:
            by_key[attempt.identity.key].append(attempt)
    for attempts in by_key.values():
        attempts.sort(key=lambda attempt: attempt.started)
        _overlaps(attempts, deaths, expelled, judgement)
        _turns(attempts, passed, expelled, judgement)


def _answers(answers: Iterable[Output], expelled: Expelled, judgement: Judgement) -> None:
    """First answers of a key come in its order; a repeat is no first answer."""
    seen: set[Identity] = set()
    last: dict[str, Output] = {}
    for answer in answers:
        key, sequence = answer.identity
        if key == NO_KEY or answer.identity in seen:
            continue
        seen.add(answer.identity)
        before = last.get(key)
        if before is not None and before.identity.sequence > sequence:
            is_excused = any(expelled.has(each.process, each.appended) for each in (before, answer))
            finding = judgement.disordered_by_expelled if is_excused else judgement.disordered
            finding.add(f"{before.identity} is answered before {answer.identity}")
        else:
            last[key] = answer


def _overlaps(
    attempts: Sequence[Attempt], deaths: Mapping[str, float], expelled: Expelled, judgement: Judgement
) -> None:
    """No handler of a key begins before the one that began before it has ended."""
    holder: Attempt | None = None
    held_until = float("-inf")
    for attempt in attempts:
        if holder is not None and attempt.started < held_until:
            is_excused = any(expelled.has(each.process, attempt.started) for each in (holder, attempt))
            finding = judgement.overlapped_by_expelled if is_excused else judgement.overlapped
            finding.add(
                f"{attempt.identity} in {attempt.process} beside {holder.identity} in {holder.process}"
            )
        ended = deaths.get(attempt.process, float("inf")) if attempt.ended is None else attempt.ended
        if ended > held_until:
            holder, held_until = attempt, ended


def _turns(attempts: Sequence[Attempt], passed: Passed, expelled: Expelled, judgement: Judgement) -> None:
    """No record begins before all before it in its key are done: answered, or passed as a dead letter."""
    done = 0  # every sequence below it
    answered: set[int] = set()
    for attempt in attempts:
        key, sequence = attempt.identity
        while done < sequence and (done in answered or passed.allow(Identity(key, done), attempt)):
            done += 1
        if done < sequence:
            finding = (
                judgement.hasty_by_expelled
                if expelled.has(attempt.process, attempt.started)
                else judgement.hasty
            )
            finding.add(f"{attempt.identity} begins in {attempt.process} before {done} is done")
        if attempt.is_answered:
            answered.add(sequence)


class Passed:
    """The poison of all keys: when what follows it may begin. `first` is the first outcome of each record."""

    def __init__(
        self,
        attempts: Iterable[Attempt],
        inputs: Mapping[Identity, Input],
        first: Mapping[Identity, Output],
        owners: Owners,
        expelled: Expelled,
    ) -> None:
        self._inputs = inputs
        self._first = first
        self._owners = owners
        self._expelled = expelled
        self._attempts: dict[Identity, list[Attempt]] = defaultdict(list)
        for attempt in attempts:
            if attempt.identity in inputs and inputs[attempt.identity].is_poison:
                self._attempts[attempt.identity].append(attempt)

    def allow(self, poison: Identity, following: Attempt) -> bool:
        """Tell whether a process has given a record up for good when it begins what follows in its key.

        The dead letter may be on its way then, but while the partition stays it is never made after one more
        attempt.
        """
        letter = self._first.get(poison)
        if letter is None or poison not in self._inputs or not self._inputs[poison].is_poison:
            return False
        again = [
            attempt.started
            for attempt in self._attempts[poison]
            if attempt.process == following.process and following.started < attempt.started < letter.appended
        ]
        return not again or not self._has_stayed(poison, following, min(again))

    def _has_stayed(self, poison: Identity, following: Attempt, until: float) -> bool:
        """Tell whether the partition was with the process all the time, as far as anybody knows."""
        process, since = following.process, following.started
        spans = (*self._expelled.spans(process), *self._expelled.spans(EVERYBODY))
        if any(began <= until and ended >= since for began, ended in spans):
            return False
        partition = self._inputs[poison].partition
        return until <= self._owners.owned_until(partition, process, since, self._expelled)
