"""`regcli edit`: what is recorded about a version."""

from __future__ import annotations

from typing import Annotated

import typer

from regcli.cli.context import session_of
from regcli.cli.parameters import Reason
from regcli.errors import UsageError

app = typer.Typer()


@app.command()
def edit(
    ctx: typer.Context,
    reference: Annotated[str, typer.Argument(metavar="REF", help="The version")],
    description: Annotated[
        str | None, typer.Option("--description", "-d", metavar="TEXT", help="The new description, Markdown")
    ] = None,
    meta: Annotated[
        list[str] | None, typer.Option("--meta", metavar="KEY=VALUE", help="A metadata key to set (repeatable)")
    ] = None,
    unset: Annotated[
        list[str] | None, typer.Option("--unset", metavar="KEY", help="A metadata key to remove (repeatable)")
    ] = None,
    ttl: Annotated[
        str | None, typer.Option("--ttl", metavar="DURATION", help="How long to keep it: 30d, 12h, none, inherit")
    ] = None,
    reason: Reason = None,
) -> None:
    """Change a version's description, metadata or lifetime

    These belong to the version and are shared by all its links. Its files and metrics never change; a number that was
    measured later is metadata, which `compare` shows too.

    Examples:
        regcli edit zoo:v2 --description "With the labels corrected"
        regcli edit zoo:v2 --meta rows=101 --unset draft
        regcli edit zoo:v0 --ttl 30d
    """
    session = session_of(ctx)
    from regcli.domain.amounts import parse_ttl
    from regcli.domain.documents import version_document
    from regcli.domain.editing import edit as change
    from regcli.domain.metadata import parse_pairs

    if description is None and not meta and not unset and ttl is None:
        raise UsageError("nothing to change", hint="give --description, --meta, --unset or --ttl")
    edited = change(
        session.context,
        reference,
        description=description,
        metadata=parse_pairs(meta or ()),
        unset=unset or (),
        ttl=parse_ttl(ttl) if ttl is not None else "keep",
        reason=reason,
    )
    if not edited.changed:
        session.note("nothing to change")
    document = version_document(session.context, edited.version) if edited.version is not None else {"ref": edited.ref}
    session.emit({**document, "seq": edited.seq}, [edited.ref])
