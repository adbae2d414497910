"""How much is read of which partition."""

from __future__ import annotations

import math
from collections import UserDict
from typing import TYPE_CHECKING

import pytest
from unit.agent.fleets import Fleet, Plan, single, until_done
from unit.agent.memory import CheckedLog
from unit.agent.samples import lane
from virtual import run, until

from kafleet import backlogs
from kafleet.ports import Assignment
from kafleet.records import Partition, Record
from kafleet.shares import Shares
from kafleet.testing.memory import MemorySource

if TYPE_CHECKING:
    from collections.abc import ValuesView

P0, P1 = (Partition("tasks", number) for number in range(2))


@pytest.mark.parametrize("keys", [[b"k"] * 20_000, [None] * 20_000])
def test_memory_is_bounded_and_one_backlog_does_not_starve_another(keys: list[bytes | None]) -> None:
    fleet = Fleet()
    fleet.fill(P0, keys)
    fleet.fill(P1, [b"other"])

    async def story() -> None:
        member = single(fleet, P0, P1, batch=500, concurrency=4)
        await until(1.5)
        held = member.dispatcher.held
        assert held <= backlogs.HELD_RECORDS / 2 + 500 + 4
        assert P0 in member.source.paused
        assert fleet.log.settled[P1] == {0}
        await until(3.0)
        assert member.dispatcher.held <= held
        member.crash()

    run(story())


def test_bytes_are_bounded_as_well_as_records() -> None:
    fleet = Fleet()
    size = 1 << 20
    fleet.log.records[P0] = [Record(P0, offset, None, bytes(size)) for offset in range(200)]

    async def story() -> None:
        member = single(fleet, P0, batch=10, concurrency=1)
        await until(1.0)
        assert member.dispatcher.size <= backlogs.HELD_BYTES + 10 * size
        assert member.source.seconds_between == math.inf
        assert not member.source.paused
        member.crash()

    run(story())


def test_a_paused_partition_is_resumed_and_finished() -> None:
    fleet = Fleet()
    fleet.log.records[P0] = [Record(P0, offset, None, bytes(1 << 20)) for offset in range(200)]

    async def story() -> None:
        member = single(fleet, P0, batch=100, concurrency=20)
        await until(0.1)
        assert P0 in member.source.paused
        await until_done(fleet, 60)
        assert P0 not in member.source.paused
        member.end()

    run(story())


def test_while_all_have_enough_nothing_is_read_and_nothing_paused() -> None:
    """Pausing would throw away what the client has fetched ahead."""
    fleet = Fleet()
    fleet.fill(P0, [None] * 20_000)
    fleet.fill(P1, [None] * 20_000)
    paces = set()

    async def story() -> None:
        member = single(fleet, P0, P1, batch=100, concurrency=100)
        for moment in range(1, 20):
            await until(float(moment))
            paces.add(member.source.seconds_between)
            assert not member.source.paused
            assert member.dispatcher.held >= backlogs.HELD_RECORDS / 50 - 100
        member.crash()

    run(story())
    assert math.inf in paces
    assert len(fleet.calls) > 15_000  # and all the same it was read on


def test_what_arrives_late_is_found_though_another_partition_has_enough() -> None:
    fleet = Fleet()
    fleet.fill(P0, [None] * 20_000)
    fleet.fill(P1, [])

    async def story() -> None:
        member = single(fleet, P0, P1, batch=500, concurrency=4)
        await until(5.0)
        assert 0.0 < member.source.seconds_between < math.inf
        fleet.fill(P1, [b"late"])
        await until(6.0)
        assert fleet.log.settled[P1] == {0}
        member.crash()

    run(story())


def test_handlers_that_wait_long_are_given_all_they_can_take() -> None:
    """What is given out makes room, though nothing is settled for a long time."""
    fleet = Fleet(plans={f"tasks/0/{offset}": Plan(seconds=100.0) for offset in range(8_000)})
    fleet.fill(P0, [None] * 20_000)

    async def story() -> None:
        member = single(fleet, P0, batch=6_000, concurrency=8_000)
        await until(50.0)
        assert member.dispatcher.in_flight == 8_000
        member.crash()

    run(story())


class CountedLots(UserDict[Partition, backlogs.Lot]):
    """Counts how often all of them are gone through."""

    looks = 0

    def values(self) -> ValuesView[backlogs.Lot]:
        self.looks += 1
        return super().values()


def test_with_many_partitions_a_record_does_not_cost_a_look_at_each() -> None:
    delivery = lane().delivery
    partitions = [Partition("tasks", number) for number in range(500)]
    lots = CountedLots({each: backlogs.Lot(each, Assignment(1), delivery, now=0.0) for each in partitions})
    source = MemorySource(CheckedLog(), batch=1, seconds=0.0)

    async def story() -> None:
        backlog = backlogs.Backlog(is_ordered=True)
        shares = Shares(source, lots, backlog, held=lambda: backlogs.HELD_RECORDS, busy=int)
        for _ in range(100):
            shares.look()
        assert lots.looks == 0
        await until(1.0)
        assert lots.looks == 1

    run(story())


def test_once_no_partition_is_without_records_nothing_more_is_asked_for() -> None:
    lot = backlogs.Lot(P0, Assignment(1), lane().delivery, now=0.0)
    source = MemorySource(CheckedLog(), batch=1, seconds=0.0)

    async def story() -> None:
        backlog = backlogs.Backlog(is_ordered=True)
        shares = Shares(source, {P0: lot}, backlog, held=lambda: backlogs.HELD_RECORDS // 20, busy=int)
        shares.balance()
        backlog.add(backlogs.Item(Record(P0, 0, None, b"{}"), lot), 0.0)
        shares.look()
        await until(1.0)
        assert source.seconds_between == math.inf

    run(story())


def test_as_many_records_are_at_hand_as_handlers_may_end_at_once() -> None:
    """Else what begins after them has to be read first; and where handlers never wait, little is enough."""
    fleet = Fleet(plans={f"tasks/0/{offset}": Plan(seconds=1.0) for offset in range(20_000)})
    fleet.fill(P0, [None] * 20_000)

    async def story() -> None:
        member = single(fleet, P0, batch=300, concurrency=1_000)
        await until(10.5)
        assert member.dispatcher.slots == 1_000
        assert 1_000 < member.dispatcher.held <= 1_500
        member.crash()

    run(story())
