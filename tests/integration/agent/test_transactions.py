"""Exactly once: a reader of what is committed sees one result of each record, whatever happens."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from confluent_kafka import KafkaException, Producer
from integration.agent.lanes import KafkaLane, Worker, expected
from integration.agent.proxied_lanes import ProxiedLane
from integration.conftest import folder
from integration.proxies import END_TXN, ProxiedBroker
from integration.servers import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

OFFSET_COMMIT = 8
"""Kafka's key of the request that commits outside of transactions."""
STAGES = {"the first record": 24, "records": 0, "offsets": 25, "positions": 28, "the end": END_TXN}
"""What a transaction asks of the brokers, in order, with Kafka's keys of the requests."""


@pytest.fixture(scope="module")
def proxied_broker() -> Iterator[ProxiedBroker]:
    """Run a broker and a proxy before it."""
    with folder() as path, ProxiedBroker(Path(path)).running() as broker:
        yield broker


@pytest.fixture
def proxied(proxied_broker: ProxiedBroker, tmp_path: Path) -> Iterator[ProxiedLane]:
    lane = ProxiedLane(proxied_broker, tmp_path)
    lane.create()
    try:
        yield lane
    finally:
        lane.kill()


def exact(lane: ProxiedLane) -> Worker:
    """Start an agent process behind the proxy that delivers exactly once; its name is always the same."""
    return lane.behind_the_proxy("a", guarantee="ExactlyOnce")


def test_results_and_positions_are_committed_together(lane: KafkaLane) -> None:
    lane.feed(200, keys=200)
    lane.flush()
    worker = lane.worker("a", guarantee="ExactlyOnce")
    lane.await_done()

    assert lane.answers() == expected(200, keys=200)
    assert worker.stop() == 0
    eventually(lambda: {each.unclean for each in lane.progress().values()} == {0})


def test_results_are_in_their_keys_order_and_bad_records_are_buried_once(lane: KafkaLane) -> None:
    lane.feed(50, keys=5)
    lane.write(b"bad", b'{"number": -1, "failures": 99}')
    lane.feed(50, keys=5, start=50)
    lane.flush()
    lane.worker("a", guarantee="ExactlyOnce", maxAttempts=2)
    lane.await_done()

    assert lane.answers() == expected(100, keys=5)
    assert [letter.key() for letter in lane.read(lane.dead_letters)] == [b"bad"]


def test_a_client_that_sends_the_end_of_a_transaction_again_shows_what_it_aborted(
    proxied: ProxiedLane,
) -> None:
    """What agents are measured against: the first end arrives late, and ends the next transaction."""
    naive = Producer(
        {
            "bootstrap.servers": proxied.proxy.address,
            "client.id": "naive",
            "transactional.id": "naive",
            "socket.timeout.ms": 1_000,
            "log_level": 0,
        }
    )
    naive.init_transactions(30)
    send = proxied.proxy.hold(END_TXN, client="naive")
    naive.begin_transaction()
    naive.produce(proxied.results, b"first")
    naive.commit_transaction(30)
    naive.begin_transaction()
    naive.produce(proxied.results, b"aborted")
    naive.flush(30)
    send()
    eventually(lambda: {each.value() for each in proxied.read(proxied.results)} == {b"first", b"aborted"})
    with pytest.raises(KafkaException, match="invalid state"):
        naive.abort_transaction(30)


def test_an_end_that_arrives_late_ends_no_later_transaction(proxied: ProxiedLane) -> None:
    worker = exact(proxied)
    proxied.feed(50, keys=50)
    proxied.flush()
    proxied.await_done()
    delayed = proxied.proxy.delayed
    send = proxied.proxy.hold(END_TXN, client=worker.name)
    proxied.feed(50, keys=50, start=50)
    proxied.flush()
    worker.await_event("transaction failed, taking a new epoch")
    proxied.feed(400, keys=50, start=100, seconds=0.05)
    proxied.flush()
    proxied.await_results(150)  # it is in the middle of later ones
    send()
    eventually(lambda: proxied.proxy.delayed > delayed)
    proxied.await_done()

    assert proxied.answers() == expected(500, keys=50)


def test_a_transaction_whose_connection_is_lost_is_given_up_at_once(proxied: ProxiedLane) -> None:
    """Its client would send the request again much later, and that is not waited for."""
    worker = exact(proxied)
    proxied.feed(50, keys=50)
    proxied.flush()
    proxied.await_done()
    held = proxied.proxy.held
    proxied.proxy.hold(END_TXN, client=worker.name)
    proxied.feed(50, keys=50, start=50)
    proxied.flush()
    eventually(lambda: proxied.proxy.held > held)
    proxied.proxy.cut(worker.name)
    failed = worker.await_event("transaction failed, taking a new epoch")
    proxied.await_done()

    assert failed["error"] == "a connection was lost"
    assert proxied.answers() == expected(100, keys=50)


def test_whoever_has_partitions_commits_nothing_outside_transactions(proxied: ProxiedLane) -> None:
    """A commit that arrives once more, late, would take the positions of later transactions back."""
    held = proxied.proxy.held
    proxied.proxy.hold(OFFSET_COMMIT, client=f"{proxied.name}-a")
    proxied.feed(100, keys=50)
    proxied.flush()
    exact(proxied)
    proxied.await_done()

    assert proxied.proxy.held == held
    assert {each.unclean for each in proxied.progress().values()} == {1}


def test_a_process_killed_at_any_stage_of_a_transaction_repeats_no_result(proxied: ProxiedLane) -> None:
    """What it had sent reaches the broker when its successor, of the same name, works already."""
    keys = 20
    exact(proxied)
    for round_, (stage, api_key) in enumerate(STAGES.items()):
        held = proxied.proxy.held
        worker = proxied.workers[-1]
        send = proxied.proxy.hold(api_key, client=worker.name)
        proxied.feed(keys, keys=keys, start=round_ * keys)
        proxied.flush()
        eventually(lambda held=held: proxied.proxy.held > held)  # type: ignore[misc]
        proxied.bury(worker)
        print("killed while it sent", stage)
        exact(proxied).await_ready()
        send()
        proxied.await_done()

    assert proxied.answers() == expected(len(STAGES) * keys, keys=keys)
