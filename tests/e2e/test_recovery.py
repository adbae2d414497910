"""Only the dead are recovered from; that their work goes on within seconds is in `test_crashes`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from e2e.fleets import NAME

if TYPE_CHECKING:
    from e2e.fleets import Fleet


def test_agents_that_end_in_good_order_are_no_recoveries(fleet: Fleet) -> None:
    """Whoever is scaled down, or whose pod is deleted, leaves its group and needs no help."""
    fleet.apply(replicas=3)
    fleet.wait_ready()
    fleet.kubectl("scale", f"ag/{NAME}", "--replicas=1")
    fleet.until("two agents to be gone", lambda: len(fleet.pods()) == 1)
    before = fleet.pod_names()
    fleet.kubectl("delete", "pod", "--selector", fleet.selector)
    fleet.wait_replaced(before)

    assert "recoveries" not in fleet.status()
    assert "recoveries" not in fleet.status()["lanes"][0]
