"""The chart on a real API server: what it installs is admitted, and it grants what the operator uses."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING

import pytest
import yaml
from chart.helm import EVERYTHING, REQUIRED
from integration.releases import (
    ACCOUNT,
    CHART,
    HERE,
    RELEASE,
    SYSTEM,
    Cluster,
    Json,
    await_condition,
    group,
    owned_by,
    serving,
)
from integration.servers import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

Right = tuple[str, str, str]

# Asked by the API server itself when an owner reference blocks the owner's deletion; no request shows it.
IMPLIED = ("kafleet.dev", "agentgroups/finalizers", "update")
# Not allowed, or not understood; 404 and 409 belong to a life.
REFUSALS = {400, 401, 403, 405, 406, 415, 422}


@pytest.fixture(params=[("support",), ()], ids=["named namespaces", "all namespaces"])
def watched(cluster: Cluster, request: pytest.FixtureRequest) -> Iterator[tuple[str, ...]]:
    """Namespaces that the running operator watches; none: all."""
    namespaces: tuple[str, ...] = request.param
    cluster.install(*namespaces, rbac={"secretNamespaces": [] if namespaces else ["support"]})
    with serving(cluster):
        yield namespaces


def own(name: str, kind: str, **more: object) -> Json:
    return {
        "apiVersion": "v1",
        "kind": kind,
        "metadata": {"name": name, "namespace": "support"},
        **more,
    }


def granted_rights(cluster: Cluster) -> set[Right]:
    """Return what the roles bound to the operator allow it."""
    rules = []
    for binding in cluster.read("clusterrolebindings,rolebindings", "--all-namespaces")["items"]:
        if {"kind": "ServiceAccount", "name": RELEASE, "namespace": SYSTEM} in binding.get("subjects", []):
            role = binding["roleRef"]
            where = f"--namespace={binding['metadata'].get('namespace', 'default')}"
            rules += cluster.read(role["kind"], role["name"], where)["rules"]
    return {
        (api_group, resource, verb)
        for rule in rules
        for api_group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


def used_rights(requests: list[Json]) -> set[Right]:
    """Return what the audit log shows to have been allowed; an apply that creates is checked for both."""
    rights = set()
    for event in requests:
        if "objectRef" not in event:
            continue  # discovery, which every account may do
        place = event["objectRef"]
        resource = "/".join(filter(None, (place["resource"], place.get("subresource", ""))))
        made = {"create"} if event["verb"] == "patch" and event["responseStatus"]["code"] == 201 else set()
        rights |= {(place.get("apiGroup", ""), resource, verb) for verb in {event["verb"], *made}}
    return rights


def live(cluster: Cluster, name: str) -> None:
    """Lead a fleet through all that can happen to it, from its creation to its deletion with its topics."""
    agent = {
        "handler": "a:agent",
        "code": {"configMap": f"{name}-code"},
        "env": [{"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": f"{name}-token", "key": "value"}}}],
    }
    workers = {"replicas": 1, "agent": agent}
    cluster.kubectl("apply", "--filename=-", given=group(name, workers=workers, deletionPolicy="Delete"))
    await_condition(cluster, name, "Accepted", "False", "ReferenceNotFound")
    for body in (
        own(f"{name}-code", "ConfigMap", data={"a.py": ""}),
        own(f"{name}-token", "Secret", stringData={"value": "hidden"}),
    ):
        cluster.kubectl("apply", "--filename=-", given=body)
    await_condition(cluster, name, "TopicsReady", "True")
    eventually(lambda: "Deployment" in {kind for kind, _, _ in owned_by(cluster, name)})
    cluster.kubectl("scale", f"agentgroup/{name}", "--replicas=2", HERE)
    eventually(lambda: cluster.read("deployment", f"{name}-workers", HERE)["spec"]["replicas"] == 2)
    before = owned_by(cluster, name)
    for kind, child, _ in before:
        cluster.kubectl("delete", kind, child, HERE)

    def healed() -> bool:
        after = owned_by(cluster, name)
        return [each[:2] for each in after] == [each[:2] for each in before] and not {*after} & {*before}

    eventually(healed)
    leave_over(cluster, name)
    assert name in cluster.kubectl("get", "events.events.k8s.io", HERE)
    cluster.kubectl("delete", "agentgroup", name, HERE, "--timeout=300s")


def leave_over(cluster: Cluster, name: str) -> None:
    """Put an object of each kind there that looks like one of a lane which is no more; they must go."""
    left = []
    for kind, child, _ in owned_by(cluster, name):
        body = cluster.read(kind, child, HERE)
        labels = {**body["metadata"]["labels"], "kafleet.dev/lane": "gone"}
        metadata = {"name": f"{name}-gone", "namespace": "support", "labels": labels}
        left.append({**{key: body[key] for key in body if key != "status"}, "metadata": metadata})
    if left:
        cluster.kubectl("create", "--filename=-", given={"apiVersion": "v1", "kind": "List", "items": left})
    eventually(lambda: f"{name}-gone" not in {child for _, child, _ in owned_by(cluster, name)})


def test_rights_are_exactly_those_used_in_a_whole_life(cluster: Cluster, watched: tuple[str, ...]) -> None:
    """By the API server's audit log: no request was refused, and no verb of the roles is without a use."""
    since = len(cluster.kubernetes.requests_of(ACCOUNT))
    live(cluster, f"life-{len(watched)}")
    requests = cluster.kubernetes.requests_of(ACCOUNT)[since:]

    refused = [event["requestURI"] for event in requests if event["responseStatus"]["code"] in REFUSALS]
    assert refused == []
    assert used_rights(requests) | {IMPLIED} == granted_rights(cluster)


