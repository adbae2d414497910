"""What the status says about a fleet at work, and what looking costs."""

from __future__ import annotations

import contextlib
import json
import time
from http import HTTPStatus
from typing import TYPE_CHECKING

import yaml
from confluent_kafka import Consumer, Producer
from integration.operator.operators import PATHS, Json, Namespace, Operator, agent_group
from integration.servers import DEADLINE_SECONDS, PROJECT, Broker, Kubernetes, eventually

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextlib.contextmanager
def consumer_of(namespace: Namespace, broker: Broker) -> Iterator[Consumer]:
    """Join the group of the fleet `triage` as its agents would."""
    consumer = Consumer(
        {
            "bootstrap.servers": broker.bootstrap_servers,
            "group.id": f"{namespace.name}.triage.workers",
            "group.protocol": "consumer",
            "auto.offset.reset": "earliest",
        }
    )
    consumer.subscribe([f"{namespace.name}.triage.tasks"])
    try:
        yield consumer
    finally:
        consumer.close()


def make_ready(namespace: Namespace) -> None:
    """Say of every pod what a kubelet would."""
    for pod in namespace.every("Pod"):
        conditions = [{"type": "Ready", "status": "True"}, {"type": "ContainersReady", "status": "True"}]
        status = {"phase": "Running", "conditions": conditions}
        namespace.patch("Pod", pod["metadata"]["name"], {"status": status}, "status")


def test_a_fleet_at_work_is_ready_and_its_lag_is_told(
    operator: Operator, namespace: Namespace, broker: Broker
) -> None:
    """Ready needs both: pods that are ready, and a group that has every partition."""
    namespace.apply(agent_group("triage", namespace.name))
    eventually(lambda: len(namespace.every("Pod")) == 2)
    make_ready(namespace)
    eventually(lambda: namespace.expect("AgentGroup", "triage")["status"]["readyReplicas"] == 2)
    assert namespace.condition("triage", "Ready")["status"] == "False"
    producer = Producer({"bootstrap.servers": broker.bootstrap_servers})
    for role, count in {"tasks": 20, "dead-letters": 3}.items():
        for number in range(count):
            producer.produce(f"{namespace.name}.triage.{role}", key=str(number), value=b"task")
    assert producer.flush(60) == 0
    eventually(lambda: namespace.expect("AgentGroup", "triage")["status"]["lag"] == 20)

    with consumer_of(namespace, broker) as consumer:
        records = eventually(lambda: consumer.consume(20, 1))
        consumer.commit(records[-1], asynchronous=False)
        namespace.await_condition("triage", "Ready", "True")
        eventually(lambda: namespace.expect("AgentGroup", "triage")["status"]["lag"] < 20)

        def tells_all() -> bool:
            (lane,) = namespace.expect("AgentGroup", "triage")["status"]["lanes"]
            return bool((lane["readyReplicas"], lane["deadLetters"]) == (2, 3))

        eventually(tells_all)
        assert_idle_costs_no_write(operator)


def assert_idle_costs_no_write(operator: Operator) -> None:
    """Watch the operator's requests over a resync; each fleet is observed ten times meanwhile."""

    def is_quiet() -> bool:
        before, resyncs = operator.writes(), operator.resyncs()
        eventually(lambda: operator.resyncs() > resyncs + 1)
        assert operator.writes()[len(before) :] == []
        return True

    eventually(is_quiet, seconds=2 * DEADLINE_SECONDS)


def test_a_spec_that_an_older_schema_let_in_is_refused_in_words(
    operator: Operator, namespace: Namespace, kubernetes: Kubernetes
) -> None:
    """What runs goes on as it was; the corrected spec is taken up."""
    namespace.apply(agent_group("triage", namespace.name))
    namespace.await_deployment("triage-workers")
    wrong = agent_group("triage", namespace.name, {"delivery": {"concurrency": "many"}})
    with lenient(kubernetes, wrong):
        namespace.patch("AgentGroup", "triage", {"spec": wrong["spec"]})
        message = namespace.await_condition("triage", "Accepted", "False", "InvalidSpec")
    assert "concurrency" in message
    assert namespace.expect("Deployment", "triage-workers")["spec"]["replicas"] == 2
    namespace.patch("AgentGroup", "triage", {"spec": {"delivery": {"concurrency": 7}}})

    namespace.await_condition("triage", "Accepted", "True")
    assert operator.is_healthy()


@contextlib.contextmanager
def lenient(kubernetes: Kubernetes, wrong: Json) -> Iterator[None]:
    """Let every spec in for a while, such as that of `wrong`."""
    (path,) = (PROJECT / "crds").glob("agentgroups*.yaml")
    definition = yaml.safe_load(path.read_text())
    for version in definition["spec"]["versions"]:
        version["schema"]["openAPIV3Schema"]["properties"]["spec"] = {
            "type": "object",
            "x-kubernetes-preserve-unknown-fields": True,
        }
    kubernetes.kubectl("apply", "--server-side", "--force-conflicts", "--filename=-", given=definition)
    try:
        eventually(lambda: lets_in(kubernetes, wrong))
        yield
    finally:
        kubernetes.kubectl("apply", "--server-side", "--force-conflicts", f"--filename={path}")
        eventually(lambda: not lets_in(kubernetes, wrong))


def lets_in(kubernetes: Kubernetes, body: Json) -> bool:
    """Tell whether the API server takes a new resource; it uses a schema a moment after it has it."""
    probe = {**body, "metadata": {**body["metadata"], "name": "probe"}}
    path = f"/{PATHS['AgentGroup'].format(body['metadata']['namespace'])}?dryRun=All"
    status, answer = kubernetes.send("POST", path, json.dumps(probe), "application/json")
    assert status in {HTTPStatus.CREATED, HTTPStatus.UNPROCESSABLE_ENTITY}, answer
    return status == HTTPStatus.CREATED


def test_fifty_fleets_at_once(operator: Operator, namespace: Namespace) -> None:
    """All converge; how long it takes is printed."""
    names = [f"fleet-{number}" for number in range(50)]
    begun = time.monotonic()
    namespace.apply(*(agent_group(name, namespace.name) for name in names))
    applied = time.monotonic()

    def are_served() -> bool:
        conditions = [
            condition
            for body in namespace.every("AgentGroup")
            for condition in body.get("status", {}).get("conditions", [])
            if condition["type"] == "TopicsReady" and condition["status"] == "True"
        ]
        return len(conditions) == len(namespace.every("Deployment")) == 50

    eventually(are_served)
    print(f"\n50 fleets: applied in {applied - begun:.1f} s, served {time.monotonic() - applied:.1f} s later")
    assert len(namespace.topics()) == 150
    assert operator.is_healthy()
    assert_idle_costs_no_write(operator)
