"""Partitions that move while work goes on, on a real broker with real processes."""

from __future__ import annotations

import json
import signal
from collections import Counter
from datetime import datetime
from typing import TYPE_CHECKING

import pytest
from confluent_kafka import Producer
from integration.servers import eventually

if TYPE_CHECKING:
    from collections.abc import Iterable

    from integration.agent.lanes import KafkaLane, Worker


def write_to(lane: KafkaLane, partition: int, numbers: Iterable[int], **payload: object) -> None:
    """Write tasks to one partition, each with a key of its own."""
    producer = Producer({"bootstrap.servers": lane.bootstrap_servers, "log_level": 0})
    for number in numbers:
        value = json.dumps({"number": number, **payload})
        producer.produce(lane.tasks, key=f"key-{number}", value=value, partition=partition)
    assert producer.flush(30) == 0


def numbers_answered(lane: KafkaLane) -> Counter[int]:
    return Counter(json.loads(message.value())["number"] for message in lane.read(lane.results))


def partitions_of(worker: Worker) -> dict[int, bool]:
    """Return what a worker says that it has, and whether it is giving it up."""
    return {each["partition"]: each["leaving"] for each in worker.get("status")[1]["partitions"]}


def leaving_of(worker: Worker) -> set[int]:
    return {partition for partition, is_leaving in partitions_of(worker).items() if is_leaving}


def last_moment(worker: Worker, event: str) -> datetime:
    return datetime.fromisoformat(worker.events(event)[-1]["timestamp"])


def test_what_another_gives_up_is_taken_long_before_the_next_heartbeat(lane: KafkaLane) -> None:
    lane.configure_group({"consumer.session.timeout.ms": "45000", "consumer.heartbeat.interval.ms": "15000"})
    workers = [lane.worker(name) for name in "ab"]
    eventually(lambda: all(len(partitions_of(each)) == lane.partitions // 2 for each in workers))

    joined = max(last_moment(each, "group joined") for each in workers)
    assigned = max(last_moment(each, "partitions assigned") for each in workers)
    print(f"all is dealt out {(assigned - joined).total_seconds():.1f} s after the last one joined")
    assert (assigned - joined).total_seconds() < 12


@pytest.fixture
def draining(lane: KafkaLane) -> tuple[Worker, set[int]]:
    """Return a worker in the middle of giving partitions up, and which: each is busy with a held task."""
    for partition in range(lane.partitions):
        write_to(lane, partition, [partition], is_held=True)
    worker = lane.worker("a", drainTimeoutSeconds=300, concurrency=64)
    worker.await_in_flight(lane.partitions)
    lane.worker("b", drainTimeoutSeconds=300)
    return worker, eventually(lambda: leaving_of(worker))


def test_a_long_task_on_a_partition_that_moves_does_not_stop_those_that_stay(
    lane: KafkaLane, draining: tuple[Worker, set[int]]
) -> None:
    """They are read on, and the long task ends where it began: nothing is run twice."""
    worker, leaving = draining
    staying = set(range(lane.partitions)) - leaving
    for partition in staying:
        write_to(lane, partition, range(1_000 * (partition + 1), 1_000 * (partition + 1) + 300))
    lane.await_results(300 * len(staying))

    assert leaving_of(worker) == leaving
    lane.open_gate()
    lane.await_done()
    assert set(numbers_answered(lane).values()) == {1}
    assert len(numbers_answered(lane)) == lane.partitions + 300 * len(staying)
    assert worker.events("partitions lost, everything on them is cancelled") == []


def test_a_worker_told_to_stop_while_a_partition_moves_ends_in_time_and_nothing_is_repeated(
    lane: KafkaLane, draining: tuple[Worker, set[int]]
) -> None:
    worker, _ = draining
    worker.tell_to_stop()
    worker.await_event("agent stops, finishing what is in flight")
    lane.open_gate()

    assert worker.wait() == 0
    lane.await_done()
    assert numbers_answered(lane) == Counter(range(lane.partitions))


def test_a_worker_expelled_while_a_partition_moves_stops_all_its_work_and_joins_again(
    lane: KafkaLane, draining: tuple[Worker, set[int]]
) -> None:
    """Its client tells it nothing until the revocation is answered: the answers to its commits do."""
    worker, _ = draining
    lane.remove(worker)

    worker.await_event("expelled from the group while partitions are drained")
    worker.await_event("partitions lost, everything on them is cancelled")
    lane.open_gate()
    lane.await_done()
    assert set(numbers_answered(lane)) == set(range(lane.partitions))


@pytest.mark.usefixtures("draining")
def test_a_second_rebalance_while_a_partition_moves_ends_with_everything_owned_once(lane: KafkaLane) -> None:
    lane.worker("c", drainTimeoutSeconds=300)
    eventually(lambda: len(lane.members()) == 3)
    lane.open_gate()
    lane.await_done()

    lane.await_shared()
    assert numbers_answered(lane) == Counter(range(lane.partitions))


def test_when_all_is_settled_the_commit_is_past_transaction_markers(lane: KafkaLane) -> None:
    """The lag of a lane at rest is 0, not 1 a partition: markers take offsets that no record fills."""
    worker = lane.worker("a")
    producer = Producer(
        {"bootstrap.servers": lane.bootstrap_servers, "transactional.id": lane.name, "log_level": 0}
    )
    producer.init_transactions(30)
    for is_aborted in (False, True, False, True):
        producer.begin_transaction()
        for partition in range(lane.partitions):
            value = json.dumps({"number": partition, "failures": 99 if is_aborted else 0})
            producer.produce(lane.tasks, key=str(partition), value=value, partition=partition)
        producer.flush(30)
        producer.abort_transaction(30) if is_aborted else producer.commit_transaction(30)

    eventually(lambda: set(lane.ends(lane.tasks).values()) == {8})  # of each four, a record and a marker
    lane.await_done()
    assert sum(numbers_answered(lane).values()) == 2 * lane.partitions
    assert worker.stop(signal.SIGTERM) == 0
    second = lane.worker("b")
    second.await_ready()
    assert lane.is_done()


def test_partitions_that_are_added_are_read_from_their_start(lane: KafkaLane) -> None:
    worker = lane.worker("a")
    write_to(lane, 0, [0])
    lane.await_done()
    lane.grow(lane.partitions + 2)
    write_to(lane, lane.partitions - 1, range(1, 11))
    eventually(lambda: len(partitions_of(worker)) == lane.partitions)

    lane.await_results(11)
    lane.await_done()
    assert set(numbers_answered(lane).values()) == {1}