def test_notes_can_be_followed_as_they_stand(cluster: Cluster) -> None:
    """Commands are run as they are printed, `helm test` among them; its pod has no rights but its own."""
    printed = cluster.install("support")
    wait, prove, start = re.findall(r"^     (\S.*)$", printed.partition("NOTES:\n")[2], re.MULTILINE)
    pods = cluster.read("pods", f"--namespace={SYSTEM}", "--selector=app.kubernetes.io/component=operator")
    cluster.tell_phase(pods["items"][0]["metadata"]["name"], "Running")

    cluster.run(*shlex.split(wait))
    with serving(cluster):
        proving = cluster.begin(*shlex.split(prove))
        tested = cluster.play_kubelet("kafleet-test")
        assert tested.wait() == 0, tested.log.read_text()
        cluster.tell_phase("kafleet-test", "Succeeded")
        assert proving.wait() == 0, proving.log.read_text()
    assert tested.log.read_text() == "namespace 'support' is served\n"
    assert "helm-test" not in cluster.kubectl("get", "agentgroups", HERE, "--output=name")
    cluster.run(*shlex.split(start))
    assert cluster.read("agentgroup", "triage", HERE)


def test_failed_switch_to_all_namespaces_leaves_no_rights_behind(cluster: Cluster) -> None:
    """Helm itself forgets what a failed upgrade made, once another one is through."""
    cluster.install("support")
    failing = ("--wait", "--timeout=1s", "--reuse-values", "--set-json=watch.namespaces=[]")
    failed = cluster.attempt("helm", "upgrade", RELEASE, CHART, "--namespace", SYSTEM, *failing)
    assert failed.returncode != 0
    assert cluster.may(ACCOUNT, "list", "agentgroups", namespace="sales", group="kafleet.dev")

    cluster.install("support")

    assert not cluster.may(ACCOUNT, "list", "agentgroups", namespace="sales", group="kafleet.dev")
    left = cluster.read("clusterroles,clusterrolebindings", "--selector=app.kubernetes.io/instance=kafleet")
    assert [item["metadata"]["name"].rpartition(":")[2] for item in left["items"]] == ["edit", "view"]


@pytest.mark.parametrize("values", [REQUIRED, EVERYTHING], ids=["least", "all"])
def test_whole_chart_is_admitted_by_the_api_server(cluster: Cluster, values: Json) -> None:
    """No field that Kubernetes does not know, in whatever values can make.

    The pod of `helm test` needs its account to be there, and is made in another test; monitors and alerts
    need the definitions of the Prometheus Operator.
    """
    rendered = cluster.helm("template", "other", CHART, "--namespace", SYSTEM, "--values", "-", given=values)
    elsewhere = {"Pod", "PodMonitor", "PrometheusRule"}
    items = [item for item in yaml.safe_load_all(rendered) if item and item["kind"] not in elsewhere]

    cluster.kubectl(
        *("apply", "--server-side", "--force-conflicts", "--dry-run=server", "--validate=strict"),
        "--filename=-",
        given={"apiVersion": "v1", "kind": "List", "items": items},
    )


