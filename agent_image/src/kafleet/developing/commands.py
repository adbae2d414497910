"""The command line. Everything of it is in the extra `kafleet[dev]`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from kafleet.developing.sessions import Session

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)


@app.callback()
def kafleet() -> None:
    """Write AI agents as typed functions; Kafleet runs them on Kafka."""


@app.command()
def dev(
    handler: Annotated[str, typer.Argument(help="The agent, as in the resource: module:attribute.")],
    records: Annotated[
        Path | None,
        typer.Option(
            "--input",
            exists=True,
            dir_okay=False,
            help="A file of records, one a line, as on standard input.",
        ),
    ] = None,
    kind: Annotated[str | None, typer.Option("--type", help="The ce_type of these records.")] = None,
    config: Annotated[
        list[str] | None, typer.Option(help="key=value for ctx.config; the value is JSON, or else text.")
    ] = None,
    lane: Annotated[list[str] | None, typer.Option(help="A lane that ctx.send may write to.")] = None,
) -> None:
    """Run an agent here, with a broker of its own, and start it anew when a file changes.

    Each line of standard input becomes a record: its value, or key, tab and value.
    """
    session = Session(
        handler,
        folder=Path.cwd(),
        config=dict(_setting(each) for each in config or ()),
        lanes=lane or (),
        records=records,
        kind=kind,
        console=Console(highlight=False),
    )
    session.run()


def _setting(text: str) -> tuple[str, Any]:
    key, is_there, value = text.partition("=")
    if not is_there or not key:
        raise typer.BadParameter(f"{text!r} is not key=value", param_hint="--config")
    try:
        return key, json.loads(value)
    except ValueError:
        return key, value
