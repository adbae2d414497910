"""What is deleted or changed by hand is put right, while work goes on."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from e2e.fleets import NAME

if TYPE_CHECKING:
    from demo.checking import Place
    from demo.cluster import Json
    from e2e.fleets import Fleet
    from e2e.topics import Topics

# One change by hand for each kind that the operator makes.
DAMAGE: Final[dict[str, Json]] = {
    "Deployment": {"spec": {"replicas": 0, "template": {"spec": {"terminationGracePeriodSeconds": 1}}}},
    "ConfigMap": {"data": {"lane.json": "{}"}},
    "ServiceAccount": {"automountServiceAccountToken": True},
    "PodDisruptionBudget": {"spec": {"maxUnavailable": 0}},
    "NetworkPolicy": {"spec": {"ingress": []}},
}
THINK_LONGER: Final[Json] = {"workers": {"agent": {"config": {"thinkSeconds": 0.2}}}}


def test_owned_objects_that_are_deleted_or_changed_are_put_right(fleet: Fleet) -> None:
    fleet.apply(think_seconds=0.1)
    fleet.wait_ready()
    fleet.send(60)
    fleet.wait_for_work(50)
    first = owned(fleet)
    assert first.keys() == DAMAGE.keys()

    for kind in first:
        fleet.kubectl("delete", kind, f"{NAME}-workers", "--wait=false")
    fleet.until(
        "another object of each kind",
        lambda: (
            (now := owned(fleet)).keys() == first.keys()
            and all(uid(now[kind]) != uid(first[kind]) for kind in now)
        ),
    )
    fleet.wait_ready()
    assert wishes(owned(fleet)) == wishes(first)

    for kind, change in DAMAGE.items():
        fleet.kubectl("patch", kind, f"{NAME}-workers", "--type=merge", "-p", json.dumps(change))
    fleet.until("everything to be put right", lambda: wishes(owned(fleet)) == wishes(first))
    fleet.wait_ready()
    fleet.wait_done()

    assert fleet.verdict().problems == ()


def test_topics_that_are_changed_or_deleted_by_hand_are_put_right(fleet: Fleet, topics: Topics) -> None:
    fleet.apply(replicas=1)
    fleet.wait_ready()
    fleet.send(10)
    fleet.wait_done()
    before = {name: topics[name] for name in fleet.own_topics()}
    assert len(before) == 3

    for name in before:
        topics.set(name, max_message_bytes="2000000", retention_ms="1234567")
    fleet.until("the overrides to be put right", lambda: {name: topics[name] for name in before} == before)

    fleet.broker.delete([fleet.results], [])
    wait_made_anew(fleet, topics, fleet.results, before[fleet.results].id)
    # What had been answered is gone with the topic; what was given up is not.
    fleet.expected = {place: answer for place, answer in fleet.expected.items() if answer is None}
    fleet.send(5)
    fleet.until("the new tasks to be answered", lambda: not fleet.verdict().lost)

    fleet.edit(THINK_LONGER)
    fleet.wait_ready()
    fleet.send(20)
    boundary = fleet.sent_per_key
    fleet.broker.delete([fleet.tasks], [])
    wait_made_anew(fleet, topics, fleet.tasks, before[fleet.tasks].id)
    fleet.send(20)
    fleet.until("the tasks in the new topic to be answered", lambda: lost_from(fleet, boundary) == [])
    fleet.wait_ready()

    verdict = fleet.verdict()
    assert (verdict.disordered, verdict.wrong) == ((), ())
    assert verdict.lost  # or else the topic was deleted when nothing was left to lose


def lost_from(fleet: Fleet, number: int) -> list[Place]:
    """Return the tasks from a number on that are neither answered nor given up."""
    return [place for place in fleet.verdict().lost if place.number >= number]


def wait_made_anew(fleet: Fleet, topics: Topics, name: str, before: str) -> None:
    """Wait until the topic is there again, and known by its new id."""
    fleet.until(f"{name!r} to come back", lambda: topics[name].id != before)
    now = topics[name].id
    fleet.until(
        "its new id in the status",
        lambda: {"name": name, "id": now}.items() <= topic_status(fleet, name).items(),
    )
    fleet.until("somebody to be told", lambda: any(repr(name) in told for told in fleet.events("TopicLost")))
    fleet.wait_ready()


def topic_status(fleet: Fleet, name: str) -> Json:
    found: list[Json] = [each for each in fleet.status()["topics"] if each["name"] == name]
    return found[0]


def owned(fleet: Fleet) -> dict[str, Json]:
    """Return what the resource owns, by kind: whatever the kinds are."""
    kinds = fleet.kubectl("api-resources", "--namespaced", "--verbs=list,delete", "-o", "name").split()
    asked = ",".join(kind for kind in kinds if not kind.startswith("events"))
    owner = uid(fleet.resource())
    return {
        body["kind"]: body
        for body in fleet.read(asked)["items"]
        if owner in {each["uid"] for each in body["metadata"].get("ownerReferences", ())}
    }


def uid(body: Json) -> str:
    return str(body["metadata"]["uid"])


def wishes(bodies: dict[str, Json]) -> dict[str, Json]:
    """Return of each object what somebody wished for, without what Kubernetes keeps about it."""
    return {
        kind: {name: body[name] for name in body if name not in {"metadata", "status"}}
        for kind, body in bodies.items()
    }
