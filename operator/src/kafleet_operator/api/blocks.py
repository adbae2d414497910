"""What every spec is written with: blocks of fields, durations, names, and rules in words."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    JsonValue,
    WithJsonSchema,
)
from pydantic.alias_generators import to_camel
from pydantic_core import core_schema

if TYPE_CHECKING:
    from pydantic.json_schema import JsonSchemaValue

# At most six digits, so that no duration is too long for the API server's arithmetic.
_DURATION = r"([0-9]{1,6}(?:\.[0-9]{1,3})?)(ms|s|m|h)"
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


def seconds_in(duration: object) -> float:
    """Read a duration like `500ms`, `30s`, `5m` or `1h` as seconds; ValueError says how to write one."""
    match = re.fullmatch(_DURATION, duration) if isinstance(duration, str) else None
    if match is None:
        raise ValueError(DURATION_RULE["message"])
    return float(match[1]) * _SECONDS[match[2]]


def rule(expression: str, message: str) -> dict[str, JsonValue]:
    """Return a CEL rule of the API server's, `message` being what the user reads.

    Messages are fixed: the cost of one that is computed from a number counts as unbounded.
    """
    return {"rule": expression, "message": message}


def rules(*each: dict[str, JsonValue]) -> dict[str, JsonValue]:
    """Return the schema extension that holds CEL rules."""
    return {"x-kubernetes-validations": list(each)}


def are_durations(*fields: str) -> str:
    """Return the CEL expression that fields can be compared as durations; what they are not, they say."""
    return " && ".join(f"{field}.matches(r'^{_DURATION}$')" for field in fields)


DURATION_RULE = rule(
    are_durations("self"), "not a duration; write a number and a unit, like 500ms, 30s, 5m or 1h"
)


def duration_rules(expression: str, message: str) -> dict[str, JsonValue]:
    """Return the rules of a duration field that has bounds; they stand in for those of `Duration`."""
    return rules(DURATION_RULE, rule(f"!({are_durations('self')}) || ({expression})", message))


Duration = Annotated[
    float,
    BeforeValidator(seconds_in),
    WithJsonSchema({"type": "string", "maxLength": 16, **rules(DURATION_RULE)}),
]


@dataclass(frozen=True, slots=True)
class Text:
    """A string that matches a pattern from end to end; `words` tell the user how to write it.

    A rule instead of the schema's keyword `pattern`, of which users would read the regular expression.
    """

    pattern: str
    words: str
    max_length: int = 253

    def __get_pydantic_core_schema__(
        self, source: type[str], handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        return core_schema.no_info_after_validator_function(self._check, handler(source))

    def __get_pydantic_json_schema__(
        self, _schema: core_schema.CoreSchema, _handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        expression = f"self.matches(r'^({self.pattern})$')"
        return {"type": "string", "maxLength": self.max_length, **rules(rule(expression, self.words))}

    def _check(self, value: str) -> str:
        if len(value) > self.max_length or re.fullmatch(self.pattern, value) is None:
            raise ValueError(self.words)
        return value


_LABEL = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
ObjectName = Annotated[
    str,
    Text(
        rf"{_LABEL}(\.{_LABEL})*",
        "not the name of an object; write it in lower-case letters, digits, dashes and dots, without "
        "a namespace",
    ),
]
DataKey = Annotated[
    str,
    Text(
        r"\.?[-_a-zA-Z0-9][-._a-zA-Z0-9]*",
        "not a key; write it in letters, digits, dashes, dots and underscores",
    ),
]


class Block(BaseModel):
    """A part of a spec: camelCase outside, frozen, and nothing in it that is not understood."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        populate_by_name=True,
        frozen=True,
        extra="forbid",
        regex_engine="rust-regex",
    )
