"""The loop, in virtual time."""

from __future__ import annotations

import asyncio

import pytest
from unit.operator.fakes import FakeKafka, agent_group
from unit.operator.scenes import Scene, play
from virtual import until

from kafleet_operator.errors import ApiUnavailable, NotAuthorized
from kafleet_operator.reconciling import PARALLEL


def test_a_resource_is_served_as_soon_as_it_is_seen() -> None:
    """Names are claimed in the status before topics are made, and agents come last."""

    async def story(scene: Scene) -> None:
        await scene.reconciler.start()
        scene.api.put(agent_group())
        await until(3)

        assert scene.api.condition("triage", "TopicsReady") == ("True", "AllReady")
        assert len(scene.kafka.states) == 3
        writes = scene.api.writes()
        assert writes[0] == "APPLY agentgroups/triage/status"
        assert writes.index("APPLY configmaps/triage-workers") < writes.index(
            "APPLY deployments/triage-workers"
        )

    play(story)


def test_what_was_there_before_the_operator_is_served() -> None:
    """The first list is enough; no watch event has to come."""

    async def story(scene: Scene) -> None:
        scene.api.put(agent_group(), silently=True)
        await scene.reconciler.start()
        await until(3)

        assert scene.api.find("Deployment", "triage-workers")

    play(story)


def test_a_settled_fleet_is_observed_and_not_written() -> None:
    """Ten quiet minutes: a look about every five seconds, and no write."""

    async def story(scene: Scene) -> None:
        await scene.reconciler.start()
        scene.api.put(agent_group())
        await until(10)
        writes, looks = len(scene.api.writes()), len(scene.kafka.looks)
        await until(610)

        assert len(scene.api.writes()) == writes
        assert 100 < len(scene.kafka.looks) - looks < 140

    play(story)


def test_a_hundred_triggers_make_one_reconcile() -> None:
    """Whatever comes while one goes on, or right after it, is seen by the next one."""

    async def story(scene: Scene) -> None:
        await scene.reconciler.start()
        scene.api.put(agent_group())
        await until(10.01)
        scene.kafka.looks.clear()
        for replicas in range(100):
            workers = {"replicas": replicas % 4, "agent": {"handler": "triage:agent"}}
            scene.api.put(agent_group(workers=workers))
        await until(10.3)

        assert len(scene.kafka.looks) <= 2
        deployment = scene.api.find("Deployment", "triage-workers")
        assert deployment
        assert deployment["spec"]["replicas"] == 99 % 4

    play(story)


def test_one_resource_is_never_reconciled_twice_at_once() -> None:
    """A trigger during a slow reconcile waits for its end."""

    async def story(scene: Scene) -> None:
        await scene.reconciler.start()
        scene.kafka.seconds = 4
        scene.api.put(agent_group())
        for second in range(1, 30):
            await until(second)
            scene.api.put(agent_group(suspend=second % 2 == 0))

        assert scene.kafka.at_once == 1

    play(story)


def test_many_resources_share_a_bounded_number_of_reconciles() -> None:
    """All come to their turn."""

    async def story(scene: Scene) -> None:
        scene.kafka.seconds = 1
        for number in range(100):
            scene.api.put(agent_group(f"fleet-{number}"), silently=True)
        await scene.reconciler.start()
        await until(60)

        assert scene.kafka.at_once == PARALLEL
        assert sum(body["kind"] == "Deployment" for body in scene.api.objects.values()) == 100

    play(story)


def test_without_kafka_the_pace_slows_down_and_picks_up_again() -> None:
    """Retries come fast at first, and never further apart than ten seconds."""

    async def story(scene: Scene) -> None:
        await scene.reconciler.start()
        scene.api.put(agent_group())
        await until(10)
        scene.kafka.is_down = True
        scene.kafka.looks.clear()
        await until(200)

        assert scene.api.condition("triage", "TopicsReady") == ("Unknown", "KafkaUnreachable")
        scene.kafka.is_down = False
        await until(211)
        assert scene.api.condition("triage", "TopicsReady") == ("True", "AllReady")

    play(story)


@pytest.mark.parametrize(
    ("defect", "reason"),
    [(ZeroDivisionError("boom"), "InternalError"), (NotAuthorized("no"), "NotAuthorized")],
)
def test_a_defect_stays_with_its_resource_and_is_told(defect: Exception, reason: str) -> None:
    """The operator goes on, serves others, and tries again; what ran goes on running."""

    async def story(scene: Scene) -> None:
        await scene.reconciler.start()
        scene.api.put(agent_group("broken"))
        await until(10)
        broken, fine = FakeKafka(), scene.kafka
        broken.states, broken.defect = scene.kafka.states, defect
        scene.kafka.groups = broken.groups
        await until(20)
        assert reason in {scene.api.condition("broken", kind)[1] for kind in ("Ready", "AgentsReady")}
        scene.kafka.groups = FakeKafka().groups
        fine.defect = None
        scene.api.put(agent_group("other"))
        await until(40)

        assert scene.api.condition("other", "TopicsReady") == ("True", "AllReady")
        assert scene.api.condition("broken", "Accepted") == ("True", "AllReady")

    play(story)


