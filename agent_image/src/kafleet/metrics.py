"""What /metrics counts. One registry a process, made by whoever runs it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

if TYPE_CHECKING:
    from collections.abc import Callable

    from kafleet.dispatching import Dispatcher

_SECONDS = (0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)


class Metrics:
    """The runtime's counters and gauges."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._attempts = Counter(
            "kafleet_attempts", "Attempts ended, by what came of them", ["outcome"], registry=self.registry
        )
        self._seconds = Histogram(
            "kafleet_attempt_duration_seconds",
            "Time one attempt took",
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._settled = Counter("kafleet_settled_records", "Records settled", registry=self.registry)
        self._emitted = Counter(
            "kafleet_emitted_records", "Records written and acknowledged", registry=self.registry
        )
        self._dead_letters = Counter(
            "kafleet_dead_letters", "Records given up, by reason", ["reason"], registry=self.registry
        )
        self._commits = Counter(
            "kafleet_commits", "Offsets of partitions committed", ["outcome"], registry=self.registry
        )

    def attempted(self, outcome: str, seconds: float) -> None:
        self._attempts.labels(outcome).inc()
        self._seconds.observe(seconds)

    def settled(self) -> None:
        self._settled.inc()

    def emitted(self, records: int) -> None:
        self._emitted.inc(records)

    def dead_letter(self, reason: str) -> None:
        self._dead_letters.labels(reason).inc()

    def committed(self, acknowledged: int, failed: int) -> None:
        self._commits.labels("acknowledged").inc(acknowledged)
        self._commits.labels("failed").inc(failed)

    def watch(self, dispatcher: Dispatcher) -> None:
        """Read the gauges from a dispatcher at each scrape."""
        self._gauge(
            "kafleet_in_flight_records",
            "Records whose handler runs or whose outputs are being written",
            lambda: dispatcher.in_flight,
        )
        self._gauge("kafleet_held_records", "Records fetched and not in flight", lambda: dispatcher.held)
        self._gauge(
            "kafleet_held_bytes", "Bytes of all records fetched and not settled", lambda: dispatcher.size
        )
        self._gauge(
            "kafleet_oldest_runnable_seconds",
            "How long a record waits that could be given out now",
            lambda: dispatcher.oldest_runnable_seconds,
        )
        self._gauge(
            "kafleet_throttled_seconds",
            "How long this replica still starts nothing, as a provider asked",
            lambda: dispatcher.throttled_seconds,
        )
        self._gauge(
            "kafleet_assigned_partitions", "Partitions this replica owns", lambda: len(dispatcher.lots)
        )
        self._gauge(
            "kafleet_paused_partitions",
            "Partitions that have used up their share of memory",
            lambda: sum(lot.is_paused for lot in dispatcher.lots.values()),
        )

    def _gauge(self, name: str, text: str, read: Callable[[], float]) -> None:
        Gauge(name, text, registry=self.registry).set_function(read)
