"""What an attempt leads to: another one later, or something to write, the outputs or a dead letter.

Only when that is acknowledged is the record settled.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from kafleet.envelopes import dead_letter_headers
from kafleet.ports import RecordRefused
from kafleet.records import Outgoing
from kafleet.verdicts import Failed, Fault, Finished, Postponed, Refused, Saturated

if TYPE_CHECKING:
    from collections.abc import Sequence

    from structlog.typing import FilteringBoundLogger

    from kafleet.backlogs import Item
    from kafleet.backoffs import Backoff
    from kafleet.lanes import Lane
    from kafleet.metrics import Metrics
    from kafleet.ports import WriteFailed
    from kafleet.throttles import Throttle
    from kafleet.verdicts import Verdict

LONGEST_WAIT_SECONDS = 86_400.0
"""What a handler may ask for at most: while it waits, its key waits, and the topic's retention runs."""
_INNOCENT_REFUSALS = (
    2  # brokers refuse a batch as a whole: a record alone at fault is refused again by itself
)


class Deliveries:
    """Writes for one lane. Writing that fails is tried again; nothing is ever dropped."""

    def __init__(
        self,
        lane: Lane,
        backoff: Backoff,
        throttle: Throttle,
        *,
        metrics: Metrics,
        logger: FilteringBoundLogger,
    ) -> None:
        self._lane = lane
        self._max_attempts = lane.delivery.max_attempts
        self._backoff = backoff
        self._throttle = throttle
        self._metrics = metrics
        self._count = metrics.attempts.add
        self._logger = logger
        self._is_talkative = logger.is_enabled_for(logging.DEBUG)

    def judge(self, item: Item, verdict: Verdict, seconds: float) -> float | None:
        """Decide on an attempt that took so long; None when there is something to write.

        Else the seconds until the next one.
        """
        number = item.attempt
        delay = None
        if isinstance(verdict, Finished):
            item.outgoing = verdict.outgoing
            item.fault = None
            self._count(seconds)
        else:
            delay = self._delay_after(item, verdict)
            self._count(seconds, type(verdict).__name__.lower())
        if self._is_talkative:
            self._logger.debug(
                "attempt ended",
                **item.record.names,
                attempt=number,
                outcome=type(verdict).__name__.lower(),
                seconds=round(seconds, 3),
                retry_seconds=delay,
            )
        return delay

    def _delay_after(self, item: Item, verdict: Refused | Failed | Postponed | Saturated) -> float | None:
        match verdict:
            case Refused(reason, fault, was_called):
                self.bury(item, reason, fault, item.attempt if was_called else item.attempt - 1)
            case Failed(fault) if item.attempt >= self._max_attempts:
                self.bury(item, "AttemptsExhausted", fault, item.attempt)
            case Failed(fault):
                item.fault = fault
                item.lot.fail(item.offset, item.attempt)
                item.attempt += 1
                return self._backoff.seconds(item.attempt - 1)
            case Postponed(after):
                item.discount()
                return min(after, LONGEST_WAIT_SECONDS)
            case Saturated(after):
                item.discount()
                self._throttle.begin(min(after, LONGEST_WAIT_SECONDS))
                return 0.0
        return None

    def bury(self, item: Item, reason: str, fault: Fault, attempts: int) -> None:
        """Let a record's dead letter be what it emits; `attempts` counts calls of the handler."""
        record = item.record
        headers = dead_letter_headers(
            record, reason=reason, fault=fault, attempts=attempts, group=self._lane.group
        )
        item.outgoing = (Outgoing(self._lane.dead_letters, record.key, record.value, headers),)
        item.dead_reason = reason
        item.fault = fault

    def note_dead(self, item: Item, reason: str) -> None:
        """Note a record whose dead letter is acknowledged."""
        self._metrics.dead_letter(reason)
        self._logger.warning("dead letter", **item.record.names, reason=reason)

    def again(self, item: Item, failures: Sequence[tuple[Outgoing, WriteFailed]]) -> float:
        """Keep what could not be written, or bury its record; returns the seconds until the next try."""
        self._metrics.emitted(len(item.outgoing or ()) - len(failures))
        item.outgoing = tuple(outgoing for outgoing, _ in failures)
        refusal = next((error for _, error in failures if isinstance(error, RecordRefused)), None)
        is_proven = item.undelivered >= _INNOCENT_REFUSALS
        if refusal is not None and is_proven and item.dead_reason is None:
            self.bury(item, "OutputRefused", Fault.of(refusal), item.attempt)
            return 0.0
        return self.fail(item, failures[0][1])

    def fail(self, item: Item, error: BaseException) -> float:
        """Note that a record could not be settled, and return the seconds to wait."""
        item.undelivered += 1
        item.fault = Fault.of(error)
        self._logger.error(
            "cannot write, the record's key waits",
            **item.record.names,
            is_dead_letter=item.dead_reason is not None,
            error=item.fault.message,
        )
        return self._backoff.seconds(item.undelivered)
