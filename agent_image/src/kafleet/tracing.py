"""Traces: a span around each attempt, one for each record it emits, and their context in the headers.

By OpenTelemetry's conventions for messaging (1.37 and later, still in development there). Wraps attempts from
outside, so that an agent without tracing runs nothing of it. The libraries are an extra, imported only here
and only when they are needed.
"""

from __future__ import annotations

import asyncio
import sys
from importlib.metadata import entry_points
from typing import TYPE_CHECKING

import structlog

from kafleet.envelopes import InvalidEnvelope, envelope_of
from kafleet.records import Outgoing
from kafleet.verdicts import Failed, Fault, Finished, Refused

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opentelemetry.sdk.trace import TracerProvider as SdkProvider
    from opentelemetry.sdk.trace.export import SpanExporter
    from opentelemetry.trace import Span, Tracer
    from opentelemetry.util.types import AttributeValue
    from structlog.typing import FilteringBoundLogger

    from kafleet.lanes import Lane
    from kafleet.ports import Attempting
    from kafleet.records import Headers, Record
    from kafleet.verdicts import Verdict

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
_EXPORTERS = "OTEL_TRACES_EXPORTER"
_PROTOCOLS = {"http/protobuf": "otlp_proto_http", "grpc": "otlp_proto_grpc"}
_FLUSH_SECONDS = 5.0


def tracing_of(
    lane: Lane, pod: str, attempt: Attempting, logger: FilteringBoundLogger, environment: Mapping[str, str]
) -> Tracing | None:
    """Return what traces these attempts, None where nobody asked for it.

    To be called when the agent is loaded: one that sets up OpenTelemetry itself is left in charge of it.
    Otherwise the standard variables tell: an endpoint or an exporter. What is wrong with them is logged, and
    never keeps an agent from working.
    """
    if environment.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return None
    is_wanted = any(environment.get(name) for name in (*_ENDPOINTS, _EXPORTERS))
    is_wanted = is_wanted and environment.get(_EXPORTERS) != "none"
    if not is_wanted and "opentelemetry" not in sys.modules:
        return None
    try:
        from opentelemetry import trace  # noqa: PLC0415 - an extra
    except ModuleNotFoundError:
        logger.warning("traces are not exported: install kafleet[opentelemetry] in the image")
        return None
    provider: SdkProvider | None = None
    if isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider):  # nobody has set up anything
        provider = _provider(lane, pod, logger, environment) if is_wanted else None
        if provider is None:
            return None
        trace.set_tracer_provider(provider)
    return Tracing(lane, pod, attempt, trace.get_tracer("kafleet"), provider)


