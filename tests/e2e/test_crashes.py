"""The operator or the broker may die at any moment: nothing is lost. Of dead agents tells test_recovery."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from demo.broker import held_by
from demo.cluster import RELEASE, SYSTEM
from e2e.fleets import NAME

if TYPE_CHECKING:
    from e2e.fleets import Fleet


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
