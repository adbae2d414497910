"""Anything may die at any moment: agents, the operator, the broker. Nothing is lost."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from demo.broker import held_by
from demo.cluster import RELEASE, SYSTEM
from e2e.fleets import NAME
from e2e.groups import set_session_timeout

if TYPE_CHECKING:
    from e2e.fleets import Fleet

SESSION_MILLISECONDS = 60_000
TAKEOVER_SECONDS = 20  # two on a machine that has nothing else to do
REPEATED = 100  # of 1,200: what was in flight, and what was settled within a second or two


def test_a_killed_agents_work_goes_on_with_the_others_within_seconds(fleet: Fleet) -> None:
    """The broker would wait a minute for the dead; the operator tells it."""
    set_session_timeout(fleet.broker.address, fleet.group, SESSION_MILLISECONDS)
    fleet.apply(think_seconds=0.1)
    fleet.wait_ready()
    fleet.send(50)
    fleet.wait_for_work(100)
    victim = max(held := held_by(fleet.shares()))
    (member,) = {share.member for share in fleet.shares().values() if share.pod == victim}

    fleet.cluster.kill(fleet.namespace, victim, "agent")
    fleet.until(
        "others to hold the dead agent's partitions",
        lambda: all(share.member not in ("", member) for share in fleet.shares().values()),
        TAKEOVER_SECONDS,
    )
    fleet.wait_done()

    verdict = fleet.verdict()
    assert verdict.problems == ()
    assert verdict.repeated < REPEATED
    fleet.until("the recovery in the status", lambda: fleet.status()["lanes"][0].get("recoveries"))
    told = fleet.status()["lanes"][0]["recoveries"]
    assert (told["count"], told["last"]["agent"]) == (1, victim)
    assert {each["partition"] for each in told["last"]["resumedFrom"]} == set(held[victim])
    assert told["last"]["seconds"] < TAKEOVER_SECONDS


@pytest.mark.disturbing
def test_a_killed_operator_stops_no_work_and_catches_up(fleet: Fleet) -> None:
    fleet.apply(think_seconds=0.1)
    fleet.wait_ready()
    fleet.send(40)
    fleet.wait_for_work(100)
    (operator,) = fleet.cluster.pods(SYSTEM, f"app.kubernetes.io/instance={RELEASE}")

    fleet.cluster.kill(SYSTEM, operator["metadata"]["name"], operator["spec"]["containers"][0]["name"])
    fleet.kubectl("scale", f"ag/{NAME}", "--replicas=3")
    fleet.until("three agents to share the work", lambda: len(held_by(fleet.shares())) == 3)
    fleet.wait_ready()
    fleet.wait_done()

    verdict = fleet.verdict()
    assert verdict.problems == ()
    assert verdict.repeated == 0


@pytest.mark.disturbing
def test_a_killed_broker_comes_back_to_unfinished_work_and_all_of_it_is_done(fleet: Fleet) -> None:
    fleet.apply(think_seconds=0.1)
    fleet.wait_ready()
    fleet.send(40)
    fleet.wait_for_work(100)

    fleet.cluster.kill("kafka", "kafka-0", "kafka")
    # Its pod is replaced as well: the kubelet lets one that ends often wait, longer each time.
    fleet.cluster.kubectl("-n", "kafka", "delete", "pod", "kafka-0", "--grace-period=0", "--force")
    fleet.until("the broker to serve again", fleet.broker.topics)
    fleet.send(5)
    fleet.wait_done()
    fleet.wait_ready()

    verdict = fleet.verdict()
    # An agent that is cut off for longer than its session may go on for a while beside the next owner of its
    # partitions: their repeats may then mingle. What a reader sees who leaves out repeats may not.
    assert (verdict.lost, verdict.disordered, verdict.wrong) == ((), (), ())
