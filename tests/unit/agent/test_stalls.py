"""A partition that is not read on is noticed, and nothing else is taken for one."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from unit.agent.fleets import Fleet, Member, Plan
from virtual import run, until

from kafleet.records import Partition
from kafleet.stalls import Stalls

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

P0 = Partition("tasks", 0)


class Brokers:
    """Tell where a fleet's logs end, unless they are away."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self.are_away = False

    def ends(self, partitions: Collection[Partition]) -> Mapping[Partition, int]:
        return {} if self.are_away else {each: len(self._fleet.log.records[each]) for each in partitions}


async def stall(fleet: Fleet, member: Member, brokers: Brokers) -> Stalls:
    """Look at a member that has read two records at 30 s, and reads no more though others are written."""
    fleet.fill(P0, [None] * 2)
    member.assign(P0)
    await until(30)
    member.end()  # nothing is fed any more
    fleet.fill(P0, [None] * 2)
    return Stalls(member.dispatcher, brokers.ends)


def test_records_that_nobody_reads_are_noticed_until_somebody_does() -> None:
    fleet = Fleet()

    async def story() -> list[float]:
        member = fleet.add()
        stalls = await stall(fleet, member, Brokers(fleet))
        looking = asyncio.create_task(stalls.run())
        found = []
        for moment in (89, 100, 500):
            await until(moment)
            found.append(stalls.longest_seconds)
        member.source.feed(member.dispatcher)
        found.append(stalls.longest_seconds)
        looking.cancel()
        member.crash()
        return found

    assert run(story()) == [0.0, 10.0, 410.0, 0.0]


def test_what_waits_behind_a_long_call_is_not_stalled() -> None:
    fleet = Fleet(plans={"tasks/0/1": Plan(seconds=5_000)})

    async def story() -> float:
        member = fleet.add()
        stalls = await stall(fleet, member, Brokers(fleet))
        looking = asyncio.create_task(stalls.run())
        await until(1_000)
        looking.cancel()
        member.crash()
        return stalls.longest_seconds

    assert run(story()) == 0.0


def test_brokers_that_do_not_tell_prove_nothing() -> None:
    fleet = Fleet()

    async def story() -> list[float]:
        member, brokers = fleet.add(), Brokers(fleet)
        stalls = await stall(fleet, member, brokers)
        looking = asyncio.create_task(stalls.run())
        await until(200)
        found = [stalls.longest_seconds]
        brokers.are_away = True
        await until(300)
        found.append(stalls.longest_seconds)
        looking.cancel()
        member.crash()
        return found

    assert run(story()) == [110.0, 0.0]
