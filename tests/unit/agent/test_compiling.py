"""The package is built compiled where that can be done, and the sources are the same either way."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

AGENT = Path(__file__).resolve().parents[3] / "agent_image"
TARGET = tomllib.loads((AGENT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
COMPILED: list[str] = TARGET["hooks"]["custom"]["modules"]


def test_no_compiled_module_holds_a_coroutine() -> None:
    """A cancellation at the wrong moment damaged the memory of one that mypyc 2.4 had compiled."""
    found = [
        f"{name}, line {node.lineno}"
        for name in COMPILED
        for node in ast.walk(ast.parse((AGENT / "src" / f"{name.replace('.', '/')}.py").read_text()))
        if isinstance(node, ast.AsyncFunctionDef)
    ]

    assert COMPILED
    assert found == []


def test_all_that_should_be_compiled_is_or_nothing_is() -> None:
    """`make compiled` runs these tests on what images have; otherwise they run on the sources."""
    is_compiled = importlib.util.find_spec("kafleet__mypyc") is not None
    files = {name: str(importlib.import_module(name).__file__) for name in COMPILED}

    assert {name: file for name, file in files.items() if file.endswith(".so") != is_compiled} == {}


def test_without_a_compiler_the_package_is_pure_python(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", tmp_path],
        cwd=AGENT,
        env={"PATH": ""},
        check=True,
        capture_output=True,
    )

    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert wheel.name.endswith("-py3-none-any.whl")
    assert "kafleet/backlogs.py" in names
    assert [name for name in names if name.endswith(".so")] == []
