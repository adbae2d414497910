"""What goes with a resource, and what stays."""

from __future__ import annotations

from typing import TYPE_CHECKING

from confluent_kafka import Consumer, Producer
from integration.operator.operators import agent_group
from integration.servers import eventually

if TYPE_CHECKING:
    from integration.operator.operators import Namespace, Operator
    from integration.servers import Broker

DELETE = {"deletionPolicy": "Delete"}


def commit_something(namespace: Namespace, bootstrap_servers: str) -> str:
    """Make the fleet's group exist, as an agent would; return its name."""
    topic, group = f"{namespace.name}.triage.tasks", f"{namespace.name}.triage.workers"
    producer = Producer({"bootstrap.servers": bootstrap_servers})
    producer.produce(topic, b"task")
    assert producer.flush(60) == 0
    consumer = Consumer(
        {"bootstrap.servers": bootstrap_servers, "group.id": group, "auto.offset.reset": "earliest"}
    )
    consumer.subscribe([topic])
    record = eventually(lambda: consumer.poll(1))
    consumer.commit(record, asynchronous=False)
    consumer.close()
    return group


def groups(namespace: Namespace) -> set[str]:
    listed = namespace.admin.list_consumer_groups().result().valid
    return {group.group_id for group in listed if group.group_id.startswith(namespace.name)}


def test_topics_and_offsets_are_retained_unless_asked_otherwise(
    operator: Operator, namespace: Namespace, broker: Broker
) -> None:
    """Without the operator, too: no finalizer is waited for. Applied again, the fleet takes them up."""
    namespace.apply(agent_group("triage", namespace.name))
    namespace.await_condition("triage", "TopicsReady", "True")
    namespace.await_deployment("triage-workers")
    group = commit_something(namespace, broker.bootstrap_servers)
    ids = {name: str(topic.topic_id) for name, topic in namespace.topics().items()}
    operator.kill()
    namespace.kubectl("delete", "agentgroup/triage", "--timeout=120s")
    eventually(lambda: not namespace.every("Deployment"))
    operator.start()
    namespace.apply(agent_group("triage", namespace.name))
    namespace.await_condition("triage", "TopicsReady", "True")

    assert {name: str(topic.topic_id) for name, topic in namespace.topics().items()} == ids
    assert groups(namespace) == {group}


def test_topics_and_group_go_with_the_resource_where_asked(
    operator: Operator, namespace: Namespace, broker: Broker
) -> None:
    """The agents go first; afterwards nothing of the fleet is left anywhere."""
    namespace.apply(agent_group("triage", namespace.name, DELETE))
    namespace.await_condition("triage", "TopicsReady", "True")
    namespace.await_deployment("triage-workers")
    commit_something(namespace, broker.bootstrap_servers)
    namespace.kubectl("delete", "agentgroup/triage", "--timeout=120s")

    assert namespace.read("AgentGroup", "triage") is None
    eventually(lambda: not namespace.topics())
    assert groups(namespace) == set()
    eventually(lambda: not namespace.every("Deployment") and not namespace.every("Pod"))
    assert operator.is_healthy()


def test_topics_that_the_fleet_did_not_make_are_never_deleted(
    operator: Operator, namespace: Namespace
) -> None:
    """Adopted and unmanaged ones stay; so does one that somebody made anew under its name."""
    names = {role: f"{namespace.name}.{role}" for role in ("adopted", "unmanaged")}
    for name in names.values():
        namespace.create_topic(name, 4)
    spec = {
        **DELETE,
        "tasks": {"topic": names["adopted"], "partitions": 4},
        "results": {"topic": names["unmanaged"], "managed": False},
    }
    body = agent_group("triage", namespace.name, spec)
    body["metadata"]["annotations"] = {"kafleet.dev/adopt": "true"}
    namespace.apply(body)
    namespace.await_condition("triage", "TopicsReady", "True")
    remade = f"{namespace.name}.triage.dead-letters"
    assert set(namespace.topics()) == {*names.values(), remade}
    operator.kill()
    namespace.delete_topic(remade)
    eventually(lambda: remade not in namespace.topics())
    namespace.create_topic(remade, 4)
    operator.start()
    namespace.kubectl("delete", "agentgroup/triage", "--timeout=120s")

    assert set(namespace.topics()) == {*names.values(), remade}


def test_a_deletion_waits_for_kafka_and_says_so(
    operator: Operator, namespace: Namespace, broker: Broker
) -> None:
    """Nothing is forgotten because a broker was away; killing the operator meanwhile changes nothing."""
    namespace.apply(agent_group("triage", namespace.name, DELETE))
    namespace.await_condition("triage", "TopicsReady", "True")
    broker.kill()
    namespace.kubectl("delete", "agentgroup/triage", "--wait=false")
    message = namespace.await_condition("triage", "Ready", "False", "Deleting")
    assert message
    operator.kill()
    operator.start()
    assert namespace.read("AgentGroup", "triage")
    broker.restart()

    eventually(lambda: namespace.read("AgentGroup", "triage") is None)
    eventually(lambda: not namespace.topics())


def test_a_policy_that_was_changed_back_leaves_no_finalizer(operator: Operator, namespace: Namespace) -> None:
    """The finalizer is there exactly as long as it is needed."""
    namespace.apply(agent_group("triage", namespace.name, DELETE))

    def finalizers() -> list[str]:
        found: list[str] = namespace.expect("AgentGroup", "triage")["metadata"].get("finalizers", [])
        return found

    eventually(lambda: finalizers() == ["kafleet.dev/cleanup"])
    namespace.apply(agent_group("triage", namespace.name, {"deletionPolicy": "Retain"}))
    eventually(lambda: finalizers() == [])
    assert operator.is_healthy()
