"""Every value is explained in values.yaml, listed in the README and the schema, and has an effect."""

from __future__ import annotations

import copy
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
SCHEMA = CHART / "values.schema.json"
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


# Objects of Kubernetes' own API, handed on as they are.
KUBERNETES_CHECKS = {
    "global",
    "objects.items",
    "namedObjects.items",
    "podSecurityContext",
    "securityContext",
    "affinity.nodeAffinity",
    "affinity.podAffinity",
    "affinity.podAntiAffinity",
    "extraEnv.items.valueFrom",
}


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


def described(schema: Json) -> Json:
    """Return the schema with the comments of values.yaml as its descriptions."""
    comments = commented_values()
    described: Json = json.loads(json.dumps(schema))
    for path, node in nodes(described):
        node["description"] = comments[path] or f"Values under {path}"
    return described


def nodes(schema: Json, *parents: str) -> Iterator[tuple[str, Json]]:
    """Yield what the schema says about each value and block of values, by dotted path."""
    blocks = commented_values()
    for key, node in schema.get("properties", {}).items():
        path = ".".join((*parents, key))
        if path != "global":  # Helm's own
            yield path, node
        if not blocks.get(path):
            yield from nodes(node, *parents, key)


def test_schema_describes_every_value() -> None:
    """`UPDATE=1 make chart` writes the descriptions anew."""
    fresh = json.dumps(described(json.loads(SCHEMA.read_text())), indent=2, ensure_ascii=False) + "\n"
    if os.environ.get("UPDATE"):
        SCHEMA.write_text(fresh)

    assert SCHEMA.read_text() == fresh


def test_schema_knows_exactly_the_values() -> None:
    known = dict(nodes(json.loads(SCHEMA.read_text())))

    assert sorted(path for path in known if commented_values()[path]) == sorted(
        dict(leaves(yaml.safe_load(VALUES)))
    )


def test_schema_bounds_everything() -> None:
    """Also inside of lists and shared definitions; only what Kubernetes itself checks is left open."""
    unbounded = []

    def look(node: Json, place: str) -> None:
        kind, bounds = node.get("type"), node.keys()
        is_bound = {
            "string": bounds & {"maxLength", "pattern"},
            "array": "maxItems" in bounds and "items" in bounds,
            "integer": {"minimum", "maximum"} <= bounds,
            "object": "additionalProperties" in bounds or place[1:] in KUBERNETES_CHECKS,
        }.get(kind if isinstance(kind, str) else "", True)
        if not is_bound:
            unbounded.append(place)
        for key, child in {**node.get("properties", {}), **node.get("$defs", {})}.items():
            look(child, f"{place}.{key}")
        for key in ("items", "additionalProperties"):
            if isinstance(node.get(key), dict):
                look(node[key], f"{place}.{key}")

    look(json.loads(SCHEMA.read_text()), "")

    assert unbounded == []


CHANGED: dict[str, Any] = {
    "image.repository": "other",
    "image.tag": "other",
    "image.pullPolicy": "Always",
    "image.digest": f"sha256:{'0' * 64}",
    "agentImage.digest": f"sha256:{'0' * 64}",
    "rbac.secretNamespaces": ["other"],
    "rbac.aggregateRoles": False,
    "podSecurityContext": {"runAsUser": 1},
    "securityContext": {"privileged": False},
    "priorityClassName": "other",
    "commonLabels": {"other": "other"},
    "extraEnv": [{"name": "other"}],
    "extraVolumes": [{"name": "other", "emptyDir": {}}],
    "extraVolumeMounts": [{"name": "other", "mountPath": "/other"}],
    "networkPolicy.enabled": True,
    "networkPolicy.ingressFrom": [{"namespaceSelector": {}}],
    "networkPolicy.apiServerPorts": [1],
    "networkPolicy.extraEgress": [{"ports": [{"port": 1}]}],
    "agentImage.repository": "other",
    "agentImage.tag": "other",
    "agentImage.pullPolicy": "Always",
    "imagePullSecrets": [{"name": "other"}],
    "kafka.bootstrapServers": "other:1",
    "kafka.authentication": {
        "type": "plain",
        "username": "other",
        "password": {"secret": "other", "key": "other"},
    },
    "kafka.tls": {},
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
    "metrics.podMonitor.enabled": True,
    "metrics.podMonitor.labels": {"other": "other"},
    "metrics.podMonitor.interval": "11s",
    "metrics.prometheusRule.enabled": True,
    "metrics.prometheusRule.labels": {"other": "other"},
    "metrics.prometheusRule.runbookUrl": "https://other.test",
    "metrics.dashboard.enabled": True,
    "metrics.dashboard.labels": {"other": "other"},
    "metrics.dashboard.annotations": {"other": "other"},
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
    """Beside the switch of its block, where there is one."""
    *parents, leaf = path.split(".")
    before, after = copy.deepcopy(REQUIRED), copy.deepcopy(REQUIRED)
    for values in (before, after):
        for count in range(1, len(parents) + 1):
            switch = ".".join((*parents[:count], "enabled"))
            if switch in CHANGED and path != switch:
                block_in(values, parents[:count])["enabled"] = True
    block_in(after, parents)[leaf] = CHANGED[path]

    assert helm.template(after).objects != helm.template(before).objects


def block_in(values: Json, path: list[str]) -> Json:
    """Return a block of values, made if it is not there."""
    for key in path:
        values = values.setdefault(key, {})
    return values
