"""Writing container images: plain files, so that no engine is needed for the node's own two."""

import hashlib
import io
import json
import tarfile
from pathlib import Path


def write(archive: Path, reference: str, program: Path, *, user: str = "") -> None:
    """Write a docker-archive of an image that holds and runs one static program."""
    layer = layer_of(program)
    config = json.dumps(
        {
            "architecture": "amd64",
            "os": "linux",
            "config": {"Entrypoint": [f"/{program.name}"], "User": user},
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"]},
        }
    ).encode()
    config_name = f"{hashlib.sha256(config).hexdigest()}.json"
    manifest = [{"Config": config_name, "RepoTags": [reference], "Layers": ["layer.tar"]}]
    part = archive.with_suffix(".part")
    with tarfile.open(part, "w") as tar:
        for name, content in {
            config_name: config,
            "layer.tar": layer,
            "manifest.json": json.dumps(manifest).encode(),
        }.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    part.rename(archive)


def layer_of(program: Path) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar, program.open("rb") as file:
        entry = tarfile.TarInfo(program.name)
        entry.size, entry.mode = program.stat().st_size, 0o755
        tar.addfile(entry, file)
    return buffer.getvalue()
