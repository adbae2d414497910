"""A Go on PATH is used when the module accepts it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from localcluster import binaries


@pytest.mark.parametrize(
    ("line", "accepted"),
    [
        ("go version go1.26.6 linux/amd64", True),
        ("go version go1.26.10 linux/amd64", True),
        ("go version go1.27 linux/amd64", True),
        ("go version go2.0.1 linux/arm64", True),
        ("go version go1.26.5 linux/amd64", False),
        ("go version go1.19.8 linux/amd64", False),
        ("go version devel go1.27-6e676ab2b8 linux/amd64", True),
        ("", False),
    ],
)
def test_go_is_new_enough_from_the_modules_own_version_on(line: str, *, accepted: bool) -> None:
    assert binaries.is_new_enough(line) is accepted


def test_programs_are_built_anew_for_what_changes_them_and_for_nothing_else() -> None:
    first, *others = binaries.PROGRAMS
    key = binaries.key_of(binaries.PROGRAMS)

    assert binaries.key_of([replace(first, usually="an hour"), *others]) == key
    assert binaries.key_of([replace(first, tags="other"), *others]) != key
    assert binaries.key_of(others) != key
