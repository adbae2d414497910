"""A topic of a fleet, as users write it."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import ConfigDict, Field, model_validator

from kafleet_operator.api.blocks import Block, Text, rule, rules

_IS_NUMBER = "matches('^-?[0-9]{1,18}$')"


class TopicSpec(Block):
    """One topic of a fleet."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule("self.managed || self.topic != ''", "managed: false needs the name of the topic; set topic"),
            rule(
                "self.managed || (self.config.size() == 0 && self.replicationFactor == -1 "
                "&& self.onGrowth == 'Refuse')",
                "managed: false leaves the topic as its owner made it; remove config, replicationFactor and "
                "onGrowth",
            ),
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
            rule(
                "!('min.insync.replicas' in self.config) || self.replicationFactor == -1 "
                f"|| !self.config['min.insync.replicas'].{_IS_NUMBER} "
                "|| int(self.config['min.insync.replicas']) <= self.replicationFactor",
                "min.insync.replicas is more than replicationFactor, so nothing could be written; lower it",
            ),
        )
    )

    topic: Annotated[
        str,
        Text(
            "(_?[a-zA-Z0-9-][a-zA-Z0-9._-]*)?",
            "not the name of a topic; write at most 249 letters, digits, dots, dashes and underscores, and "
            "leave names that begin with __ to Kafka",
            249,
        ),
    ] = Field(default="", description="Name of the topic; empty for <namespace>.<resource>.<role>")
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
        description='Configuration overrides, like retention.ms: "604800000"; what is removed from here, or '
        "set by others, is reset to the broker's default",
        json_schema_extra=rules(
            rule(
                "self.all(name, name.matches('^[a-z][a-z0-9]*([.-][a-z0-9]+)*$'))",
                "config has a name that no setting of Kafka's can have; they are like retention.ms",
            ),
            rule(
                "self.all(name, !(name.endsWith('.ms') || name.endsWith('.bytes')) "
                f"|| self[name].{_IS_NUMBER})",
                "settings that end in .ms or .bytes are whole numbers of milliseconds or bytes: no unit",
            ),
            rule(
                "!('cleanup.policy' in self) || self['cleanup.policy'].split(',').all(policy, "
                "policy.trim() in ['delete', 'compact'])",
                "cleanup.policy is delete, compact, or compact,delete",
            ),
        ),
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
