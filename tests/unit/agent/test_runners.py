"""Many attempts share a task, and none of them ever notices."""

from __future__ import annotations

import asyncio
import gc
from collections import deque
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import pytest
import structlog
from unit.agent.samples import lane, record
from virtual import run, until

from kafleet import Agent, Context
from kafleet.backlogs import Item, Lot
from kafleet.ports import Assignment
from kafleet.records import Partition
from kafleet.runners import TURN_ATTEMPTS, Runners, _Runner
from kafleet.testing import TestFleet
from kafleet.verdicts import Finished, Verdict

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

NAME: ContextVar[object] = ContextVar("name", default=None)
MANY = 20_000
WAITS = pytest.mark.parametrize("waits", [True, False], ids=["waits", "never waits"])


class Uncomparable:
    def __eq__(self, other: object) -> bool:
        raise ValueError("neither equal nor not")

    __hash__ = object.__hash__


class Work:
    """So many attempts to be made, and what came of them."""

    def __init__(self, count: int, attempt: Callable[[int], Awaitable[object]]) -> None:
        lot = Lot(Partition("tasks", 0), Assignment(1, 0, ""), lane().delivery, now=0.0)
        self.left = deque(Item(record(offset), lot) for offset in range(count))
        self.count = count
        self.outcomes: list[tuple[int, type]] = []
        self.ended_with: list[object] = []  # the context variable, where ends are told
        self.tasks: list[asyncio.Task[Any] | None] = []
        self._attempt = attempt
        self.runners = Runners(
            self._make, is_needed=lambda: bool(self.left), take=self._take, ended=self._ended
        )

    async def all_done(self) -> None:
        self.runners.wake()
        await until(asyncio.get_running_loop().time() + 100)
        assert len(self.outcomes) == self.count
        assert not self.runners.waiting

    def _take(self) -> Item | None:
        return self.left.popleft() if self.left else None

    async def _make(self, item: Item) -> Verdict:
        self.tasks.append(asyncio.current_task())
        await self._attempt(item.record.offset)
        return Finished()

    def _ended(self, item: Item, outcome: Verdict | BaseException, _now: float) -> None:
        self.outcomes.append((item.record.offset, type(outcome)))
        self.ended_with.append(NAME.get())


@WAITS
@pytest.mark.parametrize("value", ["secret", Uncomparable()], ids=["text", "uncomparable"])
def test_a_context_variable_is_seen_by_its_attempt_only(*, waits: bool, value: object) -> None:
    seen: list[object] = []

    async def attempt(number: int) -> None:
        seen.append(NAME.get())
        NAME.set(value)
        if waits:
            await asyncio.sleep(number % 3)
        assert NAME.get() is value

    async def story() -> None:
        work = Work(20, attempt)
        await work.all_done()
        assert seen == work.ended_with == [None] * 20
        assert {kind for _, kind in work.outcomes} == {Finished}

    run(story())


@WAITS
def test_what_a_handler_binds_to_its_log_lines_is_not_on_those_of_the_next(*, waits: bool) -> None:
    seen: list[dict[str, Any]] = []
    agent = Agent()

    @agent.task
    async def handle(_task: int, ctx: Context) -> None:
        seen.append(structlog.contextvars.get_contextvars())
        structlog.contextvars.bind_contextvars(customer=ctx.id)
        if waits:
            await asyncio.sleep(1)
        assert structlog.contextvars.get_contextvars()["customer"] == ctx.id

    with TestFleet(agent) as fleet:
        for number in range(10):
            fleet.send(number)
        fleet.run()
        assert fleet.dead_letters == []
    assert seen == [{}] * 10


def test_attempts_that_never_wait_share_a_task() -> None:
    async def attempt(_number: int) -> None: ...

    async def story() -> None:
        work = Work(3 * TURN_ATTEMPTS, attempt)
        await work.all_done()
        assert [number for number, _ in work.outcomes] == list(range(3 * TURN_ATTEMPTS))
        assert len(set(work.tasks)) == 3

    run(story())


