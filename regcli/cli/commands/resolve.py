"""`regcli resolve`: which version a reference means. The usual shapes are answered by `cli/fast.py`."""

from __future__ import annotations

from typing import Annotated

import typer

from regcli.cli.context import session_of
from regcli.cli.signing import AllowUnsigned

app = typer.Typer()


@app.command()
def resolve(
    ctx: typer.Context,
    reference: Annotated[str, typer.Argument(metavar="REF", help="A reference")],
    digest: Annotated[bool, typer.Option("--digest", help="Print the digest")] = False,
    source: Annotated[bool, typer.Option("--source", help="Print the reference of the version that was logged")] = False,
    path: Annotated[bool, typer.Option("--path", help="Print the W&B full name, wandb-registry-…")] = False,
    unsigned: AllowUnsigned = False,
) -> None:
    """Print which version a reference means

    One line, the canonical reference with the version's number; cheap enough to be asked at every run of a Makefile.

    Examples:
        regcli resolve model/zoo:production
        regcli resolve zoo --digest
        regcli resolve model/zoo@xxh128:fe0d6c1a25b6
    """
    session = session_of(ctx)
    session.allow_unsigned(unsigned)
    from regcli.domain.resolution import resolution_document, resolution_line
    from regcli.domain.resolving import resolve as find

    version = find(session.context, reference)
    line = resolution_line(session.context, version, digest=digest, source=source, path=path)
    session.emit(resolution_document(session.context, version), [line])
