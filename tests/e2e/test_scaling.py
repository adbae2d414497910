"""The number of agents changes in mid-work, both ways that users have, in good order."""

from __future__ import annotations

from typing import TYPE_CHECKING

from demo.broker import held_by
from e2e.fleets import NAME

if TYPE_CHECKING:
    from e2e.fleets import Fleet


def test_agents_come_and_go_in_mid_work_without_loss(fleet: Fleet) -> None:
    fleet.apply(replicas=2, think_seconds=0.1)
    fleet.wait_ready()
    fleet.send(60)
    fleet.wait_for_work(100)

    fleet.kubectl("scale", f"ag/{NAME}", "--replicas=4")
    fleet.until("four agents to share the work", lambda: len(held_by(fleet.shares())) == 4)
    fleet.wait_ready()
    fleet.until("the status to tell of four", lambda: fleet.status()["replicas"] == 4)

    fleet.send(20)
    fleet.wait_for_work(fleet.settled() + 100)
    fleet.kubectl("patch", f"ag/{NAME}", "--type=merge", "-p", '{"spec": {"workers": {"replicas": 1}}}')
    fleet.until(
        "one agent to have all the work", lambda: list(held_by(fleet.shares()).values()) == [[*range(12)]]
    )
    fleet.wait_done()

    verdict = fleet.verdict()
    assert verdict.problems == ()
    assert verdict.repeated == 0
