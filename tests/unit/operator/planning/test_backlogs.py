"""How long records wait is known without reading one."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from unit.operator.planning.reports import group
from unit.operator.planning.samples import LANE, TASKS

from kafleet_operator.planning.backlogs import MOST_MARKS, Backlog, backlog_of
from kafleet_operator.planning.observations import PartitionState


def look(before: Backlog | None, now: float, *partitions: tuple[int, int | None], start: int = 0) -> Backlog:
    """Look at partitions, each an end and a committed offset."""
    seen = tuple(
        PartitionState(TASKS.name, number, start, end, committed)
        for number, (end, committed) in enumerate(partitions)
    )
    return backlog_of(replace(group(), partitions=seen), LANE, before, now)


def test_a_settled_lane_has_nothing_that_waits() -> None:
    """However long it was quiet."""
    backlog = look(None, 10, (5, 5), (7, 7))

    assert (backlog.written, backlog.lag, backlog.oldest_seconds(1000)) == (12, 0, 0)


def test_the_oldest_record_ages_until_it_is_settled() -> None:
    """Then the next one counts, from when it was first seen."""
    first = look(None, 10, (5, 4))
    second = look(first, 20, (8, 4))
    third = look(second, 30, (9, 5))
    last = look(third, 40, (9, 9))

    assert (first.oldest_seconds(10), first.oldest_seconds(15)) == (0, 5)
    assert second.oldest_seconds(20) == 10
    assert third.oldest_seconds(30) == 10
    assert last.oldest_seconds(99) == 0


def test_the_oldest_of_all_partitions_counts() -> None:
    """A slow partition is not hidden by busy ones."""
    first = look(None, 10, (5, 0), (5, 5))
    second = look(first, 20, (9, 0), (9, 8))

    assert second.oldest_seconds(20) == 10


def test_what_retention_took_does_not_wait() -> None:
    """Records before the first one that is left are neither lag nor old."""
    first = look(None, 10, (5, 0))
    second = look(first, 20, (9, 0), start=5)

    assert (second.lag, second.oldest_seconds(20)) == (4, 0)


def test_a_topic_made_again_begins_anew() -> None:
    """Its offsets say nothing about the records of the one before."""
    first = look(None, 10, (500, 0))
    second = look(first, 20, (3, None))

    assert (second.written, second.lag, second.oldest_seconds(20)) == (3, 3, 0)


@given(steps=st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=300))
def test_ages_are_never_too_high_and_nearly_right(steps: list[tuple[int, int]]) -> None:
    """Compared with somebody who notes the arrival of each record; memory stays bounded meanwhile."""
    backlog, arrived, settled = None, list[int](), 0
    for now, (more, done) in enumerate(steps):
        arrived += [now] * more
        settled = min(len(arrived), settled + done)
        backlog = look(backlog, now, (len(arrived), settled))

        truth = now - arrived[settled] if settled < len(arrived) else 0
        assert truth - backlog.oldest_seconds(now) <= 2 * now / MOST_MARKS + 1
        assert backlog.oldest_seconds(now) <= truth
        assert all(len(marks) <= MOST_MARKS for marks in backlog.marks.values())


def test_thinning_keeps_first_and_last() -> None:
    """The oldest record's age stays exact, whatever came after it."""
    backlog = None
    for now in range(1000):
        backlog = look(backlog, now, (now + 1, 0))

    assert backlog
    assert backlog.oldest_seconds(1000) == pytest.approx(1000)
