"""Two owners for one name: nothing is taken over, the younger is told whose it is, and both ways out work."""

from __future__ import annotations

from typing import TYPE_CHECKING

from e2e.fleets import KEYS

if TYPE_CHECKING:
    from demo.cluster import Json
    from e2e.fleets import Fleet
    from e2e.topics import Topics

WEEK = "604800000"


def test_a_topic_of_another_resource_is_never_taken(fleet: Fleet, topics: Topics) -> None:
    fleet.apply(replicas=1, partitions=3)
    fleet.wait_ready()
    before = topics[fleet.tasks]
    younger = fleet.neighbour("younger")
    wish: Json = {"tasks": {"topic": fleet.tasks, "config": {"retention.ms": WEEK}}}

    younger.apply(replicas=1, partitions=3, spec=wish)
    message = younger.wait_for_reason("TopicsReady", "TopicConflict")

    assert f"{fleet.tasks!r} belongs to AgentGroup {fleet.namespace}/{fleet.name}" in message
    assert younger.condition("Ready")["reason"] == "TopicConflict"
    assert younger.pods() == []

    fleet.kubectl("delete", "ag", fleet.name, "--timeout=240s")
    younger.kubectl("annotate", "ag", younger.name, "kafleet.dev/adopt=true")
    younger.wait_ready()

    assert topics[fleet.tasks].id == before.id
    assert topics[fleet.tasks].overrides == {"retention.ms": WEEK}


def test_a_topic_that_was_there_is_adopted_on_request_and_never_deleted(fleet: Fleet, topics: Topics) -> None:
    name = f"{fleet.namespace}.orders"
    topics.create(name, partitions=4, segment_ms=WEEK)
    before = topics[name]
    fleet.tasks = name
    wish: Json = {"tasks": {"topic": name, "partitions": 4}, "deletionPolicy": "Delete"}

    fleet.apply(replicas=1, partitions=4, spec=wish)
    message = fleet.wait_for_reason("TopicsReady", "TopicConflict")
    assert f"{name!r} exists already" in message
    assert "managed: false" in message
    assert topics[name] == before

    fleet.kubectl("annotate", "ag", fleet.name, "kafleet.dev/adopt=true")
    fleet.wait_ready()
    assert topics[name].id == before.id
    assert topics[name].overrides == {}
    fleet.send(2)
    fleet.wait_done()
    assert fleet.verdict().problems == ()

    fleet.kubectl("delete", "ag", fleet.name, "--timeout=240s")
    assert fleet.own_topics() == {name}
    assert sum(fleet.broker.ends(name).values()) == 2 * len(KEYS)


def test_an_object_of_somebody_else_is_never_taken(fleet: Fleet) -> None:
    theirs: Json = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": f"{fleet.name}-workers"},
        "data": {"lane.json": "of somebody else"},
    }
    fleet.apply_object(theirs)
    before = fleet.read("configmap", f"{fleet.name}-workers")

    fleet.apply(replicas=1, partitions=3)
    message = fleet.wait_for_reason("AgentsReady", "NameConflict")

    assert f"ConfigMap '{fleet.name}-workers' belongs to" in message
    assert fleet.pods() == []
    assert fleet.read("configmap", f"{fleet.name}-workers") == before

    fleet.kubectl("delete", "configmap", f"{fleet.name}-workers")
    fleet.wait_ready()
