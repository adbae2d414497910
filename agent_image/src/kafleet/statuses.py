"""What the process says about itself: /status (see `contract/status.schema.json`), /readyz and /healthz."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from kafleet.records import text_of

if TYPE_CHECKING:
    from kafleet.backlogs import Item, Lot
    from kafleet.contacts import Contact
    from kafleet.dispatching import Dispatcher
    from kafleet.lanes import Lane
    from kafleet.stalls import Stalls

_FAILURES_SHOWN = 20
_SILENT_SECONDS = 120.0


class Statuses:
    """Reads the dispatcher, the contact and what stalls; changes nothing."""

    def __init__(
        self, lane: Lane, pod: str, dispatcher: Dispatcher, contact: Contact, stalls: Stalls
    ) -> None:
        self._lane = lane
        self._pod = pod
        self._dispatcher = dispatcher
        self._contact = contact
        self._stalls = stalls

    def ills(self) -> list[str]:
        """Return why the process should be restarted. That the loop is alive, the answer itself proves."""
        limit = 2 * self._lane.delivery.task_timeout_seconds
        runnable, silent = self._dispatcher.oldest_runnable_seconds, self._contact.silent_seconds
        unread = self._stalls.longest_seconds
        reasons = []
        if runnable > limit:
            reasons.append(f"a runnable record has been lying for {runnable:.0f} s, the limit is {limit:g} s")
        if unread > max(limit, _SILENT_SECONDS):
            reasons.append(f"records have been lying for {unread:.0f} s in a partition that is not read on")
        if silent > _SILENT_SECONDS:
            reasons.append(f"the Kafka thread has been silent for {silent:.0f} s")
        return reasons

    def lacks(self) -> list[str]:
        """Return what is missing before the process can work. An empty assignment is ready."""
        reasons = []
        if not self._contact.has_brokers:
            reasons.append(f"no broker is reachable: {self._contact.error or 'not connected yet'}")
        if not self._contact.has_group:
            reasons.append("the group is not joined")
        if self._dispatcher.is_suspended:
            reasons.append("the group's coordinator is silent, nothing is started until it is back")
        if self._dispatcher.is_stopping:
            reasons.append("the process is stopping")
        return reasons

    def status(self) -> dict[str, Any]:
        """Return the body of /status."""
        dispatcher, contact = self._dispatcher, self._contact
        throttled = dispatcher.throttled_seconds
        return {
            "version": 1,
            "pod": self._pod,
            "group": self._lane.group,
            "memberId": contact.member_id,
            "state": "Stopping" if dispatcher.is_stopping else "Running",
            "brokers": {"reachable": contact.has_brokers, "error": contact.error},
            "throttledUntil": _moment(throttled) if throttled else None,
            "inFlight": dispatcher.in_flight,
            "held": dispatcher.held,
            "heldBytes": dispatcher.size,
            "oldestRunnableSeconds": round(dispatcher.oldest_runnable_seconds, 3),
            "partitions": [_partition(lot) for _, lot in sorted(dispatcher.lots.items())],
            "failures": [self._failure(item) for item in dispatcher.failing()[:_FAILURES_SHOWN]],
        }

    def _failure(self, item: Item) -> dict[str, Any]:
        fault, seconds = item.fault, seconds_to_retry(item, asyncio.get_running_loop().time())
        return {
            "topic": item.record.partition.topic,
            "partition": item.record.partition.number,
            "offset": item.offset,
            "key": text_of(item.record.key),
            "attempt": item.attempt,
            "error": "" if fault is None else f"{fault.kind}: {fault.message}"[:1000],
            "inFlight": item.is_in_flight,
            "retryAt": None if seconds is None else _moment(seconds),
        }


def seconds_to_retry(item: Item, now: float) -> float | None:
    """Return when a record is tried again; None if it does not wait for a time."""
    return None if item.timer is None else item.timer.when() - now


def _partition(lot: Lot) -> dict[str, Any]:
    return {
        "topic": lot.partition.topic,
        "partition": lot.partition.number,
        "position": lot.offsets.position,
        "committed": lot.committed,
        "inFlight": lot.in_flight,
        "held": lot.held,
        "paused": lot.is_paused,
        "leaving": lot.is_leaving,
    }


def _moment(seconds_from_now: float) -> str:
    moment = datetime.now(UTC) + timedelta(seconds=seconds_from_now)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
