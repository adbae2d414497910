"""Attempts are spans whose context comes with the record and goes on with all that it leads to."""

from __future__ import annotations

import asyncio
import re
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
import structlog
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.semconv._incubating.attributes import messaging_attributes
from opentelemetry.trace import SpanKind, StatusCode
from unit.agent.fleets import SILENT
from unit.agent.samples import lane, record
from virtual import run

from kafleet import Agent, Context, Reject, RetryLater
from kafleet.attempts import Attempts
from kafleet.envelopes import dead_letter_headers
from kafleet.loading import handlers_of
from kafleet.tracing import Tracing, tracing_of
from kafleet.verdicts import Failed, Finished, Postponed, Refused

if TYPE_CHECKING:
    from collections.abc import Callable

    from kafleet.records import Headers, Record
    from kafleet.verdicts import Verdict

TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
PARENT = (("traceparent", f"00-{TRACE_ID}-b7ad6b7169203331-01".encode()), ("tracestate", b"vendor=1"))
CURRENT = {value for name, value in vars(messaging_attributes).items() if name.startswith("MESSAGING_")}
REPLACED = {"messaging.operation", "messaging.kafka.message.offset", "messaging.kafka.consumer.group"}


class Traced:
    """Attempts with spans that are kept in memory."""

    def __init__(self, handler: Callable[..., Any]) -> None:
        self._kept = InMemorySpanExporter()
        self.provider = TracerProvider()
        self.provider.add_span_processor(SimpleSpanProcessor(self._kept))
        self.tracer = self.provider.get_tracer("handler")
        agent = Agent()
        agent.task(handler)
        self._handlers = handlers_of(agent)

    def attempts(self) -> Tracing:
        attempts = Attempts(lane(), self._handlers, pool=ThreadPoolExecutor(2), logger=SILENT)
        return Tracing(lane(), "pod-1", attempts.attempt, self.provider.get_tracer("kafleet"))

    def attempt(self, *records: Record, number: int = 1) -> list[Verdict]:
        async def story() -> list[Verdict]:
            attempts = self.attempts()
            return list(await asyncio.gather(*(attempts.attempt(each, number) for each in records)))

        return run(story())

    @property
    def spans(self) -> list[ReadableSpan]:
        return sorted(self._kept.get_finished_spans(), key=lambda span: span.start_time or 0)

    def named(self, name: str) -> list[ReadableSpan]:
        return [span for span in self.spans if span.name == name]


def span_id(span: ReadableSpan) -> int:
    return int(span.context.span_id)


def parent_id(span: ReadableSpan) -> int | None:
    return span.parent and span.parent.span_id


def context_in(headers: Headers) -> tuple[str, str]:
    """Return trace id and span id of the traceparent."""
    [parent] = [value or b"" for name, value in headers if name == "traceparent"]
    _, trace_id, span, _ = parent.decode().split("-")
    return trace_id, span


async def answer(_task: dict[str, Any], ctx: Context) -> str:
    await ctx.send("billing", {})
    return "yes"


def test_an_attempt_is_a_consumer_span_by_the_current_conventions() -> None:
    traced = Traced(answer)
    traced.attempt(record(7, b"{}", headers=(("ce_id", b"one"), *PARENT)), number=2)

    [span] = traced.named("process tasks")
    assert span.kind is SpanKind.CONSUMER
    assert span.status.status_code is StatusCode.UNSET
    assert f"{span.context.trace_id:032x}" == TRACE_ID
    assert parent_id(span) == 0xB7AD6B7169203331
    assert dict(span.attributes or {}) == {
        "messaging.system": "kafka",
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "messaging.client.id": "pod-1",
        "messaging.consumer.group.name": "support.triage.workers",
        "messaging.destination.name": "tasks",
        "messaging.destination.partition.id": "0",
        "messaging.kafka.offset": 7,
        "messaging.kafka.message.key": "k",
        "messaging.message.id": "one",
        "messaging.message.conversation_id": "one",
        "messaging.message.body.size": 2,
        "kafleet.attempt": 2,
        "kafleet.outcome": "finished",
    }
    names = {name for each in traced.spans for name in each.attributes or {} if name.startswith("messaging.")}
    assert names <= CURRENT - REPLACED


def test_every_output_has_a_producer_span_and_its_context() -> None:
    traced = Traced(answer)
    [verdict] = traced.attempt(record(headers=PARENT))

    assert isinstance(verdict, Finished)
    [process] = traced.named("process tasks")
    for outgoing in verdict.outgoing:
        [created] = traced.named(f"create {outgoing.topic}")
        assert created.kind is SpanKind.PRODUCER
        assert parent_id(created) == span_id(process)
        assert context_in(outgoing.headers) == (TRACE_ID, f"{span_id(created):016x}")
        assert dict(outgoing.headers)["tracestate"] == b"vendor=1"
    assert len(traced.named("create results")) == len(traced.named("create billing.tasks")) == 1


def test_a_record_that_brings_no_context_begins_a_trace() -> None:
    traced = Traced(answer)
    [verdict] = traced.attempt(record(headers=None), number=1)
    traced.attempt(record(headers=(("traceparent", b"nonsense"),)))

    assert isinstance(verdict, Refused)
    assert [parent_id(span) for span in traced.named("process tasks")] == [None, None]


