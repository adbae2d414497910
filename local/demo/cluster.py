"""The local cluster from outside: kubectl, helm, and a container's sudden death."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from demo.errors import Failed
from demo.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable

PROJECT = Path(__file__).resolve().parents[2]
KUBECTL = Path(sys.executable).parent / "kubectl"
Json = dict[str, Any]
SYSTEM = "kafleet-system"
RELEASE = "kafleet"
KILLED = 128 + 9  # the exit code of a process that SIGKILL ended
KILL = ("shell", "ctr", "--namespace", "k8s.io", "tasks", "kill", "--signal", "SIGKILL")
NODE_PORT = 30092
COMMAND_SECONDS = 300


def local(*words: str) -> str:
    """Run `local/cluster`, which says on stderr what it does, and return its answer."""
    done = subprocess.run(
        [PROJECT / "local" / "cluster", *words], stdout=subprocess.PIPE, text=True, check=False
    )
    if done.returncode != 0:
        raise Failed(
            f"`local/cluster {words[0]}` ended with status {done.returncode}", "local/cluster status"
        )
    return done.stdout


def bring_up() -> Cluster:
    """Start the local cluster, if it does not run, and return it."""
    return Cluster(Path(local("up").strip().partition("KUBECONFIG=")[2]))


def load_images() -> dict[str, str]:
    """Build and load this checkout's images, if need be; return their references by name."""
    return dict(line.split("=", 1) for line in local("images").split())


@dataclass(frozen=True, slots=True)
class Cluster:
    """A running local cluster, known by its kubeconfig."""

    kubeconfig: Path

    def kubectl(self, *words: str, given: str | None = None) -> str:
        """Run kubectl, with `given` on its standard input, and return what it printed."""
        return self._run(str(KUBECTL), *words, given=given)

    def read(self, *words: str) -> Json:
        """Return what `kubectl get` finds, decoded."""
        found: Json = json.loads(self.kubectl("get", *words, "-o", "json"))
        return found

    def pods(self, namespace: str, selector: str) -> list[Json]:
        """Return the pods that are not on their way out."""
        found = self.read("pods", "-n", namespace, "-l", selector)["items"]
        return [pod for pod in found if "deletionTimestamp" not in pod["metadata"]]

    def broker_address(self) -> str:
        """Return the address of the broker's listener for this machine."""
        addresses = self.read("nodes")["items"][0]["status"]["addresses"]
        return f"{next(each['address'] for each in addresses if each['type'] == 'InternalIP')}:{NODE_PORT}"

    def install(
        self, images: dict[str, str], *values: str, tell: Callable[[str], None] | None = None
    ) -> None:
        """Install or upgrade the chart with the images "operator" and "agent"; wait until it runs.

        `values` are more values for the chart, each as helm's --set takes them.
        """
        self._run(
            *(helm(), "upgrade", "--install", RELEASE, "charts/kafleet"),
            *("--namespace", SYSTEM, "--create-namespace"),
            *("--set", "kafka.bootstrapServers=kafka.kafka.svc:9092"),
            *image_values("image", images["operator"]),
            *image_values("agentImage", images["agent"]),
            *(word for value in values for word in ("--set", value)),
        )
        until(
            "the operator to run",
            lambda: self.kubectl("-n", SYSTEM, "rollout", "status", f"deployment/{RELEASE}", "--timeout=2s"),
            300,
            look=f"local/cluster kubectl -n {SYSTEM} describe pods",
            tell=tell,
        )

    def uninstall(self) -> None:
        """Uninstall the chart and wait until the operator is gone."""
        self._run(
            *(helm(), "uninstall", RELEASE),
            *("--namespace", SYSTEM, "--wait", "--timeout", "200s"),
        )

    def kill(self, namespace: str, pod: str, container: str) -> str:
        """End the container's first process with SIGKILL; return the container's id once it is seen dead.

        A container's pid 1 ignores signals from inside, so the node's containerd sends it.
        """
        found = container_of(self.read("pod", "-n", namespace, pod), container)
        name: str = found["containerID"].partition("://")[2]
        self._run("local/cluster", *KILL, name)
        ending = until(
            f"the death of {container!r} in {pod!r}",
            lambda: self._ending(namespace, pod, container, name),
            60,
            look=f"local/cluster kubectl -n {namespace} describe pod {pod}",
        )
        if ending["exitCode"] != KILLED:
            raise Failed(f"{container!r} in {pod!r} ended with code {ending['exitCode']}, not by SIGKILL")
        return name

    def _ending(self, namespace: str, pod: str, container: str, name: str) -> Json | None:
        found = container_of(self.read("pod", "-n", namespace, pod), container)
        for state in (found.get("state", {}), found.get("lastState", {})):
            ended: Json = state.get("terminated", {})
            if ended.get("containerID", "").endswith(name):
                return ended
        return None

    def _run(self, *words: str, given: str | None = None) -> str:
        try:
            done = subprocess.run(
                words,
                input=given,
                capture_output=True,
                text=True,
                check=False,
                cwd=PROJECT,
                env={**os.environ, "KUBECONFIG": str(self.kubeconfig)},
                timeout=COMMAND_SECONDS,
            )
        except subprocess.TimeoutExpired as error:
            raise Failed(f"`{Path(words[0]).name} {words[1]}` took over {COMMAND_SECONDS} s") from error
        if done.returncode != 0:
            raise Failed(f"`{Path(words[0]).name} {' '.join(words[1:])}`: {done.stderr.strip()}")
        return done.stdout


def helm() -> str:
    """Return a helm that is there before building one, which kind's users have no other need for."""
    return shutil.which("helm") or f"{local('bin').strip()}/helm"


def image_values(value: str, reference: str) -> list[str]:
    repository, _, tag = reference.rpartition(":")
    return ["--set-string", f"{value}.repository={repository},{value}.tag={tag}"]


def container_of(pod: Json, name: str) -> Json:
    """Return a container's status."""
    statuses: list[Json] = pod["status"].get("containerStatuses", [])
    for status in statuses:
        if status["name"] == name:
            return status
    raise Failed(f"the pod {pod['metadata']['name']!r} has no container {name!r} yet")
