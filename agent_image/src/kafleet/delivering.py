"""Writing what an attempt led to, the outputs or a dead letter. Only then is the record settled."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from kafleet.envelopes import dead_letter_headers
from kafleet.ports import RecordRefused, WriteFailed
from kafleet.records import Outgoing
from kafleet.verdicts import Fault

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

    from kafleet.backlogs import Item
    from kafleet.backoffs import Backoff
    from kafleet.lanes import Lane
    from kafleet.metrics import Metrics
    from kafleet.ports import Sink

_INNOCENT_REFUSALS = (
    2  # brokers refuse a batch as a whole: a record alone at fault is refused again by itself
)


class Deliveries:
    """Writes for one lane. Writing that fails is tried again; nothing is ever dropped."""

    def __init__(
        self, lane: Lane, sink: Sink, backoff: Backoff, *, metrics: Metrics, logger: FilteringBoundLogger
    ) -> None:
        self._lane = lane
        self._sink = sink
        self._backoff = backoff
        self._metrics = metrics
        self._logger = logger

    def bury(self, item: Item, reason: str, fault: Fault, attempts: int) -> None:
        """Let a record's dead letter be what it emits; `attempts` counts calls of the handler."""
        record = item.record
        headers = dead_letter_headers(
            record, reason=reason, fault=fault, attempts=attempts, group=self._lane.group
        )
        item.outgoing = (Outgoing(self._lane.dead_letters, record.key, record.value, headers),)
        item.dead_reason = reason
        item.fault = fault

    async def deliver(self, item: Item) -> float | None:
        """Write what a record emitted; None when all is acknowledged, else the seconds to wait."""
        while item.outgoing:
            if item.lot.is_closed:
                raise asyncio.CancelledError
            results = await asyncio.gather(*map(self._sink.produce, item.outgoing), return_exceptions=True)
            left = [
                (outgoing, error) for outgoing, error in zip(item.outgoing, results, strict=True) if error
            ]
            self._metrics.emitted(len(results) - len(left))
            item.outgoing = tuple(outgoing for outgoing, _ in left)
            refusal = next((error for _, error in left if isinstance(error, RecordRefused)), None)
            is_proven = item.undelivered >= _INNOCENT_REFUSALS
            if refusal is not None and is_proven and item.dead_reason is None:
                self.bury(item, "OutputRefused", Fault.of(refusal), item.attempt)
            elif left:
                return self.fail(item, left[0][1])
        if item.dead_reason is not None:
            self._metrics.dead_letter(item.dead_reason)
            self._logger.warning("dead letter", **item.record.names, reason=item.dead_reason)
        return None

    def fail(self, item: Item, error: BaseException | None) -> float:
        """Note that a record could not be settled, and return the seconds to wait."""
        item.undelivered += 1
        item.fault = Fault.of(error or WriteFailed("unknown"))
        self._logger.error(
            "cannot write, the record's key waits",
            **item.record.names,
            is_dead_letter=item.dead_reason is not None,
            error=item.fault.message,
        )
        return self._backoff.seconds(item.undelivered)
