"""Topics on a real broker: batches, what Kafka refuses, and what becomes of lost ones."""

from __future__ import annotations

import asyncio
import json
import signal
import time
from typing import TYPE_CHECKING, Any

from confluent_kafka import ConsumerGroupTopicPartitions, Producer, TopicPartition
from integration.agent.lanes import KafkaLane, Worker
from integration.operator.operators import Namespace, agent_group
from integration.servers import eventually

from kafleet_operator.effects.brokers import Brokers
from kafleet_operator.effects.topics import Topics
from kafleet_operator.errors import TopicRejected
from kafleet_operator.metrics import REGISTRY
from kafleet_operator.planning.connections import Connection
from kafleet_operator.planning.plans import ConfigureTopic, CreateTopic, GrowTopic

if TYPE_CHECKING:
    from pathlib import Path

    from integration.operator.operators import Operator
    from integration.servers import Broker


ONE = {"replicas": 1, "agent": {"handler": "triage:agent"}}


def requests(operation: str) -> float:
    """Return how often this process has sent a request to Kafka."""
    name = "kafleet_operator_kafka_request_duration_seconds_count"
    return REGISTRY.get_sample_value(name, {"operation": operation}) or 0


def test_the_topics_of_many_are_one_request_and_a_failure_stays_with_its_own(
    broker: Broker, namespace: Namespace
) -> None:
    """A hundred are created, read, grown and configured together; one has an unknown setting."""
    names = [f"{namespace.name}.many-{number:02}" for number in range(100)]
    parts = [names[start : start + 4] for start in range(0, 100, 4)]

    async def story() -> None:
        topics = Topics(Brokers(Connection(broker.bootstrap_servers)), 5)
        before = {each: requests(each) for each in ("create_topics", "describe_topics", "describe_configs")}

        async def create(part: list[str]) -> dict[str, Any]:
            wrong = {"no.such.setting": "1"}
            steps = [CreateTopic(name, 1, -1, wrong if name == names[7] else {}) for name in part]
            return await topics.create(steps)

        made: dict[str, Any] = {}
        for told in await asyncio.gather(*map(create, parts)):
            made |= told
        assert requests("create_topics") == before["create_topics"] + 1
        assert {name for name, told in made.items() if not isinstance(told, str)} == {names[7]}
        assert isinstance(made[names[7]], TopicRejected)
        assert "no.such.setting" in str(made[names[7]])

        described = requests("describe_topics")
        seen: dict[str, Any] = {}
        for states in await asyncio.gather(*(topics.observe(part, anew=True) for part in parts)):
            seen |= states
        assert requests("describe_topics") <= described + 2
        assert requests("describe_configs") <= before["describe_configs"] + 2
        assert {name: state.id for name, state in seen.items() if state} == {
            name: told for name, told in made.items() if name != names[7]
        }

        grown = await asyncio.gather(
            topics.grow([GrowTopic(names[0], 2)]), topics.grow([GrowTopic(names[7], 2)])
        )
        assert [list(each) for each in grown] == [[], [names[7]]]
        configured = await asyncio.gather(
            topics.configure([ConfigureTopic(names[1], {"retention.ms": "7"})]),
            topics.configure([ConfigureTopic(names[2], {"retention.ms": "soon"})]),
        )
        assert [list(each) for each in configured] == [[], [names[2]]]
        assert isinstance(configured[1][names[2]], TopicRejected)
        states = await topics.observe(names[:3], anew=True)
        assert [state.partitions for state in states.values() if state] == [2, 1, 1]
        assert [dict(state.overrides) for state in states.values() if state] == [
            {},
            {"retention.ms": "7"},
            {},
        ]

    asyncio.run(story())


def test_what_kafka_refuses_is_said_in_its_words_and_stops_nothing_else(
    operator: Operator, namespace: Namespace
) -> None:
    """An unknown value, and more copies than brokers: the rest of the fleet is made meanwhile."""
    wrong = {
        "tasks": {"partitions": 4, "config": {"compression.type": "tar"}},
        "deadLetters": {"partitions": 4, "replicationFactor": 9},
    }
    namespace.apply(agent_group("triage", namespace.name, wrong))
    message = namespace.await_condition("triage", "TopicsReady", "False", "TopicRejected")
    assert "tar" in message
    assert "replication factor" in message.lower()
    assert set(eventually(namespace.topics)) == {f"{namespace.name}.triage.results"}
    assert namespace.condition("triage", "Accepted")["status"] == "True"
    namespace.apply(agent_group("triage", namespace.name))

    namespace.await_condition("triage", "TopicsReady", "True")
    namespace.apply(
        agent_group("triage", namespace.name, {"results": {"partitions": 4, "config": {"flush.ms": "-7"}}})
    )
    namespace.await_condition("triage", "TopicsReady", "False", "TopicRejected")
    namespace.kubectl("scale", "agentgroup/triage", "--replicas=4")
    eventually(lambda: namespace.expect("Deployment", "triage-workers")["spec"]["replicas"] == 4)
    assert operator.is_healthy()


