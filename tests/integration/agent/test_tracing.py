"""Agents export what they do as a trace that goes on from lane to lane, when the environment asks for it."""

from __future__ import annotations

import http.server
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from integration.agent.lanes import KafkaLane, Worker
from integration.servers import eventually
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pytest
    from opentelemetry.proto.trace.v1.trace_pb2 import Span

TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
PARENT_ID = "b7ad6b7169203331"
FAILED = 2
CODE = """
import asyncio
from opentelemetry import trace
from kafleet import Agent, Context

agent = Agent()
tracer = trace.get_tracer("mine")

@agent.task
async def answer(task: dict, ctx: Context) -> dict:
    await asyncio.sleep(0)
    with tracer.start_as_current_span("model"):
        ctx.log.info("thinking")
    if "poison" in task:
        raise ValueError("no")
    return {"number": task["number"] + 1}
"""


class Collector:
    """What an OTLP endpoint was sent: spans, and the service of each."""

    def __init__(self) -> None:
        self.spans: list[tuple[str, Span]] = []

    def take(self, body: bytes) -> None:
        for of_resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            names = {each.key: each.value.string_value for each in of_resource.resource.attributes}
            for scope in of_resource.scope_spans:
                self.spans += [(names["service.name"], span) for span in scope.spans]

    def named(self, name: str) -> list[Span]:
        return [span for _, span in self.spans if span.name == name]


@contextmanager
def collector() -> Iterator[tuple[Collector, str]]:
    """Listen as a collector does, and return it with its address."""
    found = Collector()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            found.take(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: Any) -> None:  # noqa: ANN401 - the base class's
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield found, f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_trace_spans_two_lanes_and_leads_to_the_dead_letter(
    lane: KafkaLane, monkeypatch: pytest.MonkeyPatch
) -> None:
    (lane.folder / "mine.py").write_text(CODE)
    final = f"{lane.name}.final"
    lane.create_topics(final)
    first = lane.lane_file("mine:agent", maxAttempts=1)
    second = {
        **first,
        "group": f"{lane.name}-second",
        "inputs": [{"role": "tasks", "topic": lane.results}],
        "outputs": {"results": final},
    }
    with collector() as (collected, endpoint):
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
        monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "100")
        for name, file in (("first", first), ("second", second)):
            lane.workers.append(Worker(f"{lane.name}-{name}", file, lane.folder))
            lane.workers[-1].start()
        traceparent = f"00-{TRACE_ID}-{PARENT_ID}-01".encode()
        lane.write(b"k", b'{"number": 1}', [("traceparent", traceparent)])
        lane.write(b"p", b'{"poison": 1}', [("traceparent", traceparent)])
        lane.flush()
        eventually(lambda: lane.read(final) and lane.read(lane.dead_letters), seconds=60)
        log = eventually(lambda: lane.workers[1].events("thinking"))
        assert [worker.stop() for worker in lane.workers] == [0, 0]

    good = [f"process {lane.tasks}", f"create {lane.results}", f"process {lane.results}", f"create {final}"]
    parent = PARENT_ID
    for name in good:
        spans = [span for span in collected.named(name) if span.status.code != FAILED]
        [span] = [span for span in spans if span.parent_span_id.hex() == parent]
        parent = span.span_id.hex()
    assert {span.trace_id.hex() for _, span in collected.spans} == {TRACE_ID}
    assert {service for service, _ in collected.spans} == {lane.name, f"{lane.name}-second"}
    [written] = lane.read(final)
    assert dict(written.headers())["traceparent"] == f"00-{TRACE_ID}-{parent}-01".encode()

    [failed] = [span for span in collected.named(f"process {lane.tasks}") if span.status.code == FAILED]
    [letter] = lane.read(lane.dead_letters)
    assert dict(letter.headers())["traceparent"] == f"00-{TRACE_ID}-{failed.span_id.hex()}-01".encode()
    [processed] = collected.named(f"process {lane.results}")
    [model] = [span for span in collected.named("model") if span.parent_span_id == processed.span_id]
    assert (log[0]["trace_id"], log[0]["span_id"]) == (TRACE_ID, processed.span_id.hex())
    assert model.trace_id.hex() == TRACE_ID


def test_a_collector_that_is_away_costs_no_record_and_no_time_at_the_end(
    lane: KafkaLane, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    lane.feed(50)
    lane.flush()
    worker = lane.worker("a")
    lane.await_done()

    assert sum(map(len, lane.answers().values())) == 50
    assert worker.stop() == 0
