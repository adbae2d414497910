"""A scrape of the running operator says what it does and how its fleets are."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

from confluent_kafka import Producer
from integration.operator.operators import agent_group
from integration.operator.test_observing import consumer_of
from integration.servers import PROJECT, eventually

if TYPE_CHECKING:
    from integration.operator.operators import Namespace, Operator
    from integration.servers import Broker

LABELS = {
    *("kind", "namespace", "resource", "lane", "condition", "status", "reason"),
    *("verb", "operation", "result", "le"),
}


MOVING = (
    "kafleet_operator_reconciles_total kind=AgentGroup result=advanced",
    "kafleet_operator_reconcile_duration_seconds_count kind=AgentGroup",
    "kafleet_operator_kafka_requests_total operation=create_topics result=ok",
    "kafleet_operator_kafka_request_duration_seconds_sum operation=create_topics",
    "kafleet_operator_api_requests_total result=ok verb=apply",
    "kafleet_operator_api_request_duration_seconds_count verb=apply",
    "kafleet_operator_event_loop_delay_seconds_count",
    "process_cpu_seconds_total",
)


def still(before: dict[str, float], now: dict[str, float]) -> list[str]:
    return [name for name in MOVING if now[name] <= before.get(name, 0)]


def test_metrics_follow_a_fleet_through_its_life(
    operator: Operator, namespace: Namespace, broker: Broker
) -> None:
    """Created, given work, worked through, deleted: the numbers move with it, and go with it."""

    def fleet() -> dict[str, float]:
        return operator.metrics(kind="AgentGroup", namespace=namespace.name, resource="triage")

    def lane(name: str) -> float:
        found = fleet().get(f"kafleet_lane_{name} lane=workers")
        assert found is not None, f"no {name} yet"
        return found

    before = operator.metrics()
    namespace.apply(agent_group("triage", namespace.name))
    eventually(lambda: lane("lag_records") == 0)
    assert fleet()["kafleet_resource_condition condition=TopicsReady reason=AllReady status=True"] == 1
    assert lane("replicas") == 2
    eventually(lambda: not still(before, operator.metrics()))

    producer = Producer({"bootstrap.servers": broker.bootstrap_servers})
    for number in range(20):
        producer.produce(f"{namespace.name}.triage.tasks", key=str(number), value=b"task")
    producer.produce(f"{namespace.name}.triage.dead-letters", value=b"task")
    assert producer.flush(60) == 0
    eventually(lambda: lane("lag_records") == 20)
    assert lane("written_records_total") == 20
    eventually(lambda: lane("oldest_record_age_seconds") > 1)
    eventually(lambda: lane("dead_letter_records") == 1)

    with consumer_of(namespace, broker) as consumer:
        taken = 0
        while taken < 20:
            taken += len(consumer.consume(20, 1))
        consumer.commit(asynchronous=False)
    eventually(lambda: lane("settled_records_total") == 20)
    assert lane("lag_records") == 0
    assert lane("oldest_record_age_seconds") == 0

    namespace.kubectl("delete", "agentgroup/triage")
    eventually(lambda: fleet() == {})


def test_labels_are_bounded(operator: Operator) -> None:
    """Nothing is labelled by what may be without end: topics, keys, pods, messages."""
    samples = operator.metrics()
    used = {word.partition("=")[0] for sample in samples for word in sample.split()[1:]}

    assert used
    assert used <= LABELS


def test_a_scrape_is_as_prometheus_wants_it(operator: Operator) -> None:
    """Its own linter looks at names, units, types and texts."""
    path = subprocess.run([PROJECT / "local" / "promtool"], stdout=subprocess.PIPE, text=True, check=True)
    done = subprocess.run(
        [path.stdout.strip(), "check", "metrics"],
        input=operator.scrape(),
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode, done.stdout + done.stderr) == (0, "")
