"""What is wrong with a spec, in words: pydantic's findings as users read them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic import ValidationError


def faults_in(error: ValidationError, root: str) -> str:
    """Say what is wrong with each field and what to do; `root` is what the whole is called."""
    return "; ".join(_words(each, root) for each in error.errors())


def _words(error: Mapping[str, Any], root: str) -> str:
    path = root + "".join(f"[{at}]" if isinstance(at, int) else f".{at}" for at in error["loc"])
    if error["type"] == "extra_forbidden":
        return f"{path}: this version knows no such field; remove it"
    if error["type"] == "missing":
        return f"{path}: it is required; set it"
    message = error["msg"].removeprefix("Value error, ")
    return f"{path}: {message[:1].lower()}{message[1:]}"
