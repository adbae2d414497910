from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from unit.operator.api.examples import VALID

from kafleet_operator.api import crds
from kafleet_operator.api.agentgroups import parse_agent_group
from kafleet_operator.api.kinds import KINDS

if TYPE_CHECKING:
    from collections.abc import Iterator

PROJECT = Path(__file__).parents[4]
Schema = dict[str, Any]
CRD = crds.crd_for(KINDS["AgentGroup"])
(VERSION,) = CRD["spec"]["versions"]
ROOT: Schema = VERSION["schema"]["openAPIV3Schema"]
SPEC: Schema = ROOT["properties"]["spec"]


def fields(schema: Schema, path: str = "") -> Iterator[tuple[str, Schema]]:
    """Yield every field of a schema with its path, those of lists and maps too."""
    for name, field in schema.get("properties", {}).items():
        yield f"{path}.{name}", field
        yield from fields(field, f"{path}.{name}")
    for keyword in ("items", "additionalProperties"):
        if keyword in schema:
            yield f"{path}[]", schema[keyword]
            yield from fields(schema[keyword], f"{path}[]")


def given_fields(schema: Schema, path: str = "") -> Iterator[tuple[str, Schema]]:
    """Yield every field that is there in the end, whatever the user leaves out."""
    for name, field in schema.get("properties", {}).items():
        yield f"{path}.{name}", field
        if "default" in field or name in schema.get("required", ()):
            yield from given_fields(field, f"{path}.{name}")


def defaulted(schema: Schema, value: Any) -> Any:  # noqa: ANN401 - any JSON value
    """Fill in defaults as the API server does: from the outside in."""
    if isinstance(value, list):
        return [defaulted(schema["items"], item) for item in value]
    if not isinstance(value, dict) or "properties" not in schema:
        return value
    given = {
        name: field["default"] for name, field in schema["properties"].items() if "default" in field
    } | value
    return {name: defaulted(schema["properties"].get(name, {}), each) for name, each in given.items()}


@pytest.mark.parametrize("path", crds.files())
def test_generated_files_are_fresh(path: str) -> None:
    """`make generate` was run after the last change of the models."""
    assert (PROJECT / path).read_text() == crds.files()[path]


@pytest.mark.parametrize("name", VALID)
def test_defaults_are_the_same_on_both_sides(name: str) -> None:
    """What the API server fills in is what the operator would have."""
    spec = VALID[name]

    assert parse_agent_group({"spec": defaulted(SPEC, spec)}) == parse_agent_group({"spec": spec})


def test_every_default_of_the_definition_is_given() -> None:
    """Each block that may be left out is there afterwards, down to the last field."""
    filled = defaulted(SPEC, VALID["minimal"])

    for path, field in given_fields(SPEC):
        if "default" in field:
            value = filled
            for step in path.split(".")[1:]:
                value = value[step]
            assert value == field["default"]
    assert "replicas" not in filled["workers"]


def test_every_field_explains_itself() -> None:
    """`kubectl explain` has a sentence for each field."""
    silent = [
        path for path, field in fields(ROOT) if not path.endswith("[]") and not field.get("description")
    ]

    assert silent == [".metadata"]


def test_everything_is_bounded() -> None:
    """Without bounds the API server cannot bound the cost of its rules, nor the size of an object."""
    for path, field in fields(ROOT):
        if path in {".apiVersion", ".kind", ".metadata"} or field.get("format") == "date-time":
            continue
        if field.get("type") == "string" and "enum" not in field:
            assert "maxLength" in field, path
        if field.get("type") == "array":
            assert "maxItems" in field, path
        if field.get("type") == "integer":
            assert {"minimum", "maximum"} <= field.keys(), path
        if field.get("type") == "object" and "properties" not in field:
            assert "maxProperties" in field, path


def test_no_keyword_that_structural_schemas_do_not_have() -> None:
    """What pydantic writes and Kubernetes refuses is gone."""
    for path, field in [("", ROOT), *fields(ROOT)]:
        assert (
            not {"title", "$ref", "$defs", "const", "exclusiveMinimum", "x-kafleet-override"} & field.keys()
        ), path
        assert field.get("default", "") is not None, path
        assert field.get("additionalProperties") is not False, path


def test_an_override_has_no_defaults() -> None:
    """What workers.delivery does not give, spec.delivery decides."""
    override = SPEC["properties"]["workers"]["properties"]["delivery"]

    assert override["properties"].keys() == SPEC["properties"]["delivery"]["properties"].keys()
    assert [path for path, field in fields(override) if "default" in field] == []


def test_users_find_it() -> None:
    """Names, the scale subresource and the columns."""
    assert CRD["metadata"]["name"] == "agentgroups.kafleet.dev"
    assert CRD["spec"]["names"]["shortNames"] == ["ag"]
    assert CRD["spec"]["names"]["categories"] == ["kafleet"]
    assert VERSION["subresources"]["scale"] == {
        "specReplicasPath": ".spec.workers.replicas",
        "statusReplicasPath": ".status.replicas",
        "labelSelectorPath": ".status.selector",
    }
    columns = {each["name"]: each.get("priority", 0) for each in VERSION["additionalPrinterColumns"]}
    assert columns == {
        **dict.fromkeys(["Desired", "Agents", "Lag", "Ready", "Reason", "Age"], 0),
        **dict.fromkeys(["Inbox", "Outbox", "Dead letters", "Recoveries"], 1),
    }


def test_the_reference_names_everything() -> None:
    """Each field of spec and status, each condition and each reason is on the page."""
    page = crds.files()["docs/reference/agentgroup.md"]

    for part in ("spec", "status"):
        for path, field in fields(ROOT["properties"][part]):
            if "description" in field and "[]" not in path:
                assert f"| `{path.removeprefix('.')}` |" in page
