"""What /metrics counts: one registry a process. Names and labels are an interface, alerts are built on them.

Everything is registered when a `Metrics` is made, so that the reference can be written without an agent.
"""

from __future__ import annotations

from bisect import bisect_left
from itertools import accumulate
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prometheus_client import Metric

    from kafleet.dispatching import Dispatcher

_SECONDS = (0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)
OUTCOMES = ("finished", "refused", "failed", "postponed", "saturated")
REBALANCES = ("assigned", "revoked", "lost")


class Metrics:
    """The runtime's counters and gauges."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._consumed = self._counter("kafleet_consumed_records", "Records read and taken on")
        self._skipped = self._counter(
            "kafleet_skipped_records", "Records read that an earlier owner of their partition had settled"
        )
        self.attempts = Attempts(self.registry)
        self._settled = self._counter(
            "kafleet_settled_records", "Records that are done with, dead letters included"
        )
        self._emitted = self._counter(
            "kafleet_emitted_records", "Records written and acknowledged, dead letters included"
        )
        self._dead_letters = self._counter("kafleet_dead_letters", "Records given up, by reason", "reason")
        self._commits = self._counter(
            "kafleet_commits",
            "Offsets of partitions committed, by what came of it",
            "outcome",
            ("acknowledged", "failed"),
        )
        self._transactions = self._counter(
            "kafleet_transactions",
            "Transactions ended, by what came of them; with ExactlyOnce only",
            "outcome",
            ("committed", "aborted"),
        )
        self._rebalances = self._counter(
            "kafleet_rebalances", "Changes of the partitions this replica owns", "event", REBALANCES
        )
        self._in_flight = self._gauge(
            "kafleet_in_flight_records", "Records whose handler runs or whose outputs are being written"
        )
        self._held = self._gauge(
            "kafleet_held_records",
            "Records read that wait for a place, behind their key, or to be tried again",
        )
        self._retrying = self._gauge(
            "kafleet_retrying_records", "Records whose last attempt or write failed and that are not settled"
        )
        self._held_bytes = self._gauge("kafleet_held_bytes", "Bytes of all records read and not settled")
        self._oldest = self._gauge(
            "kafleet_oldest_runnable_seconds",
            "How long a record has waited that could be given out now; above 0 for long: something is wrong",
        )
        self._throttled = self._gauge(
            "kafleet_throttled_seconds", "How long this replica still starts nothing, as a provider asked"
        )
        self._assigned = self._gauge("kafleet_assigned_partitions", "Partitions this replica owns")
        self._paused = self._gauge(
            "kafleet_paused_partitions", "Partitions not read further until some of what was read is settled"
        )
        self._map_fullness = self._gauge(
            "kafleet_offset_map_fullness_ratio",
            "Used share of the room for settled records in a commit's metadata, of the fullest partition;"
            " from 0.75 it is not read further",
        )

    def consumed(self, records: int, skipped: int) -> None:
        self._consumed.inc(records)
        self._skipped.inc(skipped)

    def settled(self, records: int, emitted: int) -> None:
        self._settled.inc(records)
        self._emitted.inc(emitted)

    def emitted(self, records: int) -> None:
        self._emitted.inc(records)

    def dead_letter(self, reason: str) -> None:
        self._dead_letters.labels(reason).inc()

    def committed(self, acknowledged: int, failed: int) -> None:
        self._commits.labels("acknowledged").inc(acknowledged)
        self._commits.labels("failed").inc(failed)

    def transacted(self, *, is_committed: bool) -> None:
        """Count a transaction that ended."""
        self._transactions.labels("committed" if is_committed else "aborted").inc()

    def rebalanced(self, event: str) -> None:
        self._rebalances.labels(event).inc()

    def watch(self, dispatcher: Dispatcher) -> None:
        """Read the gauges from a dispatcher at each scrape."""
        self._in_flight.set_function(lambda: dispatcher.in_flight)
        self._held.set_function(lambda: dispatcher.held)
        self._retrying.set_function(lambda: len(dispatcher.failing()))
        self._held_bytes.set_function(lambda: dispatcher.size)
        self._oldest.set_function(lambda: dispatcher.oldest_runnable_seconds)
        self._throttled.set_function(lambda: dispatcher.throttled_seconds)
        self._assigned.set_function(lambda: len(dispatcher.lots))
        self._paused.set_function(lambda: sum(lot.is_paused for lot in dispatcher.lots.values()))
        self._map_fullness.set_function(
            lambda: max((lot.map_fullness for lot in dispatcher.lots.values()), default=0.0)
        )

    def _counter(self, name: str, text: str, label: str = "", values: tuple[str, ...] = ()) -> Counter:
        """Make a counter whose known series are there from the start: what was absent has no rate."""
        counter = Counter(name, text, [label] if label else [], registry=self.registry)
        for value in values:
            counter.labels(value)
        return counter

    def _gauge(self, name: str, text: str) -> Gauge:
        return Gauge(name, text, registry=self.registry)


class Attempts(Collector):
    """Counts each attempt in plain numbers: the library's own counters cost more than many a handler."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._unfinished = dict.fromkeys(OUTCOMES[1:], 0)
        self._in_bucket = [0] * (len(_SECONDS) + 1)
        self._sum_seconds = 0.0
        registry.register(self)

    def add(self, seconds: float, outcome: str = OUTCOMES[0]) -> None:
        self._in_bucket[0 if seconds <= _SECONDS[0] else bisect_left(_SECONDS, seconds)] += 1
        self._sum_seconds += seconds
        if outcome != OUTCOMES[0]:
            self._unfinished[outcome] += 1

    def collect(self) -> Iterator[Metric]:
        ended = CounterMetricFamily(
            "kafleet_attempts", "Attempts ended, by what came of them", labels=["outcome"]
        )
        unfinished = self._unfinished
        finished = sum(self._in_bucket) - sum(unfinished.values())
        for outcome, count in {OUTCOMES[0]: finished, **unfinished}.items():
            ended.add_metric([outcome], count)
        yield ended
        bounds = [*map(floatToGoString, _SECONDS), "+Inf"]
        buckets = list(zip(bounds, accumulate(self._in_bucket), strict=True))
        yield HistogramMetricFamily(
            "kafleet_attempt_duration_seconds",
            "Time one attempt took",
            buckets=buckets,
            sum_value=self._sum_seconds,
        )
