"""`regcli search`: find registries, collections and versions."""

from __future__ import annotations

from typing import Annotated

import typer

from regcli.cli.context import session_of
from regcli.cli.output import json_text, table
from regcli.model import quote

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
    where: Annotated[
        list[str] | None,
        typer.Option("--where", metavar="EXPRESSION", help="Only versions with such fields (repeatable: all of them)"),
    ] = None,
    sort: Annotated[
        str,
        typer.Option(
            "--sort", metavar="FIELD", help="kind, ref, field, value, or a version's field; -FIELD for the largest first"
        ),
    ] = "kind",
    limit: Annotated[int | None, typer.Option("--limit", metavar="N", min=1, help="At most this many")] = None,
    fail_if_empty: Annotated[bool, typer.Option("--fail-if-empty", help="Exit 1 when nothing is found")] = False,
) -> int:
    """Find registries, collections and versions

    Matches registry and collection names, tags of versions and collections, aliases and descriptions, without regard to
    case. `--where` compares fields of versions: `regcli help search` lists them.

    Examples:
        regcli search zoo
        regcli search --alias production --kind version
        regcli search --tag animals --registry model --json
        regcli search --where 'metrics.accuracy > 0.9 and not tags = draft' --sort=-metrics.accuracy
    """
    session = session_of(ctx)
    from regcli.domain.search import Query, lacks_order
    from regcli.domain.search import search as find

    asked = Query(
        query, kinds=kinds or (), registry=registry, type=type_, tags=tags or (), alias=alias, where=where or (), sort=sort
    )
    results = find(session.context, asked)
    if lacks_order(asked, results):
        session.note(f"none of the versions found has {quote(asked.sort)} to sort by")
    total = len(results)
    results = results[:limit]
    session.note_more(total - len(results))
    if not total:
        session.note("nothing found")
    session.emit(
        {"results": [result.document() for result in results], "total": total},
        table(["Kind", "Reference", "Matched", "Value"], [(r.kind, r.ref, r.field, json_text(r.value)) for r in results]),
    )
    return 1 if fail_if_empty and not total else 0
