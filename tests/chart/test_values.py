"""Every value is explained in values.yaml, listed in the README and the schema, and has an effect."""

from __future__ import annotations

import json
import os
import re
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from chart.helm import CHART, REQUIRED, Helm, Json

if TYPE_CHECKING:
    from collections.abc import Iterator

README = CHART / "README.md"
VALUES = (CHART / "values.yaml").read_text()


def commented_values() -> dict[str, str]:
    """Return the comment over each line of values.yaml, by dotted path; empty where there is none."""
    comments: dict[str, str] = {}
    parents: list[str] = []
    comment: list[str] = []
    for line in VALUES.splitlines():
        if found := re.match(r" *# (.*)", line):
            comment.append(found[1])
            continue
        if found := re.match(r"( *)([A-Za-z]+):", line):
            parents[len(found[1]) // 2 :] = [found[2]]
            comments[".".join(parents)] = " ".join(comment)
        comment = []
    return comments


def leaves(node: dict[str, Any], *parents: str) -> Iterator[tuple[str, Any]]:
    """Yield what a user sets: a block without a comment of its own is entered."""
    comments = commented_values()
    for key, value in node.items():
        path = ".".join((*parents, key))
        if isinstance(value, dict) and not comments[path]:
            yield from leaves(value, *parents, key)
        else:
            yield path, value


def table() -> str:
    comments = commented_values()
    rows = [
        f"| `{path}` | `{json.dumps(value)}` | {comments[path]} |"
        for path, value in leaves(yaml.safe_load(VALUES))
    ]
    return "\n".join(["| value | default | what it is |", "| --- | --- | --- |", *rows])


def test_every_value_has_a_comment() -> None:
    comments = commented_values()

    assert [path for path, _ in leaves(yaml.safe_load(VALUES)) if not comments[path]] == []


def test_readme_lists_every_value() -> None:
    """`UPDATE=1 make chart` writes the table anew."""
    before, _, rest = README.read_text().partition("<!-- values -->\n")
    _, _, after = rest.partition("\n<!-- end of values -->")
    fresh = f"{before}<!-- values -->\n{table()}\n<!-- end of values -->{after}"
    if os.environ.get("UPDATE"):
        README.write_text(fresh)

    assert README.read_text() == fresh


def test_schema_knows_exactly_the_values() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())

    def known(node: dict[str, Any], *parents: str) -> Iterator[str]:
        if "$ref" in node:
            node = schema["$defs"][node["$ref"].removeprefix("#/$defs/")]
        if "properties" not in node or ".".join(parents) in dict(leaves(yaml.safe_load(VALUES))):
            yield ".".join(parents)
            return
        for key, child in node["properties"].items():
            yield from known(child, *parents, key)

    assert sorted({*known(schema)} - {"global"}) == sorted(dict(leaves(yaml.safe_load(VALUES))))


CHANGED: dict[str, Any] = {
    "image.repository": "other",
    "image.tag": "other",
    "image.pullPolicy": "Always",
    "agentImage.repository": "other",
    "agentImage.tag": "other",
    "agentImage.pullPolicy": "Always",
    "imagePullSecrets": [{"name": "other"}],
    "kafka.bootstrapServers": "other:1",
    "watch.namespaces": ["other"],
    "resyncSeconds": 11,
    "observeSeconds": 11,
    "logLevel": "debug",
    "resources": {"limits": {"cpu": 1}},
    "nodeSelector": {"other": "other"},
    "tolerations": [{"key": "other"}],
    "affinity": {"podAffinity": {}},
    "podAnnotations": {"other": "other"},
    "podLabels": {"other": "other"},
    "serviceAccount.create": False,
    "serviceAccount.name": "other",
    "serviceAccount.annotations": {"other": "other"},
    "crds.install": False,
    "nameOverride": "other",
    "fullnameOverride": "other",
}


def test_every_value_is_tried() -> None:
    assert sorted(CHANGED) == sorted(dict(leaves(yaml.safe_load(VALUES))))


@pytest.mark.parametrize("path", CHANGED)
def test_value_has_an_effect(helm: Helm, path: str) -> None:
    *parents, leaf = path.split(".")
    values: Json = {key: dict(value) for key, value in REQUIRED.items()}
    target = values
    for parent in parents:
        target = target.setdefault(parent, {})
    target[leaf] = CHANGED[path]

    assert helm.template(values).objects != helm.template(REQUIRED).objects
