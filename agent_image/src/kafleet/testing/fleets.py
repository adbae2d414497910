"""TestFleet: an agent's replicas on a log in memory, in virtual time, with faults on request."""

from __future__ import annotations

import asyncio
import contextvars
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, Self

import structlog

from kafleet.attempts import Attempts
from kafleet.lanes import Lane
from kafleet.loading import handlers_of
from kafleet.payloads import encoded
from kafleet.records import Partition, text_of
from kafleet.statuses import seconds_to_retry
from kafleet.testing.clocks import Stuck, VirtualLoop
from kafleet.testing.memory import Log
from kafleet.testing.workers import Group, Worker
from kafleet.testing.written import WrittenRecord

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Coroutine, Iterator, Mapping

    from kafleet.agents import Agent
    from kafleet.backlogs import Item
    from kafleet.dispatching import Dispatcher

_TASKS, _RESULTS, _DEAD_LETTERS = "tasks", "results", "dead-letters"
_PATIENCE_SECONDS = 30.0
"""How long one `run` may take by the clock on the wall."""
_CLOSING_SECONDS = 2.0
_MOST_SHOWN = 5


class NotIdle(AssertionError):
    """Something never ends: the message names it."""


class TestFleet:
    """The replicas of one agent, in memory: the engine that runs in pods, without Kafka and without waiting.

    Time is virtual, in seconds: a backoff of a minute passes at once. Nothing happens but inside `run`. The
    keywords are the fields of `delivery` in the resource, with its defaults; `config` is `agent.config`,
    `lanes` are the names that `ctx.send` accepts.

        with TestFleet(agent) as fleet:
            fleet.send({"text": "error 500"}, key="a")
            fleet.run()
            assert fleet.results[0].value == {"label": "bug"}
    """

    __test__ = False  # for pytest: not a class of tests

    def __init__(
        self,
        agent: Agent,
        *,
        workers: int = 1,
        partitions: int = 4,
        config: Mapping[str, Any] | None = None,
        lanes: Collection[str] = (),
        guarantee: Literal["AtLeastOnce", "ExactlyOnce"] = "AtLeastOnce",
        ordering: Literal["Key", "None"] = "Key",
        concurrency: int = 64,
        task_timeout: float = 60.0,
        max_attempts: int = 5,
        backoff_initial: float = 1.0,
        backoff_max: float = 60.0,
        drain_timeout: float = 30.0,
        hop_limit: int = 32,
    ) -> None:
        self._handlers = handlers_of(agent)
        self._size = workers
        self._lanes = tuple(lanes)
        self._inputs = [Partition(_TASKS, number) for number in range(partitions)]
        self._lane = Lane.model_validate(
            {
                "version": 1,
                "kind": "AgentGroup",
                "namespace": "test",
                "resource": "fleet",
                "lane": "workers",
                "group": "test.fleet.workers",
                "bootstrapServers": "memory",
                "inputs": ({"role": _TASKS, "topic": _TASKS},),
                "outputs": {_RESULTS: _RESULTS},
                "output": _RESULTS,
                "deadLetters": _DEAD_LETTERS,
                "sends": {lane: _topic_of(lane) for lane in lanes},
                "agent": {"handler": "test:agent", "codePath": None, "config": dict(config or {})},
                "delivery": {
                    "guarantee": guarantee,
                    "ordering": ordering,
                    "concurrency": concurrency,
                    "taskTimeoutSeconds": float(task_timeout),
                    "maxAttempts": max_attempts,
                    "backoffInitialSeconds": float(backoff_initial),
                    "backoffMaxSeconds": float(backoff_max),
                    "drainTimeoutSeconds": float(drain_timeout),
                    "hopLimit": hop_limit,
                    "startFrom": "earliest",
                },
                "http": {"port": 0},
            }
        )
        self._loop = VirtualLoop()
        self._runner = asyncio.Runner(loop_factory=lambda: self._loop)
        self._pool = ThreadPoolExecutor(concurrency, thread_name_prefix="handler")
        self._delay = 0.0
        self._thread: ThreadPoolExecutor | None = None  # where the test itself runs in an event loop
        self._began = datetime.now(UTC)

    def __enter__(self) -> Self:
        with suppress(RuntimeError):
            asyncio.get_running_loop()
            self._thread = ThreadPoolExecutor(1, thread_name_prefix="fleet")
        self._call(self._start())
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.gives_up_at = time.monotonic() + _CLOSING_SECONDS
        with suppress(Stuck):
            self._in_thread(self._close)
        self._pool.shutdown(wait=False)
        if self._thread is not None:
            self._thread.shutdown()

    # What a test does

    def send(
        self,
        value: object,
        *,
        key: str | bytes | None = None,
        type: str | None = None,  # noqa: A002 - the record's ce_type, as in Result
        id: str | None = None,  # noqa: A002 - the record's ce_id
        deadline: datetime | None = None,
        headers: Mapping[str, str | bytes] | None = None,
    ) -> str:
        """Append a task and return its id: a model or JSON value as JSON, `str` and `bytes` as they are.

        None is a tombstone. To send one twice as a repeating sender does, send it twice with the same `id`.
        """
        payload = None if value is None else encoded(value)[0]
        due = None if deadline is None else deadline.isoformat()
        named = {"ce_id": id, "ce_type": type, "ce_deadline": due}
        given = {name: text for name, text in named.items() if text is not None} | dict(headers or {})
        record = self._log.append(
            _TASKS,
            key.encode() if isinstance(key, str) else key,
            payload,
            tuple((name, text.encode() if isinstance(text, str) else text) for name, text in given.items()),
        )
        return id or record.name

    def run(self, seconds: float | None = None, *, within: float = 3600.0) -> None:
        """Let the fleet work until everything is settled, or for so many seconds of virtual time.

        Raises NotIdle, saying what is left, if there is still something to do after `within` seconds.
        """
        try:
            self._call(self._until_idle(within) if seconds is None else asyncio.sleep(seconds))
        except TimeoutError:
            raise NotIdle(f"not idle after {within:g} s of virtual time: {self._what_is_left()}") from None
        except Stuck:
            raise NotIdle(
                f"not idle after {_PATIENCE_SECONDS:g} s by the clock on the wall,"
                f" {self.now:g} s of virtual time: {self._what_is_left()}"
            ) from None

    def crash(self, worker: int = 0) -> None:
        """Kill a replica as `kill -9` does; it is started again after two seconds.

        Unlike in a killed process the `finally` blocks of its handlers run.
        """
        self._check(worker)
        self._now(lambda: self._group.crash(worker))

    def scale(self, workers: int) -> None:
        """Let so many replicas be there: partitions move, and what is in flight on them is finished first."""
        self._now(lambda: self._group.scale(workers))

    def delay(self, seconds: float) -> None:
        """Let the brokers take so long to acknowledge what is written and committed from now on."""
        self._delay = seconds
        for worker in self._group.workers.values():
            worker.delay(seconds)

    def redeliver(self) -> None:
        """Let all tasks come again, as after a reset of the group's offsets."""
        self._call(self._group.restart(self._log.forget_commits))

    @contextmanager
    def outage(self) -> Iterator[None]:
        """Let the brokers be away: nothing is read, written or committed."""
        self._log.is_reachable.clear()
        try:
            yield
        finally:
            self._now(self._log.is_reachable.set)
            self._log.changed.set()

    # What a test looks at

    @property
    def results(self) -> list[WrittenRecord]:
        """What handlers returned, as far as it is written, in the order of writing."""
        return self._written(_RESULTS)

    @property
    def dead_letters(self) -> list[WrittenRecord]:
        """The dead letters, in the order of writing."""
        return self._written(_DEAD_LETTERS)

    @property
    def sent(self) -> dict[str, list[WrittenRecord]]:
        """What handlers sent, by lane."""
        return {lane: self._written(_topic_of(lane)) for lane in self._lanes}

    @property
    def now(self) -> float:
        """Seconds of virtual time since the fleet was started."""
        return self._loop.now

    # The loop

    async def _start(self) -> None:
        self._log = Log({_TASKS: len(self._inputs)}, now=lambda: int(self._moment().timestamp() * 1000))
        self._group = Group(self._log, self._inputs, self._worker)
        self._group.scale(self._size)

    def _worker(self) -> Worker:
        logger = structlog.get_logger()
        attempts = Attempts(self._lane, self._handlers, pool=self._pool, logger=logger, now=self._moment)
        return Worker(self._lane, attempts.attempt, self._log, seconds=self._delay, logger=logger)

    def _moment(self) -> datetime:
        return self._began + timedelta(seconds=self._loop.now)

    async def _until_idle(self, within: float) -> None:
        async with asyncio.timeout(within):
            while True:
                self._log.changed.clear()
                if self._is_idle():
                    return
                await self._log.changed.wait()

    def _is_idle(self) -> bool:
        return self._group.is_settled and all(
            self._log.committed[each] == len(self._log.records[each]) for each in self._inputs
        )

    def _call(self, coroutine: Coroutine[Any, Any, None]) -> None:
        self._loop.gives_up_at = time.monotonic() + _PATIENCE_SECONDS
        self._in_thread(partial(self._runner.run, coroutine))

    def _close(self) -> None:
        try:
            self._runner.run(self._group.end())  # before the loop cancels what the workers would start again
        finally:
            self._runner.close()

    def _now(self, change: Callable[[], None]) -> None:
        async def changed() -> None:
            change()

        self._call(changed())

    def _in_thread(self, work: Callable[[], None]) -> None:
        """Work here, or beside the event loop that runs here: one thread has no room for two."""
        if self._thread is None:
            work()
        else:
            self._thread.submit(contextvars.copy_context().run, work).result()

    # What a test is told

    def _written(self, topic: str) -> list[WrittenRecord]:
        return [WrittenRecord(record) for record in self._log.records[Partition(topic, 0)]]

    def _check(self, worker: int) -> None:
        if worker not in self._group.workers:
            there = ", ".join(map(str, sorted(self._group.workers))) or "none"
            raise ValueError(f"no worker {worker} is running, there is {there}")

    def _what_is_left(self) -> str:
        left = [
            _state_of(item, worker.dispatcher, self._loop.now)
            for worker in self._group.workers.values()
            for lot in worker.dispatcher.lots.values()
            for item in lot.items
        ]
        read = sum(sum(worker.source.positions.values()) for worker in self._group.workers.values())
        unread = sum(len(self._log.records[each]) for each in self._inputs) - read
        if not self._log.is_reachable.is_set():
            left.insert(0, "the brokers are away: leave `with fleet.outage()` first")
        if unread > 0:
            left.append(f"{unread} records are not read")
        more = len(left) - _MOST_SHOWN
        shown = left[:_MOST_SHOWN] + ([f"and {more} more"] if more > 0 else [])
        return "; ".join(shown) or "replicas come and go"


def _topic_of(lane: str) -> str:
    return f"{lane}.tasks"


def _state_of(item: Item, dispatcher: Dispatcher, now: float) -> str:
    """Say what a record waits for, and what to do about it."""
    name = f"{item.record.name} (key {text_of(item.record.key)!r})"
    again = seconds_to_retry(item, now)
    if again is not None:
        fault = item.fault
        why = "was postponed" if fault is None else f"failed with {fault.kind}: {fault.message}"
        return f"{name} {why}, attempt {item.attempt} in {again:g} s"
    if item.is_in_flight:
        return f"{name} is being {'handled' if item.outgoing is None else 'written'}, attempt {item.attempt}"
    if dispatcher.throttled_seconds:
        return f"{name} waits, its worker is throttled for {dispatcher.throttled_seconds:g} s"
    return f"{name} waits for its key or for a free place"
