"""The AgentGroup resource: workers that share one task topic as a consumer group."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import ConfigDict, Field, ValidationError, model_validator

from kafleet_operator.api.agents import AgentSpec
from kafleet_operator.api.blocks import Block, are_durations, rule, rules
from kafleet_operator.api.connections import ConnectionSpec
from kafleet_operator.api.delivery import SHRINKS, DeliverySpec, backoff_rule, in_force
from kafleet_operator.api.faults import faults_in
from kafleet_operator.api.topics import TopicSpec
from kafleet_operator.errors import InvalidSpec

if TYPE_CHECKING:
    from collections.abc import Mapping


class Workers(Block):
    """The agents that take the tasks."""

    replicas: int | None = Field(
        default=None,
        ge=0,
        le=10000,
        description="How many agents, at most as many as tasks.partitions; unset means 1",
    )
    agent: AgentSpec = Field(description="What runs in each pod")
    delivery: DeliverySpec | None = Field(
        default=None,
        description="Delivery rules of the workers, where they differ from spec.delivery",
        json_schema_extra={"x-kafleet-override": True},
    )


def _outlasts(timeout: str) -> str:
    retention = "self.tasks.config['retention.ms']"
    return (
        f"(!{retention}.matches('^[0-9]{{1,12}}$') || !({are_durations(timeout)}) "
        f"|| duration({retention} + 'ms') >= duration({timeout}))"
    )


class AgentGroupSpec(Block):
    """How the group shall be; what is left out has a default."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "!self.tasks.managed || !has(self.workers.replicas) "
                "|| self.workers.replicas <= self.tasks.partitions",
                "workers.replicas is more than tasks.partitions: the agents beyond would have nothing to do; "
                "lower it, or raise tasks.partitions with onGrowth: Reorder",
            ),
            rule(
                "!('cleanup.policy' in self.tasks.config) "
                "|| !self.tasks.config['cleanup.policy'].contains('compact')",
                "tasks cannot be compacted: a task could vanish before it is done; remove cleanup.policy",
            ),
            rule(
                "!('cleanup.policy' in self.deadLetters.config) "
                "|| !self.deadLetters.config['cleanup.policy'].contains('compact')",
                "deadLetters cannot be compacted: of each key only the last would stay, and none without a "
                "key could be written; remove cleanup.policy",
            ),
            rule(
                "!('retention.ms' in self.tasks.config) || " + in_force("workers", "taskTimeout", _outlasts),
                "retention.ms of tasks is shorter than delivery.taskTimeout: a task could vanish while it is "
                "worked on; raise it",
            ),
            backoff_rule("workers"),
            rule(
                "(self.tasks.topic == '' || self.tasks.topic != self.results.topic)"
                " && (self.tasks.topic == '' || self.tasks.topic != self.deadLetters.topic)"
                " && (self.results.topic == '' || self.results.topic != self.deadLetters.topic)",
                "tasks, results and deadLetters need a topic each; give them different names",
            ),
        )
    )

    suspend: bool = Field(
        default=False, description="true: no agent runs; topics and offsets are kept, and work waits"
    )
    deletion_policy: Literal["Retain", "Delete"] = Field(
        default="Retain",
        description="What becomes of topics and offsets when this resource is deleted: Retain keeps them, "
        "Delete deletes the group and the topics that this resource created",
    )
    connection: ConnectionSpec = Field(default={}, validate_default=True, description="How to reach Kafka")
    workers: Workers = Field(description="The agents that take tasks and write results")
    tasks: TopicSpec = Field(
        default={}, validate_default=True, description="The topic that work goes into; never compacted"
    )
    results: TopicSpec = Field(
        default={}, validate_default=True, description="The topic that answers come out of"
    )
    dead_letters: TopicSpec = Field(
        default={},
        validate_default=True,
        description="The topic of records that were given up, with the cause",
    )
    delivery: DeliverySpec = Field(
        default={}, validate_default=True, description="How each record is treated"
    )

    @model_validator(mode="after")
    def _keeps_tasks(self) -> Self:
        if "compact" in self.tasks.config.get("cleanup.policy", ""):
            raise ValueError(
                "tasks cannot be compacted: a task could vanish before it is done; remove cleanup.policy"
            )
        return self

    @model_validator(mode="after")
    def _backs_off(self) -> Self:
        backoff = self.delivery.overridden_by(self.workers.delivery).backoff
        if backoff.initial > backoff.max:
            raise ValueError(SHRINKS)
        return self


def parse_agent_group(body: Mapping[str, Any]) -> AgentGroupSpec:
    """Read the spec of a whole resource; InvalidSpec names the field and the way out."""
    try:
        return AgentGroupSpec.model_validate(body.get("spec") or {})
    except ValidationError as error:
        raise InvalidSpec(faults_in(error, "spec")) from None
