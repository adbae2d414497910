"""What the runtime promises for every record, on a real broker with real processes."""

from __future__ import annotations

import json
import signal
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from integration.agent.lanes import KafkaLane, Worker, check_order, expected
from integration.conftest import folder
from integration.ports import free_ports
from integration.servers import PROJECT, Broker, eventually
from jsonschema import Draft202012Validator

if TYPE_CHECKING:
    from collections.abc import Iterator

STATUS_SCHEMA = Draft202012Validator(
    json.loads((PROJECT / "agent_image" / "contract" / "status.schema.json").read_text())
)
TRACE = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def test_every_task_is_answered_once_in_order_and_committed(lane: KafkaLane) -> None:
    lane.feed(500, seconds=0.01)
    lane.flush()
    worker = lane.worker("a")
    lane.await_done()

    assert lane.answers() == expected(500)
    assert worker.stop() == 0
    assert lane.committed() == lane.ends(lane.tasks)


def test_answers_carry_the_causing_record_in_their_headers(lane: KafkaLane) -> None:
    lane.write(
        b"k", b'{"number": 1}', [("ce_id", b"one"), ("ce_correlationid", b"tree"), ("traceparent", TRACE)]
    )
    lane.flush()
    lane.worker("a")
    lane.await_results(1)

    [message] = lane.read(lane.results)
    headers = dict(message.headers())
    assert message.key() == b"k"
    assert headers["ce_source"] == lane.name.encode()
    assert headers["ce_type"] == b"Answer"
    assert headers["ce_causationid"] == b"one"
    assert headers["ce_correlationid"] == b"tree"
    assert headers["ce_hops"] == b"1"
    assert headers["traceparent"] == TRACE


def test_a_dead_letter_that_cannot_be_written_holds_its_key_only_until_it_can(lane: KafkaLane) -> None:
    lane.limit(lane.dead_letters, 200)
    for value in (b"poison", b'{"number": 1}'):
        lane.write(b"held", value)
    lane.write(b"free", b'{"number": 2}')
    lane.flush()
    worker = lane.worker("a")
    lane.await_results(1)
    eventually(lambda: len(worker.events("cannot write, the record's key waits")) > 2)

    assert lane.answers() == {b"free": [2]}
    assert worker.get("status")[1]["failures"][0]["key"] == "held"
    lane.limit(lane.dead_letters, 1_000_000)
    lane.await_done()
    assert lane.answers() == {b"free": [2], b"held": [1]}
    assert [letter.value() for letter in lane.read(lane.dead_letters)] == [b"poison"]


def test_small_answers_are_not_given_up_because_their_batch_was_too_large(lane: KafkaLane) -> None:
    lane.limit(lane.results, 1_500)  # room for two or three
    lane.feed(200, keys=200)
    lane.flush()
    lane.worker("a", concurrency=64, backoffInitialSeconds=0.5, backoffMaxSeconds=2)
    lane.await_done()

    assert lane.answers() == expected(200, keys=200)
    assert lane.read(lane.dead_letters) == []


def test_failures_are_retried_in_order(lane: KafkaLane) -> None:
    lane.feed(60, failures=2, keys=3)
    lane.flush()
    lane.worker("a")
    lane.await_done()

    assert lane.answers() == expected(60, keys=3)
    assert lane.read(lane.dead_letters) == []


def test_a_worker_killed_in_mid_work_loses_nothing_and_order_holds(lane: KafkaLane) -> None:
    killed, _ = lane.worker("a"), lane.worker("b")
    lane.await_shared()
    lane.feed(600, seconds=0.05)
    lane.flush()
    lane.await_results(150)
    lane.bury(killed)
    lane.await_done()

    repeated = check_order(lane.answers(), expected(600))
    print(f"{repeated} of 600 repeated after SIGKILL")
    assert repeated < 300


def test_a_worker_told_to_stop_finishes_its_work_exits_cleanly_and_nothing_is_repeated(
    lane: KafkaLane,
) -> None:
    lane.feed(300, seconds=0.1)
    lane.flush()
    stopped = lane.worker("a")
    lane.await_results(60)

    assert stopped.stop() == 0
    assert not lane.is_done()
    assert lane.members() == set()
    lane.worker("b")
    lane.await_done()
    assert lane.answers() == expected(300)


def test_a_worker_that_joins_takes_over_partitions_and_nothing_is_repeated(lane: KafkaLane) -> None:
    first = lane.worker("a", concurrency=4)
    lane.feed(80, seconds=0.02, keys=40)
    lane.flush()
    lane.await_results(60)
    second = lane.worker("b", concurrency=4)
    fed = 80

    def works_while_it_is_fed() -> bool:
        nonlocal fed
        lane.feed(40, seconds=0.02, keys=40, start=fed)
        lane.flush()
        fed += 40
        return bool(second.events("partitions assigned"))

    eventually(works_while_it_is_fed)
    lane.await_shared()
    lane.await_done()

    assert first.events("partitions revoked")
    assert lane.answers() == expected(fed, keys=40)


def test_a_frozen_worker_finds_itself_expelled_and_commits_nothing_of_what_others_own(
    lane: KafkaLane,
) -> None:
    lane.expel_after(2)
    frozen, other = lane.worker("a"), lane.worker("b")
    lane.await_shared()
    lane.feed(40, keys=40, is_held=True)
    lane.feed(160, keys=40, start=40)
    lane.flush()
    eventually(lambda: frozen.get("status")[1]["inFlight"])
    gone = frozen.member
    frozen.freeze()
    eventually(lambda: gone not in lane.members())
    eventually(lambda: len(lane.owned_by(other)) == lane.partitions)
    lane.open_gate()
    lane.await_results(200)
    frozen.thaw()
    frozen.await_event("partitions lost, everything on them is cancelled")
    lane.await_done()

    assert check_order(lane.answers(), expected(200, keys=40)) >= 0
    eventually(lambda: lane.members() == {worker.member for worker in lane.workers})
    frozen.await_ready()


