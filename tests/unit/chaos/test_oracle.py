"""An oracle that cannot complain proves nothing: each thing that can go wrong is shown to it."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from chaos.facts import NO_KEY, Absence, Attempt, Evidence, Identity, Input, Output
from chaos.oracle import judge, judge_all
from chaos.piles import RECORDS, Piles

TESTS = Path(__file__).parents[2]
KEYS = ("a", "b", NO_KEY)
EACH = 5
POISON = Identity("b", 2)
NAMES = [Identity(key, sequence) for sequence in range(EACH) for key in KEYS]


def began(identity: Identity) -> float:
    return 10.0 + identity.sequence


def answer(identity: Identity, later: float = 0.0, process: str = "p") -> Output:
    return Output(identity, began(identity) + 0.5 + later, process)


def attempt(identity: Identity, later: float = 0.0, process: str = "p", *, seconds: float = 0.4) -> Attempt:
    start = began(identity) + later
    return Attempt(identity, process, start, start + seconds, is_answered=identity != POISON)


def death(process: str, at: float) -> Absence:
    return Absence(process, at, at, is_death=True, is_expelled=False)


GOOD = Evidence(
    inputs=[Input(name, 0, name == POISON) for name in NAMES],
    answers=[answer(name) for name in NAMES if name != POISON],
    dead_letters=[answer(POISON, process="")],
    attempts=[attempt(name) for name in NAMES],
    commits={0: [20.0]},
)
FIRST, LAST = Identity("a", 0), Identity("a", EACH - 1)


def test_what_is_as_promised_is_not_complained_about() -> None:
    judgement = judge(GOOD)

    assert judgement.problems(is_exactly_once=True) == {}
    assert (judgement.records, judgement.reworked, judgement.overlapped_by_expelled.count) == (15, 0, 0)


@pytest.mark.parametrize(
    ("wrong", "problem"),
    [
        (replace(GOOD, answers=GOOD.answers[1:]), "lost"),
        (replace(GOOD, dead_letters=[]), "lost"),
        (replace(GOOD, answers=[*GOOD.answers, answer(Identity("z", 0))]), "invented"),
        (
            replace(GOOD, answers=[*GOOD.answers, answer(POISON)], dead_letters=[]),
            "answer instead of dead letter or the reverse",
        ),
        (
            replace(GOOD, dead_letters=[*GOOD.dead_letters, answer(FIRST)]),
            "answer instead of dead letter or the reverse",
        ),
        (
            replace(GOOD, answers=[GOOD.answers[3], *GOOD.answers[:3], *GOOD.answers[4:]]),
            "answered out of order",
        ),
        (replace(GOOD, attempts=[*GOOD.attempts, attempt(LAST, -3.9, seconds=0.1)]), "begun out of order"),
        (replace(GOOD, attempts=[*GOOD.attempts, attempt(FIRST, 1.2, "q")]), "overlapping in one key"),
        (
            replace(GOOD, attempts=[attempt(FIRST)._replace(ended=None), *GOOD.attempts[1:]]),
            "overlapping in one key",
        ),
        (
            replace(
                GOOD,
                attempts=[*GOOD.attempts, attempt(POISON, 1.5)],
                dead_letters=[answer(POISON, 1.5, process="")],
            ),
            "begun out of order",
        ),
        (
            replace(GOOD, attempts=[*GOOD.attempts, attempt(LAST, 9.0, "q")]),
            "repeated although committed before",
        ),
        (replace(GOOD, complaints=["somebody left with status 1"]), "processes in bad order"),
        (replace(GOOD, inputs=[*GOOD.inputs, GOOD.inputs[0]]), "input broken"),
        (replace(GOOD, inputs=[GOOD.inputs[3], GOOD.inputs[0], *GOOD.inputs[1:3]]), "input broken"),
    ],
)
def test_what_is_wrong_is_named(wrong: Evidence, problem: str) -> None:
    assert problem in judge(wrong).problems()


def test_a_repeat_is_allowed_at_least_once_and_not_exactly_once() -> None:
    judgement = judge(replace(GOOD, answers=[*GOOD.answers, answer(LAST, 5.0)]))

    assert judgement.problems() == {}
    assert list(judgement.problems(is_exactly_once=True)) == ["repeated"]


@pytest.mark.parametrize(
    ("commits", "is_needless"),
    [([], False), ([15.7], False), ([15.7, 16.7], True), ([12.0, 14.0, 15.7], False), ([15.7, 17.7], False)],
)
def test_work_may_be_repeated_that_no_commit_before_the_death_can_have_known(
    commits: list[float], *, is_needless: bool
) -> None:
    """The outcome was written at 14.5; a busy process may need a second to see that; the death was at 17."""
    again = [*GOOD.attempts, attempt(LAST, 9.0, "q")]
    judgement = judge(replace(GOOD, attempts=again, absences=[death("p", 17.0)], commits={0: commits}))

    assert judgement.reworked == 1
    assert bool(judgement.needless.count) is is_needless


@pytest.mark.parametrize(("worked_until", "is_needless"), [(15.0, False), (22.0, True)])
def test_a_disturbance_excuses_nothing_that_was_committed_before_the_partition_went(
    worked_until: float, *, is_needless: bool
) -> None:
    """The brokers were away from 14 on, and yet whoever had the partition worked on and committed."""
    away = Absence("", 14.0, 30.0, is_death=False, is_expelled=False)
    more = Identity("c", 0)
    evidence = replace(
        GOOD,
        inputs=[*GOOD.inputs, Input(more, 0, is_poison=False)],
        answers=[*GOOD.answers, Output(more, worked_until + 0.5, "p")],
        attempts=[
            *GOOD.attempts,
            Attempt(more, "p", worked_until, worked_until + 0.4, is_answered=True),
            attempt(LAST, 9.0, "q"),
        ],
        absences=[away],
        commits={0: [16.0, 17.0]},
    )

    assert bool(judge(evidence).needless.count) is is_needless


def test_a_death_of_somebody_else_excuses_nothing() -> None:
    again = [*GOOD.attempts, attempt(LAST, 9.0, "q")]

    assert judge(replace(GOOD, attempts=again, absences=[death("r", 17.0)])).needless.count == 1


def test_an_attempt_ends_with_its_process() -> None:
    cut_off = attempt(FIRST)._replace(ended=None)
    judgement = judge(
        replace(
            GOOD,
            attempts=[cut_off, attempt(FIRST, 0.5, "q", seconds=0.3), *GOOD.attempts[1:]],
            absences=[death("p", 10.45)],
        )
    )

    assert judgement.problems() == {}


@pytest.mark.parametrize(
    ("wrong", "counted", "problem"),
    [
        (attempt(FIRST, 1.2, "q"), (0, 1), "overlapping in one key"),
        (attempt(LAST, -3.55, "q", seconds=0.1), (1, 0), "begun out of order"),
    ],
)
def test_handlers_of_an_expelled_process_that_break_the_order_are_counted_apart(
    wrong: Attempt, counted: tuple[int, int], problem: str
) -> None:
    frozen = Absence("q", 10.0, 12.0, is_death=False, is_expelled=True)
    beside = replace(GOOD, attempts=[*GOOD.attempts, wrong], absences=[frozen])
    judgement = judge(beside)

    assert judgement.problems(is_exactly_once=True) == {}
    assert (judgement.hasty_by_expelled.count, judgement.overlapped_by_expelled.count) == counted
    over = replace(beside, absences=[frozen._replace(ended=10.05)])
    assert problem in judge(over).problems()


def test_poison_that_comes_again_with_its_partition_was_passed_before() -> None:
    """Its dead letter was in a transaction that came to nothing; the process had lost the partition."""
    begins_again = replace(
        GOOD,
        attempts=[*GOOD.attempts, attempt(POISON, 1.5)],
        dead_letters=[answer(POISON, 1.5, process="")],
    )
    expelled = Absence("", 13.1, 13.2, is_death=False, is_expelled=True)  # nothing begins meanwhile

    assert "begun out of order" in judge(begins_again).problems()
    assert judge(replace(begins_again, absences=[expelled])).problems() == {}
    later = expelled._replace(began=13.6, ended=13.7)
    assert "begun out of order" in judge(replace(begins_again, absences=[later])).problems()


def test_answers_out_of_order_are_never_excused_exactly_once() -> None:
    """At least once, those of an expelled process are counted apart."""
    swapped = [GOOD.answers[3]._replace(process="q"), *GOOD.answers[:3], *GOOD.answers[4:]]
    frozen = Absence("q", 10.0, 12.0, is_death=False, is_expelled=True)
    judgement = judge(replace(GOOD, answers=swapped, absences=[frozen]))

    assert judgement.problems() == {}
    assert judgement.disordered_by_expelled.count == 1
    assert list(judgement.problems(is_exactly_once=True)) == ["answered out of order by expelled processes"]


def test_records_without_a_key_have_no_order() -> None:
    backwards = [name for name in reversed(NAMES) if name.key == NO_KEY]
    others = [name for name in NAMES if name.key != NO_KEY and name != POISON]

    assert judge(replace(GOOD, answers=[answer(name) for name in [*backwards, *others]])).problems() == {}


def test_the_oracle_knows_nothing_of_kafleet() -> None:
    code = "import sys, chaos.evidence; print([name for name in sys.modules if name.startswith('kafleet')])"
    environment = {"PYTHONPATH": str(TESTS)}
    printed = subprocess.check_output([sys.executable, "-c", code], env=environment, text=True)

    assert printed == "[]\n"


def test_what_a_death_repeated_is_counted_against_what_it_may_repeat() -> None:
    """Both were written by who died, but the commits at 15 and 16 knew of the first one."""
    early, late = Identity("a", 3), LAST
    evidence = replace(
        GOOD,
        attempts=[*GOOD.attempts, attempt(late, 9.0, "q"), attempt(late, 10.0, "q")],
        absences=[death("p", 16.5)],
        commits={0: [15.0, 16.0]},
    )
    judgement = judge(evidence)

    assert judgement.reworked == 2
    assert judgement.deaths["p"].repeated == 1
    assert 1 <= judgement.deaths["p"].forgettable < len(NAMES)
    known = judge(replace(evidence, attempts=[*GOOD.attempts, attempt(early, 9.0, "q")]))
    assert known.needless.count == 1


@pytest.mark.parametrize("is_expelled", [True, False])
def test_what_was_forgotten_before_a_death_is_not_counted_against_it(is_expelled: bool) -> None:  # noqa: FBT001
    """Those who have its partitions by then may come to the repeat only after the death."""
    away = Absence("p", 14.6, 20.0, is_death=False, is_expelled=is_expelled)
    evidence = replace(
        GOOD,
        attempts=[*GOOD.attempts, attempt(LAST, 7.0, "q")],
        absences=[away, death("p", 20.5)],
        commits={0: [17.0, 18.0, 19.0, 22.0]},
    )

    assert judge(evidence).problems() == {}
    assert judge(evidence).deaths["p"].repeated == 0
    assert judge(replace(evidence, absences=[death("p", 14.6)])).deaths["p"].repeated == 1


def test_a_death_explains_no_repeat_of_what_was_done_again_after_it() -> None:
    again, once_more = attempt(LAST, 9.0, "q"), attempt(LAST, 15.0, "r")
    evidence = replace(
        GOOD,
        answers=[*GOOD.answers, answer(LAST, 9.0, "q")],
        attempts=[*GOOD.attempts, again, once_more],
        absences=[death("p", 15.0)],
        commits={0: [20.0, 24.9, 26.0, 27.0]},
    )

    assert list(judge(evidence).problems()) == ["repeated although committed before"]
    assert judge(replace(evidence, attempts=[*GOOD.attempts, again])).problems() == {}


def test_outcomes_that_nobody_commits_in_time_are_named_unless_somebody_was_disturbed() -> None:
    evidence = replace(GOOD, commits={0: [12.0, 40.0]})
    away = Absence("", 20.0, 30.0, is_death=False, is_expelled=False)

    assert judge(evidence).uncommitted.count == sum(began(name) + 0.5 > 12.0 for name in NAMES)
    assert judge(replace(evidence, absences=[away])).problems() == {}


def test_piles_tell_the_same_as_the_whole(tmp_path: Path) -> None:
    attempts = [*GOOD.attempts, attempt(LAST, 9.0, "q"), attempt(FIRST, 1.2, "q")._replace(ended=None)]
    whole = replace(
        GOOD, answers=GOOD.answers[1:], attempts=attempts, absences=[death("p", 17.0)], complaints=["one"]
    )
    with Piles(tmp_path, 3 * RECORDS) as piles:
        piles.add_inputs(whole.inputs)
        piles.add_answers(whole.answers)
        piles.add_dead_letters(whole.dead_letters)
        for each in sorted(attempts, key=lambda each: each.started):
            piles.add_attempts([each._replace(ended=None, is_answered=False)])
            if each.ended is not None:
                piles.add_attempts([each])
        parts = list(piles.parts(whole.absences, whole.complaints, whole.commits))

    assert len([part for part in parts if part.inputs]) > 1
    judgement, expected = judge_all(parts), judge(whole)
    for name, finding in expected.problems(is_exactly_once=True).items():
        assert judgement.problems(is_exactly_once=True)[name].count == finding.count
    assert (judgement.records, judgement.reworked) == (expected.records, expected.reworked)
    assert judgement.deaths == expected.deaths
