"""How long work stands still when an agent dies or a partition moves, on a real broker at Kafka's defaults.

    PYTHONPATH=tests .venv/bin/python -m benchmarks.takeovers [rounds]

Two agents share six partitions; each partition gets a task each 50 ms. An agent is killed (SIGKILL), the dead
member is removed from outside as the operator does, and the container is started again. Prints, for each way,
how long after the kill the first task that was written after it is answered, in the slowest of the dead one's
partitions; how much of that is left when the member is removed and the new process has logged its first line;
and the longest silence in the other one's partitions.
"""

from __future__ import annotations

import json
import statistics
import sys
import threading
import time
import uuid
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Final

from confluent_kafka import Consumer, Producer, TopicPartition
from integration.agent.lanes import KafkaLane
from integration.asking import remove
from integration.conftest import folder
from integration.servers import Broker, eventually

if TYPE_CHECKING:
    from integration.agent.lanes import Worker

TASK_SECONDS: Final = 0.05
WAYS: Final = {
    "started again after 1 s, removed after 0.5 s": (0.5, 1.0),
    "started again after 1 s, removed after 1.5 s": (1.5, 1.0),
    "started again after 0.3 s, removed after 1.5 s": (1.5, 0.3),
    "not started again, removed after 0.5 s": (0.5, None),
}
"""Seconds after the kill until the member is removed, and until the container is started again."""


@dataclass
class Traffic:
    """Tasks that are written all the time, and when those of each partition were answered."""

    lane: KafkaLane
    answers: dict[int, list[tuple[float, float]]] = field(default_factory=dict)  # written, answered
    is_over: bool = False

    def start(self) -> None:
        for run in (self._write, self._read):
            threading.Thread(target=run, daemon=True).start()

    def _write(self) -> None:
        producer = Producer(
            {"bootstrap.servers": self.lane.bootstrap_servers, "linger.ms": 0, "log_level": 0}
        )
        while not self.is_over:
            for partition in range(self.lane.partitions):
                number = time.monotonic_ns() * self.lane.partitions + partition
                producer.produce(self.lane.tasks, json.dumps({"number": number}), partition=partition)
            producer.poll(0)
            time.sleep(TASK_SECONDS)
        producer.flush()

    def _read(self) -> None:
        consumer = Consumer(
            {"bootstrap.servers": self.lane.bootstrap_servers, "group.id": "bench", "log_level": 0}
        )
        consumer.assign(
            [TopicPartition(self.lane.results, partition, 0) for partition in range(self.lane.partitions)]
        )
        while not self.is_over:
            message = consumer.poll(0.1)
            if message is not None and message.error() is None:
                written, partition = divmod(json.loads(message.value())["number"], self.lane.partitions)
                self.answers.setdefault(partition, []).append((written / 1e9, time.monotonic()))
        consumer.close()

    def resumed_at(self, partition: int, since: float) -> float | None:
        """Return when a task was answered that was written after a moment."""
        answers = list(self.answers.get(partition, ()))
        return min((answered for written, answered in answers if written > since), default=None)

    def longest_silence(self, partition: int, since: float) -> float:
        times = [since, *(answered for _, answered in list(self.answers[partition]) if answered > since)]
        return max((later - earlier for earlier, later in pairwise(times)), default=0.0)


def partitions_of(worker: Worker) -> set[int]:
    return {each["partition"] for each in worker.get("status")[1]["partitions"] if not each["leaving"]}


def one_round(
    lane: KafkaLane, traffic: Traffic, removed_after: float, restarted_after: float | None
) -> tuple[float, float, float]:
    """Kill one of two agents; return the seconds until its work goes on, our part, and the silence."""
    victim, other = lane.workers
    victim.await_ready()
    eventually(lambda: len(partitions_of(victim)) == len(partitions_of(other)) == lane.partitions // 2)
    # Deaths in a row would have their records worked on with care, which is slow: not what is measured here.
    eventually(lambda: all(each.unclean == 1 for each in lane.progress().values()), seconds=90)
    held, kept, member = partitions_of(victim), partitions_of(other), victim.member
    assert member
    time.sleep(0.5)
    victim.kill()
    died_at, died = time.monotonic(), datetime.now(UTC)
    victim.log.unlink()  # it names the port of its HTTP server

    def remove_victim() -> None:
        time.sleep(removed_after)
        remove(lane.bootstrap_servers, lane.name, member)

    remover = threading.Thread(target=remove_victim)
    remover.start()
    if restarted_after is not None:
        time.sleep(restarted_after)
        victim.start()
    found = eventually(lambda: all(traffic.resumed_at(each, died_at) for each in held), seconds=90)
    assert found
    resumed = max(traffic.resumed_at(each, died_at) or 0 for each in held) - died_at
    remover.join()
    time.sleep(1.0)
    silence = max(traffic.longest_silence(each, died_at) for each in kept)
    ready_after = removed_after
    if restarted_after is None:
        victim.start()
    else:
        started = datetime.fromisoformat(victim.await_event("agent starts")["timestamp"])
        ready_after = max(removed_after, (started - died).total_seconds())
    return resumed, resumed - ready_after, silence


def line(name: str, figures: list[float]) -> str:
    middle = statistics.median(figures)
    return f"{name:<50} {min(figures):5.2f} {middle:7.2f} {max(figures):7.2f}"


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    with folder() as path:
        broker = Broker(Path(path))
        broker.start()
        try:
            broker.await_ready()
            lane = KafkaLane(broker.bootstrap_servers, f"lane-{uuid.uuid4().hex[:8]}", Path(path))
            lane.create_topics(lane.tasks, lane.results, lane.dead_letters)
            traffic = Traffic(lane)
            traffic.start()
            for name in "ab":
                lane.worker(name, startFrom="latest").await_ready()
            print(f"{'seconds, ' + str(rounds) + ' rounds each':<50} {'least':>5} {'median':>7} {'most':>7}")
            for way, (removed_after, restarted_after) in WAYS.items():
                found = [one_round(lane, traffic, removed_after, restarted_after) for _ in range(rounds)]
                for what, figures in zip(
                    (way, "  after removal and first line", "  the other one's longest silence"),
                    zip(*found, strict=True),
                    strict=True,
                ):
                    print(line(what, list(figures)), flush=True)
            traffic.is_over = True
            for worker in lane.workers:
                with suppress(AssertionError):
                    worker.stop()
        finally:
            broker.kill()


if __name__ == "__main__":
    main()
