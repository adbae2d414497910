"""Dead agents are taken out of their group at once, and nobody else ever is.

Agents are processes of the test; what a kubelet would say of their containers is written by hand. The group's
session is longer than any test waits: whatever goes on is the operator's doing.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from confluent_kafka import Producer
from integration.operator.crews import NAME, PARTITIONS, SESSION_SECONDS, Agents, Json, crew, ended, running
from integration.servers import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from integration.operator.operators import Namespace, Operator
    from integration.servers import Broker


def events_of_recovery(namespace: Namespace) -> list[Json]:
    return [each for each in namespace.events_about(NAME) if each["reason"] == "Recovered"]


@pytest.fixture
def agents(operator: Operator, namespace: Namespace, broker: Broker, tmp_path: Path) -> Iterator[Agents]:
    """Return a fleet of two pods whose lane file is there."""
    assert operator.is_healthy()
    with crew(namespace, broker, tmp_path) as agents:
        yield agents


def test_a_killed_agents_work_goes_on_in_the_restarted_one(
    operator: Operator, namespace: Namespace, broker: Broker, agents: Agents
) -> None:
    """By proof of the container's last state; counted once, whatever becomes of the operator."""
    pod, other = agents.pods()
    dead, alive = agents.start("first"), agents.start("second")
    agents.await_members(dead, alive)
    producer = Producer({"bootstrap.servers": broker.bootstrap_servers})
    for number in range(PARTITIONS):
        producer.produce(f"{namespace.name}.{NAME}.tasks", b'{"number": 1}', b"key", partition=number)
    assert producer.flush(60) == 0
    eventually(lambda: agents.committed() == {1})
    held = agents.members()[str(dead.member)]

    dead.kill()
    last = ended(dead, "OOMKilled")
    agents.say(other, running())
    replacement = agents.start("third")
    said = time.monotonic()
    agents.say(pod, running(), last)
    agents.await_members(alive, replacement)
    served = time.monotonic() - said

    told = eventually(agents.recoveries)
    assert (told["count"], told["last"]["agent"], told["last"]["reason"]) == (1, pod, "OOMKilled")
    assert told["last"]["seconds"] < SESSION_SECONDS
    print(f"\nserved {told['last']['seconds']:g} s after the end, {served:.1f} s after it was told")
    resumed = {(each["topic"], each["partition"]): each["offset"] for each in told["last"]["resumedFrom"]}
    assert resumed == dict.fromkeys(held, 1)
    assert namespace.expect("AgentGroup", NAME)["status"]["recoveries"] == 1

    (event,) = eventually(lambda: events_of_recovery(namespace))
    assert pod in event["note"]
    operator.kill()
    operator.start()
    agents.say(other, running())  # wakes it
    resyncs = operator.resyncs()
    eventually(lambda: operator.resyncs() > resyncs + 1)
    assert agents.recoveries() == told
    assert len(events_of_recovery(namespace)) == 1
    agents.await_members(alive, replacement)


def test_who_is_not_proven_to_be_dead_is_never_removed(
    operator: Operator, namespace: Namespace, agents: Agents
) -> None:
    """A paused process, one whose pod was deleted by force, and one whose pod says nonsense."""
    pod, other = agents.pods()
    paused, orphan = agents.start("paused"), agents.start("orphan")
    agents.await_members(paused, orphan)
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
    agents.await_members(dead)
    operator.kill()
    dead.kill()
    agents.say(pod, ended(dead))
    operator.start()

    eventually(lambda: agents.members() == {})
    replacement = agents.start("replacement")
    agents.await_members(replacement)
    told = eventually(agents.recoveries)
    assert (told["count"], told["last"]["reason"]) == (1, "Crashed")
