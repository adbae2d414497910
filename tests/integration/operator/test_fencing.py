"""Transactions of pods that are gone for good are ended by the operator, and no others.

Those that the test opens in an agent's name last longer than a test may take: whatever ends them is the
operator.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from confluent_kafka import IsolationLevel, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import OffsetSpec
from integration.asking import asked
from integration.operator.crews import NAME, PARTITIONS, Agents, crew, ended, running
from integration.servers import eventually

from kafleet_operator.effects.transactions import Transactions
from kafleet_operator.planning.observations import Unknown

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from integration.operator.operators import Namespace, Operator
    from integration.servers import Broker

    from kafleet_operator.effects.nodes import Nodes

LOOKS = "kafleet_operator_kafka_requests_total operation=list_transactions result=ok"


class Log:
    """The topics of the fleet, and the transactions that are open in the name of its group."""

    def __init__(self, namespace: Namespace, broker: Broker) -> None:
        self._namespace = namespace
        self._servers = broker.bootstrap_servers
        self.results = f"{namespace.name}.{NAME}.results"
        self._tasks = f"{namespace.name}.{NAME}.tasks"
        self._group = f"{namespace.name}.{NAME}.workers"
        self._producer = Producer({"bootstrap.servers": self._servers})

    def feed(self) -> None:
        """Write some tasks."""
        for number in range(20):
            self._producer.produce(self._tasks, b'{"number": 1}', partition=number % PARTITIONS)
        assert self._producer.flush(60) == 0

    def open(self, pod: str) -> Producer:
        """Leave a transaction open in the name of a pod, with one result in it."""
        producer = Producer(
            {
                "bootstrap.servers": self._servers,
                "transactional.id": f"{self._group}/{pod}",
                "transaction.timeout.ms": 600_000,
                "log_level": 0,
            }
        )
        producer.init_transactions(60)
        producer.begin_transaction()
        producer.produce(self.results, b"{}")
        assert producer.flush(60) == 0
        return producer

    def open_pods(self) -> set[str]:
        """Return the pods that have a transaction open."""

        async def ask(nodes: Nodes) -> set[str]:
            found = (await Transactions(nodes, 5).observe([self._group], anew=True))[self._group]
            assert not isinstance(found, Unknown), found
            return {each.pod for each in found}

        return asked(self._servers, ask)

    def is_decided(self) -> bool:
        """Tell whether a reader of what is committed gets to the end of the results."""
        committed, written = (
            self._ends(level) for level in (IsolationLevel.READ_COMMITTED, IsolationLevel.READ_UNCOMMITTED)
        )
        return committed == written

    def _ends(self, level: IsolationLevel) -> list[int]:
        wanted = {TopicPartition(self.results, number): OffsetSpec.latest() for number in range(PARTITIONS)}
        listed = self._namespace.admin.list_offsets(wanted, isolation_level=level)
        return [found.result().offset for found in listed.values()]


@pytest.fixture
def agents(operator: Operator, namespace: Namespace, broker: Broker, tmp_path: Path) -> Iterator[Agents]:
    """Return a fleet of two pods that delivers exactly once, whose lane file is there."""
    assert operator.is_healthy()
    with crew(namespace, broker, tmp_path, delivery={"guarantee": "ExactlyOnce"}) as agents:
        yield agents


@pytest.fixture
def log(agents: Agents, namespace: Namespace, broker: Broker) -> Log:
    assert agents.pods()
    return Log(namespace, broker)


def await_looks(operator: Operator, count: int) -> None:
    """Wait until the operator has asked for open transactions so many times more."""
    begun = operator.metrics().get(LOOKS, 0)
    eventually(lambda: operator.metrics().get(LOOKS, 0) >= begun + count)


def test_the_transaction_of_an_agent_whose_pod_is_gone_is_ended(
    operator: Operator, agents: Agents, log: Log
) -> None:
    """Also of one that works on, as after a deletion by force, whenever it is seen in mid-transaction.

    That may be its very first, which commits where its partitions begin: then it never works.
    """
    worker = agents.launch("gone")
    note = f"end the transaction '{agents.group}/gone': its pod is gone"

    def is_ended() -> bool:
        log.feed()  # or it would have nothing to make transactions of
        return any(note in line.get("notes", ()) for line in operator.log())

    eventually(is_ended)
    worker.kill()
    eventually(log.is_decided)


def test_transactions_of_pods_that_are_there_are_left_alone(
    operator: Operator, agents: Agents, log: Log
) -> None:
    """Of one that is at work, and of one whose container died and starts again."""
    works, restarts = agents.pods()
    worker = agents.start("dead")
    worker.kill()
    agents.say(works, running())
    agents.say(restarts, {"waiting": {"reason": "CrashLoopBackOff"}}, ended(worker))
    operator.kill()
    producers = {pod: log.open(pod) for pod in (works, restarts, "gone")}
    operator.start()

    eventually(lambda: log.open_pods() == {works, restarts})
    with pytest.raises(KafkaException, match="fenced"):
        producers["gone"].commit_transaction(60)
    await_looks(operator, 3)
    for pod in (works, restarts):
        producers[pod].commit_transaction(60)
    eventually(log.is_decided)


def test_the_transaction_of_an_evicted_pod_is_ended(
    operator: Operator, namespace: Namespace, agents: Agents, log: Log
) -> None:
    """Its pod stays, and nothing starts in it again. An operator that comes later finds it as well."""
    pod, _ = agents.pods()
    log.open(pod)
    operator.kill()
    namespace.patch("Pod", pod, {"status": {"phase": "Failed", "reason": "Evicted"}}, "status")
    assert log.open_pods() == {pod}
    operator.start()

    eventually(log.is_decided)
    assert pod in agents.pods()
