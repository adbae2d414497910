"""Workers that the group has given up, or is about to, while they live."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from integration.agent.lanes import KafkaLane, expected
from integration.agent.proxied_lanes import ProxiedLane
from integration.conftest import folder
from integration.proxies import ProxiedBroker
from integration.servers import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

SESSION_SECONDS = 10
LOST = "partitions lost, everything on them is cancelled"


@pytest.fixture
def proxied(tmp_path: Path) -> Iterator[ProxiedLane]:
    """Run a broker, a proxy before it, and make a lane."""
    with folder() as path, ProxiedBroker(Path(path)).running() as broker:
        lane = ProxiedLane(broker, tmp_path)
        lane.create()
        try:
            yield lane
        finally:
            lane.kill()


def test_a_worker_that_is_removed_alive_stops_everything_and_joins_again(lane: KafkaLane) -> None:
    """Somebody else took it for dead. What it held is worked on again by whoever is given it."""
    lane.feed(16, keys=16, is_held=True)
    lane.flush()
    worker = lane.worker("a")
    worker.await_in_flight(16)
    lane.remove(worker)

    worker.await_event(LOST)
    lane.open_gate()
    lane.await_done()
    assert lane.answers() == expected(16, keys=16)
    assert worker.stop() == 0


def test_a_worker_whose_connections_are_half_open_stops_before_another_begins(proxied: ProxiedLane) -> None:
    """Nothing is reset, nothing answers: only its own clock tells it. Back again, it joins anew."""
    proxied.expel_after(SESSION_SECONDS)
    proxied.feed(16, keys=16, is_held=True)
    proxied.flush()
    cut_off = proxied.behind_the_proxy("a")
    cut_off.await_event("watching the group's coordinator")
    cut_off.await_in_flight(16)
    proxied.proxy.silence(cut_off.name)
    other = proxied.worker("b")
    stopped = cut_off.await_event("the group's coordinator is silent, cancelling all work")
    cut_off.await_in_flight(0)
    begun = other.await_event("partitions assigned")
    proxied.proxy.release(cut_off.name, is_kept=True)
    cut_off.await_event(LOST)
    proxied.open_gate()
    proxied.await_done()

    print(f"stopped at {stopped['timestamp']}, the other one began at {begun['timestamp']}")
    assert stopped["timestamp"] < begun["timestamp"]
    assert proxied.answers() == expected(16, keys=16)
    eventually(lambda: len(proxied.members()) == 2)
