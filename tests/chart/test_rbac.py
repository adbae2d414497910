"""The operator has the rights it uses, where it watches, and no others."""

from __future__ import annotations

import re

import pytest
from chart.helm import REQUIRED, Helm, Json
from documents import commands

from kafleet_operator import effects

Right = tuple[str, str, str]

OPERATOR = "kafleet-system:kafleet"
SECRETS = f"{OPERATOR}:secrets"
SUBJECTS = [{"kind": "ServiceAccount", "name": "kafleet", "namespace": "kafleet-system"}]
AGGREGATE = "rbac.authorization.k8s.io/aggregate-to-"


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


def named(items: list[Json], name: str) -> Json:
    (found,) = (item for item in items if item["metadata"]["name"] == name)
    return found


def test_watching_everything_takes_a_cluster_role_without_secrets(helm: Helm) -> None:
    rendered = helm.template(watching())
    secrets = {right for right in stated_rights() if right[1] == "secrets"}

    role = named(rendered.of("ClusterRole"), OPERATOR)
    assert granted_rights(role) == stated_rights() - secrets != set()
    assert rendered.one("ClusterRoleBinding")["roleRef"]["name"] == OPERATOR
    assert granted_rights(named(rendered.of("ClusterRole"), SECRETS)) == secrets != set()
    assert rendered.of("Role") == rendered.of("RoleBinding") == []


def test_secrets_are_read_in_named_namespaces_only(helm: Helm) -> None:
    bindings = helm.template(REQUIRED | {"rbac": {"secretNamespaces": ["support", "sales"]}}).of(
        "RoleBinding"
    )

    assert [item["metadata"]["namespace"] for item in bindings] == ["support", "sales"]
    for binding in bindings:
        assert binding["roleRef"] == {
            "apiGroup": "rbac.authorization.k8s.io",
            "kind": "ClusterRole",
            "name": SECRETS,
        }
        assert binding["subjects"] == SUBJECTS


def test_secret_namespaces_without_an_effect_are_refused(helm: Helm) -> None:
    values = watching("support") | {"rbac": {"secretNamespaces": ["support"]}}

    assert "rbac.secretNamespaces is for watching all namespaces" in helm.refusal(values)


def test_watching_namespaces_gives_rights_in_these_only(helm: Helm) -> None:
    rendered = helm.template(watching("support", "sales"))

    assert rendered.of("ClusterRoleBinding") == []
    for kind in ("Role", "RoleBinding"):
        assert [item["metadata"]["namespace"] for item in rendered.of(kind)] == ["support", "sales"]
    for role in rendered.of("Role"):
        assert granted_rights(role) == stated_rights()


@pytest.mark.parametrize("namespaces", [(), ("support", "sales")], ids=["all", "named"])
def test_every_binding_leads_from_the_operator_to_a_role(helm: Helm, namespaces: tuple[str, ...]) -> None:
    rendered = helm.template(watching(*namespaces))
    roles = {
        (item["kind"], item["metadata"].get("namespace"), item["metadata"]["name"])
        for kind in ("ClusterRole", "Role")
        for item in rendered.of(kind)
    }

    bindings = rendered.of("ClusterRoleBinding") + rendered.of("RoleBinding")
    assert bindings
    for binding in bindings:
        assert binding["subjects"] == SUBJECTS
        role = binding["roleRef"]
        assert (role["kind"], binding["metadata"].get("namespace"), role["name"]) in roles
    assert rendered.one("ServiceAccount")["metadata"]["name"] == "kafleet"
    assert rendered.one("Deployment")["spec"]["template"]["spec"]["serviceAccountName"] == "kafleet"


def test_operator_can_say_how_to_be_allowed_to_read_secrets(helm: Helm) -> None:
    """The names in the command that a refused read shows are those that the chart made."""
    container = helm.template(REQUIRED).one("Deployment")["spec"]["template"]["spec"]["containers"][0]
    environment = {variable["name"]: variable["value"] for variable in container["env"]}

    assert environment["KAFLEET_SECRETS_ROLE"] == SECRETS
    assert environment["KAFLEET_SERVICE_ACCOUNT"] == "kafleet-system:kafleet"


def test_documented_command_binds_the_role_for_secrets() -> None:
    (command,) = (each.text for each in commands("kubectl") if "rolebinding kafleet-secrets" in each.text)

    assert {f"--clusterrole={SECRETS}", "--serviceaccount=kafleet-system:kafleet"} <= {*command.split()}


def test_people_see_and_change_fleets_by_kubernetes_own_roles(helm: Helm) -> None:
    roles = {
        label.removeprefix(AGGREGATE): role
        for role in helm.template(REQUIRED).of("ClusterRole")
        for label in role["metadata"]["labels"]
        if label.startswith(AGGREGATE)
    }

    assert sorted(roles) == ["admin", "edit", "view"]
    assert {verb for _, _, verb in granted_rights(roles["view"])} == {"get", "list", "watch"}


def test_roles_of_people_can_be_left_out(helm: Helm) -> None:
    values = watching("support") | {"rbac": {"aggregateRoles": False}}

    assert helm.template(values).of("ClusterRole") == []


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
