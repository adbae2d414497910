"""A lane that is no longer wished works off what waits, then goes, and takes with it nothing of others."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from unit.operator.planning.samples import FLEET, LANE, applied, planned, topics

from kafleet_operator.planning.draining import Leftover, is_gone, leftovers_of, plan_leftovers
from kafleet_operator.planning.observations import GroupState, Observed, PartitionState, Unknown

if TYPE_CHECKING:
    from kafleet_operator.planning.fleets import Json

GROUP = "support.triage.judge"
JUDGE = replace(LANE, name="judge", group=GROUP)
DOWN = Unknown("KafkaUnreachable", "nobody answers")
BOTH = applied(planned(topics(), fleet=replace(FLEET, lanes=(LANE, JUDGE))))
OBJECTS = {key: body for key, body in BOTH.items() if key[1] == "triage-judge"}
STATUS: Json = {"lanes": [{"name": "workers", "group": LANE.group}, {"name": "judge", "group": GROUP}]}
JUDGES = Leftover("judge", GROUP, topics=("support.triage.tasks",), drain_seconds=30)
POD: Json = {"metadata": {"name": "a", "labels": {"kafleet.dev/lane": "judge"}}}


def group(state: str = "Stable", end: int = 10, committed: int | None = 10, settled: int = 0) -> GroupState:
    return GroupState(GROUP, state, (PartitionState("tasks", 0, 0, end, committed, settled=settled),))


def look(leftover: Leftover = JUDGES, **observed: Any) -> Observed:  # noqa: ANN401 - any field of a look
    return Observed(topics=topics(), leftovers=(leftover,), **observed)


def test_what_is_left_over_is_read_from_status_and_lane_file() -> None:
    """The one says which lanes there were, the other what they read and how long they may take."""
    assert leftovers_of(FLEET, STATUS, BOTH, lambda _at: 0) == (JUDGES,)
    assert leftovers_of(FLEET, {}, BOTH, lambda _at: 0) == ()


def test_the_time_comes_from_the_status() -> None:
    """It is there after a restart of the operator."""
    status = {"lanes": [STATUS["lanes"][1] | {"drainingSince": "2026-11-23T05:00:00Z"}]}
    (leftover,) = leftovers_of(FLEET, status, {}, lambda at: 7 if at == "2026-11-23T05:00:00Z" else 0)

    assert leftover == Leftover("judge", GROUP, "2026-11-23T05:00:00Z", 7)


@pytest.mark.parametrize(
    "data", [{}, {"lane.json": "nonsense"}, {"lane.json": "{}"}, {"lane.json": "[]"}, None]
)
def test_a_lane_file_that_is_nonsense_leaves_nothing_to_work_off(data: object) -> None:
    """Somebody edited it: the lane goes."""
    (leftover,) = leftovers_of(FLEET, STATUS, {("ConfigMap", "triage-judge"): {"data": data}}, lambda _at: 0)

    assert leftover.topics == ()


@pytest.mark.parametrize(
    ("state", "is_working"),
    [
        (group(), False),
        (group(end=12), True),
        (group(end=12, settled=2), False),
        (group(committed=None), True),
        (group(end=0, committed=None), False),
        (DOWN, True),
    ],
)
def test_agents_stay_while_records_wait(state: GroupState | Unknown, is_working: bool) -> None:  # noqa: FBT001 - a parameter of the test
    """Also where nobody can tell; and no longer than they may."""
    plan = plan_leftovers(FLEET, look(groups={GROUP: state}, objects=OBJECTS))
    assert plan.delete_objects == (() if is_working else tuple(sorted(OBJECTS)))
    assert [each.reason for each in plan.refusals] == ["Draining"]

    late = plan_leftovers(FLEET, look(replace(JUDGES, seconds=30), groups={GROUP: state}, objects=OBJECTS))
    assert late.delete_objects == tuple(sorted(OBJECTS))


@pytest.mark.parametrize(
    ("observed", "deleted", "words"),
    [
        ({"groups": {GROUP: group()}}, (), "its last agents end"),
        ({"groups": {GROUP: group("Empty")}, "pods": (POD,)}, (), "its last agents end"),
        ({"groups": {GROUP: group("Empty")}}, (GROUP,), f"group {GROUP!r} is deleted"),
        ({"groups": {GROUP: DOWN}}, (), f"group {GROUP!r} cannot be read"),
        ({}, (), f"group {GROUP!r} cannot be read"),
    ],
)
def test_the_group_goes_after_its_last_member(observed: Json, deleted: tuple[str, ...], words: str) -> None:
    """Its offsets are needed until then."""
    plan = plan_leftovers(FLEET, look(Leftover("judge", GROUP), **observed))

    assert plan.delete_groups == deleted
    assert words in plan.refusals[0].message


def test_what_is_gone_needs_nothing() -> None:
    """And is told no more."""
    seen = look(groups={GROUP: GroupState(GROUP, "Dead")})

    assert is_gone(FLEET, JUDGES, seen)
    assert plan_leftovers(FLEET, seen).is_empty
    assert not is_gone(FLEET, JUDGES, look())
