"""Order per key, honest commits, bounded work, retries, and leaving in good order: in virtual time."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from unit.agent.fleets import Fleet, Group, Member, Plan, settled_name, until_done
from unit.agent.memory import MemorySink, MemorySource
from unit.agent.samples import lane
from unit.agent.virtual import run, until

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from kafleet.ports import Position

from kafleet import backlogs
from kafleet.ports import RecordRefused, WriteFailed
from kafleet.records import Outgoing, Partition, Record

P0, P1, P2 = (Partition("tasks", number) for number in range(3))
KEYS = [b"a", b"b", b"c", None]
VERDICTS = ("finished", "finished", "failed", "refused", "postponed", "saturated")

plans = st.builds(
    Plan,
    seconds=st.sampled_from([0.0, 0.05, 0.3, 2.0]),
    verdicts=st.lists(st.sampled_from(VERDICTS), max_size=4).map(lambda some: (*some, "finished")),
)


def names(fleet: Fleet) -> list[str]:
    return [name for name, _ in fleet.calls]


def dead(fleet: Fleet) -> list[Outgoing]:
    return [outgoing for outgoing in fleet.log.written if outgoing.topic == "dead-letters"]


def single(fleet: Fleet, *partitions: Partition, **options: Any) -> Member:  # noqa: ANN401 - passed on
    member = fleet.add(**options)
    for partition in partitions:
        member.assign(partition)
    return member


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_whatever_happens_order_holds_nothing_is_lost_and_no_commit_passes_unsettled_work(
    data: st.DataObject,
) -> None:
    """The fleet's own checks (order on each call, honesty on each commit) run all the time."""
    fleet = Fleet()
    for partition in (P0, P1):
        fleet.fill(partition, data.draw(st.lists(st.sampled_from(KEYS), max_size=12)))
    everything = {record.name for records in fleet.log.records.values() for record in records}
    fleet.plans = {name: data.draw(plans) for name in sorted(everything)}
    events = data.draw(
        st.lists(
            st.tuples(
                st.floats(0.01, 4), st.sampled_from(["revoke", "lose", "crash"]), st.sampled_from([P0, P1])
            ),
            max_size=5,
        )
    )

    async def story() -> None:
        group = Group(fleet, [fleet.add(concurrency=3), fleet.add(concurrency=1)])
        for seconds, what, partition in events:
            await asyncio.sleep(seconds)
            for moved in await group.take_away(what, partition):
                group.give(moved, data.draw(st.sampled_from(group.members)))
        await until_done(fleet, 600)
        for member in group.members:
            await member.stop(1)

    run(story())

    assert {settled_name(outgoing) for outgoing in fleet.log.written} == everything


def test_keys_do_not_wait_for_each_other_and_one_key_keeps_its_order() -> None:
    fleet = Fleet(plans={"tasks/0/0": Plan(seconds=9.0)})
    fleet.fill(P0, [b"slow", b"fast", b"slow", b"fast"])

    async def story() -> None:
        member = single(fleet, P0)
        await until_done(fleet, 60)
        member.end()

    run(story())

    assert names(fleet) == ["tasks/0/0", "tasks/0/1", "tasks/0/3", "tasks/0/2"]


def test_one_key_in_two_partitions_is_never_worked_on_twice_at_a_time() -> None:
    fleet = Fleet()
    fleet.fill(P0, [b"k"] * 5)
    fleet.fill(P1, [b"k"] * 5)

    async def story() -> None:
        member = single(fleet, P0, P1)
        await until_done(fleet, 60)
        member.end()

    run(story())

    assert fleet.most_running == 1


def test_without_ordering_records_of_one_key_run_side_by_side() -> None:
    fleet = Fleet(is_ordered=False)
    fleet.fill(P0, [b"k"] * 8)

    async def story() -> None:
        member = single(fleet, P0, ordering="None", concurrency=4)
        await until_done(fleet, 60)
        member.end()

    run(story())

    assert fleet.most_running == 4


def test_no_more_than_the_concurrency_is_in_flight() -> None:
    fleet = Fleet()
    fleet.fill(P0, [None] * 50)

    async def story() -> None:
        member = single(fleet, P0, concurrency=7, batch=50)
        await until_done(fleet, 60)
        member.end()

    run(story())

    assert fleet.most_running == 7


def test_a_failing_record_holds_only_its_key_and_backs_off_longer_each_time() -> None:
    fleet = Fleet(plans={"tasks/0/0": Plan(seconds=0.0, verdicts=("failed", "failed", "finished"))})
    fleet.fill(P0, [b"bad", b"bad", b"good"])

    async def story() -> None:
        member = single(fleet, P0, concurrency=1)
        await until_done(fleet, 60)
        member.end()

    run(story())

    assert names(fleet) == ["tasks/0/0", "tasks/0/2", "tasks/0/0", "tasks/0/0", "tasks/0/1"]
    first, second, third = (moment for name, moment in fleet.calls if name == "tasks/0/0")
    assert 0.5 <= second - first <= 1.1  # initial 1 s, up to half of it taken off
    assert 1.0 <= third - second <= 2.1


