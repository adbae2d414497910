"""What runs in a lane's pods. Each description is what `kubectl explain` shows."""

from __future__ import annotations

import re
from typing import Annotated, Self

from pydantic import (
    AfterValidator,
    ConfigDict,
    Field,
    JsonValue,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from kafleet_operator.api.blocks import Block, DataKey, ObjectName, Text, rule, rules

_QUANTITY = re.compile(r"[0-9]+(\.[0-9]+)?(m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei)?")
_PATH = r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*"
_PART = "[a-z0-9]+([._-]+[a-z0-9]+)*"
_IMAGE = (
    rf"(([a-zA-Z0-9.-]+(:[0-9]+)?/)?{_PART}(/{_PART})*"
    "(:[a-zA-Z0-9_][a-zA-Z0-9_.-]{0,127})?(@[a-z0-9]+:[a-f0-9]{32,128})?)?"
)
_ANY_OBJECT = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
AnyObject = Annotated[dict[str, JsonValue], WithJsonSchema({**_ANY_OBJECT, "maxProperties": 256})]


def quantity(value: int | str) -> int | str:
    """Return a Kubernetes quantity as it is; ValueError says how to write one."""
    if _QUANTITY.fullmatch(str(value)) is None:
        raise ValueError("not a quantity; write a number, and a unit if it needs one, like 500m or 512Mi")
    return value


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


class Code(Block):
    """Where an agent's code comes from when it is not in the image."""

    config_map: ObjectName = Field(
        description="ConfigMap of this namespace whose keys are files of Python code; mounted read-only and "
        "importable, and an edit rolls the pods"
    )


class ConfigMapKey(Block):
    """One key of a ConfigMap of this namespace."""

    name: ObjectName = Field(description="Name of the ConfigMap")
    key: DataKey = Field(description="Key in it")
    optional: bool | None = Field(default=None, description="true: agents also start without it")


class SecretKey(Block):
    """One key of a Secret of this namespace."""

    name: ObjectName = Field(description="Name of the Secret")
    key: DataKey = Field(description="Key in it")
    optional: bool | None = Field(default=None, description="true: agents also start without it")


class PodField(Block):
    """A field of the agent's own pod."""

    api_version: str | None = Field(default=None, max_length=64, description="Version of the path; v1")
    field_path: str = Field(max_length=253, description="Path of the field, like metadata.name")


class ContainerResource(Block):
    """A limit or request of the agent's own container."""

    container_name: str | None = Field(
        default=None, max_length=63, description="Container; the agent's own if left out"
    )
    resource: str = Field(max_length=253, description="Resource, like limits.memory")
    divisor: Quantity | None = Field(default=None, description="Unit to count in, like 1Mi")


class EnvVarSource(Block):
    """Where the value of an environment variable comes from; one of them."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "[has(self.configMapKeyRef), has(self.secretKeyRef), has(self.fieldRef), "
                "has(self.resourceFieldRef)].filter(given, given).size() == 1",
                "valueFrom names exactly one source: configMapKeyRef, secretKeyRef, fieldRef or "
                "resourceFieldRef; keep one",
            )
        )
    )

    config_map_key_ref: ConfigMapKey | None = Field(default=None, description="A key of a ConfigMap")
    secret_key_ref: SecretKey | None = Field(default=None, description="A key of a Secret")
    field_ref: PodField | None = Field(default=None, description="A field of the pod")
    resource_field_ref: ContainerResource | None = Field(
        default=None, description="A limit or request of the container"
    )

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        if len(self.model_dump(exclude_none=True)) != 1:
            raise ValueError(
                "valueFrom names exactly one source: configMapKeyRef, secretKeyRef, fieldRef or "
                "resourceFieldRef; keep one"
            )
        return self


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

    name: Annotated[
        str,
        Text(
            "[A-Za-z_][A-Za-z0-9_.-]*",
            "not the name of a variable; begin with a letter or _, go on with letters, digits, _, - and dots",
            256,
        ),
    ] = Field(description="Name of the variable")
    value: str | None = Field(default=None, max_length=32768, description="Value of the variable")
    value_from: EnvVarSource | None = Field(
        default=None, description="Source of the value, as in a container, in place of `value`"
    )

    @model_validator(mode="after")
    def _is_ours_to_give(self) -> Self:
        if self.name.startswith("KAFLEET_"):
            raise ValueError("variables that start with KAFLEET_ are the operator's; choose another name")
        if self.value is not None and self.value_from is not None:
            raise ValueError("value and valueFrom exclude each other; keep one")
        return self


class WholeObject(Block):
    """A ConfigMap or Secret of this namespace, all keys of it."""

    name: ObjectName = Field(description="Name of the object")
    optional: bool | None = Field(default=None, description="true: agents also start without it")


class EnvFrom(Block):
    """A ConfigMap or a Secret whose keys become environment variables."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "has(self.configMapRef) != has(self.secretRef)",
                "each of envFrom names one object: configMapRef or secretRef; keep one",
            )
        )
    )

    prefix: str | None = Field(
        default=None, max_length=253, description="What the names of the variables begin with"
    )
    config_map_ref: WholeObject | None = Field(default=None, description="The ConfigMap")
    secret_ref: WholeObject | None = Field(default=None, description="The Secret")

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        if (self.config_map_ref is None) == (self.secret_ref is None):
            raise ValueError("each of envFrom names one object: configMapRef or secretRef; keep one")
        return self


