"""Whatever fails and whenever the operator ends, the same world comes out, and nothing is orphaned."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from convergence.world import Crash, World, agent_group
from hypothesis import given, settings
from hypothesis import strategies as st

if TYPE_CHECKING:
    from collections.abc import Callable

    from kafleet_operator.planning.fleets import Json

TOPICS = {"support.triage.tasks", "support.triage.results", "support.triage.dead-letters"}


def created() -> World:
    return World(agent_group("triage", deletionPolicy="Delete"))


def scaled_and_grown() -> World:
    world = created().converge()
    workers = {"replicas": 8, "agent": {"handler": "triage:agent"}}
    world.edit("scale and grow", workers=workers, tasks={"partitions": 8, "onGrowth": "Reorder"})
    return world


def deleted() -> World:
    world = created().converge()
    world.body["metadata"]["deletionTimestamp"] = world.now
    return world


def made_again() -> World:
    world = created().converge()
    del world.topics["support.triage.tasks"]
    return world


SITUATIONS = [created, scaled_and_grown, deleted, made_again]


def writes_of(begin: Callable[[], World]) -> int:
    """Return how many writes it takes from a situation to the end."""
    world = begin()
    world.writes_left = 10**6
    world.converge()
    return 10**6 - world.writes_left


POINTS = [(begin, point) for begin in SITUATIONS for point in range(writes_of(begin))]


@pytest.mark.parametrize(("begin", "point"), POINTS, ids=lambda each: getattr(each, "__name__", str(each)))
def test_an_operator_that_ends_is_followed_by_one_that_finishes(
    begin: Callable[[], World], point: int
) -> None:
    """A kill -9 before any write changes nothing about the end, and leaves no topic without its owner."""
    expected = begin().converge()
    world = begin()

    world.writes_left = point
    with pytest.raises(Crash):
        world.converge()
    claimed = {topic["name"] for topic in world.status.get("topics", ())}
    assert world.topics.keys() <= claimed
    world.writes_left = None
    world.converge()

    assert essence(world) == essence(expected)


def essence(world: World) -> Json:
    """Return what matters of a world in the end: all but names that were drawn and times."""
    topics = world.status["topics"]
    return {
        "is_gone": world.is_gone,
        "topics": {name: replace(topic, id="") for name, topic in world.topics.items()},
        "groups": world.groups,
        "objects": {key: body.get("spec", body.get("data")) for key, body in world.objects.items()},
        "created": {topic["name"]: topic["created"] for topic in topics},
        "conditions": {each["type"]: (each["status"], each["reason"]) for each in world.status["conditions"]},
    }


@given(
    begin=st.sampled_from(SITUATIONS),
    faults=st.lists(
        st.sampled_from(
            [
                *(f"topic {name!r}" for name in sorted(TOPICS)),
                "Deployment 'triage-workers'",
                "ConfigMap 'triage-workers'",
                "ServiceAccount 'triage-workers'",
                "group 'support.triage.workers'",
            ]
        ),
        max_size=8,
    ),
)
@settings(deadline=None, max_examples=60)
def test_failed_steps_are_done_later(begin: Callable[[], World], faults: list[str]) -> None:
    """Each fault fails one step once, and the end is as if there had been none."""
    expected = begin().converge()
    world, left = begin(), list(faults)

    def fails(subject: str) -> bool:
        if subject not in left:
            return False
        left.remove(subject)
        return True

    world.fails = fails
    world.converge()

    assert essence(world) == essence(expected)


def test_a_failed_step_is_said_and_hides_no_other() -> None:
    """The condition names the topic and the error, while everything else is made."""
    world = created()
    world.fails = lambda subject: subject == "topic 'support.triage.results'"

    world.reconcile()

    assert world.condition("TopicsReady") == ("False", "InternalError")
    messages = [each["message"] for each in world.status["conditions"] if each["type"] == "TopicsReady"]
    assert messages == ["topic 'support.triage.results': the server says no"]
    assert world.topics.keys() == TOPICS - {"support.triage.results"}
    assert ("ConfigMap", "triage-workers") in world.objects


def test_two_that_claim_one_name_at_the_same_time_do_not_share_it() -> None:
    """Of two resources that announce one topic, the older one makes it, and the younger one says so."""
    older, younger = (
        World(agent_group(name, tasks={"topic": "orders", "partitions": 4})) for name in ("older", "younger")
    )
    younger.body["metadata"]["creationTimestamp"] = "2026-11-23T05:00:01Z"
    for one, another in ((older, younger), (younger, older)):
        one.others = [another.body]
        one.topics = older.topics
        one.writes_left = 1
        with pytest.raises(Crash):
            one.reconcile()
        one.writes_left = None

    younger.reconcile()
    older.converge()
    younger.converge()

    assert older.condition("TopicsReady") == ("True", "AllReady")
    assert younger.condition("TopicsReady") == ("False", "TopicConflict")
    assert ("Deployment", "younger-workers") not in younger.objects


def test_a_topic_that_somebody_makes_in_between_is_not_ours_to_delete() -> None:
    """A create that finds the topic there already neither fails nor makes it ours."""
    world = created()

    def preempted(subject: str) -> bool:
        if subject == "topic 'support.triage.tasks'" and "support.triage.tasks" not in world.topics:
            world.make_topic("support.triage.tasks")
            world.preempted = {"support.triage.tasks"}
        return False

    world.fails = preempted
    world.converge()

    origins = {topic["role"]: topic["created"] for topic in world.status["topics"]}
    assert origins == {"tasks": False, "results": True, "dead-letters": True}


specs = st.fixed_dictionaries(
    {
        "workers": st.fixed_dictionaries(
            {
                "replicas": st.integers(0, 6),
                "agent": st.fixed_dictionaries(
                    {
                        "handler": st.sampled_from(["a:b", "c:d"]),
                        "env": st.sampled_from([[], [{"name": "A", "value": ""}]]),
                        "resources": st.sampled_from([{}, {"limits": {"cpu": "1000m"}}]),
                    }
                ),
            }
        ),
        "tasks": st.fixed_dictionaries(
            {
                "partitions": st.integers(4, 8),
                "onGrowth": st.sampled_from(["Refuse", "Reorder"]),
                "config": st.dictionaries(
                    st.sampled_from(["retention.ms", "max.message.bytes"]), st.just("9")
                ),
            }
        ),
        "suspend": st.booleans(),
        "deletionPolicy": st.sampled_from(["Retain", "Delete"]),
    }
)


@given(before=specs, after=specs, is_down=st.booleans())
@settings(deadline=None, max_examples=60)
def test_once_there_nothing_is_left_to_do(before: Json, after: Json, *, is_down: bool) -> None:
    """From any fleet to any other, with or without Kafka on the way: a converged world needs no step."""
    world = World(agent_group("triage", **before)).converge()
    world.edit("change everything", **after)
    world.is_kafka_down = is_down
    world.converge()
    world.is_kafka_down = False
    world.converge()

    fleet = world.fleet()
    unchanged = copy.deepcopy(world.status)
    plan = world.plan(fleet, world.observe(fleet))
    world.reconcile()

    assert plan.is_empty
    assert world.status == unchanged
