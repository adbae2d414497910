from __future__ import annotations

from dataclasses import replace

import pytest
from unit.operator.planning.samples import OWNER

from kafleet_operator.api.agentgroups import parse_agent_group
from kafleet_operator.api.kinds import KINDS
from kafleet_operator.planning.connections import Connection
from kafleet_operator.planning.fleets import Agent, Delivery, Fleet, Json, Lane, Topic
from kafleet_operator.planning.patterns import PATTERNS, fleet_for

SECRET: Json = {"name": "s", "key": "k"}
MINIMAL: Json = {"workers": {"agent": {"handler": "triage:agent"}}}


def fleet(spec: Json, *, adopts_topics: bool = False) -> Fleet:
    parsed = parse_agent_group({"spec": spec})
    return fleet_for(OWNER, parsed, bootstrap_servers="kafka:9092", adopts_topics=adopts_topics)


def test_every_kind_becomes_a_fleet() -> None:
    """No kind is parsed that nothing is planned for."""
    assert PATTERNS.keys() == KINDS.keys()


def test_the_smallest_group() -> None:
    """One worker, three topics, everything by default."""
    assert fleet(MINIMAL) == Fleet(
        owner=OWNER,
        topics=(
            Topic("tasks", "support.triage.tasks", 12),
            Topic("results", "support.triage.results", 12),
            Topic("dead-letters", "support.triage.dead-letters", 12),
        ),
        lanes=(
            Lane(
                name="workers",
                group="support.triage.workers",
                inputs=("tasks",),
                output="results",
                dead_letters="dead-letters",
                replicas=1,
                agent=Agent("triage:agent"),
                delivery=Delivery(),
                path="spec.workers",
                sends={"workers": "tasks"},
            ),
        ),
        inbox="tasks",
        outbox="results",
        connection=Connection("kafka:9092"),
        scale_lane="workers",
    )


def test_everything_that_can_be_said_arrives() -> None:
    """Each field of the spec has its place in the fleet."""
    agent = {
        "handler": "triage:agent",
        "image": "mine:2",
        "code": {"configMap": "code"},
        "config": {"a": [1]},
        "env": [{"name": "A", "value": ""}, {"name": "B", "valueFrom": {"secretKeyRef": SECRET}}],
        "envFrom": [{"secretRef": {"name": "s"}}],
        "resources": {"limits": {"cpu": 1}},
    }
    full = fleet(
        {
            "suspend": True,
            "deletionPolicy": "Delete",
            "connection": {"bootstrapServers": "other:9092"},
            "workers": {"replicas": 0, "agent": agent},
            "tasks": {"topic": "theirs", "managed": False, "partitions": 3},
            "results": {"partitions": 3, "replicationFactor": 2, "config": {"a": "b"}, "onGrowth": "Reorder"},
        },
        adopts_topics=True,
    )

    assert (full.is_suspended, full.deletes_topics, full.adopts_topics) == (True, True, True)
    assert full.connection == Connection("other:9092")
    assert full.lanes[0].replicas == 0
    assert full.lanes[0].agent == Agent(
        "triage:agent",
        image="mine:2",
        code_config_map="code",
        config={"a": [1]},
        env=({"name": "A", "value": ""}, {"name": "B", "valueFrom": {"secretKeyRef": SECRET}}),
        env_from=({"secretRef": {"name": "s"}},),
        resources={"limits": {"cpu": 1}},
    )
    assert full.topic("tasks") == Topic("tasks", "theirs", None, managed=False, is_named=True)
    assert full.topic("results") == Topic(
        "results", "support.triage.results", 3, 2, {"a": "b"}, may_grow=True
    )


def test_workers_override_only_what_they_give() -> None:
    """The rest of the delivery rules is the resource's."""
    rules = {"delivery": {"taskTimeout": "2m", "backoff": {"initial": "2s", "max": "10s"}, "concurrency": 8}}
    workers = {**MINIMAL["workers"], "delivery": {"taskTimeout": "500ms", "backoff": {"initial": "3s"}}}

    expected = replace(
        Delivery(),
        task_timeout_seconds=0.5,
        concurrency=8,
        backoff_initial_seconds=3.0,
        backoff_max_seconds=10.0,
    )
    assert fleet({**rules, "workers": workers}).lanes[0].delivery == expected


def test_a_role_that_is_not_there() -> None:
    """A fleet has the topics of its pattern, and no other."""
    with pytest.raises(KeyError, match="journal"):
        fleet(MINIMAL).topic("journal")


def test_owners_are_told_apart_and_named() -> None:
    """By kind, namespace and name."""
    assert OWNER.key == ("AgentGroup", "support", "triage")
    assert str(OWNER) == "AgentGroup support/triage"
