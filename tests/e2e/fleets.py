"""An AgentGroup in a namespace of its own, as a test sees it: applied, fed, hurt, read back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from demo.broker import Broker, Shares, answers_of, lag_of, places_of, task
from demo.checking import Place, Verdict, check
from demo.cluster import RELEASE, SYSTEM, Cluster, Json
from demo.errors import Failed
from demo.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable

AGENT = Path(__file__).parent / "agents" / "squaring.py"
NAME = "squares"
PODS = f"kafleet.dev/resource={NAME}"
KEYS = tuple(f"key-{number:02}" for number in range(24))
REJECTED = (3, 17)
# An agent that leaves in good order commits the position before its first unsettled record. What it settled
# above that comes again; as the keys take turns, that is a record here and there, never a second's work.
MAX_ABOVE_POSITION = len(KEYS)
READY_SECONDS = 90
WORK_SECONDS = 120


class Fleet:
    """Tasks are numbered per key from 0 on, over all calls of `send`; results are read from the beginning."""

    def __init__(self, cluster: Cluster, broker: Broker, namespace: str) -> None:
        self.cluster = cluster
        self.broker = broker
        self.namespace = namespace
        self.group = f"{namespace}.{NAME}.workers"
        self.tasks, self.results, self.dead_letters = (
            f"{namespace}.{NAME}.{role}" for role in ("tasks", "results", "dead-letters")
        )
        self.expected: dict[Place, Json | None] = {}
        self._sent_per_key = 0

    def kubectl(self, *words: str, given: str | None = None) -> str:
        return self.cluster.kubectl("-n", self.namespace, *words, given=given)

    def read(self, *words: str) -> Json:
        return self.cluster.read("-n", self.namespace, *words)

    def apply(
        self, *, replicas: int = 2, think_seconds: float = 0.05, deletion_policy: str = "Retain"
    ) -> None:
        """Apply the agent's code and the AgentGroup."""
        worker = {
            "handler": "squaring:agent",
            "code": {"configMap": "squaring-code"},
            "config": {"thinkSeconds": think_seconds, "rejected": list(REJECTED)},
            "resources": {"requests": {"cpu": "20m", "memory": "64Mi"}},
        }
        resource = {
            "apiVersion": "kafleet.dev/v1alpha1",
            "kind": "AgentGroup",
            "metadata": {"name": NAME},
            "spec": {
                "deletionPolicy": deletion_policy,
                "workers": {"replicas": replicas, "agent": worker},
                "tasks": {"partitions": 12},
                "delivery": {"concurrency": 4, "taskTimeout": "10s"},
            },
        }
        self.apply_code(AGENT.read_text())
        self.kubectl("apply", "-f", "-", given=json.dumps(resource))

    def apply_code(self, text: str) -> None:
        """Put the agent's code into its ConfigMap."""
        code = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "squaring-code"},
            "data": {"squaring.py": text},
        }
        self.kubectl("apply", "-f", "-", given=json.dumps(code))

    def wait_ready(self) -> None:
        self.kubectl("wait", f"ag/{NAME}", "--for=condition=Ready", f"--timeout={READY_SECONDS}s")

    def send(self, per_key: int, version: int = 1) -> None:
        """Send as many tasks for each key, the keys taking turns."""
        numbers = range(self._sent_per_key, self._sent_per_key + per_key)
        places = [Place(key, number) for number in numbers for key in KEYS]
        self.broker.feed(
            self.tasks, [task(self.namespace, place, {"number": place.number}, "square") for place in places]
        )
        self._sent_per_key += per_key
        for place in places:
            number = place.number
            answer = {"number": number, "square": number * number, "version": version}
            self.expected[place] = None if number in REJECTED else answer

    def shares(self) -> Shares:
        return self.broker.shares(self.group, self.tasks)

    def until(self, what: str, is_so: Callable[[], object], seconds: float = READY_SECONDS) -> None:
        """Wait for a condition; an error while asking counts as "not yet"."""
        until(what, is_so, seconds)

    def wait_for_work(self, settled: int) -> None:
        """Wait until so many tasks are settled, in a log that holds more: the work is in its middle."""
        self.until(f"{settled} settled tasks", lambda: self.settled() >= settled, WORK_SECONDS)
        assert lag_of(self.shares()), "everything was done before the test could interfere"

    def settled(self) -> int:
        return sum(share.committed for share in self.shares().values())

    def wait_done(self) -> None:
        self.until("every task to be settled", lambda: self.settled() >= len(self.expected), WORK_SECONDS)

    def verdict(self) -> Verdict:
        """Compare everything sent so far with everything answered so far."""
        results = self.broker.read(self.results, dict.fromkeys(self.broker.ends(self.results), 0))
        dead = self.broker.read(self.dead_letters, dict.fromkeys(self.broker.ends(self.dead_letters), 0))
        return check(self.expected, answers_of(self.namespace, results), places_of(self.namespace, dead))

    def resource(self) -> Json:
        return self.read("ag", NAME)

    def status(self) -> Json:
        found: Json = self.resource().get("status", {})
        return found

    def condition(self, kind: str) -> Json:
        """Return a condition of the status; empty while it has none of that type."""
        conditions: list[Json] = self.status().get("conditions", [])
        return next((each for each in conditions if each["type"] == kind), {})

    def pods(self) -> list[Json]:
        return self.cluster.pods(self.namespace, PODS)

    def pod_names(self) -> set[str]:
        return {pod["metadata"]["name"] for pod in self.pods()}

    def deployment(self) -> Json:
        return self.read("deployment", f"{NAME}-workers")

    def own_topics(self) -> set[str]:
        return {name for name in self.broker.topics() if name.startswith(f"{self.namespace}.")}

    def own_groups(self) -> set[str]:
        return {name for name in self.broker.groups() if name.startswith(f"{self.namespace}.")}

    def remove(self) -> None:
        """Remove the namespace and whatever is left in Kafka."""
        self.kubectl("delete", "ag", "--all", "--timeout=60s")
        self.cluster.kubectl("delete", "namespace", self.namespace, "--wait=false")
        self.until("the agents to leave the group", lambda: not any(s.pod for s in self.shares_left()), 60)
        self.broker.delete(self.own_topics(), self.own_groups())

    def shares_left(self) -> list[Any]:
        return list(self.shares().values()) if self.tasks in self.own_topics() else []

    def diagnose(self) -> None:
        """Print what on-call would look at first."""
        for words in (
            ("describe", f"ag/{NAME}"),
            ("get", "all,configmaps", "-o", "wide"),
            ("describe", "pods"),
            ("get", "events", "--sort-by=.lastTimestamp"),
            ("logs", "-l", PODS, "--prefix", "--tail=60"),
            ("logs", "-n", SYSTEM, f"deployment/{RELEASE}", "--tail=120"),
        ):
            print(f"\n--- kubectl {' '.join(words)}")
            try:
                print(self.kubectl(*words))
            except Failed as error:
                print(error)
