"""A worker that the broker answers no more stops in time, on a real broker that is frozen."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

from integration.agent.lanes import expected

if TYPE_CHECKING:
    from integration.agent.lanes import KafkaLane
    from integration.servers import Broker


def test_a_worker_whose_coordinator_falls_silent_stops_in_time_and_goes_on_when_it_is_back(
    lane: KafkaLane, broker: Broker
) -> None:
    lane.expel_after(10)
    lane.feed(16, keys=16, is_held=True)
    lane.flush()
    worker = lane.worker("a")
    limits = worker.await_event("watching the group's coordinator")
    assert (limits["session_seconds"], limits["limit_seconds"]) == (10.0, 8.0)
    worker.await_in_flight(16)
    os.kill(broker.process.pid or 0, signal.SIGSTOP)
    try:
        silent = worker.await_event("the group's coordinator is silent, cancelling all work")
        worker.await_in_flight(0)
    finally:
        os.kill(broker.process.pid or 0, signal.SIGCONT)
    worker.await_event("the group's coordinator is back, working on")
    lane.open_gate()
    lane.await_done()

    print(f"all work cancelled after a silence of {silent['seconds']:.1f} s; it expels after 10")
    assert 8 < silent["seconds"] < 10
    assert lane.answers() == expected(16, keys=16)
    assert worker.events("attempt failed") == []
    assert worker.stop() == 0
