"""The chart installed on a real API server, and its operator as a process with the rights it was given."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import yaml
from integration.ports import free_ports
from integration.servers import KUBECTL, PROJECT, Kubernetes, Process, eventually, local_cluster

from kafleet_operator.effects.views import OWNED

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

Json = dict[str, Any]

RELEASE = "kafleet"
SYSTEM = "kafleet-system"
ACCOUNT = f"system:serviceaccount:{SYSTEM}:{RELEASE}"
CHART = PROJECT / "charts" / "kafleet"
HERE = "--namespace=support"
OWNED_KINDS = ",".join(".".join(filter(None, (type_.plural, type_.group))) for type_ in OWNED)


@dataclass(frozen=True, slots=True)
class Cluster:
    """A Kubernetes of one's own, since the chart and its definitions are installed into it."""

    kubernetes: Kubernetes
    home: Path
    values: Json

    def run(self, *command: str | Path, given: object = None) -> str:
        """Run a command as the administrator and return what it prints; `given` goes to its input as JSON."""
        done = self.attempt(*command, given=given)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def attempt(self, *command: str | Path, given: object = None) -> subprocess.CompletedProcess[str]:
        """Run a command that may fail, in the project's folder."""
        return subprocess.run(
            [str(word) for word in command],
            env={**os.environ, **self._environment()},
            cwd=PROJECT,
            input=json.dumps(given) if given is not None else "",
            capture_output=True,
            text=True,
            check=False,
        )

    def begin(self, *command: str) -> Process:
        """Start a command as the administrator, without waiting for its end."""
        process = Process(command[0], ["env", *command], self.home, self._environment())
        process.start()
        return process

    def _environment(self) -> dict[str, str]:
        programs = [str(KUBECTL.parent), str(local_cluster("bin")), os.environ["PATH"]]
        return {
            "PATH": os.pathsep.join(programs),
            "KUBECONFIG": str(self.kubernetes.kubeconfig),
            "HOME": str(self.home),
        }

    def kubectl(self, *arguments: str, given: object = None) -> str:
        return self.run("kubectl", *arguments, given=given)

    def read(self, *arguments: str) -> Json:
        """Return an object or a list of them."""
        body: Json = json.loads(self.kubectl("get", *arguments, "--output=json"))
        return body

    def helm(self, *arguments: str | Path, given: object = None) -> str:
        return self.run("helm", *arguments, given=given)

    def install(self, *namespaces: str, chart: Path = CHART, **values: object) -> str:
        """Install or upgrade the release so that the operator watches these namespaces, or all."""
        return self.helm(
            *("upgrade", "--install", RELEASE, chart, "--namespace", SYSTEM, "--values", "-"),
            given={**self.values, "watch": {"namespaces": list(namespaces)}, **values},
        )

    def uninstall(self) -> str:
        return self.helm("uninstall", RELEASE, "--namespace", SYSTEM)

    def operator(self) -> Process:
        """Return the installed operator as a process here: its environment, its service account's rights."""
        deployment = self.read("deployment", RELEASE, f"--namespace={SYSTEM}")
        (container,) = deployment["spec"]["template"]["spec"]["containers"]
        environment = {variable["name"]: variable.get("value", "") for variable in container["env"]}
        environment |= {
            "KUBECONFIG": str(self.kubeconfig_of(RELEASE)),
            "KAFLEET_HTTP_PORT": str(*free_ports(1)),
        }
        return Process("operator", [sys.executable, "-m", "kafleet_operator"], self.home, environment)

    def kubeconfig_of(self, account: str) -> Path:
        """Return a new kubeconfig of a service account in the release's namespace."""
        token = self.kubectl("create", "token", account, f"--namespace={SYSTEM}").strip()
        config = yaml.safe_load(self.kubernetes.kubeconfig.read_text())
        config["users"] = [{"name": config["users"][0]["name"], "user": {"token": token}}]
        path = self.home / f"{account}.kubeconfig"
        path.write_text(yaml.safe_dump(config))
        return path

    def play_kubelet(self, pod: str) -> Process:
        """Run a pod's command as a process, with its account's rights, once the pod is there."""
        found = eventually(lambda: self._pod(pod))
        (container,) = found["spec"]["containers"]
        environment = {"KUBECONFIG": str(self.kubeconfig_of(found["spec"]["serviceAccountName"]))}
        command: list[str | Path] = [sys.executable, *container["command"][1:]]
        process = Process(pod, command, self.home, environment)
        process.start()
        return process

    def tell_phase(self, pod: str, phase: str) -> None:
        """Say about a pod what a kubelet would."""
        ready = {"type": "Ready", "status": "True" if phase == "Running" else "False"}
        status = {"phase": phase, "conditions": [ready]}
        self.kubernetes.patch(f"/api/v1/namespaces/{SYSTEM}/pods/{pod}/status", {"status": status})

    def _pod(self, name: str) -> Json | None:
        found: Json | None = self.kubernetes.read(f"/api/v1/namespaces/{SYSTEM}/pods/{name}")
        return found

    def may(self, user: str, verb: str, resource: str, *, namespace: str, **more: str) -> bool:
        """Ask the API server whether a user may do something; `more` as in resourceAttributes."""
        wish = {"verb": verb, "resource": resource, "namespace": namespace, **more}
        review = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SubjectAccessReview",
            "spec": {"user": user, "resourceAttributes": wish},
        }
        answer = self.kubernetes.create("/apis/authorization.k8s.io/v1/subjectaccessreviews", review)
        return bool(answer["status"]["allowed"])

    def condition(self, name: str, namespace: str, kind: str) -> Json:
        """Return a condition of an AgentGroup; empty while it has none of that type."""
        status = self.read("agentgroup", name, f"--namespace={namespace}").get("status", {})
        return next((each for each in status.get("conditions", []) if each["type"] == kind), {})


