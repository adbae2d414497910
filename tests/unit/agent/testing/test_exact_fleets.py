"""TestFleet with transactions: one result of each task, whatever dies, on the engine that runs in pods."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import Any

import pytest

from kafleet import Agent, Context
from kafleet.testing import TestFleet


class Echo:
    """Returns each task after so many seconds, and counts its calls."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds = seconds
        self.calls = 0

    @property
    def agent(self) -> Agent:
        agent = Agent()

        @agent.task
        async def echo(task: Any, ctx: Context) -> Any:  # noqa: ANN401 - whatever was sent
            self.calls += 1
            await asyncio.sleep(self.seconds)
            if task == -1:
                raise ValueError(ctx.attempt)
            await ctx.send("log", task)
            return task

        return agent

    def fleet(self, **options: Any) -> TestFleet:  # noqa: ANN401 - TestFleet's own
        return TestFleet(self.agent, guarantee="ExactlyOnce", lanes=["log"], **options)


def by_key(fleet: TestFleet) -> dict[str | None, list[Any]]:
    """Return the results of each key, in order."""
    results = defaultdict[str | None, list[Any]](list)
    for each in fleet.results:
        results[each.key].append(each.value)
    return results


def test_a_crash_before_the_acknowledgement_repeats_nothing() -> None:
    """Result and position are there together, whether anybody hears of it or not."""
    echo = Echo()

    with echo.fleet() as fleet:
        fleet.delay(0.5)
        fleet.send(1)
        fleet.run(0.25)
        assert [each.value for each in fleet.results] == [1]
        fleet.crash()
        fleet.run()

        assert echo.calls == 1
        assert [each.value for each in fleet.results] == [1]


def test_a_crash_before_the_end_of_a_transaction_leaves_nothing_of_it() -> None:
    """The handler runs again; calls to the outside would, too."""
    echo = Echo(seconds=0.05)

    with echo.fleet() as fleet:
        fleet.send(1)
        fleet.run(0.02)
        with fleet.outage():
            fleet.run(5)  # the handler ends, and what it returned cannot be written
            fleet.crash()
        assert fleet.results == []
        fleet.run()

        assert echo.calls == 2
        assert [each.value for each in fleet.results] == [1]
        assert [each.value for each in fleet.sent["log"]] == [1]


@pytest.mark.parametrize("moment", [number / 25 for number in range(25)])
def test_whenever_a_replica_dies_each_result_is_there_once_and_in_order(moment: float) -> None:
    with Echo(0.03).fleet(workers=2, partitions=2, concurrency=2) as fleet:
        for number in range(30):
            fleet.send(number, key=f"key-{number % 6}")
        fleet.delay(0.02)
        fleet.run(moment)
        fleet.crash(0)
        fleet.run(moment)
        fleet.crash(1)
        fleet.run()

        assert by_key(fleet) == {f"key-{key}": list(range(key, 30, 6)) for key in range(6)}
        assert sorted(each.value for each in fleet.sent["log"]) == list(range(30))


@pytest.mark.parametrize("size", [1, 3])
def test_replicas_come_and_go_in_mid_transaction(size: int) -> None:
    with Echo(0.03).fleet(workers=2, concurrency=2) as fleet:
        for number in range(40):
            fleet.send(number, key=f"key-{number % 8}")
        fleet.run(0.12)
        fleet.scale(size)
        fleet.run()

        assert by_key(fleet) == {f"key-{key}": list(range(key, 40, 8)) for key in range(8)}


def test_a_dead_letter_is_part_of_a_transaction() -> None:
    with Echo().fleet(max_attempts=2) as fleet:
        fleet.send(-1, key="a")
        fleet.send(1, key="a")
        fleet.run()
        fleet.crash()
        fleet.run()

        assert [(each.reason, each.value) for each in fleet.dead_letters] == [("AttemptsExhausted", -1)]
        assert [each.value for each in fleet.results] == [1]
