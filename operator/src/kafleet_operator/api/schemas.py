"""Structural schemas, as the API server wants them, out of pydantic's JSON schemas."""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pydantic import BaseModel

Schema = dict[str, Any]


def structural_schema(model: type[BaseModel]) -> Schema:
    """Return a model's schema with nothing left to look up, and no keyword that Kubernetes refuses."""
    schema = model.model_json_schema()
    return _structural(schema, schema.get("$defs", {}))


def _structural(schema: Schema, definitions: Schema) -> Schema:
    schema = _resolved(schema, definitions)
    is_override = schema.pop("x-kafleet-override", False)
    # Unknown fields are the API server's to prune, and titles say nothing that names do not.
    if not isinstance(schema.get("additionalProperties"), dict):
        schema.pop("additionalProperties", None)
    for keyword in ("title", "$defs"):
        schema.pop(keyword, None)
    if "const" in schema:
        schema["enum"] = [schema.pop("const")]
    if schema.get("default", ...) is None:
        del schema["default"]
    for keyword in ("items", "additionalProperties"):
        if keyword in schema:
            schema[keyword] = _structural(schema[keyword], definitions)
    if "properties" in schema:
        schema["properties"] = {
            name: _structural(each, definitions) for name, each in schema["properties"].items()
        }
        # The API server checks a default against the rules beside it before it fills in what is nested.
        if schema.get("default") == {}:
            fields = schema["properties"].items()
            schema["default"] = deepcopy(
                {name: each["default"] for name, each in fields if "default" in each}
            )
    return _without_defaults(schema) if is_override else schema


def _resolved(schema: Schema, definitions: Schema) -> Schema:
    """Put what is referred to in place; an optional field is one that may be left out."""
    schema = dict(schema)
    if "$ref" in schema:
        # A copy: what the file had twice would be written as a YAML alias.
        definition = deepcopy(definitions[schema.pop("$ref").removeprefix("#/$defs/")])
        schema = {**definition, **schema, **_all_rules(definition, schema)}
    choices = [each for each in schema.get("anyOf", ()) if each != {"type": "null"}]
    if len(choices) == 1:
        del schema["anyOf"]
        return _resolved({**choices[0], **schema}, definitions)
    return schema


def _all_rules(*schemas: Schema) -> Schema:
    key = "x-kubernetes-validations"
    every = [rule for schema in schemas for rule in schema.get(key, ())]
    return {key: every} if every else {}


def _without_defaults(schema: Schema) -> Schema:
    """Drop every default: what overrides something must be silent about the rest."""
    bare = {keyword: value for keyword, value in schema.items() if keyword != "default"}
    if "properties" in bare:
        bare["properties"] = {name: _without_defaults(each) for name, each in bare["properties"].items()}
    return bare