def test_after_the_last_attempt_a_record_is_a_dead_letter_with_its_cause_and_its_key_goes_on() -> None:
    fleet = Fleet(plans={"tasks/0/0": Plan(verdicts=("failed",))})
    fleet.fill(P0, [b"k", b"k"])

    async def story() -> None:
        member = single(fleet, P0, maxAttempts=3)
        await until_done(fleet, 60)
        member.end()

    run(story())

    assert names(fleet) == ["tasks/0/0"] * 3 + ["tasks/0/1"]
    [letter] = dead(fleet)
    headers = dict(letter.headers)
    assert (letter.key, letter.value) == (b"k", b"{}")
    assert headers["kafleet_reason"] == b"AttemptsExhausted"
    assert headers["kafleet_attempts"] == b"3"
    assert headers["kafka_dlt-exception-message"] == b"no"


def test_a_refused_record_is_a_dead_letter_at_once() -> None:
    fleet = Fleet(plans={"tasks/0/0": Plan(verdicts=("refused",))})
    fleet.fill(P0, [b"k"])

    async def story() -> None:
        member = single(fleet, P0)
        await until_done(fleet, 60)
        member.end()

    run(story())

    assert len(fleet.calls) == 1
    assert dict(dead(fleet)[0].headers)["kafleet_reason"] == b"Rejected"


def test_postponing_and_throttling_do_not_count_as_attempts() -> None:
    verdicts = ("postponed",) * 5 + ("saturated",) * 5 + ("failed", "finished")
    fleet = Fleet(plans={"tasks/0/0": Plan(verdicts=verdicts)})
    fleet.fill(P0, [b"k"])

    async def story() -> None:
        member = single(fleet, P0, maxAttempts=2)
        await until_done(fleet, 60)
        member.end()

    run(story())

    assert len(fleet.calls) == 12
    assert dead(fleet) == []


def test_a_throttled_replica_starts_nothing_and_then_goes_on() -> None:
    fleet = Fleet(plans={"tasks/0/0": Plan(seconds=0.0, verdicts=("saturated", "finished"))})
    fleet.fill(P0, [b"a", b"b", b"c"])

    async def story() -> None:
        member = single(fleet, P0, concurrency=1, batch=1)
        await until(0.1)
        assert 0 < member.dispatcher.throttled_seconds <= 0.5
        assert member.dispatcher.oldest_runnable_seconds == 0.0
        await until_done(fleet, 60)
        member.end()

    run(story())

    assert [moment > 0.49 for _, moment in fleet.calls] == [False, True, True, True]


def test_a_dead_letter_that_cannot_be_written_holds_only_its_key_and_calls_nothing_again() -> None:
    fleet = Fleet(plans={"tasks/0/0": Plan(verdicts=("refused",))})
    fleet.fill(P0, [b"bad", b"bad", b"good"])
    broken = True

    def fault(outgoing: Outgoing) -> WriteFailed | None:
        return RecordRefused("too large") if broken and outgoing.topic == "dead-letters" else None

    async def story() -> None:
        nonlocal broken
        member = single(fleet, P0, concurrency=1, fault=fault)
        await until(30)
        assert names(fleet) == ["tasks/0/0", "tasks/0/2"]
        assert fleet.log.committed[P0] == 0
        [item] = member.dispatcher.failing()
        assert item.undelivered > 3
        broken = False
        await until_done(fleet, 60)
        member.end()

    run(story())

    assert names(fleet) == ["tasks/0/0", "tasks/0/2", "tasks/0/1"]
    assert len(dead(fleet)) == 1


def test_an_output_that_cannot_be_written_now_is_written_later_without_a_second_call() -> None:
    fleet = Fleet()
    fleet.fill(P0, [b"k"])
    failures = iter([WriteFailed("away"), WriteFailed("away"), None])

    async def story() -> None:
        member = single(fleet, P0, fault=lambda _: next(failures))
        await until_done(fleet, 60)
        member.end()

    run(story())

    assert len(fleet.calls) == 1
    assert [outgoing.topic for outgoing in fleet.log.written] == ["results"]


def test_an_output_that_the_brokers_refuse_for_good_makes_its_record_a_dead_letter() -> None:
    fleet = Fleet()
    fleet.fill(P0, [b"k"])

    async def story() -> None:
        member = single(
            fleet,
            P0,
            fault=lambda outgoing: RecordRefused("too large") if outgoing.topic == "results" else None,
        )
        await until_done(fleet, 60)
        member.end()

    run(story())

    assert dict(dead(fleet)[0].headers)["kafleet_reason"] == b"OutputRefused"


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


class SlowSource(MemorySource):
    """Acknowledges a commit long after it was asked for, whoever owns the partition by then."""

    async def commit(self, positions: Sequence[Position]) -> Mapping[Partition, int]:
        await asyncio.sleep(1.0)
        return {position.partition: position.offset for position in positions}


def test_an_acknowledgement_of_an_older_assignment_says_nothing_about_this_one() -> None:
    fleet = Fleet()
    fleet.fill(P0, [b"k"])

    async def story() -> int | None:
        member = Member(fleet, SlowSource(fleet.log), MemorySink(fleet.log), lane())
        member.assign(P0)
        await until(1.5)  # the first commit is under way
        member.lose(P0)
        member.assign(P0)
        await until(2.1)
        member.end()
        return member.dispatcher.lots[P0].committed

    assert run(story()) is None


def test_offsets_that_go_back_start_the_partition_over() -> None:
    """A topic made again under the runtime: nothing of the new log may be taken for an old record."""
    fleet = Fleet()
    fleet.fill(P0, [b"k"] * 6)

    async def story() -> None:
        member = single(fleet, P0, batch=10)
        await until_done(fleet, 60)
        fleet.log.records[P0].clear()
        fleet.log.settled[P0].clear()
        fleet.log.committed[P0] = 0
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
        assert P0 in member.source.paused
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
