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

KIND = "sigs.k8s.io/kind@v0.32.0"
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


@dataclass(frozen=True, slots=True)
class Kind:
    """The cluster as a container named `kafleet-control-plane`."""

    run: Run = programs.run

    def up(self) -> None:
        KUBECONFIG.parent.mkdir(parents=True, exist_ok=True)
        with step("starting the local cluster with kind", "1 min, 5 min when its image has to be pulled"):
            if NAME not in self.run(self.program(), "get", "clusters").split():
                self.run(
                    self.program(), "create", "cluster", "--name", NAME, "--wait", "180s", *self.kubeconfig()
                )
            else:
                self.run("docker", "start", NODE)  # does nothing to a running one
                self.run(self.program(), "export", "kubeconfig", "--name", NAME, *self.kubeconfig())
            self.run(
                *self.kubectl_command(), "wait", "nodes", "--all", "--for=condition=Ready", "--timeout=180s"
            )

    def down(self, *, purge: bool) -> None:
        """Stop the node's container; `purge` deletes it with all data."""
        if NAME in self.run(self.program(), "get", "clusters").split():
            if purge:
                self.run(self.program(), "delete", "cluster", "--name", NAME, *self.kubeconfig())
            else:
                self.run("docker", "stop", NODE)
        KUBECONFIG.unlink(missing_ok=True)

    def status(self) -> bool:
        print(
            self.run(
                "docker", "ps", "--all", "--filter", f"name={NODE}", "--format", "{{.Names}}: {{.Status}}"
            ),
            end="",
        )
        try:
            self.run(*self.kubectl_command(), "get", "--raw", "/readyz")
        except Failed:
            return False
        return True

    def load_image(self, archive: Path) -> None:
        self.run(self.program(), "load", "image-archive", archive, "--name", NAME)

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
        """Prefer a kubectl that is there to building one, which takes as long as all of Kubernetes."""
        installed = PROJECT / ".venv" / "bin" / "kubectl"
        found = str(installed) if installed.exists() else shutil.which("kubectl")
        return [found or str(binaries.binaries() / "kubectl"), *self.kubeconfig()]

    def shell_command(self) -> list[str]:
        return ["docker", "exec", "--interactive", "--tty", NODE]

    def kubeconfig(self) -> list[str]:
        return [f"--kubeconfig={KUBECONFIG}"]

    def program(self) -> str:
        """Return the path of kind: the one on PATH, or built from its Go module."""
        return shutil.which("kind") or str(
            caching.cached(CACHE / "tools" / KIND.replace("/", "-"), self.build_kind) / "kind"
        )

    def build_kind(self, folder: Path) -> None:
        with step("building kind", "1 min"):
            env = {**binaries.go_environment(), "GOBIN": str(folder)}
            self.run("go", "install", KIND, cwd=folder, env=env)
