"""One attempt at one record: read it, call the user's handler, encode what it emitted.

Whatever the record holds and whatever the handler does, a verdict comes out; only cancellation passes.
"""

from __future__ import annotations

import asyncio
import inspect
from contextlib import aclosing
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from kafleet.agents import Context, Result, Send
from kafleet.envelopes import InvalidEnvelope, emitted_headers, emitted_id, envelope_of
from kafleet.errors import Reject, RetryLater, Throttled
from kafleet.loading import Form
from kafleet.payloads import InvalidPayload, encoded, kind_of
from kafleet.records import Outgoing
from kafleet.verdicts import Failed, Fault, Finished, Postponed, Refused, Saturated

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Executor

    from structlog.typing import FilteringBoundLogger

    from kafleet.envelopes import Envelope
    from kafleet.lanes import Lane
    from kafleet.loading import Handler, Handlers
    from kafleet.records import Record
    from kafleet.verdicts import Verdict

_DEFAULT_SEND_TYPE = "task"
_IN_A_THREAD = (Form.BLOCKING, Form.BLOCKING_GENERATOR)


def _utc_now() -> datetime:
    return datetime.now(UTC)


class TimedOut(Exception):
    """An attempt took longer than the lane's task timeout."""


class Attempts:
    """Makes attempts for one lane. Blocking handlers run in `pool`; `now` tells the time, with a zone."""

    def __init__(
        self,
        lane: Lane,
        handlers: Handlers,
        *,
        pool: Executor,
        logger: FilteringBoundLogger,
        now: Callable[[], datetime] = _utc_now,
    ) -> None:
        self._lane = lane
        self._handlers = handlers
        self._pool = pool
        self._logger = logger
        self._now = now
        self._lanes = frozenset(lane.sends)

    async def attempt(self, record: Record, number: int) -> Verdict:
        """Try the record for the `number`-th time, counted from 1."""
        try:
            envelope = envelope_of(record)
        except InvalidEnvelope as error:
            return self._noted(
                Refused("InvalidEnvelope", Fault("InvalidEnvelope", str(error))), record, None, number
            )
        verdict = self._refusal(envelope) or await self._try(record, envelope, number)
        return self._noted(verdict, record, envelope, number)

    def _refusal(self, envelope: Envelope) -> Refused | None:
        hop_limit = self._lane.delivery.hop_limit
        if envelope.hops > hop_limit:
            return Refused("HopLimit", Fault("HopLimit", f"{envelope.hops} hops, the limit is {hop_limit}"))
        if self._is_late(envelope):
            return Refused("DeadlineExceeded", _deadline_fault(envelope))
        return None

    async def _try(self, record: Record, envelope: Envelope, number: int) -> Verdict:
        handler = self._handlers.handler_for(envelope.type)
        if handler is None:
            return Refused("UnknownType", Fault("UnknownType", f"no handler for type {envelope.type!r}"))
        context = self._context(record, envelope, number)
        try:
            task = handler.decode(record.value)
            await self._run(handler, task, context, self._seconds_for(envelope))
            return Finished(self._outgoing(record, envelope, context))
        except asyncio.CancelledError as error:
            # A handler may let a cancellation of its own escape; only the dispatcher's may end the attempt.
            current = asyncio.current_task()
            if current is not None and current.cancelling():
                raise
            return Failed(Fault.of(error))
        except (Exception, SystemExit) as error:  # noqa: BLE001 - user code; sys.exit() must not end the process
            return self._judged(error, envelope)

    def _judged(self, error: BaseException, envelope: Envelope) -> Verdict:
        match error:
            case InvalidPayload():
                return Refused("InvalidPayload", _payload_fault(error, envelope))
            case Reject():
                return Refused("Rejected", _fault_of(error), was_called=True)
            case RetryLater(after=after):
                return Postponed(after)
            case Throttled(after=after):
                return Saturated(after)
            case TimedOut() if self._is_late(envelope):
                return Refused("DeadlineExceeded", _deadline_fault(envelope), was_called=True)
        return Failed(_fault_of(error))

    def _noted(self, verdict: Verdict, record: Record, envelope: Envelope | None, number: int) -> Verdict:
        """Log an attempt that failed: one line, with all that names the record."""
        if isinstance(verdict, Failed | Refused):
            self._logger.warning(
                "attempt failed",
                **_names(record, envelope, number),
                reason=verdict.reason if isinstance(verdict, Refused) else "HandlerFailed",
                error=f"{verdict.fault.kind}: {verdict.fault.message}",
                traceback=verdict.fault.traceback or None,
            )
        return verdict

    async def _run(self, handler: Handler, task: object, context: Context, seconds: float) -> None:
        arguments = (task, context) if handler.takes_context else (task,)
        if handler.form in _IN_A_THREAD:
            await self._run_in_thread(handler, partial(_call, handler, arguments, context), seconds)
            return
        scope = asyncio.timeout(seconds)
        try:
            async with scope:
                if handler.form is Form.COROUTINE:
                    context.emitted.append(_as_result(await handler.function(*arguments)))
                    return
                async with aclosing(handler.function(*arguments)) as values:
                    async for value in values:
                        context.emitted.append(_as_result(value))
        except TimeoutError:
            if not scope.expired():
                raise  # the handler's own
            raise TimedOut(f"no result within {seconds:g} s") from None

    async def _run_in_thread(self, handler: Handler, function: Callable[[], None], seconds: float) -> None:
        """Wait for the thread whatever happens: nothing can stop it, so its key and slot stay taken."""
        call = asyncio.get_running_loop().run_in_executor(self._pool, function)
        try:
            done, _ = await asyncio.wait({call}, timeout=seconds)
        except asyncio.CancelledError:
            await _until_done(call)
            raise
        if done:
            await call
            return
        self._logger.warning(
            "blocking handler is over its timeout and cannot be cancelled", handler=handler.name
        )
        await _until_done(call)
        raise TimedOut(f"no result within {seconds:g} s (a blocking handler)")

    def _context(self, record: Record, envelope: Envelope, number: int) -> Context:
        return Context(
            id=envelope.id,
            key=None if record.key is None else record.key.decode("utf-8", "surrogateescape"),
            type=envelope.type,
            attempt=number,
            deadline=envelope.deadline,
            correlation_id=envelope.correlation_id,
            config=self._lane.agent.config,
            lanes=self._lanes,
            log=self._logger.bind(**_names(record, envelope, number)),
        )

    def _is_late(self, envelope: Envelope) -> bool:
        return envelope.deadline is not None and envelope.deadline <= self._now()

    def _seconds_for(self, envelope: Envelope) -> float:
        seconds = self._lane.delivery.task_timeout_seconds
        if envelope.deadline is None:
            return seconds
        return min(seconds, (envelope.deadline - self._now()).total_seconds())

    def _outgoing(self, record: Record, envelope: Envelope, context: Context) -> tuple[Outgoing, ...]:
        emitted = [
            emission
            for emission in context.emitted
            if isinstance(emission, Send) or emission.value is not None
        ]
        return tuple(
            self._emission(record, envelope, emission, position) for position, emission in enumerate(emitted)
        )

    def _emission(
        self, record: Record, envelope: Envelope, emission: Send | Result, position: int
    ) -> Outgoing:
        identity = emitted_id(self._lane.group, envelope.id, position)
        key = _key_bytes(emission.key)
        if isinstance(emission, Send):
            topic, payload, deadline = self._lane.sends[emission.lane], emission.payload, envelope.deadline
            kind = emission.type or _DEFAULT_SEND_TYPE
            key = identity.encode() if key is None else key  # spreads work; never the parent's key
        else:
            topic, payload, deadline = self._lane.output_topic, emission.value, None
            kind = emission.type or kind_of(emission.value)
            key = record.key if key is None else key
        value, content_type = encoded(payload)
        headers = emitted_headers(
            envelope,
            identity=identity,
            source=self._lane.group,
            kind=kind,
            key=key,
            content_type=content_type,
            now=self._now(),
            deadline=deadline,
        )
        return Outgoing(topic, key, value, headers)


