"""What an owner leaves beside its commit, its successor does not do again: in virtual time."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from confluent_kafka import KafkaError, KafkaException, TopicPartition
from unit.agent.fleets import Fleet, Plan, dead, names, single, until_done
from virtual import run, until

from kafleet.commitmetadata import Progress, metadata_of
from kafleet.ports import Position
from kafleet.records import Partition
from kafleet.takeovers import starts_of

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
        at_risk = {f"tasks/0/{offset}" for offset in unknown} | set(names(fleet)[-4:]) | {HEAD}
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


class Consumer:
    """Answers as it is told to, one answer a call."""

    def __init__(self, *answers: TopicPartition | KafkaError) -> None:
        self.answers = list(answers)
        self.pinned: list[int] = []

    def committed(self, partitions: list[TopicPartition], timeout: float) -> list[TopicPartition]:
        assert partitions
        assert timeout
        answer = self.answers.pop(0)
        if isinstance(answer, KafkaError):
            raise KafkaException(answer)
        return [answer]

    def get_watermark_offsets(self, partition: TopicPartition, timeout: float) -> tuple[int, int]:
        assert partition
        assert timeout
        return 3, 42

    def commit(self, *, offsets: list[TopicPartition], asynchronous: bool) -> list[TopicPartition]:
        assert not asynchronous
        self.pinned += [each.offset for each in offsets]
        return offsets


def partition(offset: int) -> TopicPartition:
    return TopicPartition("tasks", 0, offset, metadata="m")


def start(consumer: Consumer, *, is_pinned: bool = False, most: int = 9) -> list[tuple[int, str]] | None:
    """Return offset and metadata of where a partition begins; waits at most so many times."""
    waits = iter(range(most))
    found = starts_of(
        consumer,
        [TopicPartition("tasks", 0)],
        is_pinned=is_pinned,
        wait=lambda _: next(waits, None) is not None,
    )
    return None if found is None else [(each.offset, each.metadata) for each in found]


def test_a_committed_offset_that_cannot_be_read_is_asked_for_again_and_never_taken_for_absent() -> None:
    error = KafkaError(KafkaError._TRANSPORT)

    assert start(Consumer(error, error, partition(7)), is_pinned=True) == [(7, "m")]


def test_whoever_stops_waiting_starts_nothing() -> None:
    assert start(Consumer(*[KafkaError(KafkaError._TRANSPORT)] * 3), most=2) is None


@pytest.mark.parametrize(("is_pinned", "offset", "pinned"), [(False, -1001, []), (True, 42, [42])])
def test_a_group_that_never_committed_starts_where_it_is_told(
    *, is_pinned: bool, offset: int, pinned: list[int]
) -> None:
    consumer = Consumer(partition(-1001))

    assert start(consumer, is_pinned=is_pinned) == [(offset, "m")]
    assert consumer.pinned == pinned
