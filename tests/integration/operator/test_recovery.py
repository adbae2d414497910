"""Dead agents are taken out of their group at once, and nobody else ever is.

Agents are processes of the test; what a kubelet would say of their containers is written by hand. The group
has Kafka's own session timeout, 45 seconds: whatever goes on earlier is the operator's doing.
"""

from __future__ import annotations

import asyncio
import json
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar

import pytest
from confluent_kafka import Producer
from integration.agent.lanes import CODE, Worker
from integration.operator.operators import Namespace, Operator, agent_group
from integration.servers import eventually

from kafleet_operator.effects.groups import Groups
from kafleet_operator.effects.nodes import Nodes
from kafleet_operator.planning.connections import Connection
from kafleet_operator.planning.observations import GroupState

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator
    from pathlib import Path

    from integration.servers import Broker

PARTITIONS = 4
SESSION_SECONDS = 45
NAME = "triage"
Json = dict[str, Any]
Found = TypeVar("Found")


class Agents:
    """The agents of one fleet: each a process, told of as the container of one of its pods."""

    def __init__(self, namespace: Namespace, broker: Broker, folder: Path) -> None:
        self._namespace = namespace
        self._folder = folder
        self._servers = broker.bootstrap_servers
        self._workers: list[Worker] = []
        self.group = f"{namespace.name}.{NAME}.workers"
        (folder / "echo.py").write_text(CODE)

    def start(self, name: str) -> Worker:
        """Start a process that reads the lane file which the operator made, and wait until it works."""
        config_map = self._namespace.expect("ConfigMap", f"{NAME}-workers")
        lane = json.loads(config_map["data"]["lane.json"])
        lane["agent"]["codePath"], lane["http"]["port"] = str(self._folder), 0
        worker = Worker(name, lane, self._folder)
        worker.start()
        self._workers.append(worker)
        worker.await_ready()
        return worker

    def stop(self) -> None:
        for worker in self._workers:
            worker.kill()

    def members(self) -> dict[str, tuple[tuple[str, int], ...]]:
        return self._ask(lambda groups: groups.members(self.group))

    def committed(self) -> set[int | None]:
        """Return the offsets that the group has committed."""
        tasks = f"{self._namespace.name}.{NAME}.tasks"
        wish = {self.group: [(tasks, number) for number in range(PARTITIONS)]}
        states, _ = self._ask(lambda groups: groups.observe(wish, anew=True))
        state = states[self.group]
        assert isinstance(state, GroupState), state
        return {partition.committed for partition in state.partitions}

    def _ask(self, question: Callable[[Groups], Coroutine[Any, Any, Found]]) -> Found:
        async def ask() -> Found:
            return await question(Groups(Nodes(Connection(self._servers), {}), 5))

        return asyncio.run(ask())

    def await_members(self, *workers: Worker, seconds: float) -> None:
        """Wait until exactly these are in the group and hold every partition."""

        def look() -> bool:
            members = self.members()
            assert members.keys() == {worker.member for worker in workers}
            return sum(map(len, members.values())) == PARTITIONS

        eventually(look, seconds=seconds)

    def pods(self) -> list[str]:
        return sorted(pod["metadata"]["name"] for pod in self._namespace.every("Pod"))

    def say(self, pod: str, state: Json, last: Json | None = None) -> None:
        """Say of a pod's container what a kubelet would."""
        image = {"image": "agent:1", "imageID": "agent", "ready": False, "restartCount": 0}
        container = {"name": "agent", **image, "state": state, "lastState": last or {}}
        self._namespace.patch("Pod", pod, {"status": {"containerStatuses": [container]}}, "status")

    def recoveries(self) -> Json:
        (lane,) = self._namespace.expect("AgentGroup", NAME)["status"]["lanes"]
        found: Json = lane.get("recoveries", {})
        return found


def running() -> Json:
    return {"running": {"startedAt": now()}}


def ended(worker: Worker, reason: str = "Error") -> Json:
    message = worker.termination_log.read_text()
    times = {"startedAt": now(), "finishedAt": now()}
    return {"terminated": {"exitCode": 137, "reason": reason, "message": message, **times}}