class Tracing:
    """Makes attempts with a span around each. `provider` is ours to flush, None if it is somebody else's."""

    def __init__(
        self, lane: Lane, pod: str, attempt: Attempting, tracer: Tracer, provider: SdkProvider | None = None
    ) -> None:
        from opentelemetry import propagate, trace  # noqa: PLC0415 - an extra

        self._trace = trace
        self._propagator = propagate.get_global_textmap()
        self._fields = frozenset(self._propagator.fields)
        self._attempt = attempt
        self._tracer = tracer
        self._provider = provider
        self._common: dict[str, AttributeValue] = {"messaging.system": "kafka", "messaging.client.id": pod}
        self._group = lane.group

    async def attempt(self, record: Record, number: int) -> Verdict:
        """Try the record for the `number`-th time, counted from 1; its sender's span is the parent."""
        carrier = {
            name: value.decode(errors="replace")
            for name, value in record.headers or ()
            if name in self._fields and value is not None
        }
        with (
            self._tracer.start_as_current_span(
                f"process {record.partition.topic}",
                context=self._propagator.extract(carrier),
                kind=self._trace.SpanKind.CONSUMER,
                attributes=self._attributes(record, number),
                record_exception=False,
                set_status_on_exception=False,
            ) as span,
            structlog.contextvars.bound_contextvars(**_names(span)),
        ):
            try:
                verdict = await self._attempt(record, number)
            except asyncio.CancelledError:
                span.set_attribute("kafleet.outcome", "cancelled")
                raise
            span.set_attribute("kafleet.outcome", type(verdict).__name__.lower())
            return self._told(span, verdict)

    async def close(self) -> None:
        """Export what has not been exported yet, within some seconds."""
        if self._provider is not None:
            closing = asyncio.get_running_loop().run_in_executor(None, self._provider.shutdown)
            await asyncio.wait({closing}, timeout=_FLUSH_SECONDS)

    def _attributes(self, record: Record, number: int) -> dict[str, AttributeValue]:
        attributes: dict[str, AttributeValue] = {
            **self._common,
            "messaging.operation.name": "process",
            "messaging.operation.type": "process",
            "messaging.destination.name": record.partition.topic,
            "messaging.destination.partition.id": str(record.partition.number),
            "messaging.consumer.group.name": self._group,
            "messaging.kafka.offset": record.offset,
            "kafleet.attempt": number,
        }
        if record.value is None:
            attributes["messaging.kafka.message.tombstone"] = True
        else:
            attributes["messaging.message.body.size"] = len(record.value)
        attributes.update(_key(record.key))
        try:
            envelope = envelope_of(record)
        except InvalidEnvelope:
            return attributes
        attributes["messaging.message.id"] = envelope.id
        attributes["messaging.message.conversation_id"] = envelope.correlation_id
        return attributes

    def _told(self, span: Span, verdict: Verdict) -> Verdict:
        """Note a fault on the span, and hand its context on to whatever the attempt leads to."""
        match verdict:
            case Finished(outgoing) if outgoing:
                return Finished(tuple(map(self._created, outgoing)))
            case Refused(reason, fault, was_called):
                return Refused(reason, self._failed(span, reason, fault), was_called)
            case Failed(fault):
                return Failed(self._failed(span, fault.kind, fault))
        return verdict

    def _failed(self, span: Span, kind: str, fault: Fault) -> Fault:
        span.set_attribute("error.type", kind)
        span.set_status(self._trace.StatusCode.ERROR, fault.message)
        span.add_event(
            "exception",
            {
                "exception.type": fault.kind,
                "exception.message": fault.message,
                "exception.stacktrace": fault.traceback,
            },
        )
        return Fault(fault.kind, fault.message, fault.traceback, self._context_of(span))

    def _created(self, outgoing: Outgoing) -> Outgoing:
        """Give a record a span of its own, which whoever works on it will name as the parent."""
        attributes = {
            **self._common,
            "messaging.operation.name": "create",
            "messaging.operation.type": "create",
            "messaging.destination.name": outgoing.topic,
            "messaging.message.id": (dict(outgoing.headers).get("ce_id") or b"").decode(),
            **_key(outgoing.key),
        }
        span = self._tracer.start_span(
            f"create {outgoing.topic}", kind=self._trace.SpanKind.PRODUCER, attributes=attributes
        )
        span.end()
        kept = (header for header in outgoing.headers if header[0] not in self._fields)
        headers = [*kept, *self._context_of(span)]
        return Outgoing(outgoing.topic, outgoing.key, outgoing.value, headers)

    def _context_of(self, span: Span) -> Headers:
        carrier: dict[str, str] = {}
        self._propagator.inject(carrier, self._trace.set_span_in_context(span))
        return tuple((name, value.encode()) for name, value in carrier.items())


def _names(span: Span) -> dict[str, str]:
    """Return what the lines that are logged during an attempt carry, to be found by its trace."""
    context = span.get_span_context()
    return {"trace_id": f"{context.trace_id:032x}", "span_id": f"{context.span_id:016x}"}


def _key(key: bytes | None) -> dict[str, str]:
    try:
        return {} if key is None else {"messaging.kafka.message.key": key.decode()}
    except UnicodeDecodeError:
        return {}  # no text, so it has no canonical form, and is left out


def _provider(
    lane: Lane, pod: str, logger: FilteringBoundLogger, environment: Mapping[str, str]
) -> SdkProvider | None:
    """Set up the SDK by its standard variables; it reads those for sampling, batches and limits itself."""
    try:
        from opentelemetry.sdk.resources import Resource  # noqa: PLC0415 - an extra
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415
    except ModuleNotFoundError:
        logger.warning("traces are not exported: install kafleet[opentelemetry] in the image")
        return None
    ours = {"service.instance.id": pod, "k8s.namespace.name": lane.namespace}
    is_named = "OTEL_SERVICE_NAME" in environment or "service.name=" in environment.get(
        "OTEL_RESOURCE_ATTRIBUTES", ""
    )
    if not is_named:
        ours["service.name"] = lane.group
    provider = TracerProvider(resource=Resource.create(ours), shutdown_on_exit=False)
    for name in (environment.get(_EXPORTERS) or "otlp").split(","):
        try:
            exporter = _exporter(name.strip(), environment)
        except Exception as error:  # noqa: BLE001 - whatever it is, an agent works without traces
            logger.warning("traces are not exported", exporter=name, error=f"{type(error).__name__}: {error}")
            return None
        provider.add_span_processor(BatchSpanProcessor(exporter))
    return provider


def _exporter(name: str, environment: Mapping[str, str]) -> SpanExporter:
    if name == "otlp":
        protocol = environment.get("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL") or environment.get(
            "OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"
        )
        name = _PROTOCOLS.get(protocol, f"otlp {protocol}")
    known = entry_points(group="opentelemetry_traces_exporter")
    found = next((each for each in known if each.name == name), None)
    if found is None:
        raise LookupError(
            f"no exporter {name!r} in this image, there is {', '.join(sorted(known.names))};"
            f" set {_EXPORTERS} or OTEL_EXPORTER_OTLP_PROTOCOL to one of them, or install it"
        )
    exporter: SpanExporter = found.load()()
    return exporter
