"""The chart can go and come back; fleets, their work and their topics stay."""

from __future__ import annotations

from typing import TYPE_CHECKING

from demo.broker import held_by
from e2e.fleets import NAME

if TYPE_CHECKING:
    from e2e.fleets import Fleet


def test_fleets_outlive_the_chart_and_are_taken_up_by_the_next(fleet: Fleet, images: dict[str, str]) -> None:
    fleet.apply()
    fleet.wait_ready()
    before = fleet.pod_names()

    fleet.cluster.uninstall()
    try:
        fleet.send(20)
        fleet.wait_done()
        assert fleet.resource()["spec"]["workers"]["replicas"] == 2
    finally:
        fleet.cluster.install(images)
    fleet.wait_ready()
    assert fleet.pod_names() == before

    fleet.kubectl("scale", f"ag/{NAME}", "--replicas=3")
    fleet.until("three agents to share the work", lambda: len(held_by(fleet.shares())) == 3)
    fleet.send(5)
    fleet.wait_done()

    assert fleet.verdict().problems == ()