@contextmanager
def cluster_in(home: Path, bootstrap_servers: str) -> Iterator[Cluster]:
    """Run a Kubernetes with namespaces for the chart and its fleets; nothing is installed yet."""
    kubernetes = Kubernetes(home)
    values = {
        "kafka": {"bootstrapServers": bootstrap_servers},
        "image": {"repository": "kafleet.local/operator"},
        "agentImage": {"repository": "kafleet.local/agent"},
        "observeSeconds": 1,
    }
    try:
        kubernetes.start()
        kubernetes.await_ready()
        cluster = Cluster(kubernetes, home, values)
        for name in (SYSTEM, "support", "sales"):
            cluster.kubectl("create", "namespace", name)
        cluster.kubectl("label", "namespace", SYSTEM, "pod-security.kubernetes.io/enforce=restricted")
        yield cluster
    finally:
        kubernetes.stop()


@contextmanager
def serving(cluster: Cluster) -> Iterator[None]:
    """Run the installed operator meanwhile."""
    operator = cluster.operator()
    operator.start()
    try:
        yield
        operator.check()
    finally:
        operator.kill()


def group(name: str, namespace: str = "support", **spec: object) -> Json:
    return {
        "apiVersion": "kafleet.dev/v1alpha1",
        "kind": "AgentGroup",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "workers": {"replicas": 1, "agent": {"handler": "a:agent"}},
            **{role: {"partitions": 2} for role in ("tasks", "results", "deadLetters")},
            **spec,
        },
    }


def await_condition(cluster: Cluster, name: str, kind: str, status: str, reason: str = "") -> None:
    def look() -> bool:
        found = cluster.condition(name, "support", kind)
        assert (found.get("status"), found.get("reason")) == (status, reason or found.get("reason")), found
        return True

    eventually(look)


def owned_by(cluster: Cluster, name: str) -> list[tuple[str, str, str]]:
    """Return kind, name and uid of what an AgentGroup owns."""
    items = cluster.read(OWNED_KINDS, HERE, "--selector", f"kafleet.dev/resource={name}")["items"]
    return sorted((each["kind"], each["metadata"]["name"], each["metadata"]["uid"]) for each in items)