def _resource_names_rule(field: str) -> dict[str, JsonValue]:
    return rule(
        f"!has(self.{field}) || self.{field}.all(name, name in ['cpu', 'memory', 'ephemeral-storage'] "
        "|| name.startsWith('hugepages-') || name.contains('/'))",
        f"{field} has a resource that Kubernetes does not know; it knows cpu, memory, ephemeral-storage, and "
        "those with a domain",
    )


class Resources(Block):
    """What an agent's container needs and may use, as in a container."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            _resource_names_rule("limits"),
            _resource_names_rule("requests"),
            rule(
                "!has(self.limits) || !has(self.requests) || self.requests.all(name, !(name in self.limits) "
                "|| quantity(string(self.requests[name])).compareTo("
                "quantity(string(self.limits[name]))) <= 0)",
                "a request is more than its limit; lower it, or raise the limit",
            ),
        )
    )

    limits: dict[str, Quantity] | None = Field(
        default=None, max_length=16, description="The most a container may use, like memory: 512Mi"
    )
    requests: dict[str, Quantity] | None = Field(
        default=None, max_length=16, description="What a container is sure to get, like cpu: 100m"
    )


class PodMetadata(Block):
    """Labels and annotations of the pods."""

    labels: dict[str, Annotated[str, Field(max_length=63)]] | None = Field(
        default=None, max_length=64, description="Labels beside the operator's"
    )
    annotations: dict[str, Annotated[str, Field(max_length=16384)]] | None = Field(
        default=None, max_length=64, description="Annotations beside the operator's"
    )


class PodTemplate(Block):
    """An overlay on the pods, merged as Kubernetes' strategic merge does."""

    metadata: PodMetadata | None = Field(default=None, description="Labels and annotations of the pods")
    spec: AnyObject | None = Field(
        default=None,
        description="Anything of a pod's spec: tolerations, affinity, volumes, sidecars, …; containers are "
        "merged by name, the agent's is called agent",
    )


class AgentSpec(Block):
    """What runs in a lane's pods."""

    handler: Annotated[
        str, Text(rf"{_PATH}:{_PATH}", "not an agent; write module:attribute, like triage:agent")
    ] = Field(description="The Agent to load, as module:attribute, from the image or from `code`")
    image: Annotated[
        str, Text(_IMAGE, "not an image; write it like registry.example/team/triage:1.0", 1024)
    ] = Field(default="", description="Image to run; empty for the one the operator was installed with")
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
    env_from: tuple[EnvFrom, ...] = Field(
        default=(),
        max_length=32,
        description="ConfigMaps and Secrets whose keys become environment variables, as in a container",
        json_schema_extra={"x-kubernetes-list-type": "atomic"},
    )
    resources: Resources = Field(
        default={}, validate_default=True, description="Memory and CPU of the container"
    )
    pod_template: PodTemplate = Field(
        default={},
        validate_default=True,
        description="An overlay on the generated pod template; what the operator must own (its labels, "
        "the lane file, the agent's port and probes, restartPolicy) cannot be overlaid",
    )

    @field_validator("env")
    @classmethod
    def _are_distinct(cls, env: tuple[EnvVar, ...]) -> tuple[EnvVar, ...]:
        if len({variable.name for variable in env}) < len(env):
            raise ValueError("a variable is given twice; keep one of them")
        return env
