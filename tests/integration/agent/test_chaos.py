"""Agents killed, frozen, stopped and started at random: nothing is lost and order holds."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from integration.agent.lanes import check_order, expected

if TYPE_CHECKING:
    from integration.agent.lanes import KafkaLane

TASKS = 1_000
EVENTS = 8


def test_random_failures_lose_nothing_and_keep_every_keys_order(lane: KafkaLane) -> None:
    seed = random.randrange(1_000_000)  # noqa: S311 - a test's dice
    print(f"seed {seed}")
    dice = random.Random(seed)  # noqa: S311 - a test's dice
    lane.feed(TASKS, seconds=0.1, keys=60)
    lane.flush()
    living = [lane.worker(f"first-{number}", concurrency=4) for number in range(3)]
    for number in range(EVENTS):
        lane.await_results((number + 1) * TASKS // (EVENTS * 2), seconds=60)
        worker = living.pop(dice.randrange(len(living)))
        what = dice.choice(["kill", "stop", "freeze"])
        print(number, what, worker.name)
        if what == "kill":
            worker.kill()
        elif what == "stop":
            worker.await_event("agent starts")  # before that nobody listens
            assert worker.stop() == 0
        else:
            worker.freeze()
            lane.await_results((number + 1) * TASKS // (EVENTS * 2) + 60, seconds=60)
            worker.thaw()
            living.append(worker)
        if what != "freeze":
            living.append(lane.worker(f"next-{number}", concurrency=4))
    lane.await_done(120)

    repeated = check_order(lane.answers(), expected(TASKS, keys=60))
    print(f"{repeated} of {TASKS} repeated after {EVENTS} failures")
    assert lane.read(lane.dead_letters) == []
