"""Compiles the modules that each record passes through, with mypyc; see docs/decisions/0037.

Where there is no C compiler the wheel is pure Python, and an editable install always is: the same sources.
"""

from __future__ import annotations

import shutil
import sysconfig
import tempfile
from contextlib import chdir
from pathlib import Path
from typing import Any

from hatchling.builders.config import BuilderConfig
from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class CompilingHook(BuildHookInterface[BuilderConfig]):
    """Adds what it makes of `modules`, a list in pyproject.toml, beside their sources."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if version == "editable":
            return
        if not has_compiler():
            self.app.display_warning("no C compiler, or no headers of Python: nothing is compiled")
            return
        self._folder = Path(tempfile.mkdtemp(prefix="kafleet-compiled-"))
        compile_modules(Path(self.root, "src"), self.config["modules"], self._folder)
        libraries = self._folder / "libraries"
        build_data["force_include"].update(
            {str(file): str(file.relative_to(libraries)) for file in libraries.rglob("*.so")}
        )
        build_data["pure_python"] = False
        build_data["infer_tag"] = True

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:  # noqa: ARG002 - as in the interface
        if not build_data["pure_python"]:
            shutil.rmtree(self._folder)


def has_compiler() -> bool:
    command = str(sysconfig.get_config_var("CC") or "cc").split()[0]
    return shutil.which(command) is not None and Path(sysconfig.get_path("include"), "Python.h").exists()


def compile_modules(sources: Path, modules: list[str], folder: Path) -> None:
    """Compile modules of the package in `sources` into `folder`/libraries."""
    from mypyc.build import mypycify  # noqa: PLC0415 - where there is no compiler, it need not be there
    from setuptools import Distribution  # noqa: PLC0415 - likewise
    from setuptools.command.build_ext import build_ext  # noqa: PLC0415 - likewise

    options = [
        "--config-file=",
        f"--cache-dir={folder / 'cache'}",
        # The result must not depend on what else is installed: of other packages no type is known.
        "--no-site-packages",
        "--ignore-missing-imports",
    ]
    paths = [f"{name.replace('.', '/')}.py" for name in modules]
    with chdir(sources):
        extensions = mypycify(
            [*options, *paths], target_dir=str(folder / "generated"), group_name="kafleet", debug_level="0"
        )
        command = build_ext(Distribution({"name": "kafleet", "ext_modules": extensions}))
        command.build_lib, command.build_temp = str(folder / "libraries"), str(folder / "objects")
        command.ensure_finalized()
        command.run()
