"""The short form of `make chaos`: everything that can happen to a process, and nothing is lost."""

from __future__ import annotations

from pathlib import Path

from chaos.__main__ import run, told
from chaos.crews import Kind
from chaos.schedules import Schedule
from integration.conftest import folder

RECORDS = 5_000
FAULTS = 9
SEED = 1  # the same faults each time; `make chaos` is for finding what others bring to light


def test_random_faults_lose_nothing_and_keep_every_keys_order() -> None:
    schedule = Schedule.drawn(SEED, RECORDS, FAULTS)
    print(f"make chaos SEED={schedule.seed} RECORDS={RECORDS} FAULTS={FAULTS}")
    with folder() as path:
        judgement = run(schedule, Path(path), Kind())

    print(told(judgement, Kind()))
    assert judgement.problems() == {}
