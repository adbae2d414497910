"""TestFleet: what an agent developer tests with."""

from __future__ import annotations

import asyncio
import threading
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import BaseModel

from kafleet import Agent, Context, Reject, RetryLater, Throttled
from kafleet.errors import InvalidAgent
from kafleet.payloads import InvalidPayload
from kafleet.testing import NotIdle, TestFleet

if TYPE_CHECKING:
    from collections.abc import Callable


class Ticket(BaseModel):
    text: str


class Verdict(BaseModel):
    label: str


def agent_of(handler: Callable[..., Any]) -> Agent:
    agent = Agent()
    agent.task(handler)
    return agent


class Handler:
    """Notes when it was called with what; `plan` is what it does then."""

    def __init__(self, *plan: float | BaseException) -> None:
        self.plan = list(plan)
        self.calls: list[tuple[float, str, int]] = []  # moment, id, attempt

    @property
    def agent(self) -> Agent:
        async def handle(task: Any, ctx: Context) -> Any:  # noqa: ANN401 - whatever was sent
            self.calls.append((asyncio.get_running_loop().time(), ctx.id, ctx.attempt))
            step = self.plan.pop(0) if self.plan else 0.0
            if isinstance(step, BaseException):
                raise step
            await asyncio.sleep(step)
            return task

        return agent_of(handle)


def test_a_task_becomes_a_result() -> None:
    async def classify(ticket: Ticket) -> Verdict:
        return Verdict(label="bug" if "error" in ticket.text else "question")

    with TestFleet(agent_of(classify)) as fleet:
        task = fleet.send({"text": "error 500"}, key="a")
        fleet.run()

        [result] = fleet.results
        assert result.value == {"label": "bug"}
        assert result.read(Verdict) == Verdict(label="bug")
        assert (result.key, result.type, result.causation_id) == ("a", "Verdict", task)
        assert fleet.dead_letters == []
        with pytest.raises(InvalidPayload):
            result.read(Ticket)


def test_a_minute_of_backoff_passes_at_once() -> None:
    handler = Handler(ValueError("a"), ValueError("b"))
    began = time.monotonic()

    with TestFleet(handler.agent, backoff_initial=600, backoff_max=600) as fleet:
        fleet.send(1)
        fleet.run()

        assert [attempt for _, _, attempt in handler.calls] == [1, 2, 3]
        assert 600 <= handler.calls[-1][0] <= 1_200  # half of each wait may be taken off
        assert fleet.now >= 600
    assert time.monotonic() - began < 300


def test_what_always_fails_is_a_dead_letter_with_its_cause() -> None:
    handler = Handler(*[ValueError("no")] * 9)

    with TestFleet(handler.agent, max_attempts=3) as fleet:
        fleet.send({"n": 1}, key="k")
        fleet.run()

        [letter] = fleet.dead_letters
        assert (letter.reason, letter.error, letter.attempts) == ("AttemptsExhausted", "no", 3)
        assert (letter.key, letter.value) == ("k", {"n": 1})
        assert "raise step" in (letter.traceback or "")
        assert repr(letter) == (
            "<dead-letters key='k', value={'n': 1}, reason='AttemptsExhausted', error='no', attempts=3>"
        )


def test_what_is_sent_to_another_lane_is_seen_there() -> None:
    async def split(_task: str, ctx: Context) -> None:
        await ctx.send("billing", {"amount": 3}, type="refund")

    with TestFleet(agent_of(split), lanes=["billing", "spam"]) as fleet:
        fleet.send("hello")
        fleet.run()

        assert [(each.value, each.type) for each in fleet.sent["billing"]] == [({"amount": 3}, "refund")]
        assert fleet.sent["spam"] == fleet.results == []


def test_a_lane_that_was_not_named_is_an_error_that_names_those_that_are() -> None:
    async def split(_task: str, ctx: Context) -> None:
        await ctx.send("bilking", 1)

    with TestFleet(agent_of(split), lanes=["billing"], max_attempts=1) as fleet:
        fleet.send("hello")
        fleet.run()

        assert fleet.dead_letters[0].error == "no lane 'bilking' to send to, there is billing"


