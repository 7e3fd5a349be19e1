"""`regcli mk`: rules for GNU Make."""

from __future__ import annotations

import os

import typer

from regcli.cli.context import session_of

app = typer.Typer()


@app.command()
def mk(ctx: typer.Context) -> None:
    """Print rules for Make that fetch, log and promote

    Save them as regcli.mk and include it; its first lines say how. `regcli help make` explains more.

    Examples:
        regcli mk > regcli.mk
    """
    path = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "regcli.mk")
    with open(path, encoding="utf-8") as file:
        text = file.read()
    session_of(ctx).emit({"rules": text}, text.splitlines())
