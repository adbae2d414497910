"""The agents of a fleet as processes of the test; what a kubelet would say of them is written by hand."""

from __future__ import annotations

import contextlib
import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar

from confluent_kafka.admin import AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType
from integration.agent.lanes import ECHO, Worker
from integration.asking import asked
from integration.operator.operators import agent_group
from integration.servers import eventually

from kafleet_operator.effects.groups import Groups
from kafleet_operator.planning.observations import GroupState

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator
    from pathlib import Path

    from integration.operator.operators import Namespace
    from integration.servers import Broker

PARTITIONS = 4
SESSION_SECONDS = 600
"""Longer than any test waits: who leaves the group earlier was removed."""
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
        (folder / ECHO.name).write_text(ECHO.read_text())
        timing = {"session.timeout.ms": SESSION_SECONDS * 1_000, "heartbeat.interval.ms": 500}
        entries = [
            ConfigEntry(f"consumer.{name}", str(value), incremental_operation=AlterConfigOpType.SET)
            for name, value in timing.items()
        ]
        resource = ConfigResource(ResourceType.GROUP, self.group, incremental_configs=entries)
        namespace.admin.incremental_alter_configs([resource])[resource].result()

    def start(self, name: str) -> Worker:
        """Start a process that reads the lane file which the operator made, and wait until it works."""
        worker = self.launch(name)
        worker.await_ready()
        return worker

    def launch(self, name: str) -> Worker:
        """Start such a process and do not wait: it may end before it works."""
        config_map = self._namespace.expect("ConfigMap", f"{NAME}-workers")
        lane = json.loads(config_map["data"]["lane.json"])
        lane["agent"]["codePath"], lane["http"]["port"] = str(self._folder), 0
        worker = Worker(name, lane, self._folder)
        worker.start()
        self._workers.append(worker)
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
        return asked(self._servers, lambda nodes: question(Groups(nodes, 5)))

    def await_members(self, *workers: Worker) -> None:
        """Wait until exactly these are in the group and hold every partition."""

        def look() -> bool:
            members = self.members()
            assert members.keys() == {worker.member for worker in workers}
            return sum(map(len, members.values())) == PARTITIONS

        eventually(look)

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


@contextlib.contextmanager
def crew(namespace: Namespace, broker: Broker, folder: Path, **spec: object) -> Iterator[Agents]:
    """Apply a fleet of two pods and wait until its lane file is there; ends the agents that are started."""
    namespace.apply(agent_group(NAME, namespace.name, spec, handler="echo:agent"))
    agents = Agents(namespace, broker, folder)
    eventually(lambda: namespace.read("ConfigMap", f"{NAME}-workers") and len(agents.pods()) == 2)
    try:
        yield agents
    finally:
        agents.stop()
