"""Order per key, honest commits, bounded work, and retries: in virtual time."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from unit.agent.fleets import Fleet, Group, Plan, dead, names, settled_name, single, until_done
from virtual import run, until

from kafleet.commitmetadata import progress_from
from kafleet.ports import RecordRefused, WriteFailed
from kafleet.records import Outgoing, Partition

P0, P1, P2 = (Partition("tasks", number) for number in range(3))
KEYS = [b"a", b"b", b"c", None]
VERDICTS = ("finished", "finished", "failed", "refused", "postponed", "saturated")

plans = st.builds(
    Plan,
    seconds=st.sampled_from([0.0, 0.05, 0.3, 2.0]),
    verdicts=st.lists(st.sampled_from(VERDICTS), max_size=4).map(lambda some: (*some, "finished")),
)


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


@pytest.mark.parametrize(("guarantee", "called"), [("AtLeastOnce", 14), ("ExactlyOnce", 50)])
def test_handlers_go_on_while_outputs_are_written_but_not_far(guarantee: str, called: int) -> None:
    """What brokers that are away leave unsettled is repeated after a death: it stays little."""
    fleet = Fleet()
    fleet.fill(P0, [None] * 50)

    async def story() -> None:
        member = single(fleet, P0, concurrency=7, batch=50, guarantee=guarantee, writes_seconds=1_000)
        await until(900)
        assert len(fleet.calls) == called
        await until_done(fleet, 10_000)
        member.end()

    run(story())

    assert fleet.most_running <= 7


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


def test_of_several_outputs_only_those_are_written_again_that_could_not_be() -> None:
    fleet = Fleet(plans={"tasks/0/0": Plan(outputs=3)})
    fleet.fill(P0, [b"k"])
    failures = iter([None, WriteFailed("away"), None, None])

    async def story() -> None:
        member = single(fleet, P0, fault=lambda _: next(failures))
        await until_done(fleet, 60)
        member.end()

    run(story())

    assert [outgoing.key for outgoing in fleet.log.written] == [b"0", b"2", b"1"]


def test_a_transaction_learns_what_to_commit_before_its_records_are_settled() -> None:
    """The positions belong into the transaction whose end settles the records."""
    fleet = Fleet(plans={"tasks/0/2": Plan(seconds=9.0)})
    fleet.fill(P0, [b"a", b"b", b"c", b"d"])

    async def story() -> None:
        member = single(fleet, P0, batch=4, writes_seconds=2.0)
        await until(1.0)
        dispatcher = member.dispatcher
        written = [item for item in dispatcher.lots[P0].items if item.outgoing is not None]
        planned, [position] = dispatcher.plan(written)
        assert planned == written
        assert position.offset == 2
        assert progress_from(2, position.metadata).settled == (range(3, 4),)
        assert dispatcher.lots[P0].offsets.position == 0
        dispatcher.settled(written)
        dispatcher.committed([position])
        assert dispatcher.lots[P0].offsets.position == dispatcher.lots[P0].committed == 2
        assert not any(dispatcher.awaits(item) for item in written)
        member.crash()

    run(story())
