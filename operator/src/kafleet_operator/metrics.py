"""What the operator counts. Names and labels are an interface: alerts and dashboards are built on them."""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from kafleet_operator.errors import KafleetError
from kafleet_operator.planning.backlogs import Backlog, backlog_of
from kafleet_operator.planning.observations import GroupState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from prometheus_client.core import Metric

    from kafleet_operator.planning.fleets import Fleet, Json
    from kafleet_operator.planning.observations import Observed

    Key = tuple[str, str, str]  # kind, namespace, name

REGISTRY: Final = CollectorRegistry()
LANE_LABELS: Final = ["kind", "namespace", "resource", "lane"]


class Timings:
    """Counts what was done by what came of it, and how long it took."""

    def __init__(self, name: str, what: str, label: str, buckets: tuple[float, ...]) -> None:
        self._count = Counter(
            f"{name}s", f"{what}, by what came of them", [label, "result"], registry=REGISTRY
        )
        self._seconds = Histogram(
            f"{name}_duration_seconds", f"{what}: time taken", [label], buckets=buckets, registry=REGISTRY
        )

    def add(self, subject: str, result: str, seconds: float) -> None:
        self._count.labels(subject, result).inc()
        self._seconds.labels(subject).observe(seconds)

    @contextlib.contextmanager
    def timed(self, subject: str) -> Iterator[None]:
        """Count what goes on inside: `ok`, `cancelled`, or the name of our error that it raises."""
        begun, result = time.perf_counter(), "ok"
        try:
            yield
        except KafleetError as error:
            result = type(error).__name__
            raise
        except asyncio.CancelledError:
            result = "cancelled"
            raise
        except BaseException:
            result = "defect"
            raise
        finally:
            self.add(subject, result, time.perf_counter() - begun)


RECONCILES: Final = Timings(
    "kafleet_operator_reconcile",
    "Reconciles of one resource",
    "kind",
    (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120),
)
API_REQUESTS: Final = Timings(
    "kafleet_operator_api_request",
    "Requests to the API server, watches left out",
    "verb",
    (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
)
KAFKA_REQUESTS: Final = Timings(
    "kafleet_operator_kafka_request",
    "Requests to Kafka",
    "operation",
    (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
)
LOOP_DELAY: Final = Histogram(
    "kafleet_operator_event_loop_delay_seconds",
    "How late the event loop woke what was due",
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
    registry=REGISTRY,
)


@dataclass(frozen=True, slots=True)
class _Look:
    """A look at one fleet: by lane its backlog and its dead letters.

    `at` is when that was, `until` when it is too old to be told. A backlog that could not be read then is an
    older one, kept for what it remembers.
    """

    at: float = 0.0
    until: float = 0.0
    backlogs: Mapping[str, Backlog] = field(default_factory=dict)
    dead_letters: Mapping[str, int] = field(default_factory=dict)


class Fleets(Collector):
    """What was last seen of every resource, as gauges. What could not be read, or not for long, is absent.

    It is collected in another thread than it is filled in: what is taken in is exchanged, never changed.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._looks: dict[Key, _Look] = {}
        self._statuses: dict[Key, Json] = {}

    def saw(self, fleet: Fleet, observed: Observed, *, seconds: float) -> None:
        """Take in a look at a fleet, true for so many seconds."""
        now, before = self._clock(), self._looks.get(fleet.owner.key, _Look()).backlogs
        backlogs, dead_letters = dict[str, Backlog](), dict[str, int]()
        for lane in fleet.lanes:
            group = observed.groups.get(lane.group)
            if isinstance(group, GroupState):
                backlogs[lane.name] = backlog_of(group, lane, before.get(lane.name), now)
            elif lane.name in before:
                backlogs[lane.name] = before[lane.name]
            lying = observed.dead_letters.get(fleet.topic(lane.dead_letters).name)
            if isinstance(lying, int):
                dead_letters[lane.name] = lying
        self._looks[fleet.owner.key] = _Look(now, now + seconds, backlogs, dead_letters)

    def told(self, key: Key, status: Json) -> None:
        """Take in what a resource's status says."""
        self._statuses[key] = status

    def gone(self, key: Key) -> None:
        """Forget a resource."""
        self._looks.pop(key, None)
        self._statuses.pop(key, None)

    def collect(self) -> Iterator[Metric]:
        """Yield every gauge, with no sample where nothing is known."""
        now, looks, statuses = self._clock(), list(self._looks.items()), list(self._statuses.items())
        yield _conditions(statuses)
        yield from _workloads(statuses)
        yield from _backlogs([(key, look) for key, look in looks if now < look.until], now)


def _conditions(statuses: list[tuple[Key, Json]]) -> Metric:
    family = GaugeMetricFamily(
        "kafleet_resource_condition",
        "1 for the status and reason that a condition of a resource has now",
        labels=["kind", "namespace", "resource", "condition", "status", "reason"],
    )
    for key, status in statuses:
        for each in status.get("conditions", ()):
            family.add_metric([*key, each["type"], each["status"], each["reason"]], 1)
    return family


def _workloads(statuses: list[tuple[Key, Json]]) -> Iterator[Metric]:
    families: dict[str, GaugeMetricFamily | CounterMetricFamily] = {
        "replicas": _gauge("replicas", "Agents that a lane shall have"),
        "readyReplicas": _gauge("ready_replicas", "Agents of a lane that are ready"),
        "recoveries": _counter(
            "recoveries", "Dead agents of a lane that were taken out of its group at once"
        ),
    }
    for key, status in statuses:
        for lane in status.get("lanes", ()):
            counts = {**lane, "recoveries": lane.get("recoveries", {}).get("count", 0)}
            for name, family in families.items():
                if name in counts:
                    family.add_metric([*key, lane["name"]], counts[name])
    yield from families.values()


def _backlogs(looks: list[tuple[Key, _Look]], now: float) -> Iterator[Metric]:
    lag = _gauge("lag_records", "Records of a lane's inbox that are not settled")
    oldest = _gauge(
        "oldest_record_age_seconds",
        "How long the oldest unsettled record of a lane has waited at least, since the operator saw it first",
    )
    dead = _gauge("dead_letter_records", "Records that lie in a lane's dead-letter topic")
    written = _counter("written_records", "Records that a lane's inbox ever had, by its end offsets")
    settled = _counter(
        "settled_records", "Records of a lane's inbox that are settled, by what its group committed"
    )
    for key, look in looks:
        for name, backlog in look.backlogs.items():
            if backlog.at != look.at:
                continue
            labels = [*key, name]
            lag.add_metric(labels, backlog.lag)
            oldest.add_metric(labels, backlog.oldest_seconds(now))
            written.add_metric(labels, backlog.written)
            settled.add_metric(labels, backlog.written - backlog.lag)
        for name, count in look.dead_letters.items():
            dead.add_metric([*key, name], count)
    yield from (lag, oldest, dead, written, settled)


def _gauge(name: str, text: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"kafleet_lane_{name}", text, labels=LANE_LABELS)


def _counter(name: str, text: str) -> CounterMetricFamily:
    return CounterMetricFamily(f"kafleet_lane_{name}", text, labels=LANE_LABELS)


FLEETS: Final = Fleets()
REGISTRY.register(FLEETS)
ProcessCollector(registry=REGISTRY)
