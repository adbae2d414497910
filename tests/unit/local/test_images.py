"""Images are named by what goes into them, built once, and loaded where they are missing."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest
from localcluster import archives, buildah, caching, images
from localcluster.images import Builder, Image

if TYPE_CHECKING:
    from pathlib import Path


@dataclass
class Node:
    """Remembers what was loaded, under the name that the archive's content gives."""

    names: set[str] = field(default_factory=set)
    loads: int = 0

    def images(self) -> set[str]:
        return self.names

    def load_image(self, archive: Path) -> None:
        self.names.add(archive.read_text())
        self.loads += 1


@dataclass
class Engine:
    """Writes the reference where an image would be."""

    builds: int = 0

    def build(self, reference: str, dockerfile: Path, context: Path, archive: Path) -> None:
        assert dockerfile.exists()
        assert context.is_dir()
        archive.write_text(reference)
        self.builds += 1


@pytest.fixture
def image(tmp_path: Path) -> Image:
    (tmp_path / "Dockerfile").write_text("FROM base\n")
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "main.py").write_text("print(1)\n")
    return Image("agent", tmp_path / "Dockerfile", (tmp_path / "src",), "1 s")


def test_reference_changes_with_every_input(image: Image) -> None:
    seen = {image.reference("base:1"), image.reference("base:2")}
    (image.inputs[0] / "main.py").write_text("print(2)\n")
    seen.add(image.reference("base:1"))
    image.dockerfile.write_text("FROM base AS build\n")
    seen.add(image.reference("base:1"))

    assert len(seen) == 4
    assert all(reference.startswith("kafleet.local/agent:") for reference in seen)


def test_image_is_built_and_loaded_once(image: Image, tmp_path: Path) -> None:
    engine, node = Engine(), Node()
    builder = Builder("base:1", engine.build)

    first = images.loaded(image, node, builder, tmp_path / "images")
    second = images.loaded(image, node, builder, tmp_path / "images")

    assert first == second == image.reference("base:1")
    assert (engine.builds, node.loads) == (1, 1)


def test_new_node_gets_the_archive_that_is_there(image: Image, tmp_path: Path) -> None:
    engine = Engine()
    builder = Builder("base:1", engine.build)
    images.loaded(image, Node(), builder, tmp_path / "images")

    reference = images.loaded(image, node := Node(), builder, tmp_path / "images")

    assert node.names == {reference}
    assert engine.builds == 1


def test_archive_of_an_older_source_is_removed(image: Image, tmp_path: Path) -> None:
    builder = Builder("base:1", Engine().build)
    images.loaded(image, Node(), builder, tmp_path / "images")
    (image.inputs[0] / "main.py").write_text("print(2)\n")

    reference = images.loaded(image, Node(), builder, tmp_path / "images")

    tag = reference.partition(":")[2]
    assert [path.name for path in (tmp_path / "images").glob("*.tar")] == [f"agent-{tag}.tar"]


def test_the_base_can_be_made_while_an_image_is_being_built(image: Image, tmp_path: Path) -> None:
    """Each is made under the lock of its folder."""
    assert buildah.BASE_FOLDER.parent.parent == images.FOLDER

    def build(reference: str, _dockerfile: Path, _context: Path, archive: Path) -> None:
        base = caching.cached(
            tmp_path / "images" / "base" / "key", lambda folder: (folder / "base.tar").touch()
        )
        assert (base / "base.tar").exists()
        archive.write_text(reference)

    node = Node()
    assert images.loaded(image, node, Builder("base:1", build), tmp_path / "images") in node.names


def test_written_image_holds_the_program_and_what_runs_it(tmp_path: Path) -> None:
    program = tmp_path / "pause"
    program.write_bytes(b"ELF")

    archives.write_program(tmp_path / "pause.tar", "kafleet.local/pause:1", program, user="65535:65535")

    with tarfile.open(tmp_path / "pause.tar") as tar:
        contents = {name: tar.extractfile(name).read() for name in tar.getnames()}  # type: ignore[union-attr]
    with tarfile.open(fileobj=io.BytesIO(contents["layer.tar"])) as layer:
        (entry,) = layer.getmembers()
    manifest = json.loads(contents["manifest.json"])[0]
    config = json.loads(contents[manifest["Config"]])
    assert manifest["RepoTags"] == ["kafleet.local/pause:1"]
    assert config["rootfs"]["diff_ids"] == [f"sha256:{hashlib.sha256(contents['layer.tar']).hexdigest()}"]
    assert (config["config"]["Entrypoint"], config["config"]["User"]) == (["/pause"], "65535:65535")
    assert (entry.name, entry.mode, entry.uid, entry.mtime) == ("pause", 0o755, 0, 0)


def test_builds_get_the_machines_package_index_and_nothing_else_of_its_pip(tmp_path: Path) -> None:
    file = tmp_path / "pip.conf"
    file.write_text("[global]\nindex-url = https://from.file/\ntimeout = 60\nfind-links = /wheels\n")
    missing = tmp_path / "missing.conf"

    assert buildah.pip_settings([file, missing], {}) == {"index-url": "https://from.file/", "timeout": "60"}
    assert buildah.pip_settings([file], {"PIP_INDEX_URL": "https://from.environment/"}) == {
        "index-url": "https://from.environment/",
        "timeout": "60",
    }
    assert buildah.pip_settings([missing], {"PIP_NO_INDEX": "1"}) == {}
