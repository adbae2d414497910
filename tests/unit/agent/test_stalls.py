"""A partition that is not read on is noticed, and nothing else is taken for one."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
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


async def longest_after(moment: float, stalls: Stalls, member: Member) -> float:
    """Return what is found of a member then, and end it."""
    looking = asyncio.create_task(stalls.run())
    await until(moment)
    found = stalls.longest_seconds
    looking.cancel()
    member.crash()
    return found


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


@pytest.mark.parametrize("change", ["is read on", "is given up and comes back"])
def test_a_partition_that_gets_on_and_stops_again_counts_from_then_on(change: str) -> None:
    fleet = Fleet()

    async def story() -> list[float]:
        member = fleet.add()
        stalls = await stall(fleet, member, Brokers(fleet))
        looking = asyncio.create_task(stalls.run())
        await until(200)
        found = [stalls.longest_seconds]
        if change == "is read on":
            member.source.feed(member.dispatcher)
        else:
            member.lose(P0)
            member.assign(P0)
        fleet.fill(P0, [None] * 2)
        await until(300)
        found.append(stalls.longest_seconds)
        looking.cancel()
        member.crash()
        return found

    assert run(story()) == pytest.approx([110, 90], abs=5)  # while a thread works time is real


def test_a_log_that_is_read_to_its_end_is_not_stalled() -> None:
    fleet = Fleet()
    fleet.fill(P0, [None] * 2)

    async def story() -> float:
        member = fleet.add()
        member.assign(P0)
        return await longest_after(1_000, Stalls(member.dispatcher, Brokers(fleet).ends), member)

    assert run(story()) == 0.0


def test_what_waits_behind_a_long_call_is_not_stalled() -> None:
    fleet = Fleet(plans={"tasks/0/1": Plan(seconds=5_000)})

    async def story() -> float:
        member = fleet.add()
        return await longest_after(1_000, await stall(fleet, member, Brokers(fleet)), member)

    assert run(story()) == 0.0


def found_where(**marks: bool) -> float:
    """Return what is found at 1,000 s of a member that reads no more, and whose partition has these marks."""
    fleet = Fleet()

    async def story() -> float:
        member = fleet.add()
        stalls = await stall(fleet, member, Brokers(fleet))
        for name, is_set in marks.items():
            setattr(member.dispatcher.lots[P0], name, is_set)
        return await longest_after(1_000, stalls, member)

    return run(story())


def test_a_partition_that_is_being_given_up_is_not_stalled_though_its_last_transaction_takes_long() -> None:
    assert found_where(is_leaving=True) == 0.0


def test_a_pause_is_no_excuse_where_nothing_is_at_hand() -> None:
    """Nobody would ever end it: a pause ends when what is at hand gets less."""
    assert found_where(is_paused=True) == 910.0


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