@pytest.fixture
def own_broker() -> Iterator[Broker]:
    with folder() as path:
        broker = Broker(Path(path))
        broker.start()
        broker.await_ready()
        try:
            yield broker
        finally:
            broker.kill()


def test_a_broker_that_dies_and_comes_back_costs_time_only(own_broker: Broker, tmp_path: Path) -> None:
    lane = KafkaLane(own_broker.bootstrap_servers, "outlive", tmp_path)
    lane.create()
    lane.feed(400, seconds=0.05)
    lane.flush()
    workers = [lane.worker("a"), lane.worker("b")]
    try:
        lane.await_results(100)
        own_broker.kill()
        eventually(lambda: _is_unreachable(workers[0]))
        eventually(lambda: workers[0].get("readyz")[0] == 503)
        assert workers[0].get("healthz")[0] == 200
        own_broker.start()
        own_broker.await_ready()
        lane.await_done()

        check_order(lane.answers(), expected(400))
        assert [worker.stop() for worker in workers] == [0, 0]
    finally:
        for worker in workers:
            worker.kill()


def _is_unreachable(worker: Worker) -> bool:
    """Tell whether the agent says so, and why: the client may report that a moment later."""
    brokers: dict[str, Any] = worker.get("status")[1]["brokers"]
    return not brokers["reachable"] and bool(brokers["error"])


def test_a_topic_made_again_is_read_from_its_start(lane: KafkaLane) -> None:
    lane.feed(100)
    lane.flush()
    worker = lane.worker("a")
    lane.await_done()
    for deleted in lane.admin.delete_topics([lane.tasks]).values():
        deleted.result()
    eventually(lambda: lane.tasks not in lane.admin.list_topics(timeout=5).topics)
    lane.create_topics(lane.tasks)
    lane.feed(50, start=100)
    lane.flush()

    lane.await_results(150)
    worker.check()
    assert lane.answers() == expected(150)


def test_a_group_that_starts_at_the_latest_record_skips_nothing_when_it_dies_before_its_first_commit(
    lane: KafkaLane,
) -> None:
    lane.feed(20)
    lane.flush()
    killed = lane.worker("a", startFrom="latest")
    killed.await_event("partitions assigned")
    lane.bury(killed)
    lane.feed(20, start=20)
    lane.flush()
    lane.worker("b", startFrom="latest")
    lane.await_results(20)

    numbers = sorted(number for answers in lane.answers().values() for number in answers)
    assert numbers == list(range(20, 40))


def test_a_blocking_handler_that_hangs_holds_its_key_only_and_does_not_hold_up_the_end(
    lane: KafkaLane,
) -> None:
    lane.write(b"stuck", b'{"number": 0, "seconds": 600}')
    lane.flush()
    worker = lane.worker("a", handler="echo:blocking", taskTimeoutSeconds=1)
    eventually(lambda: worker.events("blocking handler is over its timeout and cannot be cancelled"))
    lane.write(b"free", b'{"number": 1}')
    lane.flush()
    lane.await_results(1)

    assert worker.get("healthz")[0] == 200
    assert worker.stop(signal.SIGTERM) == 0
    assert lane.answers() == {b"free": [1]}


def test_a_worker_without_partitions_is_ready_and_names_itself(
    bootstrap_servers: str, tmp_path: Path
) -> None:
    lane = KafkaLane(bootstrap_servers, f"narrow-{uuid.uuid4().hex[:8]}", tmp_path, partitions=1)
    lane.create()
    workers = [lane.worker("a"), lane.worker("b")]
    try:
        for worker in workers:
            worker.await_ready()
        members = {worker.member for worker in workers}
        eventually(lambda: lane.members() == members)
        # The first one may have had the partition alone, and have given it up for the other one to take.
        eventually(lambda: sorted(len(each.get("status")[1]["partitions"]) for each in workers) == [0, 1])
    finally:
        for worker in workers:
            worker.kill()


def test_a_worker_that_no_broker_answers_is_not_ready_says_so_and_stops_when_told(
    bootstrap_servers: str, tmp_path: Path
) -> None:
    lane = KafkaLane(bootstrap_servers, "nowhere", tmp_path)
    lane.bootstrap_servers = f"127.0.0.1:{free_ports(1)[0]}"
    worker = lane.worker("a")
    try:
        worker.await_event("Kafka reports an error")
        status, body = worker.get("readyz")
        assert status == 503
        assert "no broker is reachable" in body["reasons"][0]
        assert worker.get("healthz")[0] == 200
        assert worker.stop() == 0
    finally:
        worker.kill()


def test_the_status_of_a_working_agent_fits_the_contract(lane: KafkaLane) -> None:
    lane.feed(5, keys=5)
    lane.feed(50, keys=50, start=5, is_held=True)
    lane.flush()
    worker = lane.worker("a", concurrency=4)
    eventually(lambda: worker.get("status")[1]["inFlight"] >= 4)

    status = worker.get("status")[1]
    STATUS_SCHEMA.validate(status)
    assert status["memberId"] == worker.member
    in_flight = range(1, 9)  # four with their handlers, and those whose outputs are being written
    assert status["inFlight"] in in_flight
    metrics = worker.get("metrics")[1]
    assert any(f"kafleet_in_flight_records {count}.0" in metrics for count in in_flight)


def test_json_lines_only(lane: KafkaLane) -> None:
    lane.feed(5, failures=1)
    lane.flush()
    worker = lane.worker("a")
    lane.await_done()
    worker.stop()

    for line in worker.log.read_text().splitlines():
        assert json.loads(line)["event"]