def test_a_missing_api_server_is_waited_for() -> None:
    """At the start and later: nothing ends, and what was missed is made up for."""

    async def story(scene: Scene) -> None:
        scene.api.failure = ApiUnavailable("connection refused")
        starting = asyncio.create_task(scene.reconciler.start())
        await until(30)
        assert not starting.done()
        scene.api.failure = None
        await starting
        scene.api.put(agent_group())
        await until(60)
        scene.api.failure = ApiUnavailable("connection refused")
        scene.api.put(agent_group(suspend=True))
        await until(90)
        scene.api.failure = None
        await until(105)

        deployment = scene.api.find("Deployment", "triage-workers")
        assert deployment
        assert deployment["spec"]["replicas"] == 0

    play(story)


def test_nonsense_from_the_api_server_ends_nothing() -> None:
    """Not even where the defect it causes cannot be reported; neither the loop nor the listing dies of it."""

    async def story(scene: Scene) -> None:
        await scene.reconciler.start()
        scene.api.failure = ValueError("nonsense")
        scene.api.put(agent_group())
        await until(400)
        assert scene.api.find("Deployment", "triage-workers") is None
        scene.api.failure = None
        scene.api.put(agent_group("unseen"), silently=True)
        await until(420)

        assert scene.api.find("Deployment", "triage-workers")
        assert scene.api.find("Deployment", "unseen-workers")

    play(story)


def test_a_hanging_reconcile_is_cut_off() -> None:
    """It costs its own resource two minutes, and nobody else anything."""

    async def story(scene: Scene) -> None:
        await scene.reconciler.start()
        scene.kafka.seconds = 10_000
        scene.api.put(agent_group())
        await until(119)
        assert scene.api.find("Deployment", "triage-workers") is None
        scene.kafka.seconds = 0
        await until(130)

        assert scene.api.find("Deployment", "triage-workers")
        assert not scene.reconciler.ills()

    play(story)


def test_a_reconcile_that_cannot_even_be_cut_off_fails_the_probe() -> None:
    """Only a restart helps then. An operator with nothing to do is not stuck."""

    async def story(scene: Scene) -> None:
        released = asyncio.Event()

        async def cling() -> None:
            while not released.is_set():
                try:
                    await released.wait()
                except asyncio.CancelledError:
                    continue

        await scene.reconciler.start()
        await until(1000)
        assert not scene.reconciler.ills()
        scene.kafka.look = cling  # type: ignore[method-assign]
        scene.api.put(agent_group())
        await until(1170)
        assert not scene.reconciler.ills()
        await until(1190)
        assert scene.reconciler.ills()
        released.set()

    play(story)


def test_nothing_is_left_of_a_resource_that_is_gone() -> None:
    """Neither its loop nor its memory."""

    async def story(scene: Scene) -> None:
        await scene.reconciler.start()
        body = scene.api.put(agent_group())
        await until(10)
        scene.api.take(body)
        await until(20)
        looks = len(scene.kafka.looks)
        await until(100)

        assert len(scene.kafka.looks) == looks
        assert scene.reconciler._wakes == {}
        assert scene.reconciler._view._objects == {}
        assert len(scene.reconciler._tasks) == 1  # the one that lists

    play(story)


def test_a_deletion_that_no_watch_told_is_noticed_at_the_resync() -> None:
    """Also of an owned object: it is made again."""

    async def story(scene: Scene) -> None:
        await scene.reconciler.start()
        gone = scene.api.put(agent_group("gone"))
        scene.api.put(agent_group("stays"))
        await until(10)
        scene.api.take(gone, silently=True)
        deployment = scene.api.find("Deployment", "stays-workers")
        assert deployment
        scene.api.take(deployment, silently=True)
        await until(400)

        assert ("AgentGroup", "support", "gone") not in scene.reconciler._wakes
        again = scene.api.find("Deployment", "stays-workers")
        assert again
        assert again["metadata"]["uid"] != deployment["metadata"]["uid"]

    play(story)


def test_a_resource_made_again_under_its_name_is_a_new_one() -> None:
    """What belongs to the old one is not taken over while it is still there."""

    async def story(scene: Scene) -> None:
        await scene.reconciler.start()
        old = scene.api.put(agent_group())
        await until(10)
        scene.api.objects.pop("/apis/kafleet.dev/v1alpha1/namespaces/support/agentgroups/triage")
        scene.api.put(agent_group(uid="another"))
        await until(20)
        assert scene.api.condition("triage", "AgentsReady") == ("False", "NameConflict")
        scene.api.take(old)
        await until(40)

        deployment = scene.api.find("Deployment", "triage-workers")
        assert deployment
        assert deployment["metadata"]["ownerReferences"][0]["uid"] == "another"

    play(story)


def test_a_fleet_that_deletes_its_topics_holds_the_resource_until_it_is_done() -> None:
    """The finalizer is on before the first topic, and off after the last."""

    async def story(scene: Scene) -> None:
        await scene.reconciler.start()
        scene.api.put(agent_group(deletionPolicy="Delete"))
        await until(10)
        assert scene.api.writes()[0] == "MERGE agentgroups/triage"
        body = scene.api.find("AgentGroup", "triage")
        assert body
        assert body["metadata"]["finalizers"] == ["kafleet.dev/cleanup"]
        scene.kafka.is_down = True
        metadata = {**body["metadata"], "deletionTimestamp": "2026-11-23T06:00:00Z"}
        scene.api.put({**body, "metadata": metadata})
        await until(30)
        assert scene.api.condition("triage", "Ready") == ("False", "Deleting")
        assert len(scene.kafka.states) == 3
        scene.kafka.is_down = False
        await until(60)

        assert scene.kafka.states == {}
        assert scene.api.find("AgentGroup", "triage") is None

    play(story)
