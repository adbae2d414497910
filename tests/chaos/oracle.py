"""The judge of a chaos run: sees what went in and what came out, and knows nothing of Kafleet.

Nothing of Kafleet is imported here or in `evidence`: an oracle that shares code with the engine shares its
errors. Times are seconds of the machine's monotonic clock, which all its processes share.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

NO_KEY: Final = ""
"""The key of records without one: they have no order."""
_SHOWN: Final = 10
_CLOCK_SECONDS: Final = 0.01  # brokers stamp whole milliseconds
_SNAPSHOT_SECONDS: Final = 1.0  # what is acknowledged may take so long to be seen by a busy process
_LATE_SECONDS: Final = 2.0  # until who is expelled has stopped working
_UNKNOWING_COMMITS: Final = 1  # the first commit after a settlement may have been put together before it


class Identity(NamedTuple):
    """Names a record: the `sequence` counts from 0 within its key."""

    key: str
    sequence: int


class Input(NamedTuple):
    """A record of the inbox; `is_poison` where a dead letter must come of it instead of an answer."""

    identity: Identity
    partition: int
    is_poison: bool


class Output(NamedTuple):
    """An answer or a dead letter, as a read-committed reader finds it; `process` made it, if it says so."""

    identity: Identity
    appended: float
    process: str


class Attempt(NamedTuple):
    """One call of the handler. `ended` is None where the process did not live to tell."""

    identity: Identity
    process: str
    started: float
    ended: float | None
    is_answered: bool


class Absence(NamedTuple):
    """Why a process was gone or cut off, and when; `process` is empty where all were (a broker's restart).

    `is_death` ends the process at `began`. `is_expelled` where it was away for longer than the session: its
    partitions are somebody else's, and it may not know until some time after `ended`.
    """

    process: str
    began: float
    ended: float
    is_death: bool
    is_expelled: bool


@dataclass(slots=True)
class Evidence:
    """All that is known of a run. Inputs and outputs are in the order of each partition's log."""

    inputs: Sequence[Input]
    answers: Sequence[Output]
    dead_letters: Sequence[Output]
    attempts: Sequence[Attempt] = ()
    absences: Sequence[Absence] = ()
    commits: Mapping[int, Sequence[float]] = field(default_factory=dict)
    """When the group committed, by partition, ascending."""
    complaints: Sequence[str] = ()
    """What whoever made the run saw go wrong, a process that did not leave in good order say."""


@dataclass(slots=True)
class Finding:
    """How often something was found, and the first few cases."""

    count: int = 0
    examples: list[str] = field(default_factory=list)

    def add(self, example: str) -> None:
        self.count += 1
        if len(self.examples) < _SHOWN:
            self.examples.append(example)


@dataclass(slots=True)
class Judgement:
    """What a run broke, and what it was allowed to do.

    `repeated` counts answers and dead letters beyond the first, `reworked` attempts at records that had been
    answered; `needless` are those of them that the commits before the death did not excuse.
    """

    records: int = 0
    deaths: int = 0
    unread: Finding = field(default_factory=Finding)
    lost: Finding = field(default_factory=Finding)
    invented: Finding = field(default_factory=Finding)
    misjudged: Finding = field(default_factory=Finding)
    disordered: Finding = field(default_factory=Finding)
    overlapped: Finding = field(default_factory=Finding)
    needless: Finding = field(default_factory=Finding)
    repeated: Finding = field(default_factory=Finding)
    complaints: Finding = field(default_factory=Finding)
    reworked: int = 0
    by_expelled: Finding = field(default_factory=Finding)
    """Order that was broken with a process that had been away for longer than its session."""

    def problems(self, *, is_exactly_once: bool = False) -> dict[str, Finding]:
        """Return what must not be, by what it is called."""
        findings = {
            "lost": self.lost,
            "invented": self.invented,
            "answer instead of dead letter or the reverse": self.misjudged,
            "out of order": self.disordered,
            "overlapping in one key": self.overlapped,
            "repeated although committed before": self.needless,
            "input broken": self.unread,
            "processes in bad order": self.complaints,
        }
        if is_exactly_once:
            findings["repeated"] = self.repeated
        return {name: finding for name, finding in findings.items() if finding.count}


def judge(evidence: Evidence) -> Judgement:
    """Compare what came out with what went in."""
    judgement = Judgement(
        records=len(evidence.inputs), deaths=sum(absence.is_death for absence in evidence.absences)
    )
    for complaint in evidence.complaints:
        judgement.complaints.add(complaint)
    inputs = _inputs(evidence.inputs, judgement)
    _outcomes(evidence, inputs, judgement)
    expelled = _Expelled(evidence.absences)
    _orders_of_answers(evidence.answers, expelled, judgement)
    first = _first_outputs(evidence)
    _attempts(evidence, inputs, first, expelled, judgement)
    return judgement


def _inputs(inputs: Iterable[Input], judgement: Judgement) -> dict[Identity, Input]:
    """Index the inputs; each key's sequence must rise by one, or the run proves nothing."""
    found: dict[Identity, Input] = {}
    following: dict[str, int] = defaultdict(int)
    for each in inputs:
        key, sequence = each.identity
        if each.identity in found or (key != NO_KEY and sequence != following[key]):
            judgement.unread.add(f"{_named(each.identity)} where {following[key]} was to come")
        following[key] = sequence + 1
        found[each.identity] = each
    return found


def _outcomes(evidence: Evidence, inputs: Mapping[Identity, Input], judgement: Judgement) -> None:
    """Each record has one outcome, the right one."""
    done: set[Identity] = set()
    for outputs, is_dead in ((evidence.answers, False), (evidence.dead_letters, True)):
        for output in outputs:
            name = f"{'dead letter' if is_dead else 'answer'} of {_named(output.identity)}"
            origin = inputs.get(output.identity)
            if origin is None:
                judgement.invented.add(name)
            elif origin.is_poison != is_dead:
                judgement.misjudged.add(name)
            if output.identity in done:
                judgement.repeated.add(name)
            done.add(output.identity)
    for identity in inputs.keys() - done:
        judgement.lost.add(_named(identity))


def _orders_of_answers(answers: Iterable[Output], expelled: _Expelled, judgement: Judgement) -> None:
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
            finding = judgement.by_expelled if is_excused else judgement.disordered
            finding.add(f"{_named(before.identity)} is answered before {_named(answer.identity)}")
        else:
            last[key] = answer


def _first_outputs(evidence: Evidence) -> dict[Identity, Output]:
    first: dict[Identity, Output] = {}
    for output in (*evidence.answers, *evidence.dead_letters):
        known = first.get(output.identity)
        if known is None or output.appended < known.appended:
            first[output.identity] = output
    return first


def _attempts(
    evidence: Evidence,
    inputs: Mapping[Identity, Input],
    first: Mapping[Identity, Output],
    expelled: _Expelled,
    judgement: Judgement,
) -> None:
    deaths = {absence.process: absence.began for absence in evidence.absences if absence.is_death}
    by_key: dict[str, list[Attempt]] = defaultdict(list)
    excuses = _Excuses(evidence, inputs, expelled)
    for attempt in evidence.attempts:
        if attempt.identity.key != NO_KEY:
            by_key[attempt.identity.key].append(attempt)
        output = first.get(attempt.identity)
        if output is None or attempt.started <= output.appended + _CLOCK_SECONDS:
            continue
        judgement.reworked += 1
        origin = inputs.get(attempt.identity)
        if origin is None or expelled.has(attempt.process, attempt.started):
            continue
        if not excuses.has(output, attempt, origin.partition):
            judgement.needless.add(
                f"{_named(attempt.identity)} of {output.process or 'nobody'} again by {attempt.process}, "
                f"{attempt.started - output.appended:.1f} s after its outcome"
            )
    for attempts in by_key.values():
        attempts.sort(key=lambda attempt: attempt.started)
        _overlaps(attempts, deaths, expelled, judgement)
        _turns(attempts, inputs, first, expelled, judgement)


def _overlaps(
    attempts: Sequence[Attempt], deaths: Mapping[str, float], expelled: _Expelled, judgement: Judgement
) -> None:
    """No handler of a key begins before the one that began before it has ended."""
    holder: Attempt | None = None
    held_until = float("-inf")
    for attempt in attempts:
        if holder is not None and attempt.started < held_until:
            is_excused = any(expelled.has(each.process, attempt.started) for each in (holder, attempt))
            finding = judgement.by_expelled if is_excused else judgement.overlapped
            finding.add(
                f"{_named(attempt.identity)} in {attempt.process} beside {_named(holder.identity)} "
                f"in {holder.process}"
            )
        ended = deaths.get(attempt.process, float("inf")) if attempt.ended is None else attempt.ended
        if ended > held_until:
            holder, held_until = attempt, ended


def _turns(
    attempts: Sequence[Attempt],
    inputs: Mapping[Identity, Input],
    first: Mapping[Identity, Output],
    expelled: _Expelled,
    judgement: Judgement,
) -> None:
    """No record begins before all before it in its key are done: answered, or passed as a dead letter."""
    passed = _Passed(attempts, inputs, first)
    done = 0  # every sequence below it
    answered: set[int] = set()
    for attempt in attempts:
        key, sequence = attempt.identity
        while done < sequence and (done in answered or passed.allow(Identity(key, done), attempt)):
            done += 1
        if done < sequence:
            finding = (
                judgement.by_expelled
                if expelled.has(attempt.process, attempt.started)
                else judgement.disordered
            )
            finding.add(f"{_named(attempt.identity)} begins in {attempt.process} before {done} is done")
        if attempt.is_answered:
            answered.add(sequence)


class _Passed:
    """The poison of a key: when what follows it may begin."""

    def __init__(
        self, attempts: Iterable[Attempt], inputs: Mapping[Identity, Input], first: Mapping[Identity, Output]
    ) -> None:
        self._inputs = inputs
        self._first = first
        self._attempts: dict[Identity, list[Attempt]] = defaultdict(list)
        for attempt in attempts:
            if attempt.identity in inputs and inputs[attempt.identity].is_poison:
                self._attempts[attempt.identity].append(attempt)

    def allow(self, poison: Identity, following: Attempt) -> bool:
        """Tell whether a process has given a record up for good when it begins what follows in its key.

        The dead letter may be on its way then, but is never made after one more attempt.
        """
        letter = self._first.get(poison)
        if letter is None or poison not in self._inputs or not self._inputs[poison].is_poison:
            return False
        return not any(
            again.process == following.process and following.started < again.started < letter.appended
            for again in self._attempts[poison]
        )


class _Expelled:
    """Which processes were away for longer than their session, and when."""

    def __init__(self, absences: Iterable[Absence]) -> None:
        self._spans: dict[str, list[tuple[float, float]]] = defaultdict(list)
        for absence in absences:
            if absence.is_expelled:
                self._spans[absence.process].append((absence.began, absence.ended))

    def has(self, process: str, moment: float) -> bool:
        return any(began <= moment <= ended for began, ended in self._spans.get(process, ()))


class _Excuses:
    """Whether the commits explain that a record was worked on again after its outcome was written.

    A successor knows what the last acknowledged commit of its predecessor knew. The first commit after the
    outcome may have been put together before it was acknowledged; the second one knows of it.
    """

    def __init__(self, evidence: Evidence, inputs: Mapping[Identity, Input], expelled: _Expelled) -> None:
        self._commits = evidence.commits
        self._expelled = expelled
        self._absences: dict[str, list[Absence]] = defaultdict(list)
        for absence in evidence.absences:
            self._absences[absence.process].append(absence)
        self._all = list(evidence.absences)
        self._work: dict[int, list[tuple[float, str]]] = defaultdict(list)
        for attempt in evidence.attempts:
            if attempt.identity in inputs:
                self._work[inputs[attempt.identity].partition].append((attempt.started, attempt.process))
        for work in self._work.values():
            work.sort()

    def has(self, output: Output, again: Attempt, partition: int) -> bool:
        disturbed = min(self._disturbances(output, again), default=None)
        if disturbed is None:
            return False
        owned = self._owned_until(output, again, partition)
        commits = self._commits.get(partition, ())
        known = bisect_right(commits, output.appended + _SNAPSHOT_SECONDS)
        return bisect_left(commits, max(disturbed, owned)) - known <= _UNKNOWING_COMMITS

    def _disturbances(self, output: Output, again: Attempt) -> Iterator[float]:
        """Tell when whoever had the outcome was disturbed between it and the repeat."""
        named = [*self._absences.get(output.process, ()), *self._absences.get("", ())]
        for absence in named if output.process else self._all:
            if absence.began <= again.started and absence.ended >= output.appended - _SNAPSHOT_SECONDS:
                yield absence.began

    def _owned_until(self, output: Output, again: Attempt, partition: int) -> float:
        """Tell until when the partition was certainly still with whoever had the outcome.

        That is as long as it began work there and nobody else did; less a moment, as who is expelled learns
        of it late. A process that repeats its own work does not say when it was gone.
        """
        until = float("-inf")
        if output.process == again.process:
            return until
        work = self._work[partition]
        for index in range(bisect_left(work, (output.appended, "")), len(work)):
            started, process = work[index]
            if process != output.process or any(self._expelled.has(who, started) for who in (process, "")):
                break
            until = started - _LATE_SECONDS
        return until


def _named(identity: Identity) -> str:
    return f"{identity.key or 'no key'}/{identity.sequence}"
