"""`regcli tag`: labels on versions and collections."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from regcli.cli.context import session_of
from regcli.cli.parameters import Reason
from regcli.model import Tag

if TYPE_CHECKING:
    from regcli.cli.context import Session
    from regcli.domain.editing import Edited

app = typer.Typer(help="Label versions and collections")

Reference = Annotated[str, typer.Argument(metavar="REF", help="A version, or (without :SELECTOR) a collection")]
Tags = Annotated[list[str], typer.Argument(metavar="TAG", help="Labels")]


def _emit(session: Session, edited: Edited) -> None:
    if not edited.changed:
        session.note("nothing to change")
    tags = edited.record["tags"]
    session.emit({"ref": edited.ref, "tags": tags, "seq": edited.seq}, [f"{edited.ref}\t{', '.join(tags)}"])


@app.command("add")
def add(ctx: typer.Context, reference: Reference, tags: Tags, reason: Reason = None) -> None:
    """Add tags to a version or a collection

    A version's tags are shared by all its links.

    Examples:
        regcli tag add zoo:v2 small "hand checked"
        regcli tag add model/Zoo_Classifier_Models animals
    """
    session = session_of(ctx)
    from regcli.domain.editing import add_tags

    _emit(session, add_tags(session.context, reference, [Tag.parse(tag) for tag in tags], reason=reason))


@app.command("rm")
def remove(ctx: typer.Context, reference: Reference, tags: Tags, reason: Reason = None) -> None:
    """Remove tags from a version or a collection

    Examples:
        regcli tag rm zoo:v2 small
    """
    session = session_of(ctx)
    from regcli.domain.editing import remove_tags

    _emit(session, remove_tags(session.context, reference, tags, reason=reason))


@app.command("ls")
def ls(ctx: typer.Context, reference: Reference) -> None:
    """List the tags of a version or a collection

    Examples:
        regcli tag ls zoo:v2
        regcli tag ls model/Zoo_Classifier_Models
    """
    session = session_of(ctx)
    from regcli.domain.editing import list_tags

    ref, tags = list_tags(session.context, reference)
    session.emit({"ref": ref, "tags": tags}, tags)