def test_a_failure_is_an_error_on_the_span_and_its_dead_letter_leads_to_it() -> None:
    async def fail(_task: dict[str, Any]) -> None:
        raise ValueError("no")

    traced = Traced(fail)
    what = record(headers=(("ce_id", b"one"), *PARENT))
    [verdict] = traced.attempt(what)

    assert isinstance(verdict, Failed)
    [span] = traced.named("process tasks")
    assert (span.status.status_code, span.status.description) == (StatusCode.ERROR, "no")
    attributes = dict(span.attributes or {})
    assert (attributes["error.type"], attributes["kafleet.outcome"]) == ("ValueError", "failed")
    [event] = span.events
    assert (event.attributes or {})["exception.type"] == "ValueError"
    assert "Traceback" in str((event.attributes or {})["exception.stacktrace"])
    letter = dead_letter_headers(what, reason="R", fault=verdict.fault, attempts=1, group="g")
    assert context_in(letter) == (TRACE_ID, f"{span_id(span):016x}")
    assert letter[0] == ("ce_id", b"one")


@pytest.mark.parametrize(
    ("error", "outcome", "status"),
    [
        (Reject("spam"), "refused", StatusCode.ERROR),
        (RetryLater(5), "postponed", StatusCode.UNSET),
    ],
)
def test_what_a_handler_decides_is_its_outcome(error: Exception, outcome: str, status: StatusCode) -> None:
    async def decide(_task: dict[str, Any]) -> None:
        raise error

    traced = Traced(decide)
    [verdict] = traced.attempt(record())

    assert isinstance(verdict, Refused | Postponed)
    [span] = traced.named("process tasks")
    assert (dict(span.attributes or {})["kafleet.outcome"], span.status.status_code) == (outcome, status)


def test_an_attempt_that_is_cancelled_ends_its_span_and_stays_cancelled() -> None:
    async def wait(_task: dict[str, Any]) -> None:
        await asyncio.sleep(60)

    traced = Traced(wait)

    async def story() -> None:
        task = asyncio.create_task(traced.attempts().attempt(record(), 1))
        await asyncio.sleep(0.1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run(story())
    [span] = traced.named("process tasks")
    assert dict(span.attributes or {})["kafleet.outcome"] == "cancelled"


def test_a_thousand_handlers_at_once_each_see_their_own_span() -> None:
    async def think(task: dict[str, Any]) -> None:
        await asyncio.sleep(task["n"] % 3)
        with traced.tracer.start_as_current_span("model", attributes={"n": task["n"]}):
            await asyncio.sleep(task["n"] % 4)
            seen.append((task["n"], trace.get_current_span().get_span_context().span_id))

    seen: list[tuple[int, int]] = []
    traced = Traced(think)
    traced.attempt(*(record(n, b'{"n": %d}' % n, key=None) for n in range(1_000)))

    offset_of = {
        span_id(span): (span.attributes or {})["messaging.kafka.offset"]
        for span in traced.named("process tasks")
    }
    models = {span_id(span): span for span in traced.named("model")}
    assert len(offset_of) == len(models) == len(seen) == 1_000
    assert all(offset_of[parent_id(models[span]) or 0] == n for n, span in seen)


def test_a_blocking_handler_and_its_logger_see_the_span_as_well() -> None:
    def block(_task: dict[str, Any]) -> None:
        with traced.tracer.start_as_current_span("model"):
            bound.append(structlog.contextvars.get_contextvars())

    bound: list[dict[str, Any]] = []
    traced = Traced(block)
    traced.attempt(record(headers=PARENT))

    [process], [model] = traced.named("process tasks"), traced.named("model")
    assert parent_id(model) == span_id(process)
    assert bound == [{"trace_id": TRACE_ID, "span_id": f"{span_id(process):016x}"}]


def test_a_key_that_is_no_text_is_left_out_and_a_tombstone_is_told() -> None:
    traced = Traced(answer)
    traced.attempt(record(value=None, key=b"\xff"))

    [span] = traced.named("process tasks")
    attributes = dict(span.attributes or {})
    assert "messaging.kafka.message.key" not in attributes
    assert attributes["messaging.kafka.message.tombstone"] is True


@pytest.mark.parametrize(
    ("environment", "complaint"),
    [
        ({}, None),
        ({"OTEL_TRACES_EXPORTER": "none"}, None),
        ({"OTEL_TRACES_EXPORTER": "otlp", "OTEL_SDK_DISABLED": "true"}, None),
        (
            {"OTEL_TRACES_EXPORTER": "zipkin"},
            "no exporter 'zipkin' in this image, there is console, ",
        ),
        (
            {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4317", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"},
            "no exporter 'otlp_proto_grpc' .*set OTEL_TRACES_EXPORTER or OTEL_EXPORTER_OTLP_PROTOCOL",
        ),
        (
            {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4317", "OTEL_EXPORTER_OTLP_PROTOCOL": "smoke"},
            "no exporter 'otlp smoke' in this image",
        ),
    ],
)
def test_without_an_exporter_nothing_is_traced_and_a_wrong_one_is_named(
    environment: dict[str, str], complaint: str | None
) -> None:
    async def attempt(_record: Record, _number: int) -> Verdict:
        return Finished()

    with structlog.testing.capture_logs() as logs:
        found = tracing_of(lane(), "pod-1", attempt, structlog.get_logger(), environment)

    assert found is None
    assert bool(logs) == (complaint is not None)
    if complaint is not None:
        [line] = logs
        assert line["event"] == "traces are not exported"
        assert re.search(complaint, line["error"])
