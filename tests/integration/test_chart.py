"""The chart on a real API server: what it installs is admitted, and the rights it grants are enough."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from integration.conftest import folder
from integration.servers import PROJECT, Kubernetes, Process, eventually, free_ports, local_cluster

if TYPE_CHECKING:
    from collections.abc import Iterator

ACCOUNT = "system:serviceaccount:kafleet-system:kafleet"
CHART = PROJECT / "charts" / "kafleet"


@dataclass(frozen=True)
class Cluster:
    """An API server of this module's own, since the chart and its definitions are installed into it."""

    kubernetes: Kubernetes
    home: Path
    values: dict[str, Any]

    def run(self, *command: str | Path, given: object = None) -> str:
        """Run a command as the administrator and return what it prints; `given` goes to its input as JSON."""
        done = subprocess.run(
            [str(word) for word in command],
            env={**os.environ, "KUBECONFIG": str(self.kubernetes.kubeconfig), "HOME": str(self.home)},
            input=json.dumps(given) if given is not None else None,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def kubectl(self, *arguments: str, given: object = None) -> str:
        return self.run(PROJECT / ".venv" / "bin" / "kubectl", *arguments, given=given)

    def read(self, *arguments: str) -> dict[str, Any]:
        """Return an object or a list of them."""
        body: dict[str, Any] = json.loads(self.kubectl("get", *arguments, "--output=json"))
        return body

    def helm(self, *arguments: str | Path, given: object = None) -> str:
        return self.run(local_cluster("bin") / "helm", *arguments, given=given)

    def install(self, *namespaces: str) -> None:
        """Install or upgrade the release so that the operator watches these namespaces, or all."""
        values = {**self.values, "watch": {"namespaces": list(namespaces)}}
        self.helm(
            *("upgrade", "--install", "kafleet", CHART),
            *("--namespace", "kafleet-system", "--values", "-"),
            given=values,
        )


@pytest.fixture(scope="module")
def cluster(bootstrap_servers: str) -> Iterator[Cluster]:
    with folder() as path:
        servers = Kubernetes(Path(path))
        values = {
            "kafka": {"bootstrapServers": bootstrap_servers},
            "image": {"repository": "kafleet.local/operator"},
            "agentImage": {"repository": "kafleet.local/agent"},
            "observeSeconds": 1,
        }
        try:
            servers.start()
            servers.await_ready()
            made = Cluster(servers, Path(path), values)
            for name in ("kafleet-system", "support", "sales"):
                made.kubectl("create", "namespace", name)
            made.kubectl(
                "label", "namespace", "kafleet-system", "pod-security.kubernetes.io/enforce=restricted"
            )
            yield made
        finally:
            servers.stop()


def operator_of(cluster: Cluster) -> Process:
    """Return the installed operator as a process here: its environment, and its service account's rights."""
    deployment = cluster.read("deployment", "kafleet", "--namespace=kafleet-system")
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    token = cluster.kubectl("create", "token", "kafleet", "--namespace=kafleet-system").strip()
    config = yaml.safe_load(cluster.kubernetes.kubeconfig.read_text())
    config["users"] = [{"name": config["users"][0]["name"], "user": {"token": token}}]
    kubeconfig = cluster.home / "operator.kubeconfig"
    kubeconfig.write_text(yaml.safe_dump(config))
    environment = {variable["name"]: variable.get("value", "") for variable in container["env"]}
    environment |= {"KUBECONFIG": str(kubeconfig), "KAFLEET_HTTP_PORT": str(*free_ports(1))}
    return Process("operator", [sys.executable, "-m", "kafleet_operator"], cluster.home, environment)


@pytest.fixture(params=[("support",), ()], ids=["named namespaces", "all namespaces"])
def watched(cluster: Cluster, request: pytest.FixtureRequest) -> Iterator[tuple[str, ...]]:
    """Namespaces that the running operator watches; none: all."""
    namespaces: tuple[str, ...] = request.param
    cluster.install(*namespaces)
    operator = operator_of(cluster)
    operator.start()
    try:
        yield namespaces
        operator.check()
    finally:
        operator.kill()


def group(name: str, namespace: str) -> dict[str, Any]:
    return {
        "apiVersion": "kafleet.dev/v1alpha1",
        "kind": "AgentGroup",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "deletionPolicy": "Delete",
            "workers": {"replicas": 1, "agent": {"handler": "a:agent", "code": {"configMap": "code"}}},
            "tasks": {"partitions": 2},
        },
    }


def code() -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "code", "namespace": "support"},
        "data": {"a.py": ""},
    }


def condition(cluster: Cluster, name: str, kind: str) -> str | None:
    status = cluster.read("agentgroup", name, "--namespace=support").get("status", {})
    return next((each["status"] for each in status.get("conditions", []) if each["type"] == kind), None)


def test_rights_are_enough_for_a_whole_life(cluster: Cluster, watched: tuple[str, ...]) -> None:
    """Created, reported, scaled, repaired and cleaned up, without one request that was forbidden."""
    here = "--namespace=support"
    name = f"life-{len(watched)}"
    cluster.kubectl("apply", "--filename=-", given=group(name, "support"))
    cluster.kubectl("apply", "--filename=-", given=code())

    eventually(lambda: condition(cluster, name, "TopicsReady") == "True")
    eventually(lambda: name in cluster.kubectl("get", "deployments", here))
    cluster.kubectl("scale", f"agentgroup/{name}", "--replicas=2", here)
    eventually(lambda: cluster.read("deployment", f"{name}-workers", here)["spec"]["replicas"] == 2)
    cluster.kubectl("delete", "deployment", f"{name}-workers", here)
    eventually(lambda: name in cluster.kubectl("get", "deployments", here))
    assert name in cluster.kubectl("get", "events.events.k8s.io", here)
    cluster.kubectl("delete", "agentgroup", name, here, "--timeout=60s")

    answers = {event["responseStatus"]["code"] for event in cluster.kubernetes.requests_of(ACCOUNT)}
    assert answers & {200, 201}
    assert not answers & {401, 403}


def test_rights_end_at_the_named_namespaces(cluster: Cluster) -> None:
    cluster.install("support")

    def may(namespace: str) -> bool:
        wish = {"verb": "list", "group": "kafleet.dev", "resource": "agentgroups", "namespace": namespace}
        review = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SubjectAccessReview",
            "spec": {"user": ACCOUNT, "resourceAttributes": wish},
        }
        answer = json.loads(cluster.kubectl("create", "--filename=-", "--output=json", given=review))
        return bool(answer["status"]["allowed"])

    assert may("support")
    assert not may("sales")


def test_operator_is_admitted_where_pods_must_be_restricted(cluster: Cluster) -> None:
    cluster.install()

    eventually(lambda: cluster.read("pods", "--namespace=kafleet-system")["items"])


def test_fleets_outlive_the_release(cluster: Cluster) -> None:
    cluster.install()
    kept = group("kept", "sales") | {"spec": {"workers": {"agent": {"handler": "a:agent"}}}}
    cluster.kubectl("apply", "--filename=-", given=kept)

    cluster.helm("uninstall", "kafleet", "--namespace", "kafleet-system")

    assert cluster.read("agentgroup", "kept", "--namespace=sales")["spec"]["workers"]["agent"]
    cluster.install()
    assert cluster.read("agentgroup", "kept", "--namespace=sales")
