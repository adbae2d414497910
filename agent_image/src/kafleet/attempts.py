"""One attempt at one record: read it, call the user's handler, encode what it emitted.

Whatever the record holds and whatever the handler does, a verdict comes out; only cancellation passes.
"""

from __future__ import annotations

import asyncio
import inspect
import types
from contextlib import aclosing
from contextvars import copy_context
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

from kafleet.agents import Context
from kafleet.alarms import Alarms, TimedOut
from kafleet.emissions import Emissions, utc_now
from kafleet.envelopes import InvalidEnvelope, envelope_of
from kafleet.errors import Reject, RetryLater, Throttled
from kafleet.loading import Form
from kafleet.payloads import InvalidPayload
from kafleet.verdicts import Failed, Fault, Finished, Postponed, Refused, Saturated

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Coroutine, Generator
    from concurrent.futures import Executor
    from datetime import datetime

    from structlog.typing import FilteringBoundLogger

    from kafleet.envelopes import Envelope
    from kafleet.lanes import Lane
    from kafleet.loading import Handler, Handlers
    from kafleet.records import Record
    from kafleet.verdicts import Verdict


_COROUTINE = Form.COROUTINE  # to look it up in an enumeration costs as much as the call


class Attempts:
    """Makes attempts for one lane. Blocking handlers run in `pool`; `now` tells the time, with a zone.

    Made on the event loop.
    """

    def __init__(
        self,
        lane: Lane,
        handlers: Handlers,
        *,
        pool: Executor,
        logger: FilteringBoundLogger,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        self._config = lane.agent.config
        self._hop_limit = lane.delivery.hop_limit
        self._seconds = lane.delivery.task_timeout_seconds
        self._lanes = frozenset(lane.sends)
        self._by_type = {**handlers.by_type, None: handlers.handler_for(None)}
        self._other = handlers.by_type.get(None)  # takes all other types
        self._pool = pool
        self._logger = logger
        self._now = now
        self._emissions = Emissions(lane, now=now)
        self._alarms = Alarms(self._seconds)

    async def attempt(self, record: Record, number: int) -> Verdict:
        """Try the record for the `number`-th time, counted from 1."""
        envelope: Envelope | None = None
        try:
            envelope = envelope_of(record)
            handler = self._by_type.get(envelope.type, self._other)
            if handler is None or envelope.hops > self._hop_limit or envelope.deadline is not None:
                handler = self._checked(handler, envelope)
            task = handler.decode(record.value)
            emitted: list[object] = []
            arguments: tuple[object, ...] = (task,)
            if handler.takes_context:
                context = self._context(record, envelope, number)
                arguments, emitted = (task, context), context.emitted
            if handler.form is _COROUTINE:
                call = handler.function(*arguments)
                try:
                    future = call.send(None)
                except StopIteration as ended:  # it never waited, so that no limit needed to be set
                    emitted.append(ended.value)
                else:
                    with self._alarms.within(self._seconds_for(envelope)):
                        emitted.append(await _rest_of(call, future))
            elif handler.form is Form.GENERATOR:
                with self._alarms.within(self._seconds_for(envelope)):
                    await _collect(handler.function(*arguments), emitted)
            else:
                function = partial(_call, handler, arguments, emitted)
                await self._run_in_thread(handler, function, self._seconds_for(envelope))
            return Finished(self._emissions.outgoing(record, envelope, emitted))
        except asyncio.CancelledError as error:
            # A handler may let a cancellation of its own escape; only the dispatcher's may end the attempt.
            current = asyncio.current_task()
            if current is not None and current.cancelling():
                raise
            verdict: Verdict = Failed(Fault.of(error))
        except (Exception, SystemExit) as error:  # noqa: BLE001 - user code; sys.exit() must not end the process
            verdict = self._judged(error, envelope)
        self._note(verdict, record, envelope, number)
        return verdict

    def _checked(self, handler: Handler | None, envelope: Envelope) -> Handler:
        """Raise _NotTried where nobody may see the record."""
        if envelope.hops > self._hop_limit:
            raise _NotTried("HopLimit", f"{envelope.hops} hops, the limit is {self._hop_limit}")
        if self._is_late(envelope):
            raise _NotTried("DeadlineExceeded", _deadline_text(envelope))
        if handler is None:
            raise _NotTried("UnknownType", f"no handler for type {envelope.type!r}")
        return handler

    def _judged(self, error: BaseException, envelope: Envelope | None) -> Verdict:
        match error:
            case RetryLater(after=after):
                return Postponed(after)
            case Throttled(after=after):
                return Saturated(after)
        return self._refusal(error, envelope) or Failed(_fault_of(error))

    def _refusal(self, error: BaseException, envelope: Envelope | None) -> Refused | None:
        match error:
            case InvalidEnvelope():
                return Refused("InvalidEnvelope", Fault("InvalidEnvelope", str(error)))
            case _NotTried(reason=reason):
                return Refused(reason, Fault(reason, str(error)))
            case InvalidPayload():
                return Refused("InvalidPayload", _payload_fault(error, envelope))
            case Reject():
                return Refused("Rejected", _fault_of(error), was_called=True)
            case TimedOut() if envelope is not None and self._is_late(envelope):
                fault = Fault("DeadlineExceeded", _deadline_text(envelope))
                return Refused("DeadlineExceeded", fault, was_called=True)
        return None

    def _note(self, verdict: Verdict, record: Record, envelope: Envelope | None, number: int) -> None:
        """Log an attempt that failed: one line, with all that names the record."""
        if isinstance(verdict, Failed | Refused):
            self._logger.warning(
                "attempt failed",
                **_names(record, envelope, number),
                reason=verdict.reason if isinstance(verdict, Refused) else "HandlerFailed",
                error=f"{verdict.fault.kind}: {verdict.fault.message}",
                traceback=verdict.fault.traceback or None,
            )

    async def _run_in_thread(self, handler: Handler, function: Callable[[], None], seconds: float) -> None:
        """Wait for the thread whatever happens: nothing can stop it, so its key and slot stay taken."""
        call = asyncio.get_running_loop().run_in_executor(self._pool, copy_context().run, function)
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

    def _context(self, record: Record, envelope: Envelope, number: int) -> _Context:
        context = _Context(
            envelope.id,
            None if record.key is None else record.key.decode("utf-8", "surrogateescape"),
            type=envelope.type,
            attempt=number,
            deadline=envelope.deadline,
            correlation_id=envelope.correlation_id,
            config=self._config,
            lanes=self._lanes,
            headers=record.headers,
        )
        context.bind = lambda: self._logger.bind(**_names(record, envelope, number))
        return context

    def _is_late(self, envelope: Envelope) -> bool:
        return envelope.deadline is not None and envelope.deadline <= self._now()

    def _seconds_for(self, envelope: Envelope) -> float:
        if envelope.deadline is None:
            return self._seconds
        return min(self._seconds, (envelope.deadline - self._now()).total_seconds())


class _NotTried(Exception):
    """No handler may see the record; says why."""

    def __init__(self, reason: str, text: str) -> None:
        super().__init__(text)
        self.reason = reason


class _Context(Context):
    """Of one attempt. Most handlers never log, so the logger is made for those that do."""

    bind: Callable[[], FilteringBoundLogger]

    @cached_property
    def log(self) -> Any:  # noqa: ANN401 - as in Context
        return self.bind()


@types.coroutine
def _rest_of(call: Coroutine[Any, Any, object], future: object) -> Generator[object, None, object]:
    """Go on with a coroutine that has been begun and waits for a future; what `await` does from then on."""
    while True:
        error: BaseException | None = None
        try:
            yield future
        except BaseException as thrown:  # noqa: BLE001 - a cancellation, which is the coroutine's to take
            error = thrown
        try:
            future = call.send(None) if error is None else call.throw(error)
        except StopIteration as ended:
            return ended.value


async def _collect(values: AsyncGenerator[object, None], emitted: list[object]) -> None:
    async with aclosing(values):
        async for value in values:
            emitted.append(value)  # noqa: PERF401 - what is sent in between goes in between


def _call(handler: Handler, arguments: tuple[object, ...], emitted: list[object]) -> None:
    """Call a blocking handler, in a thread, and note what it returned or yielded."""
    found = handler.function(*arguments)
    if handler.form is Form.BLOCKING_GENERATOR:
        for value in found:
            emitted.append(value)  # noqa: PERF402 - likewise
        return
    if inspect.iscoroutine(found):
        found.close()
        raise TypeError(
            f"handler {handler.name!r} returned a coroutine that nobody awaits;"
            " make it, or the decorator around it, `async def`"
        )
    emitted.append(found)


def _fault_of(error: BaseException) -> Fault:
    """Leave the traceback out where it shows nothing but Kafleet's own code."""
    if isinstance(error, TimedOut | Reject):
        return Fault(type(error).__name__, str(error))
    return Fault.of(error)


def _payload_fault(error: InvalidPayload, envelope: Envelope | None) -> Fault:
    """Name the content type where it tells why: the sender never meant the value to be JSON."""
    kind = None if envelope is None else envelope.content_type
    is_telling = kind is not None and "json" not in kind.lower()
    return Fault("InvalidPayload", f"{error}; its content-type is {kind!r:.80}" if is_telling else str(error))


def _deadline_text(envelope: Envelope) -> str:
    return f"the deadline {envelope.deadline} has passed"


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
