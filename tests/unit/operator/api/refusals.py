"""Specs of AgentGroups that are not fine: the API server and the operator agree on them."""

from __future__ import annotations

from unit.operator.api.examples import Refused, spec
from unit.operator.api.refused_agents import AGENTS
from unit.operator.api.refused_connections import CONNECTIONS

TOPICS_AND_DELIVERY: dict[str, Refused] = {
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
        spec(delivery={"guarantee": "AtMostOnce"}),
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
        "not brokers; write host:port,host:port, like kafka:9092",
        "spec.connection.bootstrapServers: not brokers; write host:port",
    ),
    "brokers at a port that cannot be": Refused(
        spec(connection={"bootstrapServers": "kafka:9092,kafka:65536"}),
        "not brokers; write host:port,host:port, like kafka:9092",
        "spec.connection.bootstrapServers: not brokers; write host:port",
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

INVALID = AGENTS | CONNECTIONS | TOPICS_AND_DELIVERY
