"""The oracle sees every loss, disorder and wrong answer, and allows what at-least-once allows."""

from __future__ import annotations

from typing import Any

import pytest
from demo.checking import Answer, Place, Verdict, check
from hypothesis import given
from hypothesis import strategies as st

KEY = "k"


def expected(count: int, dead: tuple[int, ...] = ()) -> dict[Place, Any]:
    return {Place(KEY, number): None if number in dead else number * 10 for number in range(count)}


def answer(number: int, key: str = KEY, value: Any = None, id_: str = "") -> Answer:  # noqa: ANN401 - JSON
    return Answer(Place(key, number), id_ or f"{key}/{number}", number * 10 if value is None else value)


def verdict(count: int, numbers: list[int], dead: tuple[int, ...] = ()) -> Verdict:
    letters = [Place(KEY, number) for number in dead]
    return check(expected(count, dead), [answer(number) for number in numbers], letters)


def test_every_task_answered_once_in_order_is_all_right() -> None:
    found = verdict(4, [0, 1, 2, 3])

    assert found == Verdict(4, 4, 0, 0, (), (), (), ())
    assert found.problems == ()


def test_a_missing_answer_is_lost_and_does_not_count_as_disorder() -> None:
    found = verdict(4, [0, 1, 3])

    assert found.lost == (Place(KEY, 2),)
    assert found.disordered == ()
    assert found.problems == ("1 lost: k#2",)


@pytest.mark.parametrize("numbers", [[1, 0, 2], [0, 2, 1], [0, 2, 0, 1, 2]])
def test_an_answer_that_overtakes_another_of_its_key_is_disorder(numbers: list[int]) -> None:
    assert verdict(3, numbers).disordered


@pytest.mark.parametrize("numbers", [[0, 1, 2, 0, 2], [0, 1, 0, 2]])
def test_repeats_that_skip_are_strays_though_the_first_answers_are_in_order(numbers: list[int]) -> None:
    found = verdict(3, numbers)

    assert found.disordered == ()
    assert found.problems == (f"1 out of order among repeats: k#2 came at the end of {[-1, *numbers][-6:]}",)


@pytest.mark.parametrize("numbers", [[0, 1, 0, 1, 2], [0, 0, 1, 2], [0, 1, 2, 2], [0, 1, 0, 1, 0, 1, 2]])
def test_a_key_may_start_over_after_a_crash_and_go_on_without_a_gap(numbers: list[int]) -> None:
    found = verdict(3, numbers)

    assert found.problems == ()
    assert found.repeated == len(numbers) - 3


def test_dead_letters_are_passed_over_in_the_order() -> None:
    found = verdict(4, [1, 3], dead=(0, 2))

    assert found.problems == ()
    assert (found.answered, found.dead) == (2, 2)


def test_keys_are_in_order_each_by_itself() -> None:
    tasks = {Place(key, number): number * 10 for key in "ab" for number in range(2)}

    found = check(tasks, [answer(0, "b"), answer(0, "a"), answer(1, "b"), answer(1, "a")])

    assert found.problems == ()


@pytest.mark.parametrize(
    ("answers", "letters", "words"),
    [
        ([answer(0, value=11)], [], "k#0 is 11 and must be 0"),
        ([answer(0), answer(7)], [], "k#7 was never sent"),
        ([answer(0), answer(0, id_="other")], [], "repeated under another id"),
        ([answer(0), answer(1, id_="k/0")], [], "has the id 'k/0' of k#0"),
        ([answer(0)], [Place(KEY, 0)], "k#0 must be answered and is a dead letter"),
        ([answer(0)], [Place(KEY, 9)], "the dead letter k#9 was never sent"),
    ],
)
def test_a_wrong_answer_is_named(answers: list[Answer], letters: list[Place], words: str) -> None:
    assert any(words in problem for problem in check(expected(2), answers, letters).wrong)


def test_an_answer_to_what_must_be_a_dead_letter_is_wrong() -> None:
    assert check(expected(1, dead=(0,)), [answer(0)]).wrong


def test_long_lists_of_problems_are_cut() -> None:
    (problem,) = verdict(9, []).problems

    assert problem == "9 lost: k#0, k#1, k#2, k#3, k#4 and 4 more"


@given(st.permutations(range(6)))
def test_only_the_right_order_passes(numbers: list[int]) -> None:
    assert bool(verdict(6, numbers).disordered) == (numbers != sorted(numbers))
