"""`regcli verify`: find all damage."""

from __future__ import annotations

from typing import Annotated

import typer

from regcli.cli.context import session_of
from regcli.cli.signing import AllowUnsigned
from regcli.cli.verifying import perform_verify

app = typer.Typer()


@app.command()
def verify(
    ctx: typer.Context,
    reference: Annotated[str | None, typer.Argument(metavar="REF", help="A version; without it the whole root")] = None,
    directory: Annotated[str | None, typer.Argument(metavar="DIR", help="Compare this directory with the version")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Content only by presence and size")] = False,
    mend: Annotated[bool, typer.Option("--repair", help="Put back what is damaged or missing from intact copies")] = False,
    sources: Annotated[
        list[str] | None,
        typer.Option("--from", metavar="PATH", help="With --repair: another root, a directory or a file (repeatable)"),
    ] = None,
    unsigned: AllowUnsigned = False,
) -> int:
    """Check a root, a version or a directory for damage

    Reports every problem, never just the first, and exits 1 when there is one. Without arguments it reads every commit of
    every history and every stored byte. With --repair it looks for intact copies, first in the root itself and its trash, then
    in every place given with --from; it exits 0 when all is mended, and else says what is not.

    Examples:
        regcli verify
        regcli verify model/zoo:production
        regcli verify model/zoo:production artifacts/zoo:v2
        regcli verify --repair --from /backup/root
    """
    return perform_verify(
        session_of(ctx), reference, directory, quick=quick, mend=mend, sources=sources or (), unsigned=unsigned
    )
