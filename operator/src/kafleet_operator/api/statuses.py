"""What a status looks like, the same on every kind: the schema that the API server keeps it to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, WithJsonSchema

from kafleet_operator.api.blocks import Block

if TYPE_CHECKING:
    from pydantic.config import JsonDict

Count = Annotated[int, Field(ge=0, le=2**53)]
Time = Annotated[str, WithJsonSchema({"type": "string", "format": "date-time"})]
Name = Annotated[str, Field(max_length=512)]


def _list_map(key: str) -> JsonDict:
    return {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": [key]}


class ConditionStatus(Block):
    """One aspect of how the resource is."""

    type: str = Field(max_length=64, description="Which aspect this is")
    status: Literal["True", "False", "Unknown"] = Field(
        description="Whether it holds; Unknown where it could not be read"
    )
    reason: str = Field(min_length=1, max_length=128, description="Why, in one word for programs")
    message: str = Field(max_length=4096, description="Why, in words for people, with the way out")
    observed_generation: Count = Field(description="Generation of the spec that this was said of")
    last_transition_time: Time = Field(description="When `status` changed last")


class TopicStatus(Block):
    """A topic of this resource."""

    role: str = Field(max_length=64, description="What the topic is for")
    name: Name = Field(description="Name of the topic")
    id: str = Field(default="", max_length=64, description="Kafka's id of the topic; empty until it was seen")
    partitions: Count | None = Field(default=None, description="How many partitions it has")
    managed: bool = Field(default=True, description="Whether this resource answers for it")
    replaces: str | None = Field(
        default=None,
        max_length=64,
        description="Id of the topic of this name that was deleted outside, until its offsets are forgotten",
    )
    created: bool = Field(default=False, description="Whether this resource made it, and may delete it")


class Resumption(Block):
    """Where the work of a dead agent goes on."""

    topic: Name = Field(description="The topic")
    partition: Count = Field(description="Number of the partition")
    offset: Count | None = Field(
        default=None,
        description="First offset that is worked on again, but for what is settled above it; absent if it "
        "could not be read",
    )


class LastRecovery(Block):
    """The last dead agent whose work others went on with."""

    agent: Name = Field(description="Its pod")
    reason: str = Field(
        max_length=128, description="Why its container ended: Crashed, or Kubernetes' word, like OOMKilled"
    )
    seconds: float | None = Field(
        default=None,
        ge=0,
        description="From the container's end until others held its partitions; absent if nobody took them "
        "within a minute",
    )
    at: Time = Field(description="When its container ended")
    resumed_from: tuple[Resumption, ...] | None = Field(
        default=None,
        max_length=10_000,
        description="Where others went on; empty if it held no partition",
        json_schema_extra={"x-kubernetes-list-type": "atomic"},
    )


class RecoveriesStatus(Block):
    """Dead agents that the operator removed from the lane's group."""

    count: Count = Field(description="How many, since the resource exists")
    last: LastRecovery = Field(description="The last of them")


class LaneStatus(Block):
    """A group of agents that do one job."""

    name: str = Field(max_length=64, description="Name of the lane")
    group: Name = Field(description="Its consumer group")
    draining_since: Time | None = Field(
        default=None, description="Since when the lane is no longer wished and works off what waits"
    )
    replicas: Count | None = Field(default=None, description="How many agents there shall be")
    ready_replicas: Count | None = Field(default=None, description="How many agents are ready")
    lag: Count | None = Field(default=None, description="How many records wait; absent if not known")
    dead_letters: Count | None = Field(
        default=None, description="How many dead letters lie in its topic; absent if not known"
    )
    committed_partitions: Count | None = Field(
        default=None, description="How many partitions of its input have, or had, a committed offset"
    )
    recoveries: RecoveriesStatus | None = Field(
        default=None, description="Agents that died and whose work others went on with; absent if none"
    )


class Status(Block):
    """What the operator sees; written by it alone."""

    observed_generation: Count | None = Field(
        default=None, description="Generation of the spec that this status is about"
    )
    conditions: tuple[ConditionStatus, ...] | None = Field(
        default=None,
        max_length=16,
        description="How the resource is, aspect by aspect; Ready sums up the others",
        json_schema_extra=_list_map("type"),
    )
    inbox: Name | None = Field(default=None, description="Topic that work goes into")
    outbox: Name | None = Field(default=None, description="Topic that answers come out of")
    topics: tuple[TopicStatus, ...] | None = Field(
        default=None,
        max_length=256,
        description="The topics of this resource, noted before they are created",
        json_schema_extra=_list_map("role"),
    )
    lanes: tuple[LaneStatus, ...] | None = Field(
        default=None,
        max_length=256,
        description="The groups of agents of this resource",
        json_schema_extra=_list_map("name"),
    )
    desired_replicas: Count | None = Field(
        default=None, description="How many agents there shall be, all lanes"
    )
    ready_replicas: Count | None = Field(default=None, description="How many agents are ready, all lanes")
    lag: Count | None = Field(default=None, description="How many records wait, all lanes")
    dead_letters: Count | None = Field(default=None, description="How many dead letters lie, all lanes")
    recoveries: Count | None = Field(
        default=None, description="How many agents died and were recovered from, all lanes"
    )
    replicas: Count | None = Field(
        default=None, description="How many agents exist, for the scale subresource"
    )
    selector: str | None = Field(
        default=None, max_length=1024, description="Labels of the agents' pods, for the scale subresource"
    )
