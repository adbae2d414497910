"""What must hold for the tree as a whole; every rule that CONTRIBUTING.md names and no other tool checks."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from documents import REPOSITORY, tracked
from packaging.requirements import Requirement

# Who resolved our dependencies, and through which mirror, is nobody's business but that machine's.
REGISTRIES = re.compile(
    r"pypi\.org|pythonhosted\.org|proxy\.golang\.org|sum\.golang\.org|repo1?\.maven\.|registry\.npmjs\.|"
    r"registry-1\.docker\.|\bdocker\.io/|ghcr\.io/|quay\.io/|registry\.k8s\.io/"
)


def text_of(path: Path) -> str:
    return (REPOSITORY / path).read_text(encoding="utf-8", errors="replace")


def is_source(path: Path) -> bool:
    return path.suffix in {".py", ".go", ".sh", ".tpl"} or (
        not path.suffix and text_of(path).startswith("#!")
    )


def project(folder: str) -> dict[str, list[str]]:
    """Return the declared dependencies of a workspace member, or of the development group for the root.

    `image` is what the image has of them: the extra `opentelemetry` too, where there is one.
    """
    declared = tomllib.loads(text_of(Path(folder, "pyproject.toml")))
    dependencies, extras = (
        declared["project"]["dependencies"],
        declared["project"].get("optional-dependencies", {}),
    )
    return {
        "dependencies": [*dependencies, *(wish for wishes in extras.values() for wish in wishes)],
        "image": [*dependencies, *extras.get("opentelemetry", [])],
        "dev": declared.get("dependency-groups", {}).get("dev", []),
    }


def locked(path: str) -> dict[str, tuple[str, list[str]]]:
    """Return version and requiring packages of everything in a requirements.lock, by name."""
    found: dict[str, tuple[str, list[str]]] = {}
    for block in re.split(r"\n(?=[a-z0-9])", text_of(Path(path))):
        if pinned := re.match(r"([A-Za-z0-9._-]+)==(\S+)", block):
            found[pinned[1]] = (pinned[2], re.findall(r"^ +#(?: via)? +([a-z0-9-]+)$", block, re.MULTILINE))
    return found


def test_no_source_file_is_longer_than_400_lines() -> None:
    lengths = {str(path): text_of(path).count("\n") for path in tracked() if is_source(path)}

    assert lengths
    assert {path: lines for path, lines in lengths.items() if lines > 400} == {}


def test_operator_folder_is_no_package_and_holds_no_tests() -> None:
    """As a package, or with a test module, it would replace the standard library's `operator`."""
    operator = REPOSITORY / "operator"
    forbidden = [operator / "__init__.py", *operator.rglob("conftest.py"), *operator.rglob("test_*.py")]

    assert [path for path in forbidden if path.exists()] == []


def test_no_file_names_a_registry_or_a_folder_of_this_machine() -> None:
    folders = (f"{REPOSITORY}/", f"{Path.home()}/")
    texts = {str(path): text_of(path) for path in tracked()}

    assert {path: found for path, text in texts.items() if (found := REGISTRIES.findall(text))} == {}
    assert [path for path, text in texts.items() if any(folder in text for folder in folders)] == []


@pytest.mark.parametrize(
    ("folder", "name"), [("operator", "kafleet-operator"), ("agent_image", "kafleet")], ids=str
)
def test_lock_of_an_image_is_what_its_project_asks_for(folder: str, name: str) -> None:
    """`make lock` writes it anew."""
    wanted = [Requirement(text) for text in project(folder)["image"]]
    pins = locked(f"{folder}/requirements.lock")

    assert sorted(wish.name for wish in wanted) == sorted(key for key, (_, by) in pins.items() if name in by)
    assert [str(wish) for wish in wanted if not wish.specifier.contains(pins[wish.name][0])] == []


def test_lock_of_the_workspace_has_what_everybody_asks_for() -> None:
    members = {"kafleet", "kafleet-operator"}
    texts = [
        *project(".")["dev"],
        *project("operator")["dependencies"],
        *project("agent_image")["dependencies"],
    ]
    wanted = [wish for wish in map(Requirement, texts) if wish.name not in members]
    pins = locked("requirements.lock")

    assert [
        str(wish)
        for wish in wanted
        if wish.name not in pins or not wish.specifier.contains(pins[wish.name][0])
    ] == []


def test_images_and_tests_use_the_same_versions() -> None:
    everything = locked("requirements.lock")

    for folder in ("operator", "agent_image"):
        for name, (version, _) in locked(f"{folder}/requirements.lock").items():
            assert everything[name][0] == version, name


def test_chart_carries_the_generated_definitions() -> None:
    """`make generate` copies them."""
    generated = {path.name: path.read_text() for path in (REPOSITORY / "crds").glob("*.yaml")}
    copied = {
        path.name: path.read_text() for path in (REPOSITORY / "charts/kafleet/files/crds").glob("*.yaml")
    }

    assert generated
    assert copied == generated


def test_ci_runs_what_the_readme_says() -> None:
    assert text_of(Path(".ci/run")).splitlines()[-1] == "exec make test"
    assert "make test" in text_of(Path("README.md"))


def test_licence_is_the_one_every_part_names() -> None:
    assert "Apache License" in text_of(Path("LICENSE")).splitlines()[1]
    for folder in ("operator", "agent_image"):
        assert 'license = "Apache-2.0"' in text_of(Path(folder, "pyproject.toml"))
