"""The probes of a real process tell the truth, also where the process cannot."""

from __future__ import annotations

import json
import urllib.request
from typing import TYPE_CHECKING

import pytest
from integration.servers import eventually

from kafleet.lanes import read_lane
from kafleet.records import Partition
from kafleet.stalls import LogEnds

if TYPE_CHECKING:
    from integration.agent.lanes import KafkaLane, Worker

CODE = """
import asyncio, pathlib, time
from kafleet import Agent

agent = Agent()

@agent.task
async def work(task: str) -> str:
    pathlib.Path("FOLDER", "began").touch()
    if task == "block":
        while not pathlib.Path("FOLDER", "end").exists():
            time.sleep(0.05)
    else:
        await asyncio.sleep(3600)
    return task
"""
PROBE_SECONDS = 5.0  # the kubelet's patience, if nobody says otherwise, is 1 s


def probe(worker: Worker) -> None:
    """Ask as the kubelet does; raises TimeoutError where it would give up."""
    port = worker.await_event("agent starts")["port"]
    urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=PROBE_SECONDS).close()


def start(lane: KafkaLane, task: bytes) -> Worker:
    (lane.folder / "mine.py").write_text(CODE.replace("FOLDER", str(lane.folder)))
    lane.write(b"k", task)
    lane.flush()
    worker = lane.worker("a", handler="mine:agent")
    eventually((lane.folder / "began").exists)
    return worker


def test_a_handler_that_blocks_the_event_loop_leaves_the_probe_without_an_answer(lane: KafkaLane) -> None:
    worker = start(lane, b"block")

    with pytest.raises(TimeoutError):
        probe(worker)
    (lane.folder / "end").touch()
    lane.await_done()
    assert worker.get("healthz")[0] == 200
    assert worker.stop() == 0


def test_a_long_call_is_healthy(lane: KafkaLane) -> None:
    assert start(lane, b"wait").get("healthz")[0] == 200


def test_brokers_tell_where_logs_end_and_nothing_of_a_partition_that_is_not_there(lane: KafkaLane) -> None:
    lane.feed(20)
    lane.flush()
    lane_file = lane.folder / "asking.json"
    lane_file.write_text(json.dumps(lane.lane_file("echo:agent")))
    partitions = [Partition(lane.tasks, number) for number in range(lane.partitions + 1)]

    told = LogEnds(read_lane(lane_file))(partitions)

    assert told == {Partition(lane.tasks, number): end for number, end in lane.ends(lane.tasks).items()}
    assert sum(told.values()) == 20
