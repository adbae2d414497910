"""`kafleet` on the command line, for agent developers. Pods run `python3 -m kafleet` instead."""

from __future__ import annotations

import sys

_EXTRA = frozenset({"rich", "typer", "watchfiles"})


def main() -> None:
    """Run the command line, or say which extra brings it."""
    try:
        from kafleet.developing.commands import app  # noqa: PLC0415 - what it needs is an extra
    except ModuleNotFoundError as error:
        if error.name not in _EXTRA:
            raise
        sys.exit(f"kafleet: {error.name!r} is missing; install it by: pip install 'kafleet[dev]'")
    app()
