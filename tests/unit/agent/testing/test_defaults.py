"""What a fleet under test does when nothing is said: what a resource in a cluster would."""

from __future__ import annotations

from unit.agent.samples import unspecified_delivery

from kafleet import Agent
from kafleet.testing import TestFleet


def test_it_delivers_as_a_resource_that_says_nothing_of_it() -> None:
    agent = Agent()

    @agent.task
    async def handler(task: str) -> str:
        return task

    with TestFleet(agent) as fleet:
        assert fleet._lane.delivery.model_dump() == unspecified_delivery()
