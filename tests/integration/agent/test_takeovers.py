"""What an agent has done is not done again by its successor, on a real broker with real processes."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from integration.agent.lanes import check_order, expected
from integration.servers import eventually

if TYPE_CHECKING:
    from integration.agent.lanes import KafkaLane

BEHIND = 300


@pytest.mark.parametrize("end", ["killed", "stopped"])
def test_one_slow_record_at_the_head_and_nothing_behind_it_runs_again(lane: KafkaLane, end: str) -> None:
    """The head runs long, or waits long to be tried again: both are work that a successor has to do."""
    head = {"number": -1, "is_held": True} if end == "killed" else {"number": -1, "failures": 1}
    lane.write(b"slow", json.dumps(head).encode())
    lane.flush()
    lane.feed(BEHIND, keys=BEHIND)
    lane.flush()
    first = lane.worker("a", backoffInitialSeconds=600, backoffMaxSeconds=600)
    eventually(lambda: settled(lane) == BEHIND)
    assert not lane.is_done()
    if end == "killed":
        lane.bury(first)
    else:
        assert first.stop() == 0
    lane.open_gate()
    lane.worker("b")
    lane.await_done()

    numbers = [json.loads(message.value())["number"] for message in lane.read(lane.results)]
    assert Counter(numbers) == Counter(range(-1, BEHIND))


def test_only_what_was_not_settled_runs_again_after_a_kill_in_mid_work(lane: KafkaLane) -> None:
    lane.feed(600, keys=600, seconds=0.2)
    lane.flush()
    killed = lane.worker("a", concurrency=16)
    lane.await_results(200)
    killed.kill()
    lane.remove(killed)
    done = [json.loads(message.value())["number"] for message in lane.read(lane.results)]
    known = settled(lane)
    lane.worker("b", concurrency=64)
    lane.await_done()

    counts = Counter(json.loads(message.value())["number"] for message in lane.read(lane.results))
    repeated = sum(counts.values()) - 600
    print(f"{known} of {len(done)} done were known; {repeated} answers repeated")
    assert set(counts) == set(range(600))
    assert repeated <= len(done) - known + 16
    assert len(done) - known <= 16 / 0.2 * 2.5  # of the time since the last commit, on a busy machine


def test_failed_attempts_are_counted_over_a_kill(lane: KafkaLane) -> None:
    lane.write(b"k", b'{"number": 1, "failures": 99}')
    lane.flush()
    first = lane.worker("a", maxAttempts=4, backoffInitialSeconds=600, backoffMaxSeconds=600)
    eventually(lambda: {1} & {n for each in lane.progress().values() for n in each.failed.values()})
    lane.bury(first)
    second = lane.worker("b", maxAttempts=4)
    lane.await_done()

    attempts = [[line["attempt"] for line in worker.events("attempt failed")] for worker in (first, second)]
    assert attempts == [[1], [2, 3, 4]]
    [letter] = lane.read(lane.dead_letters)
    assert dict(letter.headers())["kafleet_attempts"] == b"4"


def test_a_record_that_kills_its_process_is_isolated_and_buried_without_a_human(lane: KafkaLane) -> None:
    lane.feed(100)
    lane.write(b"fatal", b'{"number": -1, "is_fatal": true}')
    lane.feed(100, start=100)
    lane.flush()
    for starts in range(1, 20):
        worker = lane.worker(f"worker-{starts}", concurrency=2, maxAttempts=2)
        lane.workers.remove(worker)  # it may end by itself
        if eventually(lambda worker=worker: "died" if worker.pid is None else lane.is_done()) is True:  # type: ignore[misc]
            break
        lane.bury(worker)
    assert worker.stop() == 0

    print(f"buried at start {starts}")
    [letter] = lane.read(lane.dead_letters)
    headers = dict(letter.headers())
    assert letter.key() == b"fatal"
    assert (headers["kafleet_reason"], headers["kafleet_attempts"]) == (b"ProcessDied", b"2")
    assert starts == 5  # two deaths at full, two alone, one to bury it
    check_order(lane.answers(), expected(200))
    assert max(each.unclean for each in lane.progress().values()) <= 4  # less what it settled in time


def test_a_partition_that_is_undecided_does_not_hold_up_the_others(lane: KafkaLane) -> None:
    """A transaction holds its position; that of a process which died in the midst of one, say."""
    bootstrap = {"bootstrap.servers": lane.bootstrap_servers, "log_level": 0}
    holding = Producer({**bootstrap, "transactional.id": f"{lane.name}-holding"})
    holding.init_transactions(30)
    holding.begin_transaction()
    stranger = Consumer({**bootstrap, "group.id": lane.name})
    held = TopicPartition(lane.tasks, 0, 0)
    holding.send_offsets_to_transaction([held], stranger.consumer_group_metadata(), 30)
    lane.feed(60, keys=60)
    lane.flush()
    waiting = lane.ends(lane.tasks)[0]
    assert waiting
    worker = lane.worker("a", guarantee="ExactlyOnce")
    lane.await_results(60 - waiting)
    assert sorted(lane.owned_by(worker)) == [1, 2, 3, 4, 5]

    holding.abort_transaction(30)
    lane.await_done()
    assert lane.answers() == expected(60, keys=60)
    assert not worker.events("the group's coordinator is silent, cancelling all work")


def settled(lane: KafkaLane) -> int:
    """Return how many records the group's commits say are settled."""
    above = sum(len(run) for each in lane.progress().values() for run in each.settled)
    return above + sum(lane.committed().values())
