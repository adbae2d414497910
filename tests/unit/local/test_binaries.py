"""A Go on PATH is used when the module accepts it."""

from __future__ import annotations

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
