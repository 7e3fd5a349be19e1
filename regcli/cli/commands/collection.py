"""`regcli collection`: the groups that versions are logged or linked in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from regcli.cli.context import session_of
from regcli.cli.output import Chips, Size, When, collection_table, definitions, human_count
from regcli.cli.parameters import Reason
from regcli.cli.questions import confirm_removal
from regcli.errors import UsageError
from regcli.model import Tag, TypeName

if TYPE_CHECKING:
    from typing import Any

    from regcli.cli.context import Session

app = typer.Typer(help="Create, list, describe, rename and delete collections")

Name = Annotated[str, typer.Argument(metavar="COLLECTION", help="REGISTRY/COLLECTION, or a project's NAME")]


@app.command("create")
def create(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(metavar="COLLECTION", help="REGISTRY/COLLECTION, or a project's NAME")],
    type_: Annotated[
        str | None, typer.Option("--type", "-t", metavar="TYPE", help="The artifact type it has for good, such as model")
    ] = None,
    description: Annotated[str, typer.Option("--description", "-d", metavar="TEXT", help="What it is for, Markdown")] = "",
    tags: Annotated[list[str] | None, typer.Option("--tag", metavar="TAG", help="A label (repeatable)")] = None,
    reason: Reason = None,
) -> None:
    """Create an empty collection

    Linking or logging makes a missing collection by itself; this is for describing one before its first version.

    Examples:
        regcli collection create model/Zoo_Classifier_Models --type model -d "Animals by their features"
        regcli collection create zoo --type dataset
    """
    session = session_of(ctx)
    from regcli.domain.collection_settings import create_collection, show_collection

    changed = create_collection(
        session.context,
        name,
        type=TypeName.parse(type_) if type_ is not None else None,
        description=description,
        tags=[Tag.parse(tag) for tag in tags or ()],
        reason=reason,
    )
    session.note(f"created collection {changed.collection.ref}")
    session.emit({**show_collection(session.context, changed.collection), "seq": changed.seq}, [changed.collection.ref])


@app.command("ls")
def ls(
    ctx: typer.Context,
    place: Annotated[
        str | None, typer.Argument(metavar="REGISTRY", help="A registry or ENTITY/PROJECT; default: everything")
    ] = None,
) -> None:
    """List collections

    Examples:
        regcli collection ls
        regcli collection ls model
    """
    session = session_of(ctx)
    from regcli.domain.collection_settings import list_all_collections

    rows = list_all_collections(session.context, place)
    session.emit({"collections": rows}, collection_table(rows))


@app.command("show")
def show(ctx: typer.Context, name: Name) -> None:
    """Show everything about one collection

    Examples:
        regcli collection show model/Zoo_Classifier_Models
    """
    session = session_of(ctx)
    from regcli.domain.collection_settings import collection_details

    _emit_details(session, collection_details(session.context, name))


def _emit_details(session: Session, document: dict[str, Any]) -> None:
    session.emit(
        document,
        definitions(
            ("Collection", document["ref"]),
            ("Kind", "links" if document["kind"] == "link" else "logged versions"),
            ("Type", document["type"]),
            ("Description", document["description"].splitlines()),
            ("Versions", document["versions"]),
            ("Latest", document["latest"]),
            ("Size", Size(document["size"])),
            ("Aliases", Chips(document["aliases"], document["protected_aliases"], document["signed_aliases"])),
            ("Tags", ", ".join(document["tags"])),
            ("Default TTL", document["ttl"]),
            ("Former name", document["former_names"]),
            ("Created", When(document["created_at"])),
            ("Created by", document["created_by"]),
            ("Updated", When(document["updated_at"])),
        ),
    )


@app.command("edit")
def edit(
    ctx: typer.Context,
    name: Name,
    description: Annotated[
        str | None, typer.Option("--description", "-d", metavar="TEXT", help="The new description, Markdown; '' for none")
    ] = None,
    rename: Annotated[
        str | None, typer.Option("--rename", metavar="NEW", help="The new name; links, versions and aliases stay")
    ] = None,
    type_: Annotated[
        str | None, typer.Option("--type", "-t", metavar="TYPE", help="Another type, for a project's collection without links")
    ] = None,
    ttl: Annotated[
        str | None, typer.Option("--ttl", metavar="DURATION", help="Default TTL of its versions: 30d, none, inherit")
    ] = None,
    reason: Reason = None,
) -> None:
    """Change a collection's description, name or default TTL

    After a rename, before which signed aliases are cleared, the old name says the new one. The default TTL holds for
    versions whose own TTL is `inherit`. In a registry it says after what time `regcli gc REGISTRY/COLLECTION` withdraws
    links that have no alias.

    Examples:
        regcli collection edit model/zoo --description "# Zoo"
        regcli collection edit model/zoo --rename Zoo_Classifier_Models
        regcli collection edit zoo --ttl 30d
    """
    session = session_of(ctx)
    from regcli.domain.amounts import parse_ttl
    from regcli.domain.collection_settings import KEEP, edit_collection_settings, show_collection

    if description is None and rename is None and type_ is None and ttl is None:
        raise UsageError("nothing to change", hint="give --description, --rename, --type or --ttl")
    changed = edit_collection_settings(
        session.context,
        name,
        description=description,
        rename=rename,
        type=TypeName.parse(type_) if type_ is not None else None,
        ttl=parse_ttl(ttl) if ttl is not None else KEEP,
        reason=reason,
    )
    if not changed.changed:
        session.note("nothing to change")
    elif rename is not None:
        session.note(f"{name} is {changed.collection.ref} now")
    session.emit({**show_collection(session.context, changed.collection), "seq": changed.seq}, [changed.collection.ref])


@app.command("rm")
def remove(
    ctx: typer.Context,
    name: Annotated[
        str,
        typer.Argument(metavar="COLLECTION", help="REGISTRY/COLLECTION, a project's NAME, or ENTITY/PROJECT/ for all of it"),
    ],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask")] = False,
    delete_aliases: Annotated[
        bool, typer.Option("--delete-aliases", help="A project's collection: even if versions have aliases")
    ] = False,
    force: Annotated[
        bool,
        typer.Option(
            "--force",
            help="A project's collection: withdraw the links of its versions first, and let references to them lead nowhere",
        ),
    ] = False,
    reason: Reason = None,
) -> None:
    """Delete a collection

    A registry's collection goes with its links, once its signed aliases are cleared; the versions that were linked stay
    where they were logged. A project's collection goes with its versions, and this cannot be undone. `ENTITY/PROJECT/`, with
    the final slash, means all of a project's collections: either nothing stands in the way of any, or none is deleted.

    Examples:
        regcli collection rm model/zoo -y
        regcli collection rm zoo -y --delete-aliases --force
        regcli collection rm team/drafts/ -y
    """
    session = session_of(ctx)
    from regcli.domain import collection_settings as domain
    from regcli.domain.removal import remove_collection, remove_project

    if name.endswith("/"):
        rows = domain.list_all_collections(session.context, name)
        versions = human_count(sum(row["versions"] for row in rows), "version")
        confirm_removal(session, f"{human_count(len(rows), 'collection')} of {name} with {versions}", yes=yes)
        gone = remove_project(session.context, name, delete_aliases=delete_aliases, force=force, reason=reason)
    else:
        document = domain.collection_details(session.context, name)
        what = human_count(document["versions"], "link" if document["kind"] == "link" else "version")
        confirm_removal(session, f"{document['ref']} with {what}", yes=yes)
        gone = [remove_collection(session.context, name, delete_aliases=delete_aliases, force=force, reason=reason)]
    for removed in gone:
        for link in removed.unlinked:
            session.note(f"withdrew {link}")
        if removed.consumers:
            session.warn(f"{removed.ref} was used by {', '.join(removed.consumers)}")
        if removed.referrers:
            session.warn(f"references to {removed.ref} lead nowhere now: {', '.join(removed.referrers)}")
        what = human_count(removed.versions, "link" if removed.kind == "link" else "version")
        session.note(f"deleted {removed.ref} with {what}")
    rows = [
        {
            "ref": removed.ref,
            "versions": removed.versions,
            "unlinked": removed.unlinked,
            "used_by": removed.consumers,
            "referred_by": removed.referrers,
            "seq": removed.seq,
        }
        for removed in gone
    ]
    session.emit({"collections": rows} if name.endswith("/") else rows[0], [removed.ref for removed in gone])
