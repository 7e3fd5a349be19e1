"""`regcli registry`: the shared spaces that versions are published in."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from regcli.cli.context import session_of
from regcli.cli.output import Chips, When, definitions, table
from regcli.model import RegistryName, TypeName

app = typer.Typer(help="Create, list and show registries")


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
    ttl: Annotated[str | None, typer.Option("--ttl", metavar="DURATION", help="Default TTL of versions, such as 30d")] = None,
) -> None:
    """Create a registry

    Whoever creates it is its admin.

    Examples:
        regcli registry create "Golden Datasets" --type dataset
        regcli registry create secret --visibility restricted
    """
    session = session_of(ctx)
    from regcli.domain.documents import registry_document
    from regcli.domain.metadata import parse_default_ttl
    from regcli.domain.registries import create_registry

    change = create_registry(
        session.context,
        RegistryName.parse(name),
        description=description,
        types=[TypeName.parse(item) for item in types or ()],
        visibility=visibility,
        ttl=parse_default_ttl(ttl) if ttl is not None else None,
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
                    Chips(row["protected_aliases"], row["protected_aliases"]),
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
            ("Protected", Chips(document["protected_aliases"], document["protected_aliases"])),
            ("Default TTL", document["ttl"]),
            ("Collections", document["collections"]),
            ("Member", [f"{row['user']} ({row['role']})" for row in document["members"]]),
            ("Created", When(document["created_at"])),
            ("Created by", document["created_by"]),
        ),
    )
