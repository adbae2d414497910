"""Giving partitions up, losing them, getting them back, and stopping: in virtual time."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from unit.agent.fleets import Fleet, Member, Plan, names, single, until_done
from unit.agent.memory import CheckedLog, CheckedSink
from unit.agent.samples import lane
from unit.agent.steered import Member as Steered
from unit.agent.steered import Sink, Source
from virtual import run, until

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from kafleet.ports import Position

from kafleet.ports import Assignment
from kafleet.records import Outgoing, Partition, Record
from kafleet.testing.memory import MemorySource
from kafleet.verdicts import Finished

P0, P1, P2 = (Partition("tasks", number) for number in range(3))


def test_a_revoked_partition_finishes_what_is_in_flight_starts_nothing_and_commits_what_is_settled() -> None:
    fleet = Fleet(plans={"tasks/0/1": Plan(seconds=3.0)})
    fleet.fill(P0, [b"a", b"b", b"c", b"c"])

    async def story() -> None:
        member = single(fleet, P0, concurrency=2, drainTimeoutSeconds=5)
        await until(0.15)
        await member.revoke(P0)
        assert asyncio.get_running_loop().time() == pytest.approx(3.0, abs=0.1)
        member.end()

    run(story())

    assert names(fleet) == ["tasks/0/0", "tasks/0/1", "tasks/0/2"]
    assert fleet.log.committed[P0] == 3


def test_what_is_still_in_flight_after_the_drain_time_is_cancelled_and_not_committed() -> None:
    fleet = Fleet(plans={"tasks/0/1": Plan(seconds=8.0)})
    fleet.fill(P0, [b"a", b"b", b"c"])

    async def story() -> None:
        member = single(fleet, P0, drainTimeoutSeconds=2)
        await until(1.0)
        await member.revoke(P0)
        assert asyncio.get_running_loop().time() == pytest.approx(3.0, abs=0.1)
        await asyncio.sleep(0)
        assert sum(fleet.running.values()) == 0
        member.end()

    run(story())

    assert fleet.log.committed[P0] == 1
    assert fleet.log.settled[P0] == {0, 2}


def test_a_revoked_partition_does_not_stop_the_others() -> None:
    fleet = Fleet(plans={"tasks/0/0": Plan(seconds=4.0)})
    fleet.fill(P0, [b"a"])
    fleet.fill(P1, [b"b"] * 20)

    async def story() -> None:
        member = single(fleet, P0, P1)
        await until(0.1)
        await member.revoke(P0)
        assert fleet.log.settled[P1] == set(range(20))
        member.end()

    run(story())


def test_a_lost_partition_is_cancelled_and_commits_nothing_more() -> None:
    fleet = Fleet(plans={"tasks/0/1": Plan(seconds=3.0)})
    fleet.fill(P0, [b"a", b"b"])

    async def story() -> None:
        member = single(fleet, P0)
        await until(0.5)
        member.lose(P0)
        await until(5.0)
        member.end()

    run(story())

    assert sum(fleet.running.values()) == 0
    assert fleet.log.committed[P0] == 0


def test_work_of_an_assignment_that_is_over_never_counts_for_the_next_one() -> None:
    """A stale entry after reassignment: the old attempt must not settle the new one's record."""
    fleet = Fleet(plans={"tasks/0/0": Plan(seconds=1.0)})
    fleet.fill(P0, [b"k", b"k"])

    async def story() -> None:
        member = single(fleet, P0)
        await until(0.5)
        member.lose(P0)
        member.assign(P0)
        await until_done(fleet, 60)
        member.end()

    run(story())

    assert names(fleet) == ["tasks/0/0", "tasks/0/0", "tasks/0/1"]


def test_a_handler_that_ignores_its_cancellation_writes_nothing_for_a_partition_that_is_gone() -> None:
    fleet = Fleet(plans={"tasks/0/0": Plan(seconds=1.0, is_stubborn=True)})
    fleet.fill(P0, [b"k"])

    async def story() -> None:
        member = single(fleet, P0)
        await until(0.5)
        member.lose(P0)
        await until(3.0)
        member.end()

    run(story())

    assert fleet.log.written == []


def test_a_partition_lost_and_assigned_again_in_mid_drain_is_not_closed_by_the_end_of_that_drain() -> None:
    """Its handler does not heed its cancellation, so that the drain ends late."""
    fleet = Fleet(plans={"tasks/0/0": Plan(seconds=3.0, is_stubborn=True)})
    fleet.fill(P0, [b"a"])

    async def story() -> None:
        member = single(fleet, P0, drainTimeoutSeconds=10)
        await until(0.5)
        drain = asyncio.create_task(member.dispatcher.revoke([P0]))
        await until(1.0)
        member.lose(P0)
        member.assign(P0)
        await drain
        await until_done(fleet, 60)
        member.end()

    run(story())


def test_a_partition_is_committed_each_second_while_it_is_drained() -> None:
    """The answers are the only sign that it is ours still."""
    fleet = Fleet(plans={"tasks/0/0": Plan(seconds=5.0)})
    fleet.fill(P0, [b"a"])

    async def story() -> float:
        member = single(fleet, P0, drainTimeoutSeconds=10)
        await until(1.5)
        commits = member.metrics.registry.get_sample_value
        before = commits("kafleet_commits_total", {"outcome": "acknowledged"}) or 0
        await member.revoke(P0)
        after = commits("kafleet_commits_total", {"outcome": "acknowledged"}) or 0
        member.end()
        return after - before

    assert run(story()) >= 3


