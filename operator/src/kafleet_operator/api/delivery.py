"""How each record is treated, as users write it."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Literal

from pydantic import Field, JsonValue

from kafleet_operator.api.blocks import Block, Duration, are_durations, duration_rules, rule

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_TASK_TIMEOUT = 23 * 3600.0  # librdkafka refuses to poll more rarely than once a day
MAX_BACKOFF = 24 * 3600.0
SHRINKS = "backoff.initial is longer than backoff.max; shorten it where it is given, or raise backoff.max"


class Backoff(Block):
    """How long a failed record waits before it is tried again: doubling from `initial` up to `max`."""

    initial: Duration = Field(
        default="1s", validate_default=True, description="Wait before the second attempt"
    )
    max: Duration = Field(
        default="60s",
        validate_default=True,
        le=MAX_BACKOFF,
        description="Longest wait between two attempts, at most 24h",
        json_schema_extra=duration_rules(
            "duration(self) <= duration('24h')", "backoff.max must be at most 24h"
        ),
    )


class DeliverySpec(Block):
    """How each record is treated."""

    guarantee: Literal["AtLeastOnce", "ExactlyOnce"] = Field(
        default="AtLeastOnce",
        description=(
            "AtLeastOnce: no record is lost, and after a failure some are worked on again. ExactlyOnce: "
            "and who reads what is committed sees the outputs of each record once; they come in "
            "transactions, up to 100ms later. What a handler does elsewhere may be done again in both"
        ),
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
        json_schema_extra=duration_rules(
            "duration(self) > duration('0s') && duration(self) <= duration('23h')",
            "taskTimeout must be longer than 0s and at most 23h",
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
        json_schema_extra=duration_rules(
            "duration(self) <= duration('1h')", "drainTimeout must be at most 1h"
        ),
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


def in_force(lane: str, field: str, check: Callable[[str], str]) -> str:
    """Return the CEL expression, on a whole spec, that checks a delivery rule: the lane's own or the spec's.

    A check is written out for both: the cost of a value that is chosen first counts as unbounded.
    """
    parts = ["delivery", *field.split(".")]
    given = [f"has(self.{lane}.{'.'.join(parts[: count + 1])})" for count in range(len(parts))]
    own, common = (check(f"self.{path}delivery.{field}") for path in (f"{lane}.", ""))
    return f"({' && '.join(given)} ? {own} : {common})"


def backoff_rule(lane: str) -> dict[str, JsonValue]:
    """Return the rule, on a whole spec, that a lane's backoff grows, wherever its two ends are given."""

    def grows(first: str, last: str) -> str:
        return f"(!({are_durations(first, last)}) || duration({first}) <= duration({last}))"

    expression = in_force(
        lane, "backoff.initial", lambda first: in_force(lane, "backoff.max", partial(grows, first))
    )
    return rule(expression, SHRINKS)