def test_what_was_edited_while_nobody_looked_is_carried_out(operator: Operator, namespace: Namespace) -> None:
    """Nothing is remembered of what was set before: removed overrides are reset, growth is allowed."""
    before = {"partitions": 4, "config": {"retention.ms": "3600000", "segment.ms": "3600000"}}
    namespace.apply(agent_group("triage", namespace.name, {"tasks": before}))
    namespace.await_condition("triage", "TopicsReady", "True")
    operator.kill()
    after = {"partitions": 6, "onGrowth": "Reorder", "config": {"retention.ms": "7200000"}}
    namespace.apply(agent_group("triage", namespace.name, {"tasks": after}))
    topic = f"{namespace.name}.triage.tasks"
    namespace.override(topic, {"flush.ms": "7", "leader.replication.throttled.replicas": "*"})
    operator.start()

    kept = {"retention.ms": "7200000", "leader.replication.throttled.replicas": "*"}
    eventually(lambda: namespace.overrides(topic) == kept)
    eventually(lambda: len(namespace.topics()[topic].partitions) == 6)
    namespace.await_condition("triage", "TopicsReady", "True")
    lines = [line for line in operator.log() if "grow topic" in str(line.get("notes"))]
    assert len(lines) == 1


def test_a_topic_of_somebody_else_is_looked_at_and_left_alone(
    operator: Operator, namespace: Namespace
) -> None:
    """Too few partitions and too small records are said; nothing of it is changed, not even by deletion."""
    inbox, dead = f"{namespace.name}.inbox", f"{namespace.name}.dead"
    for name in (inbox, dead):
        namespace.create_topic(name, 1)
    namespace.override(inbox, {"segment.ms": "7777777"})
    foreign = {
        "tasks": {"topic": inbox, "managed": False},
        "deadLetters": {"topic": dead, "managed": False},
        "deletionPolicy": "Delete",
    }
    namespace.apply(agent_group("triage", namespace.name, foreign))
    message = namespace.await_condition("triage", "Accepted", "False", "InvalidSpec")
    assert "1 partitions; 1 run, set replicas: 1" in message
    assert "let its owner set max.message.bytes=" in message
    deployment = namespace.await_deployment("triage-workers")
    assert deployment["spec"]["replicas"] == 1
    namespace.kubectl("delete", "agentgroup/triage", "--timeout=120s")

    assert set(namespace.topics()) == {inbox, dead}
    assert (namespace.overrides(inbox), namespace.overrides(dead)) == ({"segment.ms": "7777777"}, {})
    assert operator.is_healthy()


def test_nothing_is_lost_of_a_topic_that_is_made_again_under_working_agents(
    operator: Operator, namespace: Namespace, broker: Broker, tmp_path: Path
) -> None:
    """An agent that still works commits old offsets under the new topic's name; nobody goes on from there."""
    topics = {role: {"partitions": 1} for role in ("tasks", "results", "deadLetters")}
    body = agent_group("triage", namespace.name, topics)
    body["spec"]["workers"]["replicas"] = 1
    namespace.apply(body)
    namespace.await_deployment("triage-workers")
    lane = KafkaLane(broker.bootstrap_servers, f"{namespace.name}.triage", tmp_path, partitions=1)
    agent = start_agent(namespace, tmp_path, "one")
    try:
        lane.feed(100, keys=1)
        lane.feed(1, keys=1, start=100, seconds=4)
        lane.flush()
        lane.await_results(100)
        old = str(namespace.topics()[lane.tasks].topic_id)
        namespace.delete_topic(lane.tasks)

        def is_another() -> bool:
            topic = namespace.topics().get(lane.tasks)
            return topic is not None and str(topic.topic_id) != old

        eventually(is_another)
        lane.feed(300, keys=1, start=1000)
        lane.flush()
        assert "are lost" in namespace.await_condition("triage", "TopicsReady", "False", "TopicLost")
        eventually(lambda: namespace.expect("Deployment", "triage-workers")["spec"]["replicas"] == 0)
        assert agent.stop(signal.SIGTERM) == 0
        assert committed(namespace) != {0: 0}
        eventually(lambda: namespace.expect("Deployment", "triage-workers")["spec"]["replicas"] == 1)
        assert committed(namespace) == {0: 0}
        namespace.await_condition("triage", "TopicsReady", "True")
        agent = start_agent(namespace, tmp_path, "two")
        eventually(lambda: committed(namespace) == {0: 300}, seconds=60)
    finally:
        agent.kill()

    answered = {number for numbers in lane.answers().values() for number in numbers}
    assert answered == {*range(101), *range(1000, 1300)}
    status = namespace.expect("AgentGroup", "triage")["status"]
    assert status["topics"][0]["id"] == str(namespace.topics()[lane.tasks].topic_id)
    assert "replaces" not in status["topics"][0]
    lost = [each for each in namespace.events_about("triage") if each["reason"] == "TopicLost"]
    assert [each["type"] for each in lost] == ["Warning"]
    assert operator.is_healthy()


