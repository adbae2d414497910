"""Dead agents are replaced in their group within seconds, at Kafka's own session timeout; live ones never."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from demo.broker import held_by
from e2e.fleets import NAME

if TYPE_CHECKING:
    from demo.cluster import Json
    from e2e.fleets import Fleet

# Kafka would give up a member that it has not heard for 45 s.
SESSION_SECONDS = 45
SERVED_SECONDS = 30


def recoveries(fleet: Fleet) -> Json:
    found: Json = fleet.status()["lanes"][0].get("recoveries", {"count": 0})
    return found


def test_work_of_a_killed_agent_goes_on_within_seconds_and_the_status_tells(fleet: Fleet) -> None:
    """One recovery, one Event, and where the work went on from."""
    fleet.apply(think_seconds=0.1)
    fleet.wait_ready()
    fleet.send(50)
    fleet.wait_for_work(100)
    shares = fleet.shares()
    victim = max(held_by(shares))
    (member,) = {share.member for share in shares.values() if share.pod == victim}
    held = {number for number, share in shares.items() if share.pod == victim}

    killed = time.monotonic()
    fleet.cluster.kill(fleet.namespace, victim, "agent")
    fleet.until(
        "others to hold the dead agent's partitions",
        lambda: all(share.member not in ("", member) for share in fleet.shares().values()),
        SERVED_SECONDS,
    )
    print(f"\nserved {time.monotonic() - killed:.1f} s after the kill")
    fleet.until("the status to tell of it", lambda: recoveries(fleet)["count"] == 1)
    fleet.wait_done()

    last = recoveries(fleet)["last"]
    assert (last["agent"], last["reason"]) == (victim, "Crashed")
    assert last["seconds"] < SERVED_SECONDS
    assert {each["partition"] for each in last["resumedFrom"]} == held
    assert fleet.verdict().problems == ()
    assert fleet.status()["recoveries"] == 1


def test_agents_that_end_in_good_order_are_no_recoveries(fleet: Fleet) -> None:
    """A rollout and a scale-down count nothing: whoever leaves its group needs no help."""
    fleet.apply(replicas=3)
    fleet.wait_ready()
    before = fleet.pod_names()
    fleet.kubectl("scale", f"ag/{NAME}", "--replicas=1")
    fleet.until("two agents to be gone", lambda: len(fleet.pods()) == 1)
    fleet.kubectl("delete", "pod", "--selector", fleet.selector)
    fleet.wait_replaced(before)
    fleet.wait_ready()

    assert recoveries(fleet)["count"] == 0
