"""Specs of AgentGroups that are fine, and that are not: the API server and the operator agree on them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

Spec = dict[str, Any]


def spec(workers: Spec | None = None, agent: Spec | None = None, **others: object) -> Spec:
    """Return a minimal spec with more fields for its workers, their agent, and itself."""
    return {"workers": {"agent": {"handler": "triage:agent", **(agent or {})}, **(workers or {})}, **others}


@dataclass(frozen=True, slots=True)
class Refused:
    """A spec that nobody accepts; `admission` is part of what the user reads from kubectl.

    `parsing` is part of what the operator says of it, None where only the API server can or need tell.
    """

    spec: Spec
    admission: str
    parsing: str | None


VALID: dict[str, Spec] = {
    "minimal": spec(),
    "none at all": spec({"replicas": 0}),
    "as many as partitions": spec({"replicas": 4}, tasks={"partitions": 4}),
    "more than the wished partitions of a foreign inbox": spec(
        {"replicas": 20}, tasks={"topic": "theirs", "managed": False, "partitions": 4}
    ),
    "everything about an agent": spec(
        {"delivery": {"taskTimeout": "1.5h", "backoff": {"initial": "2m"}}},
        {
            "image": "registry.example/triage:1",
            "code": {"configMap": "triage.code-1"},
            "config": {"deep": {"er": [1, None, "x"]}},
            "env": [
                {"name": "LEVEL", "value": ""},
                {"name": "KEY", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k", "optional": True}}},
            ],
            "envFrom": [{"prefix": "X_", "configMapRef": {"name": "c"}}, {"secretRef": {"name": "s"}}],
            "resources": {"limits": {"cpu": 1, "memory": "512Mi"}, "requests": {"cpu": "100m"}},
        },
    ),
    "everything about the rest": spec(
        suspend=True,
        deletionPolicy="Delete",
        connection={"bootstrapServers": "a.kafka.svc:9092,b.kafka.svc:9093"},
        tasks={"topic": "a", "replicationFactor": 3, "config": {"retention.ms": "1"}, "onGrowth": "Reorder"},
        results={"topic": "b", "config": {"cleanup.policy": "compact"}},
        deadLetters={"topic": "c", "partitions": 1},
        delivery={
            "guarantee": "AtLeastOnce",
            "ordering": "None",
            "concurrency": 1,
            "taskTimeout": "23h",
            "maxAttempts": 1,
            "backoff": {"initial": "0s", "max": "0s"},
            "drainTimeout": "1h",
            "hopLimit": 1,
            "startFrom": "latest",
        },
    ),
}

INVALID: dict[str, Refused] = {
    "no workers": Refused({}, "spec.workers: Required", "spec.workers: it is required"),
    "no agent": Refused(
        {"workers": {}}, "spec.workers.agent: Required", "spec.workers.agent: it is required"
    ),
    "no handler": Refused(
        {"workers": {"agent": {}}}, "agent.handler: Required", "spec.workers.agent.handler: it is required"
    ),
    "a handler without an attribute": Refused(
        spec(agent={"handler": "triage"}), "agent.handler", "spec.workers.agent.handler: string should match"
    ),
    "more replicas than partitions": Refused(
        spec({"replicas": 13}), "workers.replicas is more than tasks.partitions", None
    ),
    "negative replicas": Refused(
        spec({"replicas": -1}), "greater than or equal to 0", "spec.workers.replicas: input should be greater"
    ),
    "an unknown duration": Refused(
        spec(delivery={"taskTimeout": "1 day"}),
        "spec.delivery.taskTimeout",
        "spec.delivery.taskTimeout: not a duration; write a number and a unit",
    ),
    "a timeout of no time": Refused(
        spec(delivery={"taskTimeout": "0s"}),
        "taskTimeout must be longer than 0s and at most 23h",
        "spec.delivery.taskTimeout: input should be greater than 0",
    ),
    "a timeout of a day": Refused(
        spec({"delivery": {"taskTimeout": "24h"}}),
        "taskTimeout must be longer than 0s and at most 23h",
        "spec.workers.delivery.taskTimeout: input should be less than or equal to 82800",
    ),
    "a long drain": Refused(
        spec(delivery={"drainTimeout": "61m"}),
        "drainTimeout must be at most 1h",
        "spec.delivery.drainTimeout: input should be less",
    ),
    "a backoff that shrinks": Refused(
        spec(delivery={"backoff": {"initial": "2m", "max": "1m"}}),
        "backoff.initial is longer than backoff.max",
        "spec.delivery.backoff: backoff.initial is longer than backoff.max",
    ),
    "no attempt": Refused(
        spec(delivery={"maxAttempts": 0}),
        "greater than or equal to 1",
        "spec.delivery.maxAttempts: input should",
    ),
    "an unknown guarantee": Refused(
        spec(delivery={"guarantee": "ExactlyOnce"}),
        "Unsupported value",
        "spec.delivery.guarantee: input should be",
    ),
    "an unknown policy": Refused(
        spec(deletionPolicy="Keep"), "Unsupported value", "spec.deletionPolicy: input should be"
    ),
    "a foreign topic without a name": Refused(
        spec(tasks={"managed": False}),
        "managed: false needs the name",
        "spec.tasks: managed: false needs the name",
    ),
    "compacted tasks": Refused(
        spec(tasks={"config": {"cleanup.policy": "compact"}}),
        "tasks cannot be compacted",
        "spec: tasks cannot be compacted",
    ),
    "one topic for two roles": Refused(
        spec(tasks={"topic": "same"}, results={"topic": "same"}), "need a topic each", None
    ),
    "no partition": Refused(
        spec(results={"partitions": 0}), "greater than or equal to 1", "spec.results.partitions: input should"
    ),
    "no copy": Refused(
        spec(results={"replicationFactor": 0}),
        "give at least one copy",
        "spec.results: replicationFactor must be at least 1",
    ),
    "a topic name that Kafka refuses": Refused(
        spec(results={"topic": "no spaces"}), "spec.results.topic", "spec.results.topic: string should match"
    ),
    "a value that is no string": Refused(
        spec(tasks={"config": {"retention.ms": 1}}),
        "retention.ms",
        "spec.tasks.config.retention.ms: input should be",
    ),
    "brokers without a port": Refused(
        spec(connection={"bootstrapServers": "kafka"}),
        "connection.bootstrapServers",
        "spec.connection.bootstrapServers: string should match",
    ),
    "a variable of the operator's": Refused(
        spec(agent={"env": [{"name": "KAFLEET_LANE_FILE", "value": "x"}]}),
        "variables that start with KAFLEET_ are the operator's",
        "spec.workers.agent.env[0]: variables that start with KAFLEET_",
    ),
    "a variable twice": Refused(
        spec(agent={"env": [{"name": "A"}, {"name": "A"}]}),
        "Duplicate value",
        "spec.workers.agent.env: a variable is given twice",
    ),
    "a variable with two values": Refused(
        spec(agent={"env": [{"name": "A", "value": "x", "valueFrom": {}}]}),
        "value and valueFrom exclude each other",
        "spec.workers.agent.env[0]: value and valueFrom exclude each other",
    ),
    "a quantity that is none": Refused(
        spec(agent={"resources": {"limits": {"cpu": "much"}}}),
        "resources.limits.cpu",
        "limits.cpu: not a quantity",
    ),
    "a ConfigMap of another namespace": Refused(
        spec(agent={"code": {"configMap": "other/code"}}),
        "code.configMap",
        "spec.workers.agent.code.configMap: ",
    ),
}
