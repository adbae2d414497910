from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from unit.operator.planning.samples import (
    DEAD,
    LANE,
    RESULTS,
    TASKS,
    planned,
    running,
    state,
    topics,
    with_lane,
    with_topic,
)

from kafleet_operator.planning import names
from kafleet_operator.planning.fleets import Delivery
from kafleet_operator.planning.observations import GroupState, PartitionState, Unknown
from kafleet_operator.planning.plans import Claim, ResetOffsets

if TYPE_CHECKING:
    from kafleet_operator.planning.plans import Plan

CLAIMS = tuple(
    Claim(topic.role, topic.name, f"id of {topic.name}", 4, is_created=True)
    for topic in (TASKS, RESULTS, DEAD)
)
REPLACED = replace(CLAIMS[0], id="id of the new one", replaces=CLAIMS[0].id)
NEW = topics(tasks=state(TASKS.name, id=REPLACED.id))
POD = {"metadata": {"name": "triage-workers-1", "labels": {names.LANE: "workers"}}, "status": {}}


def group(status: str, *committed: int | None) -> dict[str, GroupState]:
    partitions = tuple(
        PartitionState(TASKS.name, number, 0, 500, offset) for number, offset in enumerate(committed)
    )
    return {LANE.group: GroupState(LANE.group, status, partitions)}


def reasons(plan: Plan) -> list[tuple[str, str]]:
    return [(each.condition, each.reason) for each in plan.refusals]


def replicas(plan: Plan) -> int | None:
    found = [each.manifest["spec"]["replicas"] for each in plan.apply_dependents]
    return found[0] if found else None


@pytest.mark.parametrize(
    "observed",
    [
        {"groups": group("Stable", 7)},
        {"groups": group("Empty", 7), "pods": (POD,)},
        {"groups": {LANE.group: Unknown("KafkaUnreachable", "nobody answers")}},
        {},
    ],
)
def test_offsets_are_left_alone_until_the_last_agent_is_gone(observed: dict[str, Any]) -> None:
    """Whoever still runs may commit once more, and what is not known may be somebody who runs."""
    plan = planned(NEW, (REPLACED, *CLAIMS[1:]), objects=running(), **observed)

    assert (replicas(plan), plan.reset_offsets) == (0, ())
    assert plan.claims[0] == REPLACED
    assert reasons(plan) == [("TopicsReady", "TopicLost"), ("AgentsReady", "RollingOut")]


def test_then_the_group_is_set_to_the_start() -> None:
    """Only where it has committed something else."""
    plan = planned(NEW, (REPLACED, *CLAIMS[1:]), objects=running(), groups=group("Empty", 7, 0, None, 9))

    assert plan.reset_offsets == (ResetOffsets(LANE.group, TASKS.name, (0, 3)),)
    assert (replicas(plan), plan.claims[0]) == (0, REPLACED)


@pytest.mark.parametrize("committed", [(0, 0), (None, 0), ()])
def test_then_the_agents_come_back(committed: tuple[int | None, ...]) -> None:
    """Nothing of the old topic is left, and the status forgets it."""
    plan = planned(NEW, (REPLACED, *CLAIMS[1:]), groups=group("Empty", *committed), objects=running())

    assert plan.claims[0] == replace(REPLACED, replaces="")
    assert plan.is_empty
    assert reasons(plan) == []


def test_a_group_that_would_begin_at_the_end_is_set_to_the_start() -> None:
    """What was written to the new topic meanwhile was written for this fleet."""
    fleet = with_lane(delivery=Delivery(start_from="latest"))
    plan = planned(NEW, (REPLACED, *CLAIMS[1:]), fleet=fleet, groups=group("Dead", None, 0))

    assert plan.reset_offsets == (ResetOffsets(LANE.group, TASKS.name, (0,)),)


def test_the_loss_of_a_topic_that_nobody_reads_is_told_once() -> None:
    """Agents go on: they write to a name."""
    seen = topics(results=state(RESULTS.name, id="new"))
    first = planned(seen, CLAIMS, objects=running())
    second = planned(seen, first.claims, objects=running())
    third = planned(seen, second.claims, objects=running())

    assert [reasons(plan) for plan in (first, second, third)] == [[("TopicsReady", "TopicLost")]] * 2 + [[]]
    assert [replicas(plan) for plan in (first, second, third)] == [None, None, None]
    assert third.claims[1] == Claim("results", RESULTS.name, "new", 4)


def test_a_foreign_inbox_is_remembered_while_it_is_gone() -> None:
    """Agents wait for it as they are; once it is back, as another, they begin anew."""
    fleet = with_topic(replace(TASKS, managed=False, partitions=None, is_named=True))
    claims = (replace(CLAIMS[0], is_created=False, managed=False), *CLAIMS[1:])
    gone = planned(topics(tasks=None), claims, fleet=fleet, objects=running(fleet))
    back = planned(NEW, gone.claims, fleet=fleet, objects=running(fleet), groups=group("Stable", 7))

    assert gone.claims[0] == Claim("tasks", TASKS.name, managed=False, replaces=CLAIMS[0].id)
    assert (replicas(gone), reasons(gone)) == (None, [("TopicsReady", "ReferenceNotFound")])
    assert back.claims[0] == replace(gone.claims[0], id=REPLACED.id, partitions=4)
    assert replicas(back) == 0
