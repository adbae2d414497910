"""A worker that the broker answers no more stops in time, on a real broker that is frozen."""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING

from integration.agent.lanes import expected

if TYPE_CHECKING:
    from integration.agent.lanes import KafkaLane
    from integration.servers import Broker


def test_a_worker_whose_coordinator_falls_silent_stops_in_time_and_goes_on_when_it_is_back(
    lane: KafkaLane, broker: Broker
) -> None:
    lane.configure_group({"consumer.session.timeout.ms": "5000"})
    lane.feed(16, keys=16, seconds=8)
    lane.flush()
    worker = lane.worker("a", taskTimeoutSeconds=60)
    limits = worker.await_event("watching the group's coordinator")
    assert (limits["session_seconds"], limits["limit_seconds"]) == (5.0, 4.0)
    worker.await_in_flight(16)
    os.kill(broker.process.pid or 0, signal.SIGSTOP)
    frozen_at = time.monotonic()
    try:
        worker.await_event("the group's coordinator is silent, cancelling all work")
        seconds = time.monotonic() - frozen_at
        worker.await_in_flight(0)
    finally:
        os.kill(broker.process.pid or 0, signal.SIGCONT)
    worker.await_event("the group's coordinator is back, working on")
    lane.await_done()

    print(f"all work cancelled {seconds:.1f} s after the broker fell silent; it expels after 5 s")
    assert 3 < seconds < 5
    assert lane.answers() == expected(16, keys=16)
    assert worker.events("attempt failed") == []
    assert worker.stop() == 0
