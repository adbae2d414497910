"""What one resource does beside the loop."""

from __future__ import annotations

import json

from unit.operator.fakes import agent_group
from unit.operator.scenes import Scene, play
from virtual import until

from kafleet_operator.planning.observations import OpenTransaction

POD = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {
        "name": "triage-workers-x",
        "namespace": "support",
        "labels": {
            "app.kubernetes.io/managed-by": "kafleet",
            "kafleet.dev/kind": "AgentGroup",
            "kafleet.dev/resource": "triage",
            "kafleet.dev/lane": "workers",
        },
    },
}


def test_a_dead_agent_is_removed_while_a_reconcile_is_slow_and_told_once() -> None:
    """The pod's event is enough; the status has it as soon as it can be written, and one Event."""

    async def story(scene: Scene) -> None:
        await scene.reconciler.start()
        scene.api.put(agent_group())
        await until(10)
        scene.kafka.members = ["dead", "alive"]
        scene.kafka.seconds = 20
        scene.api.put(agent_group(suspend=False, deletionPolicy="Retain"))
        await until(16)
        said = {"version": 1, "group": "support.triage.workers", "member": "dead", "error": None}
        ended = {"exitCode": 137, "finishedAt": "2026-11-23T09:00:00Z", "message": json.dumps(said)}
        status = {"containerStatuses": [{"name": "agent", "state": {"terminated": ended}}]}
        scene.api.put({**POD, "status": status})
        await until(16.1)

        assert scene.kafka.members == ["alive"]
        scene.kafka.seconds = 0
        scene.api.requests.clear()
        await until(120)
        body = scene.api.find("AgentGroup", "triage")
        assert body
        assert body["status"]["lanes"][0]["recoveries"]["last"]["agent"] == "triage-workers-x"
        assert body["status"]["recoveries"] == 1
        assert scene.api.requests.count("POST events") == 1

    play(story)


def test_a_transaction_is_ended_when_its_pod_is_gone_and_not_when_it_was_not_seen_yet() -> None:
    """The watch may be late, or silent: before the end of a transaction the API server itself is asked."""

    async def story(scene: Scene) -> None:
        transaction = OpenTransaction("support.triage.workers", "triage-workers-x", 1)
        await scene.reconciler.start()
        pod = scene.api.put(POD, silently=True)
        scene.kafka.transactions.left_open = {transaction}
        scene.api.put(agent_group(delivery={"guarantee": "ExactlyOnce"}))
        await until(20)
        assert scene.kafka.transactions.left_open == {transaction}

        scene.api.take(pod, silently=True)
        await until(40)
        assert scene.kafka.transactions.left_open == set()

    play(story)


def test_a_pod_that_was_evicted_leaves_no_transaction_open() -> None:
    """It is still there, to be looked at, and its event is enough."""

    async def story(scene: Scene) -> None:
        await scene.reconciler.start()
        scene.api.put(agent_group(delivery={"guarantee": "ExactlyOnce"}))
        scene.api.put(POD)
        await until(10)
        transaction = OpenTransaction("support.triage.workers", "triage-workers-x", 1)
        scene.kafka.transactions.left_open = {transaction}
        await until(20)
        assert scene.kafka.transactions.left_open == {transaction}

        scene.api.put({**POD, "status": {"phase": "Failed", "reason": "Evicted"}})
        await until(21)
        assert scene.kafka.transactions.left_open == set()

    play(story)


def test_fleets_without_transactions_cost_no_look_at_any() -> None:
    async def story(scene: Scene) -> None:
        await scene.reconciler.start()
        scene.api.put(agent_group())
        await until(30)

        assert scene.kafka.transactions.looks == []

    play(story)
