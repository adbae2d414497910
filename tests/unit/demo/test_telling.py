"""The demo's table says who holds what in few words."""

from __future__ import annotations

import pytest
from demo.broker import Share, held_by, lag_of
from demo.telling import holders, recovery_told, spans

SHARES = {
    0: Share(3, 10, "m1", "triage-workers-7d5-aaaaa"),
    1: Share(0, 5, "m1", "triage-workers-7d5-aaaaa"),
    2: Share(5, 5),
    3: Share(1, 2, "m2", "triage-workers-7d5-bbbbb"),
}


@pytest.mark.parametrize(
    ("numbers", "text"), [([], ""), ([4], "4"), ([0, 1, 2], "0-2"), ([0, 1, 3, 5, 6], "0-1,3,5-6")]
)
def test_neighbours_are_written_as_spans(numbers: list[int], text: str) -> None:
    assert spans(numbers) == text


def test_holders_name_each_agent_and_what_nobody_holds() -> None:
    assert holders(SHARES) == "nobody: 2   aaaaa: 0-1   bbbbb: 3"


def test_partitions_and_lag_are_added_up() -> None:
    assert held_by(SHARES)["triage-workers-7d5-aaaaa"] == [0, 1]
    assert lag_of(SHARES) == 13


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        ({"seconds": 1.4}, "others held its partitions 1.4 s after its end"),
        ({}, "nobody has its partitions yet"),
    ],
)
def test_a_recovery_names_who_died_and_how_soon_others_went_on(seconds: dict[str, float], told: str) -> None:
    assert recovery_told({"agent": "triage-workers-x", "reason": "Crashed", **seconds}) == (
        f"the operator removed triage-workers-x (Crashed) from the group: {told}; "
        "Kafka alone would have waited 45 s"
    )
