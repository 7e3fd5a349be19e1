"""`regcli trust`: whose signatures on protected aliases are believed."""

from __future__ import annotations

from typing import Annotated

import typer

from regcli.cli.context import session_of
from regcli.cli.output import table
from regcli.model import Alias, RegistryName

app = typer.Typer(help="Choose whose signatures on protected aliases are believed")


@app.command("add")
def add(
    ctx: typer.Context,
    principal: Annotated[str, typer.Argument(metavar="PRINCIPAL", help="Who signs, such as an e-mail address")],
    key: Annotated[str, typer.Argument(metavar="FILE", help="The public key, KEY.pub")],
    namespaces: Annotated[
        list[str] | None,
        typer.Option("--namespaces", metavar="NAME", help="What the key may sign (regcli-alias-v1; repeatable)"),
    ] = None,
    valid_after: Annotated[
        str | None, typer.Option("--valid-after", metavar="TIME", help="Not before YYYYMMDD[HHMMSS[Z]]")
    ] = None,
    valid_before: Annotated[
        str | None, typer.Option("--valid-before", metavar="TIME", help="Not after YYYYMMDD[HHMMSS[Z]]")
    ] = None,
) -> None:
    """Believe the signatures of one more key

    The list is a file of your own configuration in the form that ssh-keygen and git use, never part of a registry. Compare
    the fingerprint that is printed with the owner of the key.

    Examples:
        regcli trust add alice@example.org alice.pub
        regcli trust add ci@example.org ci.pub --valid-before 20271231
    """
    session = session_of(ctx)
    from regcli.domain.signers import add_signer

    chosen = {"namespaces": tuple(namespaces)} if namespaces else {}
    signer, changed = add_signer(session.context, principal, key, valid_after=valid_after, valid_before=valid_before, **chosen)
    document = signer.document()
    if not changed:
        session.note("nothing to change")
    session.emit(
        {**document, "changed": changed, "path": session.context.trust.signers_path},
        [f"{document['principal']}\t{document['fingerprint']}"],
    )


@app.command("ls")
def ls(ctx: typer.Context) -> None:
    """List whose signatures are believed

    Examples:
        regcli trust ls
    """
    session = session_of(ctx)
    from regcli.domain.signers import list_signers

    documents = [signer.document() for signer in list_signers(session.context.trust)]
    session.emit(
        {"signers": documents, "path": session.context.trust.signers_path},
        table(
            ["Principal", "Key", "Fingerprint", "May sign", "Listed by", "Limits"],
            [
                (
                    row["principal"],
                    row["key_type"],
                    row["fingerprint"],
                    ", ".join(row["namespaces"]) or "anything",
                    "the machine" if row["system"] else "you",
                    ", ".join(row["options"]),
                )
                for row in documents
            ],
        ),
    )


@app.command("rm")
def remove(
    ctx: typer.Context,
    principal: Annotated[str, typer.Argument(metavar="PRINCIPAL", help="Whose keys to take off the list")],
) -> None:
    """Believe somebody's signatures no more

    What they signed is refused from then on, until somebody else signs it.

    Examples:
        regcli trust rm alice@example.org
    """
    session = session_of(ctx)
    from regcli.domain.signers import remove_signer

    gone = [signer.document() for signer in remove_signer(session.context, principal)]
    session.emit({"removed": gone}, [f"{row['principal']}\t{row['fingerprint']}" for row in gone])


@app.command("forget")
def forget(
    ctx: typer.Context,
    registry: Annotated[str, typer.Argument(metavar="REGISTRY", help="Which registry")],
    alias: Annotated[str | None, typer.Argument(metavar="ALIAS", help="Which alias; without it all of them")] = None,
) -> None:
    """Forget what was seen of a registry's signed aliases

    Needed when an admin no longer demands signatures, or when a root was restored from an older copy on purpose: without
    this, going back is refused.

    Examples:
        regcli trust forget model production
    """
    session = session_of(ctx)
    from regcli.domain.registries import find_registry
    from regcli.domain.witness import forget_aliases

    found = find_registry(session.context, RegistryName.parse(registry))
    gone = forget_aliases(session.context, found, Alias.parse(alias) if alias is not None else None)
    if not gone:
        session.note("nothing was known of it")
    session.emit({"registry": found.name, "forgotten": gone}, gone)
