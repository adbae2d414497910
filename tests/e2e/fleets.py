"""An AgentGroup in a namespace of its own, as a test sees it: applied, fed, hurt, read back."""

from __future__ import annotations

import contextlib
import json
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from demo.broker import Broker, Record, Shares, answers_of, lag_of, places_of, task
from demo.checking import Answer, Place, Verdict, check
from demo.cluster import KUBECTL, RELEASE, SYSTEM, Cluster, Json
from demo.errors import Failed
from demo.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

AGENT = Path(__file__).parent / "agents" / "squaring.py"
CODE = "squaring-code"
NAME = "squares"
KEYS = tuple(f"key-{number:02}" for number in range(24))
REJECTED = (3, 17)
READY_SECONDS = 240  # for what hangs: a machine under load needs many times what it needs alone
WORK_SECONDS = 300


class Fleet:
    """Tasks are numbered per key from 0 on, over all calls of `send`; results are read from the beginning.

    `given_up` are the numbers that must become dead letters.
    """

    def __init__(self, cluster: Cluster, broker: Broker, namespace: str, name: str = NAME) -> None:
        self.cluster = cluster
        self.broker = broker
        self.namespace = namespace
        self.name = name
        self.group = f"{namespace}.{name}.workers"
        self.tasks, self.results, self.dead_letters = (
            f"{namespace}.{name}.{role}" for role in ("tasks", "results", "dead-letters")
        )
        self.given_up = set(REJECTED)
        self.expected: dict[Place, Json | None] = {}
        self.sent_per_key = 0

    def neighbour(self, name: str) -> Fleet:
        """Return another fleet of the same namespace, which goes with this one."""
        return Fleet(self.cluster, self.broker, self.namespace, name)

    def kubectl(self, *words: str, given: str | None = None) -> str:
        return self.cluster.kubectl("-n", self.namespace, *words, given=given)

    def read(self, *words: str) -> Json:
        return self.cluster.read("-n", self.namespace, *words)

    def manifest(
        self,
        *,
        replicas: int = 2,
        think_seconds: float = 0.05,
        partitions: int = 12,
        spec: Json | None = None,
    ) -> Json:
        """Return the AgentGroup, with `spec` merged into its own."""
        worker = {
            "handler": "squaring:agent",
            "code": {"configMap": CODE},
            "config": {"thinkSeconds": think_seconds, "rejected": list(REJECTED)},
            "resources": {"requests": {"cpu": "20m", "memory": "64Mi"}},
        }
        usual: Json = {
            "workers": {"replicas": replicas, "agent": worker},
            "tasks": {"partitions": partitions},
            "results": {"partitions": partitions},
            "deadLetters": {"partitions": partitions},
            "delivery": {"concurrency": 4, "taskTimeout": "60s"},
        }
        return {
            "apiVersion": "kafleet.dev/v1alpha1",
            "kind": "AgentGroup",
            "metadata": {"name": self.name},
            "spec": merged(usual, spec or {}),
        }

    def apply(
        self,
        *,
        replicas: int = 2,
        think_seconds: float = 0.05,
        partitions: int = 12,
        spec: Json | None = None,
    ) -> None:
        """Apply the agent's code and the AgentGroup."""
        self.apply_code(AGENT.read_text())
        self.apply_object(
            self.manifest(replicas=replicas, think_seconds=think_seconds, partitions=partitions, spec=spec)
        )

    def apply_code(self, text: str, name: str = CODE) -> None:
        """Put the agent's code into its ConfigMap."""
        self.apply_object(
            {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": {"name": name},
                "data": {"squaring.py": text},
            }
        )

    def apply_secret(self, name: str, **data: str) -> None:
        self.apply_object(
            {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": data}
        )

    def allow_secrets(self) -> None:
        """Let the operator read the namespace's Secrets."""
        self.kubectl(
            *("create", "rolebinding", "kafleet-secrets", f"--clusterrole={SYSTEM}:{RELEASE}:secrets"),
            f"--serviceaccount={SYSTEM}:{RELEASE}",
        )

    def apply_object(self, body: Json) -> None:
        self.kubectl("apply", "-f", "-", given=json.dumps(body))

    def edit(self, spec: Json) -> None:
        """Merge something into the spec; None removes a field."""
        self.kubectl("patch", f"ag/{self.name}", "--type=merge", "-p", json.dumps({"spec": spec}))

    def wait_ready(self) -> None:
        """Wait until the spec as it is now is ready."""
        generation = self.resource()["metadata"]["generation"]

        def is_ready() -> bool:
            ready = self.condition("Ready")
            return ready.get("status") == "True" and ready.get("observedGeneration") == generation

        self.until(f"{self.name!r} to be ready", is_ready)

    def wait_for_reason(self, condition: str, reason: str) -> str:
        """Wait until a condition has this reason; return its message."""
        self.until(f"{reason} in {condition}", lambda: self.condition(condition).get("reason") == reason)
        return str(self.condition(condition)["message"])

    def send(self, per_key: int) -> None:
        """Send as many tasks for each key, the keys taking turns."""
        numbers = range(self.sent_per_key, self.sent_per_key + per_key)
        places = [Place(key, number) for number in numbers for key in KEYS]
        self.broker.feed(
            self.tasks, [task(self.namespace, place, {"number": place.number}, "square") for place in places]
        )
        self.sent_per_key += per_key
        for place in places:
            number = place.number
            self.expected[place] = (
                None if number in self.given_up else {"number": number, "square": number * number}
            )

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
        answers = [
            Answer(each.place, each.id, {name: each.value[name] for name in each.value if name != "seen"})
            for each in self.answers()
        ]
        return check(self.expected, answers, places_of(self.namespace, self.dead()))

    def answers(self) -> list[Answer]:
        return answers_of(self.namespace, self.broker.read_all(self.results))

    def dead(self) -> list[Record]:
        return self.broker.read_all(self.dead_letters)

    def seen_now(self) -> list[Json]:
        """Give each key one more task, and return what the agents then know of the edits, each once."""
        number = self.sent_per_key
        self.send(1)
        self.wait_done()
        seen: list[Json] = [each.value["seen"] for each in self.answers() if each.place.number == number]
        return [each for place, each in enumerate(seen) if each not in seen[:place]]

    def resource(self) -> Json:
        return self.read("ag", self.name)

    def status(self) -> Json:
        found: Json = self.resource().get("status", {})
        return found

    def condition(self, kind: str) -> Json:
        """Return a condition of the status; empty while it has none of that type."""
        conditions: list[Json] = self.status().get("conditions", [])
        return next((each for each in conditions if each["type"] == kind), {})

    def events(self, reason: str) -> list[str]:
        """Return the messages of the resource's events with this reason."""
        selector = f"involvedObject.kind=AgentGroup,involvedObject.name={self.name},reason={reason}"
        return [each["message"] for each in self.read("events", "--field-selector", selector)["items"]]

    @property
    def selector(self) -> str:
        return f"kafleet.dev/resource={self.name}"

    def pods(self) -> list[Json]:
        return self.cluster.pods(self.namespace, self.selector)

    def pod_names(self) -> set[str]:
        return {pod["metadata"]["name"] for pod in self.pods()}

    def wait_replaced(self, before: set[str]) -> None:
        """Wait until none of these pods is left, not even on its way out, and the fleet is ready."""
        self.until(
            "the agents to be replaced",
            lambda: not before & set(names_in(self.read("pods", "-l", self.selector))),
        )
        self.wait_ready()

    def wait_gone(self) -> None:
        """Wait until no agent is left, not even on its way out."""
        self.until("the agents to end", lambda: not self.read("pods", "-l", self.selector)["items"])

    def deployment(self) -> Json:
        return self.read("deployment", f"{self.name}-workers")

    @contextlib.contextmanager
    def watched(self) -> Iterator[list[int]]:
        """Watch how many agents are available; the list is filled at the end of the block."""
        counts: list[int] = []
        with tempfile.TemporaryFile("w+") as log:
            watching = subprocess.Popen(
                (
                    *(KUBECTL, "--kubeconfig", self.cluster.kubeconfig, "-n", self.namespace),
                    *("get", f"deployment/{self.name}-workers", "--watch"),
                    *("-o", r"jsonpath={.status.availableReplicas}{'\n'}"),
                ),
                stdout=log,
            )
            try:
                yield counts
            finally:
                watching.terminate()
                watching.wait()
            log.seek(0)
            counts += [int(line or 0) for line in log.read().splitlines()]

    def own_topics(self) -> set[str]:
        return {name for name in self.broker.topics() if name.startswith(f"{self.namespace}.")}

    def own_groups(self) -> set[str]:
        return {name for name in self.broker.groups() if name.startswith(f"{self.namespace}.")}

    def remove(self) -> None:
        """Remove the namespace and whatever is left in Kafka."""
        self.kubectl("delete", "ag", "--all", "--timeout=240s")
        self.cluster.kubectl("delete", "namespace", self.namespace, "--wait=false")
        self.until("the agents to end", lambda: not self.read("pods")["items"])
        self.until("topics and groups to go", self._clear_broker)

    def _clear_broker(self) -> bool:
        """Delete what is left; a group may still have a member that was killed."""
        self.broker.delete(self.own_topics(), self.own_groups())
        return True

    def diagnose(self) -> None:
        """Print what on-call would look at first."""
        for words in (
            ("describe", "ag"),
            ("get", "all,configmaps", "-o", "wide"),
            ("describe", "pods"),
            ("get", "events", "--sort-by=.lastTimestamp"),
            ("logs", "-l", "kafleet.dev/lane", "--prefix", "--tail=60"),
            ("logs", "-n", SYSTEM, f"deployment/{RELEASE}", "--tail=120"),
        ):
            print(f"\n--- kubectl {' '.join(words)}")
            try:
                print(self.kubectl(*words))
            except Failed as error:
                print(error)


def names_in(listed: Json) -> list[str]:
    return [body["metadata"]["name"] for body in listed["items"]]


def merged(body: Json, patch: Json) -> Json:
    """Return a JSON object with a merge patch applied (RFC 7386)."""
    result: dict[str, Any] = {**body}
    for name, value in patch.items():
        if isinstance(value, dict):
            result[name] = merged(body.get(name) or {}, value)
        else:
            result[name] = value
    return {name: value for name, value in result.items() if value is not None}
