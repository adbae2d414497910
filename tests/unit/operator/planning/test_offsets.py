from __future__ import annotations

import pytest
from unit.operator.planning.reports import GROUP, condition, group, report
from unit.operator.planning.samples import TASKS, state, topics

from kafleet_operator.planning.plans import Claim

KNOWN = report(groups={GROUP: group(10, 10, None, 10)})


def test_offsets_that_are_there_are_counted() -> None:
    """The status remembers how many partitions had one; a new partition has none, and misses none."""
    assert KNOWN["lanes"][0]["committedPartitions"] == 3
    assert condition(KNOWN, "Progressing") == ("True", "AllReady")


def test_lost_offsets_are_told_until_agents_have_committed_again() -> None:
    """They are not forgotten by a second look."""
    first = report(previous=KNOWN, groups={GROUP: group(None, None, None, None, members=0)})
    second = report(previous=first, groups={GROUP: group(None, 10, None, None)})
    third = report(previous=second, groups={GROUP: group(4, 10, 4, None)})

    for status in (first, second):
        assert condition(status, "Progressing") == ("False", "OffsetsLost")
        assert status["lanes"][0]["committedPartitions"] == 3
    assert condition(third, "Progressing") == ("True", "AllReady")


@pytest.mark.parametrize("previous", [{}, report(groups={GROUP: group(None, None)})])
def test_who_never_committed_has_lost_nothing(previous: dict[str, object]) -> None:
    """A new group begins where it is told."""
    status = report(previous=previous, groups={GROUP: group(None, None)})

    assert condition(status, "Progressing") == ("True", "AllReady")
    assert "committedPartitions" not in status["lanes"][0]


def test_offsets_of_a_topic_that_was_made_again_are_not_missed() -> None:
    """That is told by another condition."""
    claim = Claim("tasks", TASKS.name, "new", 4, replaces="old")
    status = report(
        previous=KNOWN,
        seen=topics(tasks=state(TASKS.name, id="new")),
        claims=(claim,),
        groups={GROUP: group(None, None, None, None)},
    )

    assert condition(status, "TopicsReady") == ("False", "TopicLost")
    assert condition(status, "Progressing") == ("True", "AllReady")
    assert "committedPartitions" not in status["lanes"][0]
