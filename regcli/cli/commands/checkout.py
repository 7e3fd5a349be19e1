"""`regcli checkout`: a directory becomes exactly one version."""

from __future__ import annotations

from typing import Annotated

import typer

from regcli.cli.context import session_of
from regcli.cli.downloading import perform_checkout
from regcli.cli.parameters import AllowMissing, LinkMode
from regcli.cli.signing import AllowUnsigned

app = typer.Typer()


@app.command()
def checkout(
    ctx: typer.Context,
    reference: Annotated[str, typer.Argument(metavar="REF", help="The version")],
    directory: Annotated[str, typer.Argument(metavar="DIR", help="The directory that becomes it")],
    force: Annotated[bool, typer.Option("--force", "-f", help="Lose local changes that are stored nowhere")] = False,
    allow_missing: AllowMissing = False,
    link_mode: LinkMode = "auto",
    unsigned: AllowUnsigned = False,
) -> None:
    """Make a directory exactly one version

    Files that are not in the version are removed, provided that the store has their content; what is stored nowhere is a
    local change, and refused without --force.

    Examples:
        regcli checkout zoo:v2 data/zoo
        regcli checkout model/zoo:production serve/model --force
    """
    perform_checkout(
        session_of(ctx), reference, directory,
        force=force, link_mode=link_mode, allow_missing=allow_missing, unsigned=unsigned,
    )  # fmt: skip
