"""`regcli registry`: the shared spaces that versions are published in."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from regcli.cli.context import session_of
from regcli.cli.output import Chips, When, definitions, human_count, table
from regcli.cli.parameters import Reason
from regcli.cli.questions import check_sharing, confirm_removal
from regcli.errors import UsageError
from regcli.model import RegistryName, TypeName

app = typer.Typer(help="Create, list, show, edit and delete registries")


@app.command("create")
def create(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The new registry's name")],
    types: Annotated[
        list[str] | None, typer.Option("--type", metavar="TYPE", help="A type it accepts (repeatable); default: all")
    ] = None,
    description: Annotated[str, typer.Option("--description", "-d", metavar="TEXT", help="What it is for, Markdown")] = "",
    visibility: Annotated[
        Literal["organization", "restricted"],
        typer.Option("--visibility", metavar="organization|restricted", help="Everybody as member, or members only"),
    ] = "organization",
    ttl: Annotated[str | None, typer.Option("--ttl", metavar="DURATION", help="Default TTL of links, such as 30d")] = None,
    shared: Annotated[
        bool, typer.Option("--shared", help="Let a group of the operating system add to it; needs --group")
    ] = False,
    group: Annotated[str | None, typer.Option("--group", metavar="GROUP", help="The group that it is shared with")] = None,
) -> None:
    """Create a registry

    Whoever creates it is its admin. With --shared the file system sees to it that members add, but delete and change nothing
    of others; the root is shared with the group too, if it is not yet. In a shared root every registry is shared.

    Examples:
        regcli registry create "Golden Datasets" --type dataset
        regcli registry create secret --visibility restricted
        regcli registry create team --shared --group ml
    """
    session = session_of(ctx)
    check_sharing(shared=shared, group=group)
    from regcli.domain.amounts import parse_default_ttl
    from regcli.domain.documents import registry_document
    from regcli.domain.registries import create_registry

    if group is not None:
        from regcli.domain.sharing import require_shared_root

        require_shared_root(session.context, group)
    change = create_registry(
        session.context,
        RegistryName.parse(name),
        description=description,
        types=[TypeName.parse(item) for item in types or ()],
        visibility=visibility,
        ttl=parse_default_ttl(ttl) if ttl is not None else None,
        group=group,
    )
    document = registry_document(change.snapshot.state, collections=0)
    session.note(f"created registry {document['name']}; you are its admin")
    session.emit({**document, "seq": change.seq}, [document["name"]])


@app.command("ls")
def ls(ctx: typer.Context) -> None:
    """List the registries

    Examples:
        regcli registry ls
        regcli registry ls --json
    """
    session = session_of(ctx)
    from regcli.domain.listing import registry_rows

    documents = registry_rows(session.context)
    session.emit(
        {"registries": documents},
        table(
            ["Registry", "Types", "Visibility", "Collections", "Protected", "Description"],
            [
                (
                    row["name"],
                    ", ".join(row["types"]) or "all",
                    row["visibility"],
                    row["collections"],
                    Chips(row["protected_aliases"], row["protected_aliases"], row["signed_aliases"]),
                    row["description"],
                )
                for row in documents
            ],
        ),
    )


@app.command("show")
def show(ctx: typer.Context, name: Annotated[str, typer.Argument(metavar="REGISTRY", help="Which registry")]) -> None:
    """Show a registry's settings

    Examples:
        regcli registry show model
    """
    session = session_of(ctx)
    from regcli.domain.listing import registry_row

    document = registry_row(session.context, name)
    session.emit(
        document,
        definitions(
            ("Registry", document["name"]),
            ("Description", document["description"]),
            ("Types", ", ".join(document["types"]) or "all"),
            ("Visibility", document["visibility"]),
            ("Protected", Chips(document["protected_aliases"], document["protected_aliases"], document["signed_aliases"])),
            ("Default TTL", document["ttl"]),
            ("Shared with", document["shared"]),
            ("Collections", document["collections"]),
            ("Member", [f"{row['user']} ({row['role']})" for row in document["members"]]),
            ("Created", When(document["created_at"])),
            ("Created by", document["created_by"]),
        ),
    )


Registry = Annotated[str, typer.Argument(metavar="REGISTRY", help="Which registry")]


@app.command("edit")
def edit(
    ctx: typer.Context,
    name: Registry,
    description: Annotated[
        str | None, typer.Option("--description", "-d", metavar="TEXT", help="The new description, Markdown; '' for none")
    ] = None,
    types: Annotated[
        list[str] | None, typer.Option("--type", metavar="TYPE", help="Another type that it accepts (repeatable)")
    ] = None,
    visibility: Annotated[
        Literal["organization", "restricted"] | None,
        typer.Option("--visibility", metavar="organization|restricted", help="restricted: members only, for good"),
    ] = None,
    ttl: Annotated[
        str | None, typer.Option("--ttl", metavar="DURATION", help="Default TTL of links, such as 30d, or none")
    ] = None,
    rename: Annotated[str | None, typer.Option("--rename", metavar="NEW", help="The new name; what is in it stays")] = None,
    reason: Reason = None,
) -> None:
    """Change a registry's settings

    Name and description are any member's to change, the rest is an admin's. Types can be added, never removed; the first one
    given to a registry that accepts every type narrows it to that. A restricted registry stays so. After a rename, before
    which signed aliases are cleared, the old name says the new one. The registries that came with the root, model and
    dataset, keep their names and stay open to everybody.

    Examples:
        regcli registry edit model --description "# Models in use"
        regcli registry edit model --type model --type checkpoint
        regcli registry edit "Golden Datasets" --rename Golden --visibility restricted
    """
    session = session_of(ctx)
    from regcli.domain.amounts import parse_default_ttl
    from regcli.domain.documents import registry_document
    from regcli.domain.registry_settings import KEEP, edit_registry

    if description is None and not types and visibility is None and ttl is None and rename is None:
        raise UsageError("nothing to change", hint="give --description, --type, --visibility, --ttl or --rename")
    change = edit_registry(
        session.context,
        RegistryName.parse(name),
        description=description,
        types=[TypeName.parse(item) for item in types or ()],
        visibility=visibility,
        ttl=parse_default_ttl(ttl) if ttl is not None else KEEP,
        rename=RegistryName.parse(rename) if rename is not None else None,
        reason=reason,
    )
    document = registry_document(change.snapshot.state)
    if change.commit is None:
        session.note("nothing to change")
    elif rename is not None:
        session.note(f"{name} is {document['name']} now")
    if types and change.commit is not None:
        session.note(f"{document['name']} accepts {', '.join(document['types'])} now, and nothing else")
    session.emit({**document, "seq": change.seq}, [document["name"]])


@app.command("rm")
def remove(
    ctx: typer.Context,
    name: Registry,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask")] = False,
    reason: Reason = None,
) -> None:
    """Delete a registry

    Its collections and links go with it, protected ones too, so that takes an admin; signed aliases are cleared first. The
    versions that were linked stay where they were logged. This cannot be undone. The registries that came with the root,
    model and dataset, cannot be deleted.

    Examples:
        regcli registry rm "Golden Datasets" -y
    """
    session = session_of(ctx)
    from regcli.domain.registries import find_registry
    from regcli.domain.registry_settings import registry_extent, remove_registry, require_removable

    registry = find_registry(session.context, RegistryName.parse(name))
    require_removable(session.context, registry)
    collections, links = registry_extent(session.context, registry)
    extent = f"{human_count(collections, 'collection')} and {human_count(links, 'link')}"
    confirm_removal(session, f"registry {registry.name} with {extent}", yes=yes)
    change = remove_registry(session.context, RegistryName.parse(name), reason=reason)
    session.note(f"deleted registry {registry.name} with {extent}; the versions stay where they were logged")
    session.emit(
        {"name": registry.name, "ref": registry.name, "collections": collections, "links": links, "seq": change.seq},
        [registry.name],
    )


@app.command("apply")
def apply(
    ctx: typer.Context,
    file: Annotated[str, typer.Argument(metavar="FILE", help="A registry.toml that was edited by hand")],
    dry_run: Annotated[bool, typer.Option("--dry-run", "-n", help="Only show what would change")] = False,
    reason: Reason = None,
) -> None:
    """Take in settings that were edited by hand

    A registry's `registry.toml` is written for reading; what is changed in it has no effect until an admin takes it in with
    this. The file is checked strictly and taken in as a whole. It cannot rename the registry, remove types or change
    automations.

    Examples:
        regcli registry apply ~/models/registries/model/registry.toml --dry-run
        regcli registry apply model.toml -m "the new team"
    """
    session = session_of(ctx)
    from regcli.domain.registry_settings import apply_settings

    applied = apply_settings(session.context, file, dry_run=dry_run, reason=reason)
    if not applied.changes:
        session.note("nothing to change")
    elif dry_run:
        session.note("nothing was changed: --dry-run")
    session.emit(
        {
            "registry": applied.name,
            "changes": [{"setting": what, "before": before, "after": after} for what, before, after in applied.changes],
            "dry_run": dry_run,
            "seq": applied.seq,
        },
        table(
            ["Setting", "Before", "After"],
            [(what, _shown(before), _shown(after)) for what, before, after in applied.changes],
        ),
    )


def _shown(value: object) -> str:
    if value is None:
        return ""
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