def test_owner_references_need_the_right_that_no_request_shows(cluster: Cluster) -> None:
    """A cluster may ask who blocks an owner's deletion for the right to update the owner's finalizers."""
    cluster.install()
    cluster.kubectl("apply", "--filename=-", given=group("owner"))
    owner = cluster.read("agentgroup", "owner", HERE)
    reference = {
        **{key: owner[key] for key in ("apiVersion", "kind")},
        **{key: owner["metadata"][key] for key in ("name", "uid")},
        "blockOwnerDeletion": True,
    }
    child = own("child", "ConfigMap")
    child["metadata"]["ownerReferences"] = [reference]

    def may_own(user: str) -> bool:
        command = ("kubectl", "create", "--dry-run=server", f"--as={user}", "--filename=-")
        return cluster.attempt(*command, given=child).returncode == 0

    role = cluster.read("clusterrole", f"{SYSTEM}:{RELEASE}")
    lesser = [rule for rule in role["rules"] if rule["resources"] != ["agentgroups/finalizers"]]
    assert len(lesser) == len(role["rules"]) - 1
    role = {**role, "metadata": {"name": "lesser"}, "rules": lesser}
    cluster.kubectl("create", "--filename=-", given=role)
    cluster.kubectl("create", "clusterrolebinding", "lesser", "--clusterrole=lesser", "--user=lesser")

    assert may_own(ACCOUNT)
    assert not may_own("lesser")


def test_rights_end_at_the_named_namespaces(cluster: Cluster) -> None:
    cluster.install("support")

    for resource, more in (("agentgroups", {"group": "kafleet.dev"}), ("secrets", {"name": "token"})):
        verb = "get" if resource == "secrets" else "list"
        assert cluster.may(ACCOUNT, verb, resource, namespace="support", **more)
        assert not cluster.may(ACCOUNT, verb, resource, namespace="sales", **more)


def test_chart_installs_with_rights_in_namespaces_only(cluster: Cluster) -> None:
    """Once somebody else has brought the definitions."""
    cluster.install()
    for namespace in (SYSTEM, "support"):
        cluster.kubectl(
            *("create", "rolebinding", "tenant", f"--namespace={namespace}"),
            *("--clusterrole=cluster-admin", "--user=tenant"),
        )
    switches = ("crds.install=false", "rbac.aggregateRoles=false", "watch.namespaces={support}")

    for _ in ("install", "upgrade"):
        cluster.helm(
            *("upgrade", "--install", "tenant", CHART, "--namespace", SYSTEM, "--kube-as-user=tenant"),
            *(f"--set={switch}" for switch in switches),
            *("--values", "-"),
            given=cluster.values,
        )
    cluster.helm("uninstall", "tenant", "--namespace", SYSTEM, "--kube-as-user=tenant")


def test_watching_everything_gives_no_secrets_but_where_it_is_told_to(cluster: Cluster) -> None:
    cluster.install(rbac={"secretNamespaces": ["support"]})

    assert cluster.may(ACCOUNT, "get", "secrets", namespace="support", name="token")
    assert not cluster.may(ACCOUNT, "get", "secrets", namespace="sales", name="token")


def test_kubernetes_own_roles_reach_fleets(cluster: Cluster) -> None:
    cluster.install()
    reading, writing = {"get", "list", "watch"}, {"create", "update", "patch", "delete", "deletecollection"}

    def may(user: str, verb: str, subresource: str = "", namespace: str = "support") -> bool:
        more = {"group": "kafleet.dev", **({"subresource": subresource} if subresource else {})}
        return cluster.may(user, verb, "agentgroups", namespace=namespace, **more)

    for role, verbs in (("view", reading), ("edit", reading | writing), ("admin", reading | writing)):
        cluster.kubectl("create", "rolebinding", role, HERE, f"--clusterrole={role}", f"--user={role}")
        # Kubernetes adds the chart's roles to its own a moment later.
        eventually(lambda: {verb for verb in reading | writing if may(role, verb)} == verbs)  # noqa: B023 - called at once
        assert may(role, "get", "status")
        assert may(role, "get", "scale")
        assert may(role, "patch", "scale") is (role != "view")
        assert not may(role, "patch", "status")
        assert not may(role, "get", namespace="sales")


def test_operator_is_admitted_where_pods_must_be_restricted(cluster: Cluster) -> None:
    cluster.install()

    eventually(lambda: cluster.read("pods", f"--namespace={SYSTEM}")["items"])
