"""What happens in a chaos run, drawn from its seed before it begins: the tasks, and the faults in order.

The same seed gives the same tasks and the same faults after the same shares of the work. What they hit is up
to the machine.
"""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

SESSION_SECONDS: Final = 6.0
HEARTBEAT_SECONDS: Final = 1.5
TASK_TIMEOUT_SECONDS: Final = 5.0
MAX_ATTEMPTS: Final = 4
PATIENCE_SECONDS: Final = 10.0
"""How long an agent waits for the end of a transaction before it takes another producer."""
MOST_WORKERS: Final = 8
MEAN_SECONDS: Final = 0.02
_ALWAYS: Final = 1_000_000
_MOST_MEANS: Final = 12
_RECORDS_PER_FAULT: Final = 8_000
_FEWEST_FAULTS: Final = 13
_MOST_FAULTS: Final = 120


class What(StrEnum):
    """Kinds of faults."""

    KILL = "kill"
    KILL_AND_REMOVE = "kill, and remove the member as the operator does"
    TERMINATE = "terminate"
    FREEZE = "freeze for less than the session"
    EXPEL = "freeze for longer than the session"
    SCALE = "scale"
    CUT = "cut connections"
    CUT_ALL = "cut all connections"
    SILENCE = "half-open for less than the session"
    LONG_SILENCE = "half-open for longer than the session"
    LATE = "half-open, and then everything arrives late"
    BROKER_RESTART = "restart the broker"
    BROKER_KILL = "kill the broker"
    LATE_END = "hold back the end of a transaction"


_WEIGHTS: Final = {
    What.KILL: 6,
    What.KILL_AND_REMOVE: 6,
    What.TERMINATE: 4,
    What.FREEZE: 3,
    What.EXPEL: 3,
    What.SCALE: 4,
    What.CUT: 4,
    What.CUT_ALL: 1,
    What.SILENCE: 2,
    What.LONG_SILENCE: 2,
    What.LATE: 2,
    What.BROKER_RESTART: 1,
    What.BROKER_KILL: 1,
    What.LATE_END: 3,
}


class Fault(NamedTuple):
    """What is done when a `share` of the records is answered, to the `victim`th of the living workers.

    `seconds` is how long it lasts, or how long until a dead worker is replaced, under its own name if
    `is_same_pod`; `workers` is how many there are to be after scaling.
    """

    share: float
    what: What
    victim: int
    seconds: float
    is_same_pod: bool
    workers: int

    def __str__(self) -> str:
        return (
            f"at {self.share:6.1%}: {self.what} (victim {self.victim}, {self.seconds:.1f} s, "
            f"{'same' if self.is_same_pod else 'new'} pod, {self.workers} workers)"
        )


class Task(NamedTuple):
    """One record of the inbox. `key` is empty where the record has none."""

    key: str
    sequence: int
    value: bytes
    is_poison: bool
    is_blocking: bool


