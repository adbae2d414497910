"""Whatever a record holds and a handler does, an attempt ends in a verdict."""

from __future__ import annotations

import asyncio
import functools
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import BaseModel
from unit.agent.fleets import SILENT
from unit.agent.samples import lane, record
from virtual import run

from kafleet import Agent, Context, Reject, Result, RetryLater, Throttled
from kafleet.attempts import Attempts
from kafleet.loading import handlers_of
from kafleet.verdicts import Failed, Fault, Finished, Postponed, Refused, Saturated, Verdict

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

    from kafleet.records import Headers, Record

NOW = datetime(2026, 11, 23, 12, 30, tzinfo=UTC)


class Verdicts(BaseModel):
    label: str


def attempts_of(handler: Callable[..., Any], **delivery: object) -> Attempts:
    agent = Agent()
    agent.task(handler)
    pool = ThreadPoolExecutor(2)
    return Attempts(lane(**delivery), handlers_of(agent), pool=pool, logger=SILENT, now=lambda: NOW)


def attempt(
    handler: Callable[..., Any], what: Record | None = None, number: int = 1, **delivery: object
) -> Verdict:
    async def story() -> Verdict:
        return await attempts_of(handler, **delivery).attempt(what or record(), number)

    return run(story())


def finished(verdict: Verdict) -> list[tuple[str, bytes | None, bytes | None, str]]:
    assert isinstance(verdict, Finished), verdict
    return [
        (each.topic, each.key, each.value, (dict(each.headers)["ce_type"] or b"").decode())
        for each in verdict.outgoing
    ]


def headers_of(verdict: Verdict) -> list[dict[str, bytes | None]]:
    assert isinstance(verdict, Finished)
    return [dict(each.headers) for each in verdict.outgoing]


def test_a_return_value_goes_to_the_output_topic_under_the_tasks_key() -> None:
    async def label(_task: dict[str, Any]) -> Verdicts:
        return Verdicts(label="bug")

    assert finished(attempt(label, record(key=b"\xff"))) == [
        ("results", b"\xff", b'{"label":"bug"}', "Verdicts")
    ]


def test_none_is_nothing() -> None:
    async def label(_task: dict[str, Any]) -> None: ...

    assert attempt(label) == Finished(())


def test_a_result_may_have_a_key_and_a_type_of_its_own() -> None:
    async def label(_task: dict[str, Any]) -> Result:
        return Result([1], key="other", type="spam")

    assert finished(attempt(label)) == [("results", b"other", b"[1]", "spam")]


def test_a_generator_and_sends_emit_in_order_with_ids_that_are_the_same_on_every_attempt() -> None:
    async def split(task: dict[str, Any], ctx: Context) -> AsyncIterator[Any]:
        yield 1
        await ctx.send("billing", {"amount": 3}, type="refund")
        yield Result(2, key="b")
        await ctx.send("billing", task, key="c")

    first, second = attempt(split), attempt(split, number=2)

    assert [each[:1] + each[2:] for each in finished(first)] == [
        ("results", b"1", "result"),
        ("billing.tasks", b'{"amount":3}', "refund"),
        ("results", b"2", "result"),
        ("billing.tasks", b"{}", "task"),
    ]
    ids = [headers["ce_id"] for headers in headers_of(first)]
    assert len(set(ids)) == 4
    assert ids == [headers["ce_id"] for headers in headers_of(second)]
    keys = [each[1] for each in finished(first)]
    assert keys == [b"k", ids[1], b"b", b"c"]  # a send without a key spreads


def test_a_plain_function_runs_in_a_thread() -> None:
    def label(task: str) -> tuple[str, bool]:
        return task.upper(), threading.current_thread() is threading.main_thread()

    assert finished(attempt(label, record(value=b"hi"))) == [("results", b"k", b'["HI",false]', "result")]


def test_the_context_tells_what_is_known() -> None:
    seen: list[Context] = []

    async def label(_task: dict[str, Any], ctx: Context) -> None:
        seen.append(ctx)

    headers: Headers = (
        ("ce_id", b"one"),
        ("ce_correlationid", b"tree"),
        ("ce_deadline", b"2026-11-23T13:00:00Z"),
    )
    attempt(label, record(headers=headers), number=3)

    [ctx] = seen
    assert (ctx.id, ctx.key, ctx.attempt, ctx.correlation_id) == ("one", "k", 3, "tree")
    assert ctx.deadline == NOW + timedelta(minutes=30)
    assert ctx.config == {"tone": "kind"}


