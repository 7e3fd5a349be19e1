"""`regcli search`: find registries, collections and versions."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from regcli.cli.context import session_of
from regcli.cli.output import table

app = typer.Typer()


@app.command()
def search(
    ctx: typer.Context,
    query: Annotated[str | None, typer.Argument(metavar="QUERY", help="Part of a name, tag, alias or description")] = None,
    kinds: Annotated[
        list[str] | None,
        typer.Option("--kind", metavar="registry|collection|version", help="Only this kind (repeatable)"),
    ] = None,
    registry: Annotated[str | None, typer.Option("--registry", metavar="REGISTRY", help="Only in this registry")] = None,
    type_: Annotated[str | None, typer.Option("--type", "-t", metavar="TYPE", help="Only of this artifact type")] = None,
    tags: Annotated[
        list[str] | None, typer.Option("--tag", metavar="TAG", help="Only with this tag (repeatable: all of them)")
    ] = None,
    alias: Annotated[str | None, typer.Option("--alias", metavar="ALIAS", help="Only versions with this alias")] = None,
    sort: Annotated[
        Literal["kind", "ref", "field", "value"],
        typer.Option("--sort", metavar="kind|ref|field|value", help="Order of the results"),
    ] = "kind",
    limit: Annotated[int | None, typer.Option("--limit", metavar="N", min=1, help="At most this many")] = None,
    fail_if_empty: Annotated[bool, typer.Option("--fail-if-empty", help="Exit 1 when nothing is found")] = False,
) -> int:
    """Find registries, collections and versions

    Matches registry and collection names, tags of versions and collections, aliases and descriptions, without regard to
    case.

    Examples:
        regcli search zoo
        regcli search --alias production --kind version
        regcli search --tag animals --registry model --json
    """
    session = session_of(ctx)
    from regcli.domain.search import Query
    from regcli.domain.search import search as find

    results = find(
        session.context, Query(query, kinds=kinds or (), registry=registry, type=type_, tags=tags or (), alias=alias)
    )
    if sort != "kind":
        results.sort(key=lambda result: str(getattr(result, sort)))
    total = len(results)
    if limit is not None and total > limit:
        results = results[:limit]
        session.note(f"{total - limit} more; raise --limit to see them")
    session.emit(
        {"results": [result.document() for result in results], "total": total},
        table(["Kind", "Reference", "Matched", "Value"], [(r.kind, r.ref, r.field, r.value) for r in results]),
    )
    return 1 if fail_if_empty and not total else 0
