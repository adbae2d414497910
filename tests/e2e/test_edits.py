"""Every edit reaches agents or topics while work goes on: nothing is lost and the fleet never stops."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from e2e.fleets import AGENT, merged
from e2e.images import tag

if TYPE_CHECKING:
    from collections.abc import Callable

    from demo.cluster import Json
    from e2e.fleets import Fleet
    from e2e.topics import Topics

DAY, WEEK = "86400000", "604800000"
WORD: Final[Json] = {"name": "WORD", "valueFrom": {"secretKeyRef": {"name": "account", "key": "word"}}}
OVERLAY: Final[Json] = {"spec": {"nodeSelector": {"kubernetes.io/os": "linux"}}}


def test_edits_reach_the_agents_one_after_the_other_while_they_work(
    fleet: Fleet, images: dict[str, str]
) -> None:
    fleet.allow_secrets()
    fleet.apply(replicas=1, think_seconds=0.1)
    fleet.wait_ready()
    seen: Json = {"code": 1, "config": None, "env": None}
    assert fleet.seen_now() == [seen]
    other_image = f"{images['agent']}-edited"
    tag(images["agent"], other_image)

    with fleet.watched() as available:
        edit(fleet, lambda: fleet.apply_code(AGENT.read_text().replace("VERSION = 1", "VERSION = 2")))
        assert fleet.seen_now() == [seen := {**seen, "code": 2}]

        edit(fleet, lambda: fleet.edit(agent(config={"word": "configured"})))
        assert fleet.seen_now() == [seen := {**seen, "config": "configured"}]

        fleet.apply_secret("account", word="set")
        edit(fleet, lambda: fleet.edit(agent(env=[WORD])))
        assert fleet.seen_now() == [seen := {**seen, "env": "set"}]

        edit(fleet, lambda: fleet.apply_secret("account", word="rotated"))
        assert fleet.seen_now() == [seen := {**seen, "env": "rotated"}]

        edit(fleet, lambda: fleet.edit(agent(image=other_image, podTemplate=OVERLAY)))
        assert fleet.seen_now() == [seen]
        assert {container["image"] for pod in fleet.pods() for container in pod["spec"]["containers"]} == {
            other_image
        }
        assert [pod["spec"]["nodeSelector"] for pod in fleet.pods()] == [OVERLAY["spec"]["nodeSelector"]]

        failing = fleet.sent_per_key + 4
        fleet.given_up.add(failing)
        rules = {"maxAttempts": 2, "backoff": {"initial": "100ms"}}
        edit(fleet, lambda: fleet.edit(merged(agent(config={"failing": [failing]}), {"delivery": rules})))
        fleet.send(1)
        fleet.wait_done()

    assert attempts_of(fleet, failing) == {"2"}
    assert fleet.verdict().problems == ()
    assert min(available) == 1
    assert max(available) == 2  # or else the watch has not seen what it is for


def test_edits_of_topics_reach_the_broker_and_leave_the_agents_alone(fleet: Fleet, topics: Topics) -> None:
    fleet.apply(replicas=1, spec={"tasks": {"config": {"retention.ms": WEEK}}})
    fleet.wait_ready()
    fleet.send(10)
    before = fleet.pod_names()
    assert topics[fleet.tasks].overrides == {"retention.ms": WEEK}

    fleet.edit({"tasks": {"config": {"retention.ms": DAY, "segment.ms": DAY}}})
    fleet.until(
        "the edit to reach the topic",
        lambda: topics[fleet.tasks].overrides == {"retention.ms": DAY, "segment.ms": DAY},
    )
    fleet.edit({"tasks": {"config": None}})
    fleet.until("the broker's defaults", lambda: topics[fleet.tasks].overrides == {})

    fleet.wait_done()
    fleet.edit({"tasks": {"partitions": 15, "onGrowth": "Reorder"}})
    fleet.until("the topic to grow", lambda: topics[fleet.tasks].partitions == 15)
    fleet.wait_ready()
    assert len(fleet.shares()) == 15
    fleet.send(10)
    fleet.wait_done()

    assert fleet.verdict().problems == ()
    assert fleet.pod_names() == before


def edit(fleet: Fleet, make: Callable[[], None]) -> None:
    """Make an edit while the agents are at work, and wait until they are replaced."""
    fleet.send(4)
    before = fleet.pod_names()
    make()
    fleet.wait_replaced(before)


def agent(**fields: object) -> Json:
    return {"workers": {"agent": fields}}


def attempts_of(fleet: Fleet, number: int) -> set[str]:
    return {
        letter.headers["kafleet_attempts"]
        for letter in fleet.dead()
        if json.loads(letter.value)["number"] == number
    }