def test_a_send_hands_the_deadline_on_and_a_result_does_not() -> None:
    async def both(_task: dict[str, Any], ctx: Context) -> int:
        await ctx.send("billing", 1)
        return 2

    sent, result = headers_of(attempt(both, record(headers=(("ce_deadline", b"2026-11-23T13:00:00Z"),))))
    assert sent["ce_deadline"] == b"2026-11-23T13:00:00Z"
    assert "ce_deadline" not in result


def raising(error: BaseException) -> Callable[[dict[str, Any]], Awaitable[None]]:
    async def fail(_task: dict[str, Any]) -> None:
        raise error

    return fail


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (Reject("spam"), Refused("Rejected", Fault("Reject", "spam"), was_called=True)),
        (RetryLater(90), Postponed(90.0)),
        (Throttled(2.5), Saturated(2.5)),
    ],
)
def test_what_a_handler_raises_says_how_to_go_on(error: Exception, expected: Verdict) -> None:
    assert attempt(raising(error)) == expected


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (ValueError("no"), "ValueError"),
        (TimeoutError(), "TimeoutError"),
        (SystemExit(3), "SystemExit"),
        (asyncio.CancelledError(), "asyncio.exceptions.CancelledError"),
        (RecursionError(), "RecursionError"),
    ],
)
def test_any_other_error_is_a_failed_attempt(error: BaseException, kind: str) -> None:
    verdict = attempt(raising(error))

    assert isinstance(verdict, Failed)
    assert verdict.fault.kind == kind
    assert "raise error" in verdict.fault.traceback


@pytest.mark.parametrize("after", [-1, float("nan"), float("inf")])
def test_waiting_for_nonsense_is_an_error_where_it_is_written(after: float) -> None:
    with pytest.raises(ValueError, match="after must be a number of seconds"):
        RetryLater(after)


def test_what_has_no_json_is_a_failed_attempt() -> None:
    async def label(_task: dict[str, Any]) -> object:
        return object()

    verdict = attempt(label)
    assert isinstance(verdict, Failed)
    assert "Unable to serialize unknown type" in verdict.fault.message


def test_a_send_to_a_lane_that_is_not_there_names_those_that_are() -> None:
    async def label(_task: dict[str, Any], ctx: Context) -> None:
        await ctx.send("bilking", 1)

    verdict = attempt(label)
    assert isinstance(verdict, Failed)
    assert verdict.fault.message == "no lane 'bilking' to send to, there is billing"


def test_an_attempt_over_its_time_is_cancelled_and_has_failed() -> None:
    cancelled: list[bool] = []

    async def hang(_task: dict[str, Any]) -> None:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            cancelled.append(True)
            raise

    assert attempt(hang, taskTimeoutSeconds=2) == Failed(Fault("TimedOut", "no result within 2 s"))
    assert cancelled == [True]


def test_a_deadline_that_passes_meanwhile_or_before_is_a_dead_letter() -> None:
    async def hang(_task: dict[str, Any]) -> None:
        await asyncio.sleep(3600)

    past = attempt(hang, record(headers=(("ce_deadline", b"2026-11-23T12:29:59Z"),)))
    assert isinstance(past, Refused)
    assert (past.reason, past.was_called) == ("DeadlineExceeded", False)


def test_the_dispatchers_cancellation_passes_through() -> None:
    async def hang(_task: dict[str, Any]) -> None:
        await asyncio.sleep(3600)

    async def story() -> bool:
        task = asyncio.create_task(_as_coroutine(attempts_of(hang).attempt(record(), 1)))
        await asyncio.sleep(1)
        task.cancel()
        await asyncio.wait({task})
        return task.cancelled()

    assert run(story())


def test_a_blocking_handler_over_its_time_is_waited_for_and_has_failed() -> None:
    release = threading.Event()

    def hang(_task: dict[str, Any]) -> int:
        release.wait(10)
        return 1

    async def story() -> Verdict:
        task = asyncio.create_task(
            _as_coroutine(attempts_of(hang, taskTimeoutSeconds=2).attempt(record(), 1))
        )
        await asyncio.sleep(5)  # virtual: its time is over
        assert not task.done()
        release.set()
        return await task

    verdict = run(story())
    assert isinstance(verdict, Failed)
    assert verdict.fault.kind == "TimedOut"


