"""Bugs that other clients and frameworks had, where no test of another promise would find them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from integration.agent.lanes import KafkaLane, Worker, check_order, expected
from integration.conftest import folder
from integration.servers import Broker, eventually

if TYPE_CHECKING:
    from collections.abc import Iterable

MOVES = ("partitions assigned", "partitions revoked", "partitions lost, everything on them is cancelled")
COMMITS = 12


def test_a_group_comes_to_rest_while_all_its_members_commit(lane: KafkaLane) -> None:
    """Cooperative-sticky with asynchronous commits could rebalance for ever (confluent-kafka-go#1107)."""
    workers = [lane.worker(name) for name in "abc"]
    lane.await_shared()
    before, seen, fed = moves_of(workers), {frozenset[tuple[int, int]]()}, 0

    def has_committed_often() -> bool:
        nonlocal fed
        lane.feed(60, keys=60, start=fed)
        lane.flush()
        fed += 60
        seen.add(frozenset(lane.committed().items()))
        return len(seen) > COMMITS

    eventually(has_committed_often)
    assert moves_of(workers) == before
    lane.await_done()
    assert moves_of(workers) == before


def test_a_backlog_that_is_paused_again_and_again_comes_whole_through_rebalances(lane: KafkaLane) -> None:
    """Batches that are in hand while a partition is paused, or moves, could be lost or come twice."""
    lane.feed(20_000, keys=60)  # few: nearly all that is read waits behind its key
    lane.flush()
    first = lane.worker("a")
    eventually(lambda: any(each["paused"] for each in first.get("status")[1]["partitions"]))
    lane.await_results(2_000)
    second = lane.worker("b")
    second.await_event("partitions assigned")
    lane.await_results(10_000)
    assert second.stop() == 0
    lane.await_done()

    assert len(first.events("partitions assigned")) > 1
    assert check_order(lane.answers(), expected(20_000, keys=60)) == 0


def test_a_worker_told_to_stop_after_its_coordinator_died_ends_by_itself_and_says_so(tmp_path: Path) -> None:
    """Closing a consumer whose coordinator is gone could crash the process, or hang."""
    with folder() as path:
        broker = Broker(Path(path))
        broker.start()
        try:
            broker.await_ready()
            lane = KafkaLane(broker.bootstrap_servers, "orphans", tmp_path)
            lane.create()
            lane.feed(60, seconds=0.2)
            lane.flush()
            worker = lane.worker("a", taskTimeoutSeconds=2)
            try:
                lane.await_results(5)
                broker.kill()
                assert worker.stop() == 1
            finally:
                worker.kill()
        finally:
            broker.kill()

    assert worker.events("agent gives up")[-1]["reason"].startswith("the last commit or leaving the group")


def moves_of(workers: Iterable[Worker]) -> int:
    return sum(len(worker.events(move)) for worker in workers for move in MOVES)
