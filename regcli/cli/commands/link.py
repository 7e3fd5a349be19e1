"""`regcli link`: publish a version."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from regcli.cli.context import session_of
from regcli.cli.parameters import Reason
from regcli.cli.signing import Expires, SignKey, choose_key
from regcli.model import Alias

if TYPE_CHECKING:
    from regcli.domain.linking import Linked

app = typer.Typer()


@app.command()
def link(
    ctx: typer.Context,
    source: Annotated[str, typer.Argument(metavar="REF", help="The version to publish")],
    target: Annotated[str, typer.Argument(metavar="COLLECTION", help="Where: REGISTRY/COLLECTION")],
    aliases: Annotated[
        list[str] | None, typer.Option("--alias", "-a", metavar="ALIAS", help="An alias for it there (repeatable)")
    ] = None,
    reason: Reason = None,
    sign_key: SignKey = None,
    expires: Expires = None,
) -> None:
    """Publish a version in a registry

    A link is a pointer: nothing is copied. The collection is made when it is missing. Linking the same version again
    only applies the aliases. Prints the link's reference.

    Examples:
        regcli link zoo:latest model/Zoo_Classifier_Models
        regcli link zoo:v3 "wandb-registry-Golden Datasets/raw_images" -a production-us -a production-eu
    """
    session = session_of(ctx)
    choose_key(session, sign_key, expires)
    from regcli.domain.documents import version_document
    from regcli.domain.linking import link_version

    linked = link_version(
        session.context, source, target, aliases=[Alias.parse(alias) for alias in aliases or ()], reason=reason
    )
    for alias, place in linked.moved:
        session.note(f"moved {alias} here from {place}")
    if not linked.created:
        session.note(f"{linked.version.ref} was linked already{_changes(linked)}")
    document = version_document(session.context, linked.version)
    moved = [{"alias": alias, "from": place} for alias, place in linked.moved]
    session.emit(
        {
            **document,
            "created": linked.created,
            "added": linked.added,
            "renewed": linked.renewed,
            "moved": moved,
            "seq": linked.seq,
        },
        [linked.version.ref],
    )


def _changes(linked: Linked) -> str:
    """Return what a link that was there got all the same, as the end of a sentence."""
    words = []
    if linked.added:
        words.append(f"it has the alias{'es' if len(linked.added) > 1 else ''} {', '.join(linked.added)} now")
    if linked.renewed:
        words.append(f"{', '.join(linked.renewed)} {'were' if len(linked.renewed) > 1 else 'was'} signed again")
    return f"; {' and '.join(words) or 'nothing to change'}"