def test_a_blocking_handler_that_is_cancelled_keeps_its_slot_until_it_returns() -> None:
    release = threading.Event()

    def hang(_task: dict[str, Any]) -> int:
        release.wait(10)
        return 1

    async def story() -> bool:
        task = asyncio.create_task(_as_coroutine(attempts_of(hang).attempt(record(), 1)))
        for _ in range(3):
            await asyncio.sleep(1)
            task.cancel()
        assert not task.done()
        release.set()
        await asyncio.wait({task})
        return task.cancelled()

    assert run(story())


@pytest.mark.parametrize(
    ("what", "reason"),
    [
        (record(value=None), "InvalidPayload"),
        (record(value=b""), "InvalidPayload"),
        (record(value=b"\xff"), "InvalidPayload"),
        (record(headers=None), "InvalidEnvelope"),
        (record(headers=(("ce_hops", b"x"),)), "InvalidEnvelope"),
        (record(headers=(("ce_hops", b"33"),)), "HopLimit"),
    ],
)
def test_what_cannot_be_a_task_never_reaches_the_handler(what: Record, reason: str) -> None:
    verdict = attempt(raising(AssertionError("called")), what)

    assert isinstance(verdict, Refused)
    assert (verdict.reason, verdict.was_called) == (reason, False)
    assert verdict.fault.message


def test_a_blocking_handler_sends_without_await_and_may_yield() -> None:
    def split(task: str, ctx: Context) -> Iterator[str]:
        for word in task.split():
            ctx.send("billing", word, type=f"from {ctx.type}")  # type: ignore[unused-awaitable,unused-ignore]
            yield word.upper()

    verdict = attempt(split, record(value=b"a b", headers=(("ce_type", b"text"),)))

    assert [(topic, value, kind) for topic, _, value, kind in finished(verdict)] == [
        ("billing.tasks", b"a", "from text"),
        ("results", b"A", "result"),
        ("billing.tasks", b"b", "from text"),
        ("results", b"B", "result"),
    ]


def test_a_handler_sees_the_headers_and_of_several_with_one_name_the_last() -> None:
    async def tell(_task: dict[str, Any], ctx: Context) -> list[str]:
        return [f"{name}={(value or b'').decode()}" for name, value in ctx.headers.items()]

    headers = (("tenant", b"a"), ("ce_id", b"1"), ("tenant", b"b"), ("empty", None))
    [(_, _, value, _)] = finished(attempt(tell, record(headers=headers)))
    assert json.loads(value or b"") == ["tenant=b", "ce_id=1", "empty="]


def test_a_decorator_that_forgets_to_await_fails_in_words() -> None:
    async def label(_task: dict[str, Any]) -> int:
        return 1

    @functools.wraps(label)
    def forgetful(*args: Any) -> Any:  # noqa: ANN401 - a decorator's
        return label(*args)

    verdict = attempt(forgetful)

    assert isinstance(verdict, Failed)
    assert "returned a coroutine that nobody awaits; make it, or the decorator around it, `async def`" in (
        verdict.fault.message
    )


def test_hops_up_to_the_limit_are_fine() -> None:
    async def label(_task: dict[str, Any]) -> int:
        return 1

    [headers] = headers_of(attempt(label, record(headers=(("ce_hops", b"32"),))))
    assert headers["ce_hops"] == b"33"


def test_a_validator_that_raises_what_it_likes_is_a_failed_attempt() -> None:
    class Odd(dict[str, Any]):
        @classmethod
        def __get_pydantic_core_schema__(cls, _source: object, handler: Any) -> Any:  # noqa: ANN401 - pydantic's
            from pydantic_core import core_schema  # noqa: PLC0415 - for this class only

            def explode(_value: object) -> None:
                raise KeyError("odd")

            return core_schema.no_info_before_validator_function(explode, handler(dict))

    async def label(_task: Any) -> None: ...  # noqa: ANN401 - replaced below

    label.__annotations__["_task"] = Odd
    verdict = attempt(label)
    assert isinstance(verdict, Failed)
    assert verdict.fault.kind == "KeyError"


async def _as_coroutine(awaitable: Awaitable[Verdict]) -> Verdict:
    return await awaitable
