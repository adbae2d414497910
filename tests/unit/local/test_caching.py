"""A folder of the cache is whole or absent, and its name changes with everything that goes into it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from localcluster import caching
from localcluster.programs import Failed

if TYPE_CHECKING:
    from pathlib import Path


def tree(folder: Path, files: dict[str, str]) -> Path:
    for name, content in files.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)
    return folder


def test_key_is_the_same_for_the_same_files_in_another_checkout(tmp_path: Path) -> None:
    one = tree(tmp_path / "one" / "cmd", {"a/main.go": "x", "b.go": "y"})
    other = tree(tmp_path / "other" / "cmd", {"b.go": "y", "a/main.go": "x"})

    assert caching.key_of([one], "flag") == caching.key_of([other], "flag")


@pytest.mark.parametrize(
    ("files", "word"),
    [
        pytest.param({"a": "1", "b": "3"}, "flag", id="another content"),
        pytest.param({"a": "1", "c": "2"}, "flag", id="another name"),
        pytest.param({"a": "1", "b": "2", "c": ""}, "flag", id="one more file"),
        pytest.param({"a": "1"}, "flag", id="one file less"),
        pytest.param({"a": "1b2", "": ""}, "flag", id="contents and names run together"),
        pytest.param({"a": "1", "b": "2"}, "flags", id="another word"),
    ],
)
def test_key_changes_with_every_input(tmp_path: Path, files: dict[str, str], word: str) -> None:
    key = caching.key_of([tree(tmp_path / "before" / "cmd", {"a": "1", "b": "2"})], "flag")
    files.pop("", None)

    assert caching.key_of([tree(tmp_path / "after" / "cmd", files)], word) != key


def test_key_ignores_what_python_leaves_behind(tmp_path: Path) -> None:
    source = tree(tmp_path / "src", {"a.py": "x"})
    key = caching.key_of([source])

    tree(source, {"__pycache__/a.cpython-311.pyc": "bytes"})

    assert caching.key_of([source]) == key


def test_folder_is_made_once(tmp_path: Path) -> None:
    made = []

    def make(folder: Path) -> None:
        made.append(folder)
        tree(folder, {"program": "x"})

    first = caching.cached(tmp_path / "cache" / "key", make)
    second = caching.cached(tmp_path / "cache" / "key", make)

    assert first == second == tmp_path / "cache" / "key"
    assert (first / "program").read_text() == "x"
    assert len(made) == 1


def test_folder_is_absent_after_a_failure_and_the_next_one_cleans_up(tmp_path: Path) -> None:
    def fail(folder: Path) -> None:
        tree(folder, {"half": "x"})
        raise Failed("the disk is full")

    with pytest.raises(Failed, match="the disk is full"):
        caching.cached(tmp_path / "key", fail)
    assert not (tmp_path / "key").exists()

    caching.cached(tmp_path / "key", lambda folder: (folder / "whole").touch())

    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == ["key"]
