"""`regcli cat`: one file of a version."""

from __future__ import annotations

from typing import Annotated

import typer

from regcli.cli.context import session_of
from regcli.cli.signing import AllowUnsigned

app = typer.Typer()


@app.command()
def cat(
    ctx: typer.Context,
    reference: Annotated[str, typer.Argument(metavar="REF", help="The version")],
    path: Annotated[str, typer.Argument(metavar="ENTRY", help="The file in it")],
    unsigned: AllowUnsigned = False,
) -> None:
    """Print one file of a version

    The bytes are checked against the file's digest.

    Examples:
        regcli cat zoo:latest labels.csv | head
    """
    session = session_of(ctx)
    session.allow_unsigned(unsigned)
    from regcli.domain.files import read_file

    chunks = read_file(session.context, reference, path)
    if session.is_json:
        import base64

        data = b"".join(chunks)
        session.emit({"path": path, "size": len(data), "base64": base64.b64encode(data).decode()})
        return
    session.write_bytes(chunks)
