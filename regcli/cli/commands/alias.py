"""`regcli alias`: names that move from version to version."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from regcli.cli.context import session_of
from regcli.cli.output import Chips, table
from regcli.cli.parameters import Reason
from regcli.cli.signing import Expires, SignKey, choose_key
from regcli.model import Alias

if TYPE_CHECKING:
    from regcli.cli.context import Session
    from regcli.domain.aliasing import AliasChange

app = typer.Typer(help="Name versions: add, remove and list aliases")

Reference = Annotated[str, typer.Argument(metavar="REF", help="The version")]
Expect = Annotated[
    str | None, typer.Option("--expect", metavar="VERSION", help="Fail unless the alias is on this version now (vN or none)")
]


def _emit(session: Session, change: AliasChange) -> None:
    for alias, place in change.moved:
        session.note(f"moved {alias} here from {place}")
    if not change.changed:
        session.note("nothing to change")
    session.emit(change.document(), [f"{change.ref}\t{', '.join(change.aliases)}"])


@app.command("add")
def add(
    ctx: typer.Context,
    reference: Reference,
    aliases: Annotated[list[str], typer.Argument(metavar="ALIAS", help="Names to add")],
    expect: Expect = None,
    reason: Reason = None,
    sign_key: SignKey = None,
    expires: Expires = None,
) -> None:
    """Add aliases to one version, taking each from the version that has it

    Examples:
        regcli alias add model/zoo:v2 production
        regcli alias add model/zoo:v2 production --expect v1 -m "passed the review"
        regcli alias add model/zoo:v2 production --sign-key ~/.ssh/id_ed25519
    """
    session = session_of(ctx)
    choose_key(session, sign_key, expires)
    from regcli.domain.aliasing import add_aliases

    names = [Alias.parse(alias) for alias in aliases]
    _emit(session, add_aliases(session.context, reference, names, expect=expect, reason=reason))


@app.command("rm")
def remove(
    ctx: typer.Context,
    reference: Annotated[str, typer.Argument(metavar="REF", help="The version, or its collection")],
    aliases: Annotated[list[str], typer.Argument(metavar="ALIAS", help="Names to remove")],
    expect: Expect = None,
    reason: Reason = None,
    sign_key: SignKey = None,
) -> None:
    """Remove aliases from a version, or from whichever version of a collection has them

    Examples:
        regcli alias rm model/zoo:v2 production
        regcli alias rm model/zoo staging
    """
    session = session_of(ctx)
    choose_key(session, sign_key)
    from regcli.domain.aliasing import remove_aliases

    _emit(session, remove_aliases(session.context, reference, aliases, expect=expect, reason=reason))


@app.command("ls")
def ls(ctx: typer.Context, reference: Annotated[str, typer.Argument(metavar="REF", help="A version, or a collection")]) -> None:
    """List the aliases of a version or a collection

    Examples:
        regcli alias ls model/zoo
        regcli alias ls model/zoo:production
    """
    session = session_of(ctx)
    from regcli.domain.aliasing import list_aliases

    ref, rows = list_aliases(session.context, reference)
    protected, signed = ([row["alias"] for row in rows if row[kind]] for kind in ("protected", "signed"))
    session.emit(
        {"ref": ref, "aliases": rows},
        table(["Alias", "Version"], [(Chips([row["alias"]], protected, signed), row["ref"]) for row in rows]),
    )
