"""Building the operator's, the agents' and the broker's image, each tagged with the hash of its inputs."""

import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from localcluster import broker, caching, programs
from localcluster.paths import CACHE, LOCAL, PROJECT
from localcluster.programs import step

FOLDER = CACHE / "images"


@dataclass(frozen=True, slots=True)
class Image:
    """An image to build: `inputs` decide its tag, `usually` tells how long the first build takes."""

    name: str
    dockerfile: Path
    inputs: tuple[Path, ...]
    usually: str

    def reference(self, base: str) -> str:
        return f"kafleet.local/{self.name}:{caching.key_of([self.dockerfile, *self.inputs], base)}"


@dataclass(frozen=True, slots=True)
class Builder:
    """An engine, and the image that what it builds stands on.

    `build(reference, dockerfile, context, archive)` writes one that `load_image` accepts.
    """

    base: str
    build: Callable[[str, Path, Path, Path], None]


class Node(Protocol):
    """What images are loaded into."""

    def images(self) -> set[str]: ...
    def load_image(self, archive: Path, /) -> None: ...


def python_image(name: str, folder: Path, dockerfile: Path) -> Image:
    """Return the image of one of our own packages, whose Dockerfile has the whole project as context."""
    sources = (folder / source for source in ("pyproject.toml", "requirements.lock", "src"))
    inputs = (PROJECT / "build-requirements.lock", *sources)
    return Image(name, dockerfile, inputs, "40 s, 10 s when only our own code changed")


OPERATOR = python_image("operator", PROJECT / "operator", PROJECT / "Dockerfile")
AGENT = python_image("agent", PROJECT / "agent_image", PROJECT / "agent_image" / "Dockerfile")
KAFKA = Image("kafka", LOCAL / "kafka" / "Dockerfile", (LOCAL / "kafka",), "1 min")
IMAGES = (OPERATOR, AGENT, KAFKA)


def loaded(image: Image, cluster: Node, builder: Builder, folder: Path = FOLDER) -> str:
    """Return the image's reference when the cluster has it, building and loading it if need be."""
    reference = image.reference(builder.base)
    if reference not in cluster.images():
        archive = folder / f"{reference.rpartition('/')[2].replace(':', '-')}.tar"
        with programs.exclusive(folder / ".lock"):
            if not archive.exists():
                with step(f"building the {image.name} image", image.usually):
                    build(image, builder, reference, archive)
            with step(f"loading the {image.name} image into the cluster", "5 s"):
                cluster.load_image(archive)
            for older in folder.glob(f"{image.name}-*.tar"):
                if older != archive:
                    older.unlink()
    return reference


def build(image: Image, builder: Builder, reference: str, archive: Path) -> None:
    part = archive.with_suffix(".part")
    part.unlink(missing_ok=True)
    if image is KAFKA:
        with tempfile.TemporaryDirectory(prefix="kafleet-kafka-") as context:
            shutil.copytree(image.dockerfile.parent, context, dirs_exist_ok=True)
            shutil.copytree(broker.jars(), Path(context, "lib"))
            builder.build(reference, image.dockerfile, Path(context), part)
    else:
        builder.build(reference, image.dockerfile, PROJECT, part)
    part.rename(archive)
