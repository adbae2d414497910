"""Whatever dies, and whenever: the fleet converges, and nothing is made twice or taken for what it is not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from functools import partial
from typing import TYPE_CHECKING

from integration.operator.operators import agent_group
from integration.servers import eventually

if TYPE_CHECKING:
    from integration.operator.operators import Namespace, Operator
    from integration.servers import Broker, Kubernetes


GRACE_SECONDS = 30  # Kubernetes' own, half of what a machine under load may need is left


def has_topics(namespace: Namespace, count: int) -> bool:
    return len(namespace.topics()) >= count


def test_an_operator_killed_at_any_moment_finishes_what_it_began(
    operator: Operator, namespace: Namespace
) -> None:
    """Killed again and again while fleets come up: each ends with its three topics, and they are its own."""
    names = [f"fleet-{number}" for number in range(6)]
    namespace.apply(*(agent_group(name, namespace.name) for name in names))
    for created in (1, 7, 14):
        eventually(partial(has_topics, namespace, created))
        operator.kill()
        operator.start()
    for name in names:
        namespace.await_deployment(f"{name}-workers")
        namespace.await_condition(name, "TopicsReady", "True")

    assert len(namespace.topics()) == 18
    assert len(namespace.every("Deployment")) == 6
    for name in names:
        status = namespace.expect("AgentGroup", name)["status"]
        assert [topic["created"] for topic in status["topics"]] == [True, True, True]


def test_without_kafka_the_status_says_so_and_heals_by_itself(
    operator: Operator, namespace: Namespace, broker: Broker
) -> None:
    """Unknown is not False: topics that cannot be read are neither ready nor lost. Scaling still works."""
    namespace.apply(agent_group("triage", namespace.name))
    namespace.await_condition("triage", "TopicsReady", "True")
    namespace.await_deployment("triage-workers")
    ids = {
        topic["name"]: topic["id"] for topic in namespace.expect("AgentGroup", "triage")["status"]["topics"]
    }
    pid = operator.process.pid
    broker.kill()
    message = namespace.await_condition("triage", "TopicsReady", "Unknown", "KafkaUnreachable")
    assert broker.bootstrap_servers in message
    namespace.kubectl("scale", "agentgroup/triage", "--replicas=3")
    eventually(lambda: namespace.expect("Deployment", "triage-workers")["spec"]["replicas"] == 3)
    assert operator.is_healthy()
    broker.restart()

    namespace.await_condition("triage", "TopicsReady", "True")
    assert {name: str(topic.topic_id) for name, topic in namespace.topics().items()} == ids
    assert operator.process.pid == pid


def test_a_broker_that_freezes_does_not_end_the_operator(
    operator: Operator, namespace: Namespace, broker: Broker
) -> None:
    """Its connections stay open and nobody answers: the client's process may end of that, ours may not."""
    namespace.apply(*(agent_group(f"fleet-{number}", namespace.name) for number in range(4)))
    namespace.await_condition("fleet-0", "TopicsReady", "True")
    pid = operator.process.pid
    assert broker.process.pid
    os.kill(broker.process.pid, signal.SIGSTOP)
    try:
        namespace.await_condition("fleet-0", "TopicsReady", "Unknown", "KafkaUnreachable")
    finally:
        os.kill(broker.process.pid, signal.SIGCONT)

    for number in range(4):
        namespace.await_condition(f"fleet-{number}", "TopicsReady", "True")
        namespace.await_condition(f"fleet-{number}", "Progressing", "True")
    assert operator.process.pid == pid


def test_a_useless_broker_address_hurts_only_its_own_fleet(operator: Operator, namespace: Namespace) -> None:
    """Others are served meanwhile."""
    lost = {"connection": {"bootstrapServers": "127.0.0.1:1"}}
    namespace.apply(agent_group("lost", namespace.name, lost))
    namespace.apply(agent_group("fine", namespace.name))

    namespace.await_condition("fine", "TopicsReady", "True")
    message = namespace.await_condition("lost", "TopicsReady", "Unknown", "KafkaUnreachable")
    assert "127.0.0.1:1" in message
    assert namespace.read("Deployment", "lost-workers") is None
    assert operator.is_healthy()


def test_after_a_restart_of_the_api_server_work_goes_on(
    operator: Operator, namespace: Namespace, kubernetes: Kubernetes
) -> None:
    """The same process serves what came while it could not see."""
    pid = operator.process.pid
    namespace.apply(agent_group("before", namespace.name))
    namespace.await_deployment("before-workers")
    kubernetes.api_server.kill()
    kubernetes.api_server.start()
    kubernetes.await_ready()
    namespace.apply(agent_group("after", namespace.name))
    namespace.kubectl("scale", "agentgroup/before", "--replicas=4")

    namespace.await_deployment("after-workers")
    eventually(lambda: namespace.expect("Deployment", "before-workers")["spec"]["replicas"] == 4)
    assert operator.process.pid == pid
    assert operator.is_healthy()


def test_what_was_deleted_while_the_operator_was_away_stays_deleted(
    operator: Operator, namespace: Namespace
) -> None:
    """Nothing comes back, and a fleet of the same name begins anew."""
    namespace.apply(agent_group("triage", namespace.name))
    namespace.await_condition("triage", "TopicsReady", "True")
    namespace.await_deployment("triage-workers")
    operator.kill()
    namespace.kubectl("delete", "agentgroup/triage")
    operator.start()
    eventually(lambda: not namespace.every("Deployment"))
    namespace.apply(agent_group("triage", namespace.name))

    uid = namespace.expect("AgentGroup", "triage")["metadata"]["uid"]

    def is_of_the_new_one() -> bool:
        (reference,) = namespace.expect("Deployment", "triage-workers")["metadata"]["ownerReferences"]
        return bool(reference["uid"] == uid)

    eventually(is_of_the_new_one)


def test_a_stopped_operator_ends_at_once_and_well(operator: Operator, namespace: Namespace) -> None:
    """SIGTERM needs no grace period."""
    namespace.apply(agent_group("triage", namespace.name))
    namespace.await_deployment("triage-workers")
    begun = time.monotonic()
    status = operator.process.stop(signal.SIGTERM)

    assert status == 0
    assert time.monotonic() - begun < GRACE_SECONDS


def test_a_stopped_operator_leaves_no_connection_open(
    operator: Operator, namespace: Namespace, kubernetes: Kubernetes
) -> None:
    """Python would say so in the log, and not as JSON. The API server answers to no goodbye meanwhile."""
    namespace.apply(agent_group("triage", namespace.name, code={"configMap": "triage-code"}))
    watch = ("watch", "configmaps", "")
    eventually(lambda: watch in operator.requests(namespace.name, "kafleet-operator/"))
    pid = kubernetes.api_server.pid
    assert pid
    os.kill(pid, signal.SIGSTOP)
    try:
        status = operator.process.stop(signal.SIGTERM)
    finally:
        os.kill(pid, signal.SIGCONT)

    assert status == 0
    assert operator.log()


def test_a_wrong_setting_is_named() -> None:
    """The process ends at once and says which variable is wrong."""
    done = subprocess.run(
        [sys.executable, "-m", "kafleet_operator"],
        env={**os.environ, "KAFLEET_BOOTSTRAP_SERVERS": "kafka:9092", "KAFLEET_AGENT_IMAGE": ""},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 2
    assert done.stderr == "KAFLEET_AGENT_IMAGE is not set and has no default\n"