def test_work_that_retention_may_take_is_told_in_time(
    operator: Operator, namespace: Namespace, broker: Broker
) -> None:
    """A record that nobody settles has used half of its hour; it is told until the group is past it."""
    spec = {"tasks": {"partitions": 2, "config": {"retention.ms": "3600000"}}}
    namespace.apply(agent_group("triage", namespace.name, spec))
    namespace.await_condition("triage", "TopicsReady", "True")
    topic, group = f"{namespace.name}.triage.tasks", f"{namespace.name}.triage.workers"
    producer = Producer({"bootstrap.servers": broker.bootstrap_servers})
    for minutes, partition in ((40, 0), (20, 0), (20, 1)):
        producer.produce(topic, b"", partition=partition, timestamp=int((time.time() - minutes * 60) * 1000))
    assert producer.flush(60) == 0
    message = namespace.await_condition("triage", "Progressing", "False", "RetentionRisk")
    assert repr(topic) in message
    past = ConsumerGroupTopicPartitions(group, [TopicPartition(topic, 0, 1)])
    namespace.admin.alter_consumer_group_offsets([past])[group].result()

    namespace.await_condition("triage", "Progressing", "False", "RollingOut")
    assert operator.is_healthy()


def test_offsets_that_kafka_has_forgotten_are_told(
    operator: Operator, namespace: Namespace, broker: Broker
) -> None:
    """As after a week of suspension; told until somebody has committed again."""
    namespace.apply(agent_group("triage", namespace.name, {"tasks": {"partitions": 1}, "workers": ONE}))
    namespace.await_condition("triage", "TopicsReady", "True")
    topic, group = f"{namespace.name}.triage.tasks", f"{namespace.name}.triage.workers"
    producer = Producer({"bootstrap.servers": broker.bootstrap_servers})
    for _ in range(2):
        producer.produce(topic, b"")
    assert producer.flush(60) == 0
    past = ConsumerGroupTopicPartitions(group, [TopicPartition(topic, 0, 1)])
    namespace.admin.alter_consumer_group_offsets([past])[group].result()
    eventually(lambda: namespace.expect("AgentGroup", "triage")["status"]["lag"] == 1)
    namespace.admin.delete_consumer_groups([group])[group].result()
    message = namespace.await_condition("triage", "Progressing", "False", "OffsetsLost")
    assert "startFrom: earliest" in message
    namespace.admin.alter_consumer_group_offsets([past])[group].result()

    namespace.await_condition("triage", "Progressing", "False", "RollingOut")
    assert operator.is_healthy()


def start_agent(namespace: Namespace, folder: Path, name: str) -> Worker:
    """Run what a pod of the fleet `triage` would, as its lane file says, with the handler of `lanes`."""
    lane = json.loads(namespace.expect("ConfigMap", "triage-workers")["data"]["lane.json"])
    lane["agent"] |= {"handler": "echo:agent", "codePath": str(folder)}
    lane["http"]["port"] = 0
    worker = Worker(f"{namespace.name}-{name}", lane, folder)
    worker.start()
    return worker


def committed(namespace: Namespace) -> dict[int, int]:
    """Return what the fleet `triage` has committed."""
    group = f"{namespace.name}.triage.workers"
    found = namespace.admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(group)])[group].result()
    return {each.partition: each.offset for each in found.topic_partitions}
