"""The agent's package as images have it: a wheel, with compiled modules where there is a C compiler."""

import sys
import zipfile
from pathlib import Path

from localcluster import caching
from localcluster.paths import CACHE, PROJECT
from localcluster.programs import run, step

AGENT = PROJECT / "agent_image"
INPUTS = (
    *(AGENT / name for name in ("pyproject.toml", "hatch_build.py", "src")),
    PROJECT / "requirements.lock",
)
BUILD = (sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory")


def unpacked() -> Path:
    """Return the folder to be put on the path; built once for each state of its sources."""

    def make(folder: Path) -> None:
        with step("building the agent's package", "30 s"):
            run(*BUILD, folder, cwd=AGENT)
        (wheel,) = folder.glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(folder)
        wheel.unlink()

    return caching.cached(CACHE / "wheels" / caching.key_of(INPUTS, sys.version), make)
