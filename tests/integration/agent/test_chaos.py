"""The short form of `make chaos`: everything that can happen to a process, and nothing is lost.

And with a bug that is planted, something is.
"""

from __future__ import annotations

from pathlib import Path

from chaos.__main__ import planted, run, told
from chaos.crews import Kind
from chaos.schedules import Fault, Schedule, What
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


def test_an_agent_that_commits_what_it_has_only_read_is_found_out() -> None:
    deaths = tuple(
        Fault(share, What.KILL_AND_REMOVE, 0, 0.1, is_same_pod=True, workers=2) for share in (0.3, 0.6)
    )
    with folder() as path:
        judgement = run(Schedule(SEED, 1_500, 2, deaths, mean_seconds=0.1), Path(path), planted("early"))

    print(told(judgement, planted("early")))
    assert "lost" in judgement.problems()
