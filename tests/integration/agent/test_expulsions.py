"""Workers that the group has given up, or is about to, while they live."""

from __future__ import annotations

import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from integration.agent.lanes import KafkaLane, expected
from integration.agent.proxied_lanes import ProxiedLane
from integration.conftest import folder
from integration.proxies import ProxiedBroker
from integration.servers import eventually

with warnings.catch_warnings():
    warnings.filterwarnings("ignore", "(read|open)_text is deprecated", DeprecationWarning)
    from kafka.admin import KafkaAdminClient, MemberToRemove

if TYPE_CHECKING:
    from collections.abc import Iterator

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
    lane.feed(16, keys=16, seconds=3)
    lane.flush()
    worker = lane.worker("a")
    worker.await_in_flight(16)
    admin = KafkaAdminClient(bootstrap_servers=lane.bootstrap_servers)
    admin.remove_group_members(lane.name, [MemberToRemove(member_id=worker.member)])
    admin.close()

    worker.await_event(LOST)
    lane.await_done()
    assert lane.answers() == expected(16, keys=16)
    assert worker.stop() == 0


def test_a_worker_whose_connections_are_half_open_stops_before_another_begins(proxied: ProxiedLane) -> None:
    """Nothing is reset, nothing answers: only its own clock tells it. Back again, it joins anew."""
    proxied.configure_group({"consumer.session.timeout.ms": "5000"})
    proxied.feed(16, keys=16, seconds=10)
    proxied.flush()
    cut_off = proxied.behind_the_proxy("a", taskTimeoutSeconds=60)
    cut_off.await_event("watching the group's coordinator")
    cut_off.await_in_flight(16)
    proxied.proxy.silence(cut_off.name)
    silenced_at = time.monotonic()
    other = proxied.worker("b", taskTimeoutSeconds=60)
    cut_off.await_event("the group's coordinator is silent, cancelling all work")
    stopped_after = time.monotonic() - silenced_at
    eventually(lambda: cut_off.get("status")[1]["inFlight"] == 0)
    other.await_event("partitions assigned")
    begun_after = time.monotonic() - silenced_at
    proxied.proxy.release(cut_off.name, is_kept=True)
    cut_off.await_event(LOST)
    proxied.await_done(90)

    print(f"stopped {stopped_after:.1f} s, the other one began {begun_after:.1f} s after the silence began")
    assert stopped_after < begun_after
    assert proxied.answers() == expected(16, keys=16)
    eventually(lambda: len(proxied.members()) == 2)
