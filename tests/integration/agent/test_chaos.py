"""The short form of `make chaos`: everything that can happen to a process, and nothing is lost.

And with a bug that is planted, something is.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from chaos.__main__ import planted, run, told
from chaos.crews import Kind
from chaos.schedules import Schedule
from integration.conftest import folder

RECORDS = 5_000
PLANTED_RECORDS = 1_000
FAULTS = 9
SEED = 1  # the same faults each time; `make chaos` is for finding what others bring to light


def test_random_faults_lose_nothing_and_keep_every_keys_order() -> None:
    schedule = Schedule.drawn(SEED, RECORDS, FAULTS)
    print(f"make chaos SEED={schedule.seed} RECORDS={RECORDS} FAULTS={FAULTS}")
    with folder() as path:
        judgement = run(schedule, Path(path), Kind())

    print(told(judgement, Kind()))
    assert judgement.problems() == {}


@pytest.mark.parametrize("bug", ["early", "forgetful"])
def test_a_bug_that_is_planted_is_found(bug: str) -> None:
    """`late` as well, by `make chaos PLANTED=late`: that takes half a minute longer."""
    kind = planted(bug)
    with folder() as path:
        judgement = run(Schedule.exposing(SEED, PLANTED_RECORDS), Path(path), kind)

    print(told(judgement, kind))
    assert kind.symptom in judgement.problems()