def now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@pytest.fixture
def agents(operator: Operator, namespace: Namespace, broker: Broker, tmp_path: Path) -> Iterator[Agents]:
    """Return a fleet of two pods whose lane file is there."""
    assert operator.is_healthy()
    namespace.apply(agent_group(NAME, namespace.name, handler="echo:agent"))
    made = Agents(namespace, broker, tmp_path)
    eventually(lambda: namespace.read("ConfigMap", f"{NAME}-workers") and len(made.pods()) == 2)
    try:
        yield made
    finally:
        made.stop()


def test_a_killed_agents_work_goes_on_in_the_restarted_one(
    operator: Operator, namespace: Namespace, broker: Broker, agents: Agents
) -> None:
    """By proof of the container's last state; counted once, whatever becomes of the operator."""
    pod, other = agents.pods()
    dead, alive = agents.start("first"), agents.start("second")
    agents.await_members(dead, alive, seconds=20)
    producer = Producer({"bootstrap.servers": broker.bootstrap_servers})
    for number in range(PARTITIONS):
        producer.produce(f"{namespace.name}.{NAME}.tasks", b'{"number": 1}', b"key", partition=number)
    assert producer.flush(10) == 0
    eventually(lambda: agents.committed() == {1})
    held = agents.members()[str(dead.member)]

    dead.kill()
    last = ended(dead, "OOMKilled")
    agents.say(other, running())
    replacement = agents.start("third")
    said = time.monotonic()
    agents.say(pod, running(), last)
    agents.await_members(alive, replacement, seconds=SESSION_SECONDS / 2)
    served = time.monotonic() - said

    told = eventually(agents.recoveries)
    assert (told["count"], told["last"]["agent"], told["last"]["reason"]) == (1, pod, "OOMKilled")
    assert told["last"]["seconds"] < SESSION_SECONDS / 2
    print(f"\nserved {told['last']['seconds']:g} s after the end, {served:.1f} s after it was told")
    resumed = {(each["topic"], each["partition"]): each["offset"] for each in told["last"]["resumedFrom"]}
    assert resumed == dict.fromkeys(held, 1)
    assert namespace.expect("AgentGroup", NAME)["status"]["recoveries"] == 1

    operator.kill()
    operator.start()
    agents.say(other, running())  # wakes it
    resyncs = operator.resyncs()
    eventually(lambda: operator.resyncs() > resyncs + 1)
    assert agents.recoveries() == told
    (event,) = (each for each in namespace.events_about(NAME) if each["reason"] == "Recovered")
    assert pod in event["note"]
    agents.await_members(alive, replacement, seconds=5)


def test_who_is_not_proven_to_be_dead_is_never_removed(
    operator: Operator, namespace: Namespace, agents: Agents
) -> None:
    """A paused process, one whose pod was deleted by force, and one whose pod says nonsense."""
    pod, other = agents.pods()
    paused, orphan = agents.start("paused"), agents.start("orphan")
    agents.await_members(paused, orphan, seconds=20)
    paused.freeze()
    try:
        nonsense = {**ended(orphan)["terminated"], "message": "The container could not be located"}
        agents.say(pod, running(), {"terminated": nonsense})
        namespace.kubectl("delete", "pod", other, "--grace-period=0", "--force")
        eventually(lambda: len(agents.pods()) == 2 and other not in agents.pods())
        resyncs = operator.resyncs()
        eventually(lambda: operator.resyncs() > resyncs + 1)

        assert agents.members().keys() == {paused.member, orphan.member}
        assert agents.recoveries() == {}
    finally:
        paused.thaw()


def test_an_operator_that_starts_later_removes_who_died_before(operator: Operator, agents: Agents) -> None:
    """The proof stays in the pod's status; a group that is left without a member is told, too."""
    pod, _ = agents.pods()
    dead = agents.start("dead")
    agents.await_members(dead, seconds=20)
    operator.kill()
    dead.kill()
    agents.say(pod, ended(dead))
    operator.start()

    eventually(lambda: agents.members() == {}, seconds=SESSION_SECONDS / 2)
    replacement = agents.start("replacement")
    agents.await_members(replacement, seconds=20)
    told = eventually(agents.recoveries)
    assert (told["count"], told["last"]["reason"]) == (1, "Crashed")