def test_a_pause_that_comes_after_its_assignment_stops_nothing() -> None:
    fleet = Fleet()
    fleet.fill(P0, [b"a"])

    async def story() -> None:
        member = fleet.add()
        member.source.paused.add(P0)
        member.dispatcher.assign({P0: Assignment(1, 0, None)})
        assert member.source.paused == set()
        member.end()

    run(story())


def test_what_no_record_fills_is_committed_once_all_before_it_is_settled() -> None:
    fleet = Fleet(plans={"tasks/0/0": Plan(seconds=3.0)})
    fleet.fill(P0, [b"a"])
    fleet.log.settled[P0] = {1, 2}  # markers

    async def story() -> None:
        member = single(fleet, P0)
        await until(0.5)
        member.dispatcher.reach({P0: 3, P1: 9})
        await until(2.5)
        assert fleet.log.committed[P0] == 0
        await until(5.0)
        assert fleet.log.committed[P0] == 3
        member.end()

    run(story())


def test_an_end_behind_records_that_were_not_taken_any_more_is_not_believed() -> None:
    """A partition that is drained ignores what comes: the log's end is not behind everything taken."""
    fleet = Fleet(plans={"tasks/0/0": Plan(seconds=3.0)})
    fleet.fill(P0, [b"a", b"b"])

    async def story() -> None:
        member = single(fleet, P0, batch=1, drainTimeoutSeconds=10)
        await until(0.01)
        drain = asyncio.create_task(member.dispatcher.revoke([P0]))
        await until(0.2)
        member.dispatcher.reach({P0: 2})
        member.source.commit_now(await drain)
        member.end()

    run(story())

    assert names(fleet) == ["tasks/0/0"]
    assert fleet.log.committed[P0] == 1


def test_a_partition_that_comes_while_the_process_stops_is_left_as_it_is() -> None:
    """Its records are not taken any more, so the log's end must not be committed as if they had been."""
    fleet = Fleet(plans={"tasks/0/0": Plan(seconds=5.0)})
    fleet.fill(P0, [b"a"])
    fleet.fill(P1, [b"b", b"c"])

    async def story() -> None:
        member = single(fleet, P0, drainTimeoutSeconds=10)
        await until(0.5)
        stop = asyncio.create_task(member.stop(10.0))
        await until(1.0)
        member.assign(P1)
        await until(2.0)
        member.dispatcher.reach({P1: 2})
        await stop

    run(story())

    assert names(fleet) == ["tasks/0/0"]
    assert fleet.log.committed[P1] == 0


class SlowSource(MemorySource):
    """Acknowledges a commit long after it was asked for, whoever owns the partition by then."""

    async def commit(self, positions: Sequence[Position]) -> Collection[Partition]:
        await asyncio.sleep(1.0)
        return {position.partition for position in positions}


def test_an_acknowledgement_of_an_older_assignment_says_nothing_about_this_one() -> None:
    fleet = Fleet()
    fleet.fill(P0, [b"k"])

    async def story() -> int | None:
        """Return what the second assignment takes for committed: what it began with."""
        member = Member(fleet, SlowSource(fleet.log), CheckedSink(fleet.log), lane())
        member.assign(P0)
        await until(1.5)  # the first commit is under way
        member.lose(P0)
        member.assign(P0)
        await until(2.1)
        member.end()
        return member.dispatcher.lots[P0].committed

    assert run(story()) == 0


def test_offsets_that_go_back_start_the_partition_over() -> None:
    """A topic made again under the runtime: nothing of the new log may be taken for an old record."""
    fleet = Fleet()
    fleet.fill(P0, [b"k"] * 6)

    async def story() -> None:
        member = single(fleet, P0, batch=10)
        await until_done(fleet, 60)
        fleet.log.forget(P0)
        fleet.fill(P0, [b"k"] * 3)
        member.source.positions[P0] = 0
        await until(30)
        assert fleet.log.settled[P0] == {0, 1, 2}
        assert fleet.log.committed[P0] == 3
        member.end()

    run(story())


def test_stopping_finishes_what_is_in_flight_and_starts_nothing() -> None:
    fleet = Fleet(plans={"tasks/0/0": Plan(seconds=4.0)})
    fleet.fill(P0, [b"k"] * 5)

    async def story() -> None:
        member = single(fleet, P0)
        await until(0.5)
        await member.stop(10)
        assert asyncio.get_running_loop().time() == pytest.approx(4.0, abs=0.1)

    run(story())

    assert names(fleet) == ["tasks/0/0"]
    assert fleet.log.committed[P0] == 1


def test_who_closes_a_partition_beside_a_transaction_commits_nothing_of_it_however_that_ends() -> None:
    """The transaction went further: a commit of what was known before would undo its positions."""
    log = CheckedLog()
    log.records[P0] = [Record(P0, 0, b"a", b"{}")]

    async def story() -> None:
        member = Steered(lambda _, __: None, Source(log), is_ordered=True, sink=Sink(is_transactional=True))
        member.start()
        member.source.assign(member.dispatcher, [P0])
        member.source.feed(member.dispatcher)
        await until(0.1)
        [call] = member.calls
        call.ending.set_result(Finished((Outgoing("results", b"a", b"tasks/0/0", []),)))
        await until(0.2)
        await member.begin_transaction()
        revoking = asyncio.create_task(member.dispatcher.revoke([P0]))
        await asyncio.sleep(0)
        assert await member.dispatcher.drain(0.0) == []
        log.settled[P0].add(0)
        log.commit(member.transaction.positions if member.transaction else ())
        member.end_transaction(is_committed=True)
        assert await revoking == []
        member.committing.cancel()

    run(story())

    assert log.committed[P0] == 1
