"""What the operator counts. Names and labels are an interface: alerts and dashboards are built on them."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING, Final

from prometheus_client import CollectorRegistry, Counter, Histogram

from kafleet_operator.errors import KafleetError

if TYPE_CHECKING:
    from collections.abc import Iterator

REGISTRY: Final = CollectorRegistry()


class Timings:
    """Counts what was done by what came of it, and how long it took."""

    def __init__(self, name: str, what: str, label: str, buckets: tuple[float, ...]) -> None:
        self._count = Counter(f"{name}s", f"{what}, by what came of it", [label, "result"], registry=REGISTRY)
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
    "Looks at one resource",
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
