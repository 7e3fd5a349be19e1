"""`regcli protect`: the aliases of a registry that only its admins may touch."""

from __future__ import annotations

from typing import Annotated

import typer

from regcli.cli.context import session_of
from regcli.cli.output import Chips
from regcli.cli.parameters import Reason
from regcli.errors import UsageError
from regcli.model import Alias, RegistryName, quote

app = typer.Typer()


@app.command()
def protect(
    ctx: typer.Context,
    registry: Annotated[str, typer.Argument(metavar="REGISTRY", help="Which registry")],
    aliases: Annotated[list[str] | None, typer.Argument(metavar="ALIAS", help="Names to protect")] = None,
    remove: Annotated[bool, typer.Option("--rm", help="Take the names off the list")] = False,
    ls: Annotated[bool, typer.Option("--ls", help="List the protected names")] = False,
    signed: Annotated[
        bool, typer.Option("--require-signature", help="Setting, moving and clearing them needs a trusted signer's SSH key")
    ] = False,
    reason: Reason = None,
) -> None:
    """List, add or remove a registry's protected aliases

    Only admins of the registry may protect names, and only they may then add, move or remove these aliases. Whatever
    version holds a protected alias cannot be unlinked, deleted or edited by anybody else. With --require-signature every
    change of the alias is signed, and every reader checks it against signers of their own choice: see `regcli help signing`.
    --rm takes signed aliases off the list only where no version holds them.

    Examples:
        regcli protect model production staging
        regcli protect --rm model staging
        regcli protect --ls model
        regcli protect model production --require-signature
    """
    session = session_of(ctx)
    from regcli.domain import registries, roles

    names = [Alias.parse(alias) for alias in aliases or ()]
    found = registries.find_registry(session.context, RegistryName.parse(registry))
    if remove and not names:
        raise UsageError("no alias given", hint="name the aliases to take off the list")
    if ls and names:
        raise UsageError("--ls takes no aliases")
    if signed and (remove or not names):
        raise UsageError("--require-signature needs the aliases to protect", hint="see `regcli protect --help`")
    if not names:
        roles.require(found.state, session.context.user, "view")
        listed = registries.protected_names(found.state)
        must = registries.signed_names(found.state)
        if not listed:
            session.note(f"registry {quote(found.name)} has no protected aliases")
        lines = [f"{name}\tsigned" if name in must else name for name in listed]
        session.emit({"registry": found.name, "aliases": listed, "signed": must}, lines)
        return
    if remove:
        change = registries.unprotect(session.context, found, names, reason=reason)
    else:
        change = registries.protect(session.context, found, names, reason=reason, signed=signed)
    if change.commit is None:
        session.note("nothing to change")
    listed = registries.protected_names(change.snapshot.state)
    must = registries.signed_names(change.snapshot.state)
    session.emit(
        {"registry": found.name, "aliases": listed, "signed": must, "seq": change.seq},
        [f"{found.name}\t{Chips(listed, listed, must).plain()}"],
    )
