"""Stories of one fleet, told as the log of what the operator did and why; the golden files read as docs.

Written anew with KAFLEET_WRITE_GOLDEN=1.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from convergence.world import World, agent_group

if TYPE_CHECKING:
    from collections.abc import Callable

GOLDEN = Path(__file__).parent / "golden"
TASKS, RESULTS, DEAD = "support.triage.tasks", "support.triage.results", "support.triage.dead-letters"
WITH_CODE = {"replicas": 2, "agent": {"handler": "triage:agent", "code": {"configMap": "triage-code"}}}


def born(**spec: object) -> World:
    world = World(agent_group("triage", **spec))
    world.say("apply the resource")
    return world.converge()


def create() -> World:
    return born()


def scale() -> World:
    world = born()
    world.edit("scale to 4", workers={"replicas": 4, "agent": {"handler": "triage:agent"}})
    world.converge()
    world.say("somebody scales the Deployment by hand")
    world.deployment()["spec"]["replicas"] = 1
    return world.converge()


def suspend_and_resume() -> World:
    world = born()
    world.edit("suspend", suspend=True)
    world.converge()
    world.edit("resume", suspend=False)
    return world.converge()


def topic_drift() -> World:
    world = born(tasks={"partitions": 4, "config": {"retention.ms": "1000"}})
    world.say("somebody changes an override and adds one")
    drifted = {"retention.ms": "5", "segment.ms": "7"}
    world.topics[TASKS] = replace(world.topics[TASKS], overrides=drifted)
    world.converge()
    world.edit("remove the override from the spec", tasks={"partitions": 4})
    return world.converge()


def topic_deleted_by_hand() -> World:
    world = born()
    world.say("somebody deletes the task topic")
    del world.topics[TASKS]
    return world.converge()


def inbox_made_again_by_hand() -> World:
    world = born(tasks={"topic": "support.intake.results", "managed": False})
    world.say("another fleet makes its inbox")
    world.make_topic("support.intake.results", 3)
    world.converge()
    world.say("the inbox is gone")
    del world.topics["support.intake.results"]
    world.converge()
    world.say("it is back, as another topic")
    world.make_topic("support.intake.results", 3)
    return world.converge()


def topic_made_again_by_hand() -> World:
    world = born(deletionPolicy="Delete")
    world.say("somebody deletes the results topic and makes it again")
    world.make_topic(RESULTS, 12)
    world.converge()
    world.say("delete the resource: that topic is not ours to delete")
    world.body["metadata"]["deletionTimestamp"] = world.now
    return world.converge()


def growth_refused_then_allowed() -> World:
    world = born()
    world.edit("ask for more partitions", tasks={"partitions": 8})
    world.converge()
    world.edit("allow it", tasks={"partitions": 8, "onGrowth": "Reorder"})
    return world.converge()


def decrease_refused() -> World:
    world = born()
    world.edit("ask for fewer partitions, past admission", tasks={"partitions": 2, "replicationFactor": 3})
    return world.converge()


def conflict_then_adoption() -> World:
    world = World(agent_group(tasks={"topic": "orders", "partitions": 4}))
    world.make_topic("orders", retention_ms="5")
    world.say("apply the resource, whose task topic exists")
    world.converge()
    world.say("set the annotation")
    world.body["metadata"]["annotations"] = {"kafleet.dev/adopt": "true"}
    return world.converge()


def topic_of_another_resource() -> World:
    world = World(agent_group(tasks={"topic": "orders", "partitions": 4}))
    topic = world.make_topic("orders")
    other = agent_group("older")
    other["status"] = {"topics": [{"role": "tasks", "name": "orders", "id": topic.id, "created": True}]}
    world.others = [other]
    world.body["metadata"]["annotations"] = {"kafleet.dev/adopt": "true"}
    world.say("apply the resource, whose task topic is another's")
    world.converge()
    world.say("the other resource goes and leaves its topic")
    world.others = []
    return world.converge()


def chained_fleets() -> World:
    world = World(agent_group(tasks={"topic": "support.intake.results", "managed": False}))
    world.body["spec"]["workers"]["replicas"] = 4
    world.say("apply the resource, whose inbox another fleet has yet to make")
    world.converge()
    world.say("the other fleet makes it, with fewer partitions than this one wants replicas")
    world.make_topic("support.intake.results", 3)
    world.converge()
    world.say("somebody compacts it")
    inbox = world.topics["support.intake.results"]
    world.topics[inbox.name] = replace(inbox, cleanup_policy="compact")
    return world.converge()


def adoption_after_retain() -> World:
    world = born()
    topics = world.topics
    world.say("delete the resource")
    world.body["metadata"]["deletionTimestamp"] = world.now
    world.converge()
    again = World(agent_group(deletionPolicy="Delete"), topics=topics, log=world.log, ids=3)
    again.body["metadata"]["uid"] = "another-uid"
    again.say("apply it again: the topics are adopted, and no longer ours to delete")
    again.converge()
    again.say("delete it with deletionPolicy: Delete")
    again.body["metadata"]["deletionTimestamp"] = again.now
    return again.converge()


def kafka_unreachable_then_back() -> World:
    world = World(agent_group(), is_kafka_down=True)
    world.say("apply the resource while no broker answers")
    world.converge()
    world.say("brokers answer")
    world.is_kafka_down = False
    world.converge()
    world.edit("brokers are away again; scale", workers={"replicas": 3, "agent": {"handler": "triage:agent"}})
    world.is_kafka_down = True
    world.converge()
    world.say("meanwhile somebody deletes the Deployment")
    del world.objects["Deployment", "triage-workers"]
    world.converge()
    world.say("brokers are back")
    world.is_kafka_down = False
    return world.converge()


def missing_config_map_then_created() -> World:
    world = born(workers=WITH_CODE)
    world.say("create the ConfigMap")
    world.referenced["ConfigMap", "triage-code"] = {"triage.py": "hash-1"}
    world.converge()
    world.say("edit it")
    world.referenced["ConfigMap", "triage-code"] = {"triage.py": "hash-2"}
    world.converge()
    world.say("delete it: agents that run go on")
    del world.referenced["ConfigMap", "triage-code"]
    return world.converge()


def delete_with_retain() -> World:
    world = born()
    world.say("delete the resource")
    world.body["metadata"]["deletionTimestamp"] = world.now
    return world.converge()


def delete_with_delete() -> World:
    world = born(deletionPolicy="Delete")
    world.say("delete the resource while no broker answers")
    world.body["metadata"]["deletionTimestamp"] = world.now
    world.is_kafka_down = True
    world.converge()
    world.say("brokers answer")
    world.is_kafka_down = False
    return world.converge()


def invalid_spec() -> World:
    world = born()
    world.edit("give nonsense, past admission", delivery={"taskTimeout": "soon"})
    world.converge()
    world.edit("correct it", delivery={"taskTimeout": "90s"})
    return world.converge()


def name_conflict() -> World:
    world = World(agent_group())
    world.foreign = {("ServiceAccount", "triage-workers"): "Blackboard support/triage"}
    world.say("apply the resource, whose name another kind has taken")
    return world.converge()


def leftovers() -> World:
    world = born()
    world.say("objects of ours that no lane needs any more")
    stray = {"metadata": {"name": "triage-judge", "generation": 1}}
    world.objects["ServiceAccount", "triage-judge"] = stray
    return world.converge()


def lane_removed() -> World:
    world = World(agent_group("triage", deletionPolicy="Delete"), lanes=("judge",))
    world.say("apply a resource of two lanes")
    world.converge()
    world.waiting = 3
    world.lanes = ()
    world.edit("take one away, while records wait for it")
    world.reconcile()
    world.say("they are done")
    world.waiting = 0
    return world.converge()


def lane_removed_and_stuck() -> World:
    world = World(agent_group("triage"), lanes=("judge",))
    world.say("apply a resource of two lanes")
    world.converge()
    world.waiting = 3
    world.lanes = ()
    world.edit("take one away, and nobody works off what waits for it")
    return world.converge()


STORIES = [
    lane_removed,
    lane_removed_and_stuck,
    create,
    scale,
    suspend_and_resume,
    topic_drift,
    topic_deleted_by_hand,
    inbox_made_again_by_hand,
    topic_made_again_by_hand,
    growth_refused_then_allowed,
    decrease_refused,
    conflict_then_adoption,
    topic_of_another_resource,
    chained_fleets,
    adoption_after_retain,
    kafka_unreachable_then_back,
    missing_config_map_then_created,
    delete_with_retain,
    delete_with_delete,
    invalid_spec,
    name_conflict,
    leftovers,
]


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.__name__)
def test_goes_as_told(story: Callable[[], World]) -> None:
    """What the operator does, and what it says about it, is what the golden file tells."""
    told = "\n".join(story().log).lstrip() + "\n"
    golden = GOLDEN / f"{story.__name__}.txt"
    if os.environ.get("KAFLEET_WRITE_GOLDEN"):
        golden.parent.mkdir(exist_ok=True)
        golden.write_text(told)

    assert golden.read_text() == told


def test_every_golden_file_has_its_story() -> None:
    """No story is left behind that nobody tells any more."""
    assert {path.stem for path in GOLDEN.glob("*.txt")} == {story.__name__ for story in STORIES}