@WAITS
def test_runners_leave_nothing_for_the_collector(*, waits: bool) -> None:
    """A task that holds what holds the task would stay until a collection, with all that it has seen."""

    async def attempt(_number: int) -> None:
        if waits:
            await asyncio.sleep(1)

    async def story() -> None:
        before = runners()
        work = Work(3 * TURN_ATTEMPTS, attempt)
        await work.all_done()
        work.tasks.clear()
        assert all(any(found is known for known in before) for found in runners())

    def runners() -> list[_Runner]:
        return [found for found in gc.get_objects() if isinstance(found, _Runner)]

    gc.collect()
    gc.disable()
    try:
        run(story())
    finally:
        gc.enable()


def test_others_have_their_turn_while_attempts_never_wait() -> None:
    async def attempt(_number: int) -> None: ...

    async def story() -> None:
        loop = asyncio.get_running_loop()
        work = Work(MANY, attempt)
        rang: list[int] = []
        work.runners.wake()
        for delay in (0, 0.000_001):
            loop.call_later(delay, lambda: rang.append(len(work.left)))
        for _ in range(100):
            await asyncio.sleep(0)
        assert len(rang) == 2
        assert min(rang) >= len(work.left) > 0
        work.left.clear()

    asyncio.run(story())  # in virtual time no time passes while somebody works


def test_a_thousand_attempts_that_wait_have_begun_within_a_dozen_turns() -> None:
    async def story() -> None:
        gate = asyncio.Event()
        work = Work(1_000, lambda _number: gate.wait())
        work.runners.wake()
        for _ in range(12):
            await asyncio.sleep(0)
        assert len(work.runners.waiting) == 1_000
        assert all(work.runners.waiting[task].task is task for task in work.runners.waiting)
        gate.set()
        await work.all_done()

    run(story())


def test_the_task_is_the_attempts_own_while_it_lasts() -> None:
    """`asyncio.timeout`, `TaskGroup` and whatever cancels the present task must find the right one."""
    ended: list[str] = []

    async def child(name: str) -> None:
        assert NAME.get() == name
        await asyncio.sleep(1)

    async def attempt(number: int) -> None:
        task = asyncio.current_task()
        NAME.set(f"attempt {number}")
        if number % 4 == 0:
            return
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(2):
                await asyncio.sleep(50)
        async with asyncio.TaskGroup() as group:
            for _ in range(3):
                group.create_task(child(f"attempt {number}"))
        assert task is asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0
        ended.append(f"attempt {number}")

    async def story() -> None:
        work = Work(40, attempt)
        await work.all_done()
        assert {kind for _, kind in work.outcomes} == {Finished}
        assert len(ended) == 30

    run(story())


@pytest.mark.parametrize("when", ["at once", "when it waits", "never"])
def test_a_cancellation_meets_no_other_attempt(when: str) -> None:
    """Whatever the handler does about it: let it through, swallow it, or be done before it comes."""

    async def attempt(number: int) -> None:
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0
        if number % 2:
            await asyncio.sleep(0.5 if number % 3 else 0)
            return
        task.cancel()
        if when == "at once":
            await asyncio.sleep(0)
        elif when == "when it waits":
            try:
                await asyncio.sleep(1)
            except asyncio.CancelledError:
                await asyncio.sleep(1)

    async def story() -> None:
        work = Work(20, attempt)
        await work.all_done()
        kind = asyncio.CancelledError if when == "at once" else Finished
        assert sorted(work.outcomes) == [(each, Finished if each % 2 else kind) for each in range(20)]

    run(story())


def test_a_mistake_of_the_engine_at_one_record_stops_no_other() -> None:
    async def attempt(number: int) -> None:
        if number % 2:
            await asyncio.sleep(1)

    async def story() -> list[str]:
        said: list[str] = []
        asyncio.get_running_loop().set_exception_handler(
            lambda _loop, what: said.append(repr(what["exception"]))
        )
        work = Work(10, attempt)
        ends = work._ended

        def ended(item: Item, outcome: Verdict | BaseException, now: float) -> None:
            ends(item, outcome, now)
            if item.record.offset < 2:
                raise KeyError(item.record.offset)

        work.runners._ended = ended
        await work.all_done()
        return said

    assert run(story()) == ["KeyError(0)", "KeyError(1)"]
