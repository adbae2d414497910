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
    "as many as partitions by default": spec({"replicas": 12}),
    "as many as can be": spec({"replicas": 10000}, tasks={"partitions": 10000}),
    "more than the wished partitions of a foreign inbox": spec(
        {"replicas": 20}, tasks={"topic": "theirs", "managed": False, "partitions": 4}
    ),
    "every topic is foreign": spec(
        tasks={"topic": "a", "managed": False},
        results={"topic": "b", "managed": False},
        deadLetters={"topic": "c", "managed": False},
    ),
    "a long name of a topic": spec(tasks={"topic": "_" + "a.b-C_9" * 35 + "end"}),
    "an agent in a package, in an image with a digest": spec(
        agent={
            "handler": "pack_age.mod.sub:factory.agent_1",
            "image": f"localhost:5000/a/b__c/d-e:v1.0_x@sha256:{'0f' * 32}",
        }
    ),
    "everything about an agent": spec(
        {"delivery": {"taskTimeout": "1.5h", "backoff": {"initial": "2m", "max": "2m"}}},
        {
            "image": "registry.example/triage:1",
            "code": {"configMap": "triage.code-1"},
            "config": {"deep": {"er": [1, None, "x"]}},
            "env": [
                {"name": "LEVEL", "value": ""},
                {"name": "KEY", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k", "optional": True}}},
                {"name": "A.b-c", "valueFrom": {"configMapKeyRef": {"name": "c", "key": "a.b_c"}}},
                {"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
                {
                    "name": "ROOM",
                    "valueFrom": {"resourceFieldRef": {"resource": "limits.memory", "divisor": "1Mi"}},
                },
            ],
            "envFrom": [{"prefix": "X_", "configMapRef": {"name": "c"}}, {"secretRef": {"name": "s"}}],
            "resources": {
                "limits": {"cpu": 1, "memory": "512Mi", "gpu.example/card": 1},
                "requests": {"cpu": "1000m", "memory": "0.5Gi", "hugepages-2Mi": "4Mi"},
            },
        },
    ),
    "everything about the rest": spec(
        suspend=True,
        deletionPolicy="Delete",
        connection={"bootstrapServers": "a.kafka.svc:9092,b.kafka.svc:9093"},
        tasks={
            "topic": "a",
            "replicationFactor": 3,
            "config": {"retention.ms": "60000", "min.insync.replicas": "3", "compression.zstd.level": "3"},
            "onGrowth": "Reorder",
        },
        results={"topic": "b", "config": {"cleanup.policy": "compact, delete"}},
        deadLetters={"topic": "c", "partitions": 1, "config": {"retention.ms": "-1"}},
        delivery={
            "guarantee": "AtLeastOnce",
            "ordering": "None",
            "concurrency": 1,
            "taskTimeout": "60s",
            "maxAttempts": 1,
            "backoff": {"initial": "0s", "max": "0s"},
            "drainTimeout": "1h",
            "hopLimit": 1,
            "startFrom": "latest",
        },
    ),
    "the longest times": spec(
        delivery={"taskTimeout": "23h", "backoff": {"initial": "1440m", "max": "24h"}, "drainTimeout": "0s"},
    ),
    "tasks that are kept for ever": spec(
        tasks={"config": {"retention.ms": "-1", "cleanup.policy": "delete"}}, delivery={"taskTimeout": "23h"}
    ),
    "a backoff whose ends are given apart": spec(
        {"delivery": {"backoff": {"initial": "5m"}}}, delivery={"backoff": {"max": "10m"}}
    ),
    "a retention that the workers' own timeout fits": spec(
        {"delivery": {"taskTimeout": "1s"}}, tasks={"config": {"retention.ms": "1000"}}
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
        spec(agent={"handler": "triage"}),
        "write module:attribute, like triage:agent",
        "spec.workers.agent.handler: not an agent; write module:attribute",
    ),
    "more replicas than partitions": Refused(
        spec({"replicas": 13}), "workers.replicas is more than tasks.partitions", None
    ),
    "negative replicas": Refused(
        spec({"replicas": -1}), "greater than or equal to 0", "spec.workers.replicas: input should be greater"
    ),
    "an unknown duration": Refused(
        spec(delivery={"taskTimeout": "1 day"}),
        "write a number and a unit, like 500ms, 30s, 5m or 1h",
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
        "spec: backoff.initial is longer than backoff.max",
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
        spec(results={"topic": "no spaces"}),
        "write at most 249 letters, digits, dots, dashes and underscores",
        "spec.results.topic: not the name of a topic",
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
        spec(
            agent={
                "env": [
                    {"name": "A", "value": "x", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}
                ]
            }
        ),
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
        "without a namespace",
        "spec.workers.agent.code.configMap: not the name of an object",
    ),
    "no spec of the workers but a list": Refused(
        {"workers": []}, 'spec.workers in body must be of type object: "array"', "spec.workers: input should"
    ),
    "replicas in words": Refused(
        spec({"replicas": "three"}),
        'must be of type integer: "string"',
        "spec.workers.replicas: input should",
    ),
    "half a replica": Refused(
        spec({"replicas": 1.5}), "must be of type integer", "spec.workers.replicas: input should"
    ),
    "too many replicas": Refused(
        spec({"replicas": 10001}, tasks={"topic": "t", "managed": False}),
        "less than or equal to 10000",
        "spec.workers.replicas: input should",
    ),
    "a handler with a path": Refused(
        spec(agent={"handler": "triage/agent.py:agent"}),
        "write module:attribute, like triage:agent",
        "spec.workers.agent.handler: not an agent",
    ),
    "a handler with an empty part": Refused(
        spec(agent={"handler": "triage..sub:agent"}),
        "write module:attribute, like triage:agent",
        "spec.workers.agent.handler: not an agent",
    ),
    "a handler that is too long": Refused(
        spec(agent={"handler": "a:" + "b" * 252}), "may not be more than 253 bytes", "handler: not an agent"
    ),
    "an image with a space": Refused(
        spec(agent={"image": "triage: 1"}),
        "write it like registry.example/team/triage:1.0",
        "spec.workers.agent.image: not an image",
    ),
    "an image with a scheme": Refused(
        spec(agent={"image": "https://registry.example/triage"}),
        "write it like registry.example/team/triage:1.0",
        "spec.workers.agent.image: not an image",
    ),
    "code without a ConfigMap": Refused(
        spec(agent={"code": {}}), "code.configMap: Required", "code.configMap: it is required"
    ),
    "a configuration that is a list": Refused(
        spec(agent={"config": ["a"]}), "agent.config in body must be of type object", "agent.config: input"
    ),
    "a variable without a name": Refused(
        spec(agent={"env": [{"value": "x"}]}), "env[0].name: Required", "env[0].name: it is required"
    ),
    "a variable with a wrong name": Refused(
        spec(agent={"env": [{"name": "1st"}]}),
        "begin with a letter or _",
        "env[0].name: not the name of a variable",
    ),
    "a variable whose value is a number": Refused(
        spec(agent={"env": [{"name": "A", "value": 1}]}),
        "must be of type string",
        "env[0].value: input should",
    ),
    "a variable from two sources": Refused(
        spec(
            agent={
                "env": [
                    {
                        "name": "A",
                        "valueFrom": {
                            "secretKeyRef": {"name": "s", "key": "k"},
                            "configMapKeyRef": {"name": "c", "key": "k"},
                        },
                    }
                ]
            }
        ),
        "valueFrom names exactly one source",
        "env[0].valueFrom: valueFrom names exactly one source",
    ),
    "a variable from nowhere": Refused(
        spec(agent={"env": [{"name": "A", "valueFrom": {}}]}),
        "valueFrom names exactly one source",
        "env[0].valueFrom: valueFrom names exactly one source",
    ),
    "a Secret without a key": Refused(
        spec(agent={"env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "s"}}}]}),
        "secretKeyRef.key: Required",
        "secretKeyRef.key: it is required",
    ),
    "a Secret of another namespace": Refused(
        spec(agent={"env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "o/s", "key": "k"}}}]}),
        "without a namespace",
        "secretKeyRef.name: not the name of an object",
    ),
    "a key that cannot be": Refused(
        spec(agent={"env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "s", "key": "a/b"}}}]}),
        "not a key; write it in letters",
        "secretKeyRef.key: not a key",
    ),
    "variables from two objects at once": Refused(
        spec(agent={"envFrom": [{"secretRef": {"name": "s"}, "configMapRef": {"name": "c"}}]}),
        "configMapRef or secretRef; keep one",
        "envFrom[0]: each of envFrom names one object",
    ),
    "variables from no object": Refused(
        spec(agent={"envFrom": [{"prefix": "A_"}]}),
        "configMapRef or secretRef; keep one",
        "envFrom[0]: each of envFrom names one object",
    ),
    "too many variables": Refused(
        spec(agent={"env": [{"name": f"A{number}"} for number in range(101)]}),
        "must have at most 100 items",
        "spec.workers.agent.env: tuple should have at most 100 items",
    ),
    "a request over its limit": Refused(
        spec(agent={"resources": {"limits": {"cpu": 1}, "requests": {"cpu": "1500m"}}}),
        "a request is more than its limit",
        None,
    ),
    "a resource that Kubernetes does not know": Refused(
        spec(agent={"resources": {"limits": {"ram": "1Gi"}}}),
        "it knows cpu, memory, ephemeral-storage",
        None,
    ),
    "a negative quantity": Refused(
        spec(agent={"resources": {"limits": {"memory": "-1Gi"}}}),
        "resources.limits.memory",
        "limits.memory: not a quantity",
    ),
    "too many partitions": Refused(
        spec(tasks={"partitions": 10001}),
        "less than or equal to 10000",
        "spec.tasks.partitions: input should",
    ),
    "too many copies": Refused(
        spec(tasks={"replicationFactor": 101}),
        "less than or equal to 100",
        "spec.tasks.replicationFactor: input should",
    ),
    "fewer copies than none": Refused(
        spec(tasks={"replicationFactor": -2}),
        "greater than or equal to -1",
        "spec.tasks.replicationFactor: input should",
    ),
    "a topic of Kafka's own": Refused(
        spec(tasks={"topic": "__consumer_offsets"}),
        "leave names that begin with __ to Kafka",
        "spec.tasks.topic: not the name of a topic",
    ),
    "a topic that is a folder": Refused(
        spec(tasks={"topic": ".."}), "not the name of a topic", "spec.tasks.topic: not the name of a topic"
    ),
    "a topic with too long a name": Refused(
        spec(tasks={"topic": "a" * 250}), "may not be more than 249 bytes", "spec.tasks.topic: not the name"
    ),
    "results among the dead letters": Refused(
        spec(results={"topic": "same"}, deadLetters={"topic": "same"}), "need a topic each", None
    ),
    "a setting with a name of its own": Refused(
        spec(tasks={"config": {"Retention MS": "1"}}), "they are like retention.ms", None
    ),
    "a retention with a unit": Refused(
        spec(results={"config": {"retention.ms": "7d"}}), "whole numbers of milliseconds or bytes", None
    ),
    "a size with a unit": Refused(
        spec(deadLetters={"config": {"max.message.bytes": "1MiB"}}),
        "whole numbers of milliseconds or bytes",
        None,
    ),
    "a policy that Kafka does not have": Refused(
        spec(results={"config": {"cleanup.policy": "keep"}}),
        "cleanup.policy is delete, compact, or compact,delete",
        None,
    ),
    "tasks that are compacted as well": Refused(
        spec(tasks={"config": {"cleanup.policy": "delete,compact"}}),
        "tasks cannot be compacted",
        "spec: tasks cannot be compacted",
    ),
    "compacted dead letters": Refused(
        spec(deadLetters={"config": {"cleanup.policy": "compact"}}), "deadLetters cannot be compacted", None
    ),
    "more copies in sync than copies": Refused(
        spec(tasks={"replicationFactor": 2, "config": {"min.insync.replicas": "3"}}),
        "min.insync.replicas is more than replicationFactor",
        None,
    ),
    "tasks that vanish while they are worked on": Refused(
        spec(tasks={"config": {"retention.ms": "59999"}}),
        "retention.ms of tasks is shorter than delivery.taskTimeout",
        None,
    ),
    "tasks that vanish while they are worked on by the workers' rules": Refused(
        spec({"delivery": {"taskTimeout": "2h"}}, tasks={"config": {"retention.ms": "3600000"}}),
        "retention.ms of tasks is shorter than delivery.taskTimeout",
        None,
    ),
    "settings of a foreign topic": Refused(
        spec(results={"topic": "t", "managed": False, "config": {"retention.ms": "1"}}),
        "managed: false leaves the topic as its owner made it",
        None,
    ),
    "growth of a foreign topic": Refused(
        spec(tasks={"topic": "t", "managed": False, "onGrowth": "Reorder"}),
        "managed: false leaves the topic as its owner made it",
        None,
    ),
    "an unknown growth": Refused(
        spec(tasks={"onGrowth": "Allow"}), "Unsupported value", "spec.tasks.onGrowth: input should be"
    ),
    "managed in words": Refused(
        spec(tasks={"topic": "t", "managed": "maybe"}),
        "must be of type boolean",
        "spec.tasks.managed: input should be",
    ),
    "a timeout that is a number": Refused(
        spec(delivery={"taskTimeout": 60}),
        "must be of type string",
        "spec.delivery.taskTimeout: not a duration",
    ),
    "a duration of two units": Refused(
        spec(delivery={"drainTimeout": "1m30s"}),
        "write a number and a unit",
        "spec.delivery.drainTimeout: not a duration",
    ),
    "a duration beyond all measure": Refused(
        spec(delivery={"drainTimeout": "9999999h"}),
        "write a number and a unit",
        "spec.delivery.drainTimeout: not a duration",
    ),
    "a backoff of days": Refused(
        spec(delivery={"backoff": {"max": "25h"}}),
        "backoff.max must be at most 24h",
        "spec.delivery.backoff.max: input should be less",
    ),
    "a backoff of the workers that is longer than everybody's": Refused(
        spec({"delivery": {"backoff": {"initial": "2m"}}}),
        "backoff.initial is longer than backoff.max",
        "spec: backoff.initial is longer than backoff.max",
    ),
    "no record at a time": Refused(
        spec(delivery={"concurrency": 0}),
        "greater than or equal to 1",
        "spec.delivery.concurrency: input should",
    ),
    "too many records at a time": Refused(
        spec({"delivery": {"concurrency": 100001}}),
        "less than or equal to 100000",
        "spec.workers.delivery.concurrency: input should",
    ),
    "no hop": Refused(
        spec(delivery={"hopLimit": 0}), "greater than or equal to 1", "spec.delivery.hopLimit: input should"
    ),
    "an unknown order": Refused(
        spec(delivery={"ordering": "Partition"}), "Unsupported value", "spec.delivery.ordering: input should"
    ),
    "an unknown start": Refused(
        spec(delivery={"startFrom": "yesterday"}),
        "Unsupported value",
        "spec.delivery.startFrom: input should",
    ),
    "suspended in words": Refused(
        spec(suspend="yes please"), "must be of type boolean", "spec.suspend: input should be"
    ),
}
