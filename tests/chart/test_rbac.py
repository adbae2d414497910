"""The operator has the rights it uses, where it watches, and no others."""

from __future__ import annotations

import re

import pytest
from chart.helm import REQUIRED, Helm, Json

from kafleet_operator import effects

Right = tuple[str, str, str]


def stated_rights() -> set[Right]:
    """Return (group, resource, verb) of everything in the table that the operator's code carries."""
    rows = re.findall(r"^\| ([^|]+) \| ([^|]+) \| ([^|]+) \|", effects.__doc__ or "", re.MULTILINE)[2:]
    return {
        (group.replace("(core)", ""), resource, verb)
        for group, resource, verbs in rows
        for verb in verbs.split()
    }


def granted_rights(role: Json) -> set[Right]:
    return {
        (group, resource, verb)
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


def watching(*namespaces: str) -> Json:
    return REQUIRED | {"watch": {"namespaces": list(namespaces)}}


def test_watching_everything_takes_one_cluster_role(helm: Helm) -> None:
    rendered = helm.template(watching())

    assert granted_rights(rendered.one("ClusterRole")) == stated_rights() != set()
    assert rendered.of("Role") == rendered.of("RoleBinding") == []


def test_watching_namespaces_gives_rights_in_these_only(helm: Helm) -> None:
    rendered = helm.template(watching("support", "sales"))

    assert rendered.of("ClusterRole") == rendered.of("ClusterRoleBinding") == []
    for kind in ("Role", "RoleBinding"):
        assert [item["metadata"]["namespace"] for item in rendered.of(kind)] == ["support", "sales"]
    for role in rendered.of("Role"):
        assert granted_rights(role) == stated_rights()


@pytest.mark.parametrize("namespaces", [(), ("support", "sales")], ids=["all", "named"])
def test_every_binding_leads_from_the_operator_to_a_role(helm: Helm, namespaces: tuple[str, ...]) -> None:
    rendered = helm.template(watching(*namespaces))
    account = rendered.one("ServiceAccount")["metadata"]
    pod = rendered.one("Deployment")["spec"]["template"]["spec"]
    roles = {
        (item["kind"], item["metadata"].get("namespace"), item["metadata"]["name"])
        for kind in ("ClusterRole", "Role")
        for item in rendered.of(kind)
    }

    bound = set()
    for binding in rendered.of("ClusterRoleBinding") + rendered.of("RoleBinding"):
        assert binding["subjects"] == [
            {"kind": "ServiceAccount", "name": account["name"], "namespace": "kafleet-system"}
        ]
        bound.add(
            (binding["roleRef"]["kind"], binding["metadata"].get("namespace"), binding["roleRef"]["name"])
        )

    assert bound == roles
    assert pod["serviceAccountName"] == account["name"]


@pytest.mark.parametrize(("name", "expected"), [("", "default"), ("robot", "robot")])
def test_rights_go_to_an_existing_account(helm: Helm, name: str, expected: str) -> None:
    rendered = helm.template(REQUIRED | {"serviceAccount": {"create": False, "name": name}})

    assert rendered.of("ServiceAccount") == []
    assert rendered.one("ClusterRoleBinding")["subjects"][0]["name"] == expected
    assert rendered.one("Deployment")["spec"]["template"]["spec"]["serviceAccountName"] == expected


def test_token_is_mounted_into_the_operator_only(helm: Helm) -> None:
    rendered = helm.template(REQUIRED)

    assert rendered.one("ServiceAccount")["automountServiceAccountToken"] is False
    assert rendered.one("Deployment")["spec"]["template"]["spec"]["automountServiceAccountToken"] is True