def _call(handler: Handler, arguments: tuple[object, ...], context: Context) -> None:
    """Call a blocking handler, in a thread, and note what it returned or yielded."""
    found = handler.function(*arguments)
    if handler.form is Form.BLOCKING_GENERATOR:
        for value in found:
            context.emitted.append(_as_result(value))
        return
    if inspect.iscoroutine(found):
        found.close()
        raise TypeError(
            f"handler {handler.name!r} returned a coroutine that nobody awaits;"
            " make it, or the decorator around it, `async def`"
        )
    context.emitted.append(_as_result(found))


def _as_result(value: object) -> Result:
    return value if isinstance(value, Result) else Result(value)


def _key_bytes(key: str | bytes | None) -> bytes | None:
    return key.encode("utf-8", "surrogateescape") if isinstance(key, str) else key


def _fault_of(error: BaseException) -> Fault:
    """Leave the traceback out where it shows nothing but Kafleet's own code."""
    if isinstance(error, TimedOut | Reject):
        return Fault(type(error).__name__, str(error))
    return Fault.of(error)


def _payload_fault(error: InvalidPayload, envelope: Envelope) -> Fault:
    """Name the content type where it tells why: the sender never meant the value to be JSON."""
    kind = envelope.content_type
    is_telling = kind is not None and "json" not in kind.lower()
    return Fault("InvalidPayload", f"{error}; its content-type is {kind!r:.80}" if is_telling else str(error))


def _deadline_fault(envelope: Envelope) -> Fault:
    return Fault("DeadlineExceeded", f"the deadline {envelope.deadline} has passed")


def _names(record: Record, envelope: Envelope | None, number: int) -> dict[str, object]:
    return {
        **record.names,
        "record_id": record.name if envelope is None else envelope.id,
        "correlation_id": None if envelope is None else envelope.correlation_id,
        "attempt": number,
    }


async def _until_done(call: asyncio.Future[Any]) -> None:
    while not call.done():
        try:
            await asyncio.wait({call})
        except asyncio.CancelledError:
            continue  # whoever cancels must wait for the thread as well