def test_the_envelope_is_what_was_sent() -> None:
    seen: list[Context] = []

    async def look(_task: bytes, ctx: Context) -> str:
        seen.append(ctx)
        return "x"

    deadline = datetime.now(UTC) + timedelta(hours=1)
    headers: dict[str, str | bytes] = {"ce_correlationid": "tree", "x": b"\x01"}
    with TestFleet(agent_of(look), config={"tone": "kind"}) as fleet:
        fleet.send(b"\x00", key=b"\xff", id="one", deadline=deadline, headers=headers)
        fleet.run()

        [result] = fleet.results
        assert (result.value, result.correlation_id, result.causation_id) == ("x", "tree", "one")
        assert result.record.key == b"\xff"
    [ctx] = seen
    assert (ctx.id, ctx.deadline, ctx.config) == ("one", deadline, {"tone": "kind"})


def test_a_deadline_passes_in_virtual_time() -> None:
    handler = Handler(RetryLater(7_000))

    with TestFleet(handler.agent) as fleet:
        fleet.send(1, deadline=datetime.now(UTC) + timedelta(hours=1))
        fleet.run(within=10_000)

        assert [letter.reason for letter in fleet.dead_letters] == ["DeadlineExceeded"]


def test_order_by_key_holds_over_a_retry_and_other_keys_go_on() -> None:
    handler = Handler(ValueError("no"))

    with TestFleet(handler.agent, partitions=1, concurrency=1) as fleet:
        for number, key in enumerate("aab"):
            fleet.send(number, key=key)
        fleet.run()

        assert [each.value for each in fleet.results] == [2, 0, 1]


def test_a_crash_repeats_what_was_in_flight_and_nothing_that_was_committed() -> None:
    handler = Handler(0.0, 5.0)

    with TestFleet(handler.agent, partitions=1) as fleet:
        first = fleet.send(1, key="a")
        fleet.run(1.5)  # settled, and committed
        second = fleet.send(2, key="a")
        fleet.run(1)
        fleet.crash()
        fleet.run()

        assert [name for _, name, _ in handler.calls] == [first, second, second]
        assert [each.value for each in fleet.results] == [1, 2]


def test_a_crash_before_the_acknowledgement_repeats_a_result_under_the_same_id() -> None:
    handler = Handler()

    with TestFleet(handler.agent) as fleet:
        fleet.delay(0.5)
        fleet.send(1)
        fleet.run(0.25)
        fleet.crash()
        fleet.run()

        assert len(handler.calls) == 2
        assert len(fleet.results) == 2
        assert len({each.id for each in fleet.results}) == 1


def test_others_take_over_from_a_worker_that_crashed_before_it_is_back() -> None:
    handler = Handler(*[30.0] * 8)

    with TestFleet(handler.agent, workers=2, partitions=8) as fleet:
        for number in range(8):
            fleet.send(number)
        fleet.run(10)
        fleet.crash(worker=1)
        fleet.run()

        again = [moment for moment, _, _ in handler.calls[8:]]
        assert again == [11.0] * 4
        assert len(fleet.results) == 8


def test_a_worker_that_leaves_finishes_what_it_has() -> None:
    handler = Handler(*[20.0] * 4)

    with TestFleet(handler.agent, workers=2) as fleet:
        for number in range(4):
            fleet.send(number)
        fleet.run(1)
        fleet.scale(1)
        fleet.run()

        assert len(handler.calls) == 4
        assert len(fleet.results) == 4


def test_a_partition_that_moves_is_drained_first_and_keeps_its_order() -> None:
    handler = Handler(*[5.0] * 4)

    with TestFleet(handler.agent, partitions=2) as fleet:
        for number in range(8):
            fleet.send(number, key="ab"[number % 2])
        fleet.run(1)
        fleet.scale(2)
        fleet.run()

        assert len(handler.calls) == 8
        for parity in (0, 1):
            assert [each.value for each in fleet.results if each.value % 2 == parity] == [
                number for number in range(8) if number % 2 == parity
            ]


def test_brokers_that_are_away_cost_time_only() -> None:
    handler = Handler(3.0)

    with TestFleet(handler.agent) as fleet:
        fleet.send(1)
        fleet.run(1)
        with fleet.outage():
            fleet.run(20)
            assert fleet.results == []
        fleet.run()

        assert len(handler.calls) == len(fleet.results) == 1


def test_all_tasks_come_again_when_the_groups_offsets_are_reset() -> None:
    handler = Handler()

    with TestFleet(handler.agent) as fleet:
        fleet.send(1)
        fleet.run()
        fleet.redeliver()
        fleet.run()

        assert len(handler.calls) == 2
        assert len({each.id for each in fleet.results}) == 1