@dataclass(frozen=True, slots=True)
class Schedule:
    """Everything that the seed decides."""

    seed: int
    records: int
    workers: int
    faults: tuple[Fault, ...]
    mean_seconds: float
    slow_share: float = 0.0
    """Of the tasks; their first attempts run into the time limit."""

    @classmethod
    def drawn(
        cls,
        seed: int,
        records: int,
        faults: int | None = None,
        *,
        mean_seconds: float = MEAN_SECONDS,
        is_exactly_once: bool = False,
    ) -> Schedule:
        """Draw a schedule; each kind of fault comes once before any comes often.

        Most tasks take `mean_seconds` on the average.
        """
        dice = random.Random(f"{seed}/faults")  # noqa: S311 - a test's dice
        count = faults
        if count is None:
            count = min(max(records // _RECORDS_PER_FAULT, _FEWEST_FAULTS), _MOST_FAULTS)
        known = [what for what in What if is_exactly_once or what != What.LATE_END]
        kinds = list(known)
        dice.shuffle(kinds)
        weights = [_WEIGHTS[what] for what in known]
        kinds += dice.choices(known, weights, k=max(0, count - len(kinds)))
        # The last tenth is left alone, so that what hangs is seen to hang.
        drawn = tuple(
            _fault(dice, what, (number + dice.uniform(0.1, 0.9)) / count * 0.9)
            for number, what in enumerate(kinds[:count])
        )
        return cls(seed, records, dice.randint(2, 4), drawn, mean_seconds)

    @classmethod
    def exposing(cls, seed: int, records: int) -> Schedule:
        """Draw one in which processes die while much is done of which the committed offset says nothing.

        In each partition some task is slow nearly all the time, for several commits.
        """
        deaths = tuple(
            Fault(share, What.KILL_AND_REMOVE, 0, 0.1, is_same_pod=True, workers=2) for share in (0.4, 0.7)
        )
        return cls(seed, records, 2, deaths, mean_seconds=0.5, slow_share=0.05)

    def tasks(self, *, is_merciful: bool = False) -> Iterator[Task]:
        """Draw the tasks, in the order in which they are written; mercy is one death from each that kills."""
        dice = random.Random(f"{self.seed}/tasks")  # noqa: S311 - a test's dice
        slowness = random.Random(f"{self.seed}/slow")  # noqa: S311 - likewise
        keys = max(60, self.records // 50)
        following: dict[str, int] = {}
        killers = _killers(dice, self.records, len(self.faults))
        for number in range(self.records):
            key = _key(dice, keys)
            sequence = following.get(key, 0)
            following[key] = sequence + 1
            deaths = killers.get(number, 0)
            longest = min(_MOST_MEANS * self.mean_seconds, TASK_TIMEOUT_SECONDS / 2)
            seconds = min(dice.expovariate(1 / self.mean_seconds), longest)
            is_slow = slowness.random() < self.slow_share
            deaths = min(deaths, 1) if is_merciful else deaths
            yield _task(dice, key, sequence, seconds, deaths, is_slow=is_slow)


def _fault(dice: random.Random, what: What, share: float) -> Fault:
    seconds = {
        What.FREEZE: dice.uniform(0.5, SESSION_SECONDS * 0.5),
        What.EXPEL: dice.uniform(SESSION_SECONDS + 2, SESSION_SECONDS + 5),
        What.SILENCE: dice.uniform(0.5, SESSION_SECONDS * 0.6),
        What.LONG_SILENCE: dice.uniform(SESSION_SECONDS + 2, SESSION_SECONDS + 5),
        What.LATE: dice.uniform(1, SESSION_SECONDS + 3),
        What.LATE_END: dice.uniform(0.5, PATIENCE_SECONDS * 1.4),
        What.BROKER_KILL: dice.uniform(0, 4),
        What.BROKER_RESTART: dice.uniform(0, 2),
    }.get(what, dice.uniform(0, 1.5))
    return Fault(
        share, what, dice.randrange(MOST_WORKERS), seconds, dice.random() < 0.5, dice.randint(1, MOST_WORKERS)
    )


def _killers(dice: random.Random, records: int, faults: int) -> dict[int, int]:
    """Choose which records kill how many processes: one in thirteen faults always, twice as many once."""
    always = faults // _FEWEST_FAULTS
    places = dice.sample(range(records // 10, records * 8 // 10), k=always + 2 * max(1, always))
    return {place: _ALWAYS if index < always else 1 for index, place in enumerate(places)}


def _key(dice: random.Random, keys: int) -> str:
    """Draw a key: some have none, and the first are hot."""
    draw = dice.random()
    if draw < 0.05:
        return ""
    number = dice.randrange(5) if draw < 0.1 else dice.randrange(keys)
    return f"key-{number}"


def _task(
    dice: random.Random, key: str, sequence: int, seconds: float, deaths: int, *, is_slow: bool
) -> Task:
    """Draw what a task does: most are short, a few fail, are slow, block, or are poison."""
    task: dict[str, object] = {"key": key, "sequence": sequence, "seconds": round(seconds, 4)}
    is_poison, is_blocking = deaths == _ALWAYS, False
    draw = dice.random()
    if deaths:
        task["deaths"] = deaths
    elif is_slow:
        task["first_seconds"] = 10 * TASK_TIMEOUT_SECONDS
    elif draw < 0.002:
        return Task(key, sequence, b"{", is_poison=True, is_blocking=False)
    elif draw < 0.004:
        task["is_rejected"] = is_poison = True
    elif draw < 0.006:
        task["failures"] = _ALWAYS
        is_poison = True
    elif draw < 0.03:
        task["failures"] = dice.randint(1, MAX_ATTEMPTS - 2)
    elif draw < 0.032:
        task["first_seconds"] = round(dice.uniform(0.5, 2.5), 2)
    elif draw < 0.0322:
        task["first_seconds"] = 10 * TASK_TIMEOUT_SECONDS
    elif draw < 0.04:
        is_blocking = True
    return Task(key, sequence, json.dumps(task).encode(), is_poison, is_blocking)
