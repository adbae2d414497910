"""Specs of AgentGroups that are fine; the API server and the operator agree on them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

Spec = dict[str, Any]


def spec(workers: Spec | None = None, agent: Spec | None = None, **others: object) -> Spec:
    """Return a minimal spec with more fields for its workers, their agent, and itself."""
    return {"workers": {"agent": {"handler": "triage:agent", **(agent or {})}, **(workers or {})}, **others}


# Every way of proving who one is, with all of its fields.
AUTHENTICATIONS: dict[str, Spec] = {
    "none": {},
    "scram-sha-512": {"username": "triage", "password": {"secret": "s", "key": "password"}},
    "plain": {"username": "triage", "password": {"secret": "s", "key": ".hidden"}},
    "mtls": {"certificateAndKey": {"secret": "s", "certificate": "user.crt", "key": "user.key"}},
    "oauthbearer": {
        "oauthbearer": {
            "tokenEndpointUri": "https://sso.example/realms/kafka/protocol/openid-connect/token",
            "clientId": "triage",
            "clientSecret": {"secret": "s", "key": "clientSecret"},
            "scope": "kafka",
        }
    },
}


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
            "guarantee": "ExactlyOnce",
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
    **{
        f"connected by {type_}": spec(connection={"authentication": {"type": type_, **fields}, "tls": {}})
        for type_, fields in AUTHENTICATIONS.items()
    },
    "a certificate as cert-manager has it": spec(
        connection={
            "authentication": {"type": "mtls", "certificateAndKey": {"secret": "s"}},
            "tls": {"ca": {"secret": "s", "key": "ca.crt"}},
        }
    ),
    "a password over a line that anybody can read": spec(
        connection={"authentication": {"type": "plain", **AUTHENTICATIONS["plain"]}}
    ),
}
