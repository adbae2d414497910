"""What an owner leaves beside its commit, its successor does not do again: in virtual time."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException, TopicPartition
from hypothesis import given, settings
from hypothesis import strategies as st
from unit.agent.fleets import Fleet, Plan, dead, names, settled_name, single, until_done
from virtual import run, until

from kafleet.commitmetadata import Progress, metadata_of, progress_from
from kafleet.ports import Position
from kafleet.records import Partition
from kafleet.takeovers import marked, starts_of, take_over

P0 = Partition("tasks", 0)
HEAD = "tasks/0/0"


def test_after_a_crash_only_what_was_not_settled_runs_again() -> None:
    fleet = Fleet(plans={HEAD: Plan(seconds=60.0)})
    fleet.fill(P0, [None] * 300)

    async def story() -> None:
        dying = single(fleet, P0, batch=50)
        await until(30)
        assert fleet.log.committed[P0] == 0
        assert fleet.log.settled[P0] == set(range(1, 300))
        dying.crash()
        successor = single(fleet, P0, batch=50)
        await until_done(fleet, 100)
        successor.end()

    run(story())

    assert {name for name, count in Counter(names(fleet)).items() if count > 1} == {HEAD}


def test_a_successor_repeats_what_was_in_flight_and_what_was_settled_since_the_last_commit() -> None:
    fleet = Fleet(plans={HEAD: Plan(seconds=60.0)})
    fleet.fill(P0, [None] * 300)

    async def story() -> set[str]:
        dying = single(fleet, P0, concurrency=4)
        await until(5.5)
        unknown = fleet.log.settled[P0] - fleet.log.remembered[P0]
        assert 0 < len(unknown) < 30  # of half a second
        items = dying.dispatcher.lots[P0].items
        in_flight = {item.record.name for item in items if item.is_in_flight}
        assert HEAD in in_flight
        assert len(in_flight) <= 2 * 4
        at_risk = {f"tasks/0/{offset}" for offset in unknown} | in_flight
        dying.crash()
        successor = single(fleet, P0)
        await until_done(fleet, 200)
        successor.end()
        return at_risk

    at_risk = run(story())
    assert {name for name, count in Counter(names(fleet)).items() if count > 1} <= at_risk


def test_what_two_owners_in_a_row_settled_is_known_to_the_third_that_has_read_little() -> None:
    fleet = Fleet(plans={HEAD: Plan(seconds=600.0)})
    fleet.fill(P0, [None] * 100)

    async def story() -> None:
        first = single(fleet, P0, batch=50)
        await until(10)
        first.crash()
        second = single(fleet, P0, batch=1)
        await until(11.5)  # it has read a few, and committed
        second.crash()
        third = single(fleet, P0, batch=50)
        await until_done(fleet, 1_000)
        third.end()

    run(story())

    assert {name for name, count in Counter(names(fleet)).items() if count > 1} == {HEAD}


def test_failed_attempts_are_remembered_over_a_crash() -> None:
    fleet = Fleet(plans={HEAD: Plan(seconds=0.1, verdicts=("failed",))})
    fleet.fill(P0, [b"k", b"k"])

    async def story() -> None:
        dying = single(fleet, P0, maxAttempts=4, backoffInitialSeconds=10, backoffMaxSeconds=10)
        await until(12)
        assert 2 <= len(fleet.calls) <= 3
        dying.crash()
        successor = single(fleet, P0, maxAttempts=4)
        await until_done(fleet, 100)
        successor.end()

    run(story())

    assert [number for name, number in fleet.numbers if name == HEAD] == [1, 2, 3, 4]
    assert dict(dead(fleet)[0].headers)["kafleet_attempts"] == b"4"


def test_a_partition_whose_map_is_nearly_full_is_read_on_only_as_room_is_made() -> None:
    """Its last owner left a map that leaves little room, most of it far beyond what was read yet."""
    dice = random.Random(4)  # noqa: S311 - a test's dice
    end = 15_500
    settled = [False, *(dice.random() < 0.5 for _ in range(end - 2)), True]
    runs = [range(offset, offset + 1) for offset in range(end) if settled[offset]]
    merged = [runs[0]]
    for each in runs[1:]:
        if each.start == merged[-1].stop:
            merged[-1] = range(merged[-1].start, each.stop)
        else:
            merged.append(each)
    metadata = metadata_of(0, Progress(merged))
    assert 0.75 < metadata.fullness <= 1
    fleet = Fleet(plans={HEAD: Plan(seconds=20.0)})
    fleet.fill(P0, [None] * end)
    fleet.log.settled[P0] = {offset for each in merged for offset in each}
    fleet.log.commit([Position(P0, 0, 0, metadata.text)])

    async def story() -> None:
        member = single(fleet, P0, batch=100, concurrency=100)
        await until(15)
        assert P0 in member.source.paused
        read = member.source.positions[P0]
        await until(19)
        assert member.source.positions[P0] == read < end / 2
        await until_done(fleet, 600)
        member.end()

    run(story())

    assert set(Counter(names(fleet)).values()) == {1}
    assert len(fleet.calls) == settled.count(False)


async def deaths(fleet: Fleet, most: int, **options: Any) -> list[int]:  # noqa: ANN401 - passed on
    """Let owner after owner die of what kills; returns how many records each had in flight when it died."""
    found = []
    for _ in range(most):
        member = single(fleet, P0, batch=50, **options)
        fleet.killed.clear()
        dying = asyncio.create_task(fleet.killed.wait())
        done = asyncio.create_task(until_done(fleet, 1_000))
        await asyncio.wait({dying, done}, return_when=asyncio.FIRST_COMPLETED)
        found.append(member.dispatcher.in_flight)
        dying.cancel()
        if done.done():
            await member.stop(1)
            return found
        done.cancel()
        member.crash()
    raise AssertionError(f"not done after {most} deaths")


def test_a_record_that_kills_its_process_is_isolated_counted_and_buried() -> None:
    """Two deaths with everything, then with half as many suspects each time, at last alone."""
    fleet = Fleet(plans={"tasks/0/5": Plan(seconds=0.05, verdicts=("kills",))})
    fleet.fill(P0, [None] * 100)

    found = run(deaths(fleet, 20, concurrency=8, maxAttempts=3))

    [letter] = dead(fleet)
    headers = dict(letter.headers)
    assert settled_name(letter) == "tasks/0/5"
    assert headers["kafleet_reason"] == b"ProcessDied"
    assert headers["kafleet_attempts"] == b"3"
    assert headers["kafka_dlt-exception-message"] == b"the process died 3 times while it ran alone"
    # Found 0 and 1: all. Found 2, 3: suspects of 4 and 2. Then alone, three times, beside newcomers.
    assert len(found) == 2 + 2 + 3 + 1
    assert {settled_name(each) for each in fleet.log.written} == {f"tasks/0/{n}" for n in range(100)}


def test_suspects_run_few_at_a_time_until_as_many_are_settled_as_can_have_killed() -> None:
    fleet = Fleet(plans={f"tasks/0/{offset}": Plan(seconds=5) for offset in range(200)})
    fleet.fill(P0, [None] * 200)
    for _ in range(4):
        fleet.log.metadata[P0] = marked(0, fleet.log.metadata.get(P0))

    async def story() -> None:
        member = single(fleet, P0, batch=200, concurrency=16)
        await until(4)  # of 5
        assert len(fleet.calls) == 2  # 16, halved three times
        await until(5 * 32 / 2 + 4)  # 16 with their handlers, 16 being written
        assert set(names(fleet)[:32]) == {f"tasks/0/{offset}" for offset in range(32)}
        assert len(fleet.calls) == 48
        await until_done(fleet, 1_000)
        await member.stop(1)

    run(story())

    assert len(fleet.calls) == 200


def test_a_key_with_many_records_does_not_keep_a_whole_backlog_suspected() -> None:
    fleet = Fleet(plans={f"tasks/0/{offset}": Plan(seconds=1) for offset in range(500)})
    fleet.fill(P0, [b"hot"] * 100 + [None] * 400)
    for _ in range(10):
        fleet.log.metadata[P0] = marked(0, fleet.log.metadata.get(P0))

    async def story() -> None:
        member = single(fleet, P0, batch=500, concurrency=16)
        await until(30)
        assert len(fleet.calls) in {30, 31}  # one at a time
        await until(50)  # 32 of them have proved it
        assert len(fleet.calls) > 200
        await until_done(fleet, 1_000)
        await member.stop(1)

    run(story())


def test_a_suspect_that_fails_is_tried_again_before_a_backlog_that_waits_for_it() -> None:
    fleet = Fleet(plans={f"tasks/0/{offset}": Plan(seconds=1) for offset in range(500)})
    fleet.plans["tasks/0/3"] = Plan(seconds=1, verdicts=("failed", "failed", "finished"))
    fleet.fill(P0, [None] * 500)
    for _ in range(10):
        fleet.log.metadata[P0] = marked(0, fleet.log.metadata.get(P0))

    async def story() -> None:
        member = single(fleet, P0, batch=500, concurrency=16)
        await until(50)  # 32 of them have proved it, one at a time
        assert len(fleet.calls) > 200
        await until_done(fleet, 1_000)
        await member.stop(1)

    run(story())


def test_a_single_death_and_deaths_of_owners_that_left_in_good_order_suspect_nobody() -> None:
    fleet = Fleet()
    fleet.fill(P0, [None] * 1_700)

    def unclean() -> int:
        return progress_from(fleet.log.committed[P0], fleet.log.metadata[P0]).unclean

    async def story() -> None:
        for _ in range(3):
            first = single(fleet, P0, concurrency=2)
            assert unclean() == 1
            await asyncio.sleep(1.5)
            first.crash()
            second = single(fleet, P0, concurrency=2)
            await asyncio.sleep(9)
            assert unclean() == 2
            await asyncio.sleep(3)
            assert unclean() == 1
            await second.revoke(P0)
            assert unclean() == 0
            await second.stop(0)

    run(story())


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_whatever_kills_is_buried_and_everything_else_is_done(data: st.DataObject) -> None:
    count = data.draw(st.integers(1, 30))
    keys = data.draw(st.lists(st.sampled_from([b"a", b"b", None]), min_size=count, max_size=count))
    killers = data.draw(st.sets(st.integers(0, count - 1), max_size=2))
    fleet = Fleet(plans={f"tasks/0/{each}": Plan(seconds=0.2, verdicts=("kills",)) for each in killers})
    fleet.fill(P0, keys)
    concurrency, attempts = data.draw(st.integers(1, 6)), data.draw(st.integers(1, 3))
    run(deaths(fleet, 60, concurrency=concurrency, maxAttempts=attempts))
    assert {settled_name(each) for each in fleet.log.written} == {f"tasks/0/{n}" for n in range(count)}
    buried = {int(settled_name(each).rsplit("/", 1)[1]) for each in dead(fleet)}
    assert killers <= buried


class Consumer:
    """Answers as it is told to, one answer a call."""

    def __init__(self, *answers: TopicPartition | KafkaError) -> None:
        self.answers = list(answers)

    def committed(self, partitions: list[TopicPartition], timeout: float) -> list[TopicPartition]:
        assert partitions
        assert timeout
        answer = self.answers.pop(0)
        if isinstance(answer, KafkaError):
            raise KafkaException(answer)
        return [answer]

    def list_topics(self, topic: str, timeout: float) -> None:
        assert topic
        assert timeout

    def get_watermark_offsets(self, partition: TopicPartition, timeout: float) -> tuple[int, int]:
        assert partition
        assert timeout
        return 3, 42


class Broken(TopicPartition):  # type: ignore[misc]
    """A partition of an answer with an error of its own."""

    error = KafkaError(KafkaError.COORDINATOR_LOAD_IN_PROGRESS)


def partition(offset: int, metadata: str = "") -> TopicPartition:
    return TopicPartition("tasks", 0, offset, metadata=metadata)


def start(
    consumer: Consumer, *, start_from: str = "earliest", most: int = 9, refusals: int = 0
) -> list[tuple[int, Progress]]:
    """Return where a partition begins and what is known of it; waits at most so many times."""
    waits, refused = iter(range(most)), iter(range(refusals))
    found = list[TopicPartition]()

    async def read(left: list[TopicPartition]) -> list[TopicPartition]:
        return starts_of(consumer, left, start_from=start_from)

    async def begin(starts: list[TopicPartition]) -> bool:
        is_refused = next(refused, None) is not None
        found.extend(() if is_refused else starts)
        return not is_refused

    async def wait(left: list[TopicPartition], _: KafkaError | None) -> bool:
        assert left
        return next(waits, None) is not None

    run(take_over([TopicPartition("tasks", 0)], read, begin, wait=wait))
    return [(each.offset, progress_from(each.offset, each.metadata)) for each in found]


def test_a_committed_offset_that_cannot_be_read_is_asked_for_again_and_never_taken_for_absent() -> None:
    error = KafkaError(KafkaError._TRANSPORT)

    assert start(Consumer(error, error, partition(7)), start_from="latest") == [(7, Progress(unclean=1))]


def test_an_error_of_one_partition_is_no_answer_for_any() -> None:
    broken = Broken("tasks", 0, -1001)

    assert start(Consumer(broken, partition(7))) == [(7, Progress(unclean=1))]


def test_an_assignment_of_nothing_asks_for_nothing() -> None:
    assert starts_of(Consumer(), [], start_from="earliest") == []


def test_where_a_partition_begins_is_read_again_until_it_is_committed() -> None:
    consumer = Consumer(partition(7), partition(7), partition(8))

    assert start(consumer, refusals=2) == [(8, Progress(unclean=1))]


def test_whoever_stops_waiting_starts_nothing() -> None:
    assert start(Consumer(*[KafkaError(KafkaError._TRANSPORT)] * 3), most=2) == []
    assert start(Consumer(*[partition(7)] * 3), most=2, refusals=3) == []


@pytest.mark.parametrize(("start_from", "offset"), [("earliest", 3), ("latest", 42)])
def test_a_group_that_never_committed_starts_where_it_is_told_and_commits_at_once(
    start_from: str, offset: int
) -> None:
    assert start(Consumer(partition(-1001)), start_from=start_from) == [(offset, Progress(unclean=1))]


def test_what_was_known_stays_known_and_one_more_owner_may_die() -> None:
    known = Progress((range(8, 9),), {7: 2}, 1)
    consumer = Consumer(partition(7, metadata_of(7, known).text))

    assert start(consumer) == [(7, Progress((range(8, 9),), {7: 2}, 2))]


class Undecided(Consumer):
    """A transaction holds one partition's offset: an answer with that one does not come."""

    def committed(self, partitions: list[TopicPartition], timeout: float) -> list[TopicPartition]:
        assert timeout
        if 1 in {each.partition for each in partitions}:
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT))
        return [TopicPartition("tasks", each.partition, 7) for each in partitions]


def test_an_undecided_partition_is_waited_for_while_the_others_begin() -> None:
    begun, lefts = list[TopicPartition](), list[list[int]]()

    async def read(left: list[TopicPartition]) -> list[TopicPartition]:
        return starts_of(Undecided(), left, start_from="earliest")

    async def begin(starts: list[TopicPartition]) -> bool:
        begun.extend(starts)
        return True

    async def wait(left: list[TopicPartition], _: KafkaError | None) -> bool:
        lefts.append([each.partition for each in left])
        return len(lefts) < 3

    run(take_over([TopicPartition("tasks", number) for number in range(3)], read, begin, wait=wait))
    assert [each.partition for each in begun] == [0, 2]
    assert lefts == [[1]] * 3
