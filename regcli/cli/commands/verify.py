"""`regcli verify`: find all damage."""

from __future__ import annotations

from typing import Annotated

import typer

from regcli.cli.context import session_of
from regcli.cli.output import human_count, human_size, table
from regcli.cli.signing import AllowUnsigned, allow_unsigned
from regcli.errors import UsageError

app = typer.Typer()


@app.command()
def verify(
    ctx: typer.Context,
    reference: Annotated[str | None, typer.Argument(metavar="REF", help="A version; without it the whole root")] = None,
    directory: Annotated[str | None, typer.Argument(metavar="DIR", help="Compare this directory with the version")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Content only by presence and size")] = False,
    unsigned: AllowUnsigned = False,
) -> int:
    """Check a root, a version or a directory for damage

    Reports every problem, never just the first, and exits 1 when there is one. Without arguments it reads every commit of
    every history and every stored byte.

    Examples:
        regcli verify
        regcli verify model/zoo:production
        regcli verify model/zoo:production artifacts/zoo:v2
    """
    session = session_of(ctx)
    allow_unsigned(session, unsigned)
    from regcli.domain import verification

    if directory is not None:
        if reference is None or quick:
            raise UsageError("--quick does not go with a directory")
        report = verification.verify_directory(session.context, reference, directory)
    elif reference is not None:
        report = verification.verify_version(session.context, reference, quick=quick)
    else:
        report = verification.verify_root(session.context, quick=quick)
    session.note(
        f"checked {human_count(report.files, 'file')}, {human_size(report.bytes)}, {human_count(report.versions, 'version')}:"
        f" {human_count(len(report.problems), 'problem') if report.problems else 'all is well'}"
    )
    session.emit(
        report.document(),
        table(["Problem", "Where", "What"], [(item.kind, item.path, item.message) for item in report.problems]),
    )
    return 0 if report.ok else 1
