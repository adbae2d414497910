"""What one resource does beside the loop."""

from __future__ import annotations

import json

from unit.operator.fakes import agent_group
from unit.operator.scenes import Scene, play
from virtual import until

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