def test_a_throttled_worker_waits_and_counts_nothing() -> None:
    handler = Handler(Throttled(90))

    with TestFleet(handler.agent, max_attempts=1) as fleet:
        fleet.send(1)
        fleet.run()

        assert [(moment, attempt) for moment, _, attempt in handler.calls] == [(0.0, 1), (90.0, 1)]
        assert fleet.dead_letters == []


def test_rejected_tasks_and_tombstones_are_dead_letters() -> None:
    handler = Handler(Reject("spam"))

    with TestFleet(handler.agent) as fleet:
        fleet.send(1, key="a")
        fleet.send(None, key="a")
        fleet.run()

        rejected, tombstone = fleet.dead_letters
        assert (rejected.reason, rejected.error, rejected.attempts) == ("Rejected", "spam", 1)
        assert (tombstone.reason, tombstone.value, tombstone.attempts) == ("InvalidPayload", None, 0)


def test_time_does_not_jump_while_a_thread_works() -> None:
    ended: list[str] = []
    may_end = threading.Event()

    def block(_task: int) -> str:
        may_end.wait(10)
        ended.append("thread")
        return "done"

    async def wait(_task: str) -> None:
        await asyncio.sleep(0.2)
        may_end.set()
        ended.append("timer")
        await asyncio.sleep(3_000)

    agent = Agent()
    agent.task(block)
    agent.task(type="wait")(wait)

    with TestFleet(agent, task_timeout=3_600) as fleet:
        fleet.send(1, headers={"ce_type": "block"})
        fleet.send("x", type="wait")
        fleet.run()

        assert ended == ["timer", "thread"]
        assert [each.value for each in fleet.results] == ["done"]
        assert fleet.now >= 3_000


def test_a_blocking_handler_has_its_timeout_in_real_time() -> None:
    may_end = threading.Event()

    def block(_task: int) -> None:
        may_end.wait(10)

    with TestFleet(agent_of(block), task_timeout=0.05, max_attempts=1) as fleet:
        fleet.send(1)
        fleet.run(0.2)
        may_end.set()
        fleet.run()

        assert fleet.dead_letters[0].error == "no result within 0.05 s (a blocking handler)"


def test_a_test_that_never_ends_says_what_it_waits_for() -> None:
    async def wait(_task: int) -> None:
        await asyncio.Event().wait()

    with TestFleet(agent_of(wait), partitions=1, task_timeout=1e6) as fleet:
        fleet.send(1, key="a")
        fleet.send(2, key="a")

        with pytest.raises(NotIdle) as caught:
            fleet.run(within=30)
    assert str(caught.value) == (
        "not idle after 30 s of virtual time:"
        " tasks/0/0 (key 'a') is being handled, attempt 1;"
        " tasks/0/1 (key 'a') waits for its key or for a free place"
    )


def test_a_record_that_fails_for_ever_is_named_with_its_error() -> None:
    handler = Handler(*[RetryLater(1_000)] * 99)

    with TestFleet(handler.agent) as fleet:
        fleet.send(1)

        with pytest.raises(NotIdle, match=r"tasks/0/0 \(key None\) was postponed, attempt 1 in 400 s"):
            fleet.run(within=3_600)


def test_an_outage_that_lasts_is_named() -> None:
    with TestFleet(Handler().agent) as fleet, fleet.outage():
        fleet.send(1)

        with pytest.raises(NotIdle, match="the brokers are away"):
            fleet.run()


def test_a_worker_that_is_not_there_is_an_error() -> None:
    with (
        TestFleet(Handler().agent, workers=2) as fleet,
        pytest.raises(ValueError, match="no worker 2 is running, there is 0, 1"),
    ):
        fleet.crash(2)


def test_an_agent_that_cannot_run_is_refused_at_once() -> None:
    with pytest.raises(InvalidAgent, match="the agent has no task handler"):
        TestFleet(Agent())


def test_it_works_inside_an_event_loop_as_well() -> None:
    handler = Handler()

    async def story() -> list[Any]:
        with TestFleet(handler.agent) as fleet:
            fleet.send(1)
            fleet.run()
            return [each.value for each in fleet.results]

    assert asyncio.run(story()) == [1]
