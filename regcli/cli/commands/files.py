"""`regcli files`: what is in a version."""

from __future__ import annotations

from typing import Annotated

import typer

from regcli.cli.context import session_of
from regcli.cli.output import Size, table
from regcli.cli.signing import AllowUnsigned

app = typer.Typer()


@app.command()
def files(
    ctx: typer.Context,
    reference: Annotated[str, typer.Argument(metavar="REF", help="The version")],
    pattern: Annotated[
        str | None, typer.Argument(metavar="PATTERN", help="A gitignore pattern, such as '*.csv' or 'images/'")
    ] = None,
    unsigned: AllowUnsigned = False,
) -> None:
    """List the files of a version

    Examples:
        regcli files model/zoo:production
        regcli files zoo:v2 '*.csv'
    """
    session = session_of(ctx)
    session.allow_unsigned(unsigned)
    from regcli.domain.files import entry_document, list_files

    version, entries = list_files(session.context, reference, pattern)
    documents = [entry_document(entry) for entry in entries]
    if not documents:
        session.note("no file matches" if pattern is not None else "there are no files in it")
    session.emit(
        {"ref": version.ref, "files": documents},
        table(
            ["Path", "Size", "Digest", "Kind"],
            [
                (
                    row["path"],
                    Size(row["size"]),
                    row["digest"],
                    row.get("ref") or ("executable" if row["executable"] else "file"),
                )
                for row in documents
            ],
        ),
    )
