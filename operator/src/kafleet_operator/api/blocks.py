"""The blocks that every kind's spec is made of. Each description is what `kubectl explain` shows."""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    WithJsonSchema,
    field_validator,
    model_validator,
)
from pydantic.alias_generators import to_camel

_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h)")
_QUANTITY = re.compile(r"[0-9]+(\.[0-9]+)?(m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei)?")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
MAX_TASK_TIMEOUT = 23 * 3600.0  # librdkafka refuses to poll more rarely than once a day


def seconds_in(duration: object) -> float:
    """Read a duration like `500ms`, `30s`, `5m` or `1h` as seconds; ValueError says how to write one."""
    match = _DURATION.fullmatch(duration) if isinstance(duration, str) else None
    if match is None:
        raise ValueError("not a duration; write a number and a unit, like 500ms, 30s, 5m or 1h")
    return float(match[1]) * _SECONDS[match[2]]


def quantity(value: int | str) -> int | str:
    """Return a Kubernetes quantity as it is; ValueError says how to write one."""
    if _QUANTITY.fullmatch(str(value)) is None:
        raise ValueError("not a quantity; write a number, and a unit if it needs one, like 500m or 512Mi")
    return value


def rule(expression: str, message: str) -> dict[str, JsonValue]:
    """Return a CEL rule of the API server's, `message` being what the user reads.

    Messages are fixed: the cost of one that is computed from a number counts as unbounded.
    """
    return {"rule": expression, "message": message}


def rules(*each: dict[str, JsonValue]) -> dict[str, JsonValue]:
    """Return the schema extension that holds CEL rules."""
    return {"x-kubernetes-validations": list(each)}


Duration = Annotated[
    float,
    BeforeValidator(seconds_in),
    WithJsonSchema({"type": "string", "pattern": f"^{_DURATION.pattern}$", "maxLength": 16}),
]
Quantity = Annotated[
    int | str,
    AfterValidator(quantity),
    WithJsonSchema(
        {
            "anyOf": [{"type": "integer"}, {"type": "string"}],
            "x-kubernetes-int-or-string": True,
            "pattern": f"^{_QUANTITY.pattern}$",
            "maxLength": 32,
        }
    ),
]
ObjectName = Annotated[
    str, Field(max_length=253, pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$")
]
_ANY_OBJECT = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
AnyObject = Annotated[dict[str, JsonValue], WithJsonSchema({**_ANY_OBJECT, "maxProperties": 256})]


class Block(BaseModel):
    """A part of a spec: camelCase outside, frozen, and nothing in it that is not understood."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        populate_by_name=True,
        frozen=True,
        extra="forbid",
        regex_engine="rust-regex",
    )


class Code(Block):
    """Where an agent's code comes from when it is not in the image."""

    config_map: ObjectName = Field(
        description="ConfigMap of this namespace whose keys are files of Python code; mounted read-only and "
        "importable, and an edit rolls the pods"
    )


class EnvVar(Block):
    """One environment variable, as in a container."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "!self.name.startsWith('KAFLEET_')",
                "variables that start with KAFLEET_ are the operator's; choose another name",
            ),
            rule(
                "!has(self.value) || !has(self.valueFrom)",
                "value and valueFrom exclude each other; keep one",
            ),
        )
    )

    name: str = Field(
        min_length=1,
        max_length=256,
        pattern=r"^[A-Za-z_][A-Za-z0-9_.-]*$",
        description="Name of the variable",
    )
    value: str | None = Field(default=None, max_length=32768, description="Value of the variable")
    value_from: AnyObject | None = Field(
        default=None,
        description="Source of the value, as in a container: secretKeyRef, configMapKeyRef, fieldRef, …",
    )

    @model_validator(mode="after")
    def _is_ours_to_give(self) -> Self:
        if self.name.startswith("KAFLEET_"):
            raise ValueError("variables that start with KAFLEET_ are the operator's; choose another name")
        if self.value is not None and self.value_from is not None:
            raise ValueError("value and valueFrom exclude each other; keep one")
        return self


class Resources(Block):
    """What an agent's container needs and may use, as in a container."""

    limits: dict[str, Quantity] | None = Field(
        default=None, max_length=16, description="The most a container may use, like memory: 512Mi"
    )
    requests: dict[str, Quantity] | None = Field(
        default=None, max_length=16, description="What a container is sure to get, like cpu: 100m"
    )


class AgentSpec(Block):
    """What runs in a lane's pods."""

    handler: str = Field(
        max_length=253,
        pattern=r"^[A-Za-z_][A-Za-z0-9_.]*:[A-Za-z_][A-Za-z0-9_.]*$",
        description="The Agent to load, as module:attribute, from the image or from `code`",
    )
    image: str = Field(
        default="",
        max_length=1024,
        description="Image to run; empty for the one the operator was installed with",
    )
    code: Code | None = Field(default=None, description="Python code to mount beside what the image holds")
    config: AnyObject = Field(
        default={}, description="Free JSON, handed to the handler as ctx.config; never put a secret here"
    )
    env: tuple[EnvVar, ...] = Field(
        default=(),
        max_length=100,
        description="Environment variables of the container; secrets come this way",
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
    )
    env_from: tuple[AnyObject, ...] = Field(
        default=(),
        max_length=32,
        description="ConfigMaps and Secrets whose keys become environment variables, as in a container",
        json_schema_extra={"x-kubernetes-list-type": "atomic"},
    )
    resources: Resources = Field(
        default={}, validate_default=True, description="Memory and CPU of the container"
    )

    @field_validator("env")
    @classmethod
    def _are_distinct(cls, env: tuple[EnvVar, ...]) -> tuple[EnvVar, ...]:
        if len({variable.name for variable in env}) < len(env):
            raise ValueError("a variable is given twice; keep one of them")
        return env


class TopicSpec(Block):
    """One topic of a fleet."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule("self.managed || self.topic != ''", "managed: false needs the name of the topic; set topic"),
            rule(
                "self.topic == oldSelf.topic",
                "a topic cannot be renamed, its records would stay behind; make a new resource",
            ),
            rule(
                "!self.managed || !oldSelf.managed || self.partitions >= oldSelf.partitions",
                "Kafka cannot take partitions away; keep partitions as they are",
            ),
            rule(
                "!self.managed || !oldSelf.managed || self.partitions <= oldSelf.partitions"
                " || self.onGrowth == 'Reorder'",
                "more partitions move keys to other partitions, so that records of one key can overtake each "
                "other; set onGrowth: Reorder to allow it",
            ),
        )
    )

    topic: str = Field(
        default="",
        max_length=249,
        pattern=r"^[a-zA-Z0-9._-]*$",
        description="Name of the topic; empty for <namespace>.<resource>.<role>",
    )
    partitions: int = Field(
        default=12, ge=1, le=10000, description="How many partitions; the most agents that can share the work"
    )
    replication_factor: int = Field(
        default=-1,
        ge=-1,
        le=100,
        description="Copies of each partition; -1 for the broker's default",
        json_schema_extra=rules(rule("self != 0", "give at least one copy, or -1 for the broker's default")),
    )
    config: dict[str, Annotated[str, Field(max_length=4096)]] = Field(
        default={},
        max_length=64,
        description='Configuration overrides, like retention.ms: "604800000"; what is removed from here is '
        "reset to the broker's default",
    )
    managed: bool = Field(
        default=True,
        description="false: the topic is somebody else's, say another fleet's results; it is used, and never "
        "created, changed or deleted",
    )
    on_growth: Literal["Refuse", "Reorder"] = Field(
        default="Refuse",
        description="Whether partitions may be added, which moves keys to others: Refuse or Reorder",
    )

    @model_validator(mode="after")
    def _has_name_if_foreign(self) -> Self:
        if not self.managed and not self.topic:
            raise ValueError("managed: false needs the name of the topic; set topic")
        if self.replication_factor == 0:
            raise ValueError("replicationFactor must be at least 1, or -1 for the broker's default")
        return self


class Backoff(Block):
    """How long a failed record waits before it is tried again: doubling from `initial` up to `max`."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "!has(self.initial) || !has(self.max) || duration(self.initial) <= duration(self.max)",
                "backoff.initial is longer than backoff.max; shorten it",
            )
        )
    )

    initial: Duration = Field(
        default="1s", validate_default=True, description="Wait before the second attempt"
    )
    max: Duration = Field(
        default="60s", validate_default=True, description="Longest wait between two attempts"
    )

    @model_validator(mode="after")
    def _is_ordered(self) -> Self:
        # In an override, what is not given comes from elsewhere.
        if self.model_fields_set == {"initial", "max"} and self.initial > self.max:
            raise ValueError("backoff.initial is longer than backoff.max; shorten it")
        return self


