"""The cluster on a machine with a Docker engine: kind makes it, docker builds the images.

Written from kind's documentation and tested on the commands it would run; never run against an engine yet.
"""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from localcluster import binaries, caching, programs
from localcluster.images import Builder
from localcluster.paths import CACHE, KUBECONFIG, PROJECT
from localcluster.programs import Failed, step

KIND = "sigs.k8s.io/kind@v0.33.0"
NAME = "kafleet"
NODE = f"{NAME}-control-plane"
Run = Callable[..., str]


def docker_answers(run: Run = programs.run) -> bool:
    """Tell whether there is a Docker engine to talk to, not merely a client."""
    try:
        run("docker", "info", "--format", "{{.ServerVersion}}")
    except Failed:
        return False
    return True


def installed_kind() -> str:
    """Return the kind on PATH, or one built from its Go module."""

    def build(folder: Path) -> None:
        with step("building kind", "1 min"):
            environment = {**binaries.go_environment(), "GOBIN": str(folder)}
            programs.run("go", "install", KIND, cwd=folder, env=environment)

    folder = CACHE / "tools" / f"kind-{KIND.rpartition('@')[2]}"
    return shutil.which("kind") or str(caching.cached(folder, build) / "kind")


def installed_kubectl() -> str:
    """Return a kubectl that is there before building one, which takes as long as all of Kubernetes."""
    ours = PROJECT / ".venv" / "bin" / "kubectl"
    found = str(ours) if ours.exists() else shutil.which("kubectl")
    return found or str(binaries.binaries() / "kubectl")


@dataclass(frozen=True, slots=True)
class Kind:
    """The cluster as a container named `kafleet-control-plane`."""

    run: Run = programs.run
    kubeconfig: Path = KUBECONFIG
    program: Callable[[], str] = installed_kind
    kubectl: Callable[[], str] = installed_kubectl

    def up(self) -> None:
        self.kubeconfig.parent.mkdir(parents=True, exist_ok=True)
        with step(
            "starting the local cluster with kind", "1 min, 5 min when its image has to be pulled first"
        ):
            if not self.resumed():
                self.kind("create", "cluster", "--name", NAME, "--wait", "180s", self.written_to())
            self.run(
                *self.kubectl_command(), "wait", "nodes", "--all", "--for=condition=Ready", "--timeout=180s"
            )

    def resumed(self) -> bool:
        """Start a cluster that is there; one whose creation was killed has no kubeconfig and is removed."""
        if not self.exists():
            return False
        self.run("docker", "start", NODE)  # does nothing to a running one
        try:
            self.kind("export", "kubeconfig", "--name", NAME, self.written_to())
        except Failed:
            self.delete()
            return False
        return True

    def exists(self) -> bool:
        return NAME in self.kind("get", "clusters").split()

    def delete(self) -> None:
        self.kind("delete", "cluster", "--name", NAME, self.written_to())

    def down(self, *, purge: bool) -> None:
        """Stop the node's container; `purge` deletes it with all data."""
        if self.exists():
            if purge:
                self.delete()
            else:
                self.run("docker", "stop", NODE)
        self.kubeconfig.unlink(missing_ok=True)

    def status(self) -> bool:
        """Print the state of the node's container; tell whether the cluster serves."""
        form = "{{.Names}}: {{.Status}}"
        print(
            self.run("docker", "ps", "--all", "--filter", f"name={NODE}", "--format", form).strip() or "down"
        )
        try:
            self.run(*self.kubectl_command(), "get", "--raw", "/readyz")
        except Failed:
            return False
        return True

    def load_image(self, archive: Path) -> None:
        self.kind("load", "image-archive", str(archive), "--name", NAME)

    def images(self) -> set[str]:
        return set(
            self.run("docker", "exec", NODE, "ctr", "--namespace", "k8s.io", "images", "ls", "-q").split()
        )

    def builder(self) -> Builder:
        return Builder("the Dockerfile's own", self.build)

    def build(self, reference: str, dockerfile: Path, context: Path, archive: Path) -> None:
        self.run("docker", "build", "--quiet", "--file", dockerfile, "--tag", reference, context)
        self.run("docker", "save", "--output", archive, reference)

    def kubectl_command(self) -> list[str]:
        return [self.kubectl(), self.written_to()]

    def shell_command(self) -> list[str]:
        return ["docker", "exec", "--interactive", "--tty", NODE]

    def kind(self, *words: str) -> str:
        return self.run(self.program(), *words)

    def written_to(self) -> str:
        return f"--kubeconfig={self.kubeconfig}"
