"""Writing container images of one layer as plain files, so that no engine is needed for them."""

import hashlib
import io
import json
import tarfile
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def write_program(archive: Path, reference: str, program: Path, *, user: str = "") -> None:
    """Write a docker-archive of an image that holds and runs one static program."""
    with tempfile.TemporaryDirectory(dir=archive.parent) as folder:
        layer = Path(folder, "layer.tar")
        with tarfile.open(layer, "w") as tar, program.open("rb") as file:
            entry = tarfile.TarInfo(
                program.name
            )  # nothing of this machine's: the same program, the same layer
            entry.size, entry.mode = program.stat().st_size, 0o755
            tar.addfile(entry, file)
        write(archive, reference, layer, {"Entrypoint": [f"/{program.name}"], "User": user})


def write(archive: Path, reference: str, layer: Path, config: Mapping[str, Any]) -> None:
    """Write a docker-archive of an image whose one layer is the given tar file."""
    with layer.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    description = json.dumps(
        {
            "architecture": "amd64",
            "os": "linux",
            "history": [{"created_by": "local/cluster"}],  # buildah wants one entry a layer
            "config": {"Env": [f"PATH={PATH}"], **config},
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]},
        }
    ).encode()
    name = f"{hashlib.sha256(description).hexdigest()}.json"
    manifest = [{"Config": name, "RepoTags": [reference], "Layers": ["layer.tar"]}]
    part = archive.with_suffix(".part")
    with tarfile.open(part, "w") as tar:
        add(tar, name, description)
        add(tar, "manifest.json", json.dumps(manifest).encode())
        tar.add(layer, "layer.tar")
    part.rename(archive)


def add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    tar.addfile(entry, io.BytesIO(content))