class DeliverySpec(Block):
    """How each record is treated."""

    guarantee: Literal["AtLeastOnce"] = Field(
        default="AtLeastOnce",
        description="AtLeastOnce: no record is lost, and after a failure some are worked on again",
    )
    ordering: Literal["Key", "None"] = Field(
        default="Key", description="Key: records of one key are worked on one after the other; None: no order"
    )
    concurrency: int = Field(
        default=64, ge=1, le=100000, description="How many records one agent works on at the same time"
    )
    task_timeout: Duration = Field(
        default="60s",
        validate_default=True,
        gt=0,
        le=MAX_TASK_TIMEOUT,
        description="Longest time of one attempt, at most 23h; what counts as stuck derives from it",
        json_schema_extra=rules(
            rule(
                "duration(self) > duration('0s') && duration(self) <= duration('23h')",
                "taskTimeout must be longer than 0s and at most 23h",
            )
        ),
    )
    max_attempts: int = Field(
        default=5, ge=1, le=1000, description="How often a record is tried before it becomes a dead letter"
    )
    backoff: Backoff = Field(
        default={},
        validate_default=True,
        description="How long a failed record waits before the next attempt",
    )
    drain_timeout: Duration = Field(
        default="30s",
        validate_default=True,
        le=3600,
        description="How long a partition that moves to another agent may finish its work, at most 1h",
        json_schema_extra=rules(rule("duration(self) <= duration('1h')", "drainTimeout must be at most 1h")),
    )
    hop_limit: int = Field(
        default=32,
        ge=1,
        le=1000,
        description="How many records may cause each other in a row before one becomes a dead letter",
    )
    start_from: Literal["earliest", "latest"] = Field(
        default="earliest", description="Where a group that never committed begins: earliest or latest"
    )

    def overridden_by(self, other: DeliverySpec | None) -> DeliverySpec:
        """Return these rules with those that the other one really gives."""
        if other is None:
            return self
        given = {name: getattr(other, name) for name in other.model_fields_set}
        if "backoff" in given:
            backoff = {name: getattr(other.backoff, name) for name in other.backoff.model_fields_set}
            given["backoff"] = self.backoff.model_copy(update=backoff)
        return self.model_copy(update=given)


class Connection(Block):
    """How the fleet reaches Kafka."""

    bootstrap_servers: str = Field(
        default="",
        max_length=2048,
        pattern=r"^([^\s,:]+:[0-9]{1,5}(,[^\s,:]+:[0-9]{1,5})*)?$",
        description="Brokers to begin with, as host:port,host:port; empty for those of the installation",
    )
