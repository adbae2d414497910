"""Exactly once: a reader of what is committed sees one result of each record, whatever happens."""

from __future__ import annotations

from typing import TYPE_CHECKING

from integration.agent.lanes import expected
from integration.servers import eventually

if TYPE_CHECKING:
    from integration.agent.lanes import KafkaLane


def test_results_and_positions_are_committed_together(lane: KafkaLane) -> None:
    lane.feed(200)
    lane.flush()
    worker = lane.worker("a", guarantee="ExactlyOnce")
    lane.await_done()

    assert lane.answers() == expected(200)
    assert worker.stop() == 0
    eventually(lambda: {each.unclean for each in lane.progress().values()} == {0})


def test_a_killed_process_repeats_no_result(lane: KafkaLane) -> None:
    lane.feed(300, keys=300, seconds=0.02)
    lane.flush()
    for number in range(3):
        worker = lane.worker("a", guarantee="ExactlyOnce", concurrency=4)
        eventually(lambda number=number: len(lane.read(lane.results)) >= 50 * number + 20)  # type: ignore[misc]
        worker.kill()
        lane.workers.remove(worker)
    lane.worker("a", guarantee="ExactlyOnce")
    lane.await_done()

    assert lane.answers() == expected(300, keys=300)
