"""The commands that the documents show, run as a reader would run them."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from demo.cluster import KUBECTL, PROJECT, Cluster, helm
from documents import blocks

SECONDS = 500


def shown(path: str) -> list[str]:
    """Return a document's blocks of shell commands, in order."""
    found = [block.text for block in blocks("sh") if block.place.startswith(f"{path}:")]
    assert found, path
    return found


def run(cluster: Cluster, commands: str, folder: Path = PROJECT, programs: Path = PROJECT) -> str:
    """Run commands with kubectl, helm and the folder `programs` on PATH; return what they print."""
    folders = (str(programs), str(KUBECTL.parent), str(Path(helm()).parent), os.environ["PATH"])
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", commands],
        cwd=folder,
        env={**os.environ, "KUBECONFIG": str(cluster.kubeconfig), "PATH": ":".join(folders)},
        capture_output=True,
        text=True,
        check=False,
        timeout=SECONDS,
    )
    assert done.returncode == 0, f"{commands}\n{done.stdout}{done.stderr}"
    return done.stdout
