"""A lane and records for tests to vary."""

from __future__ import annotations

import json
import os
from typing import Any

from kafleet.lanes import Lane, parse_lane
from kafleet.records import Headers, Partition, Record
from kafleet_operator.api.delivery import DeliverySpec

TASKS = Partition("tasks", 0)
THOROUGHNESS = int(os.environ.get("HISTORIES", "1"))
"""How many times as many histories are tried where they are drawn or enumerated."""
DELIVERY: dict[str, Any] = {
    "guarantee": "AtLeastOnce",
    "ordering": "Key",
    "concurrency": 4,
    "taskTimeoutSeconds": 10,
    "maxAttempts": 3,
    "backoffInitialSeconds": 1,
    "backoffMaxSeconds": 8,
    "drainTimeoutSeconds": 5,
    "hopLimit": 32,
    "startFrom": "earliest",
}


def lane_file(**delivery: object) -> dict[str, Any]:
    """Return a lane file as the operator writes it."""
    return {
        "version": 1,
        "kind": "AgentGroup",
        "namespace": "support",
        "resource": "triage",
        "lane": "workers",
        "group": "support.triage.workers",
        "bootstrapServers": "kafka:9092",
        "inputs": [{"role": "tasks", "topic": "tasks"}],
        "outputs": {"results": "results"},
        "output": "results",
        "deadLetters": "dead-letters",
        "sends": {"billing": "billing.tasks"},
        "agent": {"handler": "triage:agent", "codePath": None, "config": {"tone": "kind"}},
        "delivery": {**DELIVERY, **delivery},
        "http": {"port": 0},
    }


def lane(**delivery: object) -> Lane:
    return parse_lane(json.dumps(lane_file(**delivery)))


def record(
    offset: int = 0,
    value: bytes | None = b"{}",
    *,
    key: bytes | None = b"k",
    headers: Headers | None = (),
    partition: Partition = TASKS,
) -> Record:
    return Record(partition, offset, key, value, headers, 1_700_000_000_000)


def unspecified_delivery() -> dict[str, object]:
    """Return, in the lane file's words, what a resource asks for that says nothing of delivery."""
    spec = DeliverySpec()
    return {
        "guarantee": spec.guarantee,
        "ordering": spec.ordering,
        "concurrency": spec.concurrency,
        "task_timeout_seconds": spec.task_timeout,
        "max_attempts": spec.max_attempts,
        "backoff_initial_seconds": spec.backoff.initial,
        "backoff_max_seconds": spec.backoff.max,
        "drain_timeout_seconds": spec.drain_timeout,
        "hop_limit": spec.hop_limit,
        "start_from": spec.start_from,
    }
