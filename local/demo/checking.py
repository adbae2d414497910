"""The oracle: was every task answered, rightly and in order? It knows records, nothing of the runtime."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

MAX_NAMED = 5
WINDOW = 6  # numbers shown where an order is broken


class Place(NamedTuple):
    """A task: its key, and its number among the records of that key, counted from 0."""

    key: str
    number: int

    def __str__(self) -> str:
        return f"{self.key}#{self.number}"


@dataclass(frozen=True, slots=True)
class Answer:
    """A record of the results topic: the task it answers, its `ce_id`, and its decoded value."""

    place: Place
    id: str
    value: Any


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of the tasks. Only `repeated`, surplus answers, is what at-least-once allows.

    * `lost`: neither answered nor a dead letter.
    * `disordered`: an answer that overtook an earlier one of its key, in words. Repeats are left out, as a
      reader who knows records by their `ce_id` leaves them out.
    * `strays`: where a key's repeats do not start over at an earlier number and go on there without a gap.
    * `wrong`: an answer, or a dead letter, that differs from what the same computation gives, in words.
    """

    tasks: int
    answered: int
    dead: int
    repeated: int
    lost: tuple[Place, ...]
    disordered: tuple[str, ...]
    strays: tuple[str, ...]
    wrong: tuple[str, ...]

    @property
    def problems(self) -> tuple[str, ...]:
        """Say what is not as promised, in words; empty if all is well."""
        found = (
            ("lost", self.lost),
            ("out of order", self.disordered),
            ("out of order among repeats", self.strays),
            ("wrong", self.wrong),
        )
        return tuple(f"{len(some)} {what}: {listed(some)}" for what, some in found if some)


def check(
    expected: Mapping[Place, Any], answers: Sequence[Answer], dead_letters: Iterable[Place] = ()
) -> Verdict:
    """Compare answers, in the order of each key's log, with the `expected` values (None: a dead letter)."""
    dead = set(dead_letters)
    answered = list(dict.fromkeys(answer.place for answer in answers))
    lost = tuple(sorted(expected.keys() - answered - dead))
    return Verdict(
        tasks=len(expected),
        answered=len(answered),
        dead=len(dead),
        repeated=len(answers) - len(answered),
        lost=lost,
        disordered=tuple(gaps(answered, answered)),
        strays=tuple(gaps(answered, [answer.place for answer in answers])),
        wrong=(*wrong_answers(expected, answers), *wrong_ids(answers), *wrong_letters(expected, dead)),
    )


def gaps(answered: Iterable[Place], log: Iterable[Place]) -> Iterable[str]:
    """Yield where a key's answers in the log skip one of those that were `answered` at all."""
    numbers: dict[str, list[int]] = defaultdict(list)
    for key, number in sorted(answered):
        numbers[key].append(number)
    due = {key: dict(zip([-1, *some], some, strict=False)) for key, some in numbers.items()}
    seen: dict[str, list[int]] = defaultdict(lambda: [-1])
    for key, number in log:
        before = seen[key][-1]
        seen[key].append(number)
        if number > before and number != due[key][before]:
            yield f"{Place(key, number)} came at the end of {seen[key][-WINDOW:]}"


def wrong_answers(expected: Mapping[Place, Any], answers: Iterable[Answer]) -> Iterable[str]:
    for answer in answers:
        if answer.place not in expected:
            yield f"{answer.place} was never sent"
        elif expected[answer.place] is None:
            yield f"{answer.place} must be a dead letter and was answered"
        elif answer.value != expected[answer.place]:
            yield f"{answer.place} is {answer.value!r} and must be {expected[answer.place]!r}"


def wrong_ids(answers: Iterable[Answer]) -> Iterable[str]:
    """Yield where a repeated answer has another id, or one id stands for two answers."""
    ids: dict[Place, str] = {}
    places: dict[str, Place] = {}
    for answer in answers:
        if ids.setdefault(answer.place, answer.id) != answer.id:
            yield f"{answer.place} was repeated under another id, {answer.id!r}"
        elif places.setdefault(answer.id, answer.place) != answer.place:
            yield f"{answer.place} has the id {answer.id!r} of {places[answer.id]}"


def wrong_letters(expected: Mapping[Place, Any], dead: Collection[Place]) -> Iterable[str]:
    for place in sorted(dead):
        if place not in expected:
            yield f"the dead letter {place} was never sent"
        elif expected[place] is not None:
            yield f"{place} must be answered and is a dead letter"


def listed(some: Sequence[object]) -> str:
    named = ", ".join(str(one) for one in some[:MAX_NAMED])
    return named + (f" and {len(some) - MAX_NAMED} more" if len(some) > MAX_NAMED else "")
