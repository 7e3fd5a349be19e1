"""`regcli ls`: what is there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from regcli.cli.context import session_of
from regcli.cli.output import Chips, Size, When, collection_table, table
from regcli.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from regcli.cli.context import Session

app = typer.Typer()


@app.command()
def ls(
    ctx: typer.Context,
    reference: Annotated[
        str | None, typer.Argument(metavar="REF", help="REGISTRY/, ENTITY/PROJECT/ or a collection; default: all")
    ] = None,
    sort: Annotated[
        Literal["version", "created", "size", "name", "updated"] | None,
        typer.Option(
            "--sort",
            metavar="version|created|size|name|updated",
            help="Order; default: newest version first, names from a to z",
        ),
    ] = None,
    limit: Annotated[
        int | None, typer.Option("--limit", metavar="N", min=1, help="At most this many; default: 50 on a terminal, else all")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Deleted versions too")] = False,
    metrics: Annotated[
        list[str] | None,
        typer.Option("--metric", metavar="METRIC", help="Show this metric of the versions in a column (repeatable)"),
    ] = None,
) -> None:
    """List registries, collections or versions

    Without a reference: registries and projects. A registry or project: its collections. A collection: its versions. The
    final slash may be left out where only one thing has that name.

    Examples:
        regcli ls
        regcli ls model/
        regcli ls model/Zoo_Classifier_Models --limit 5 --metric accuracy
    """
    session = session_of(ctx)
    limit = session.terminal_limit(limit)
    from regcli.domain import listing
    from regcli.domain.collections import Collection

    if metrics and (reference is None or reference.endswith("/")):
        raise UsageError("--metric shows a column of versions", hint="name a collection, as in `regcli ls zoo --metric loss`")
    if reference is None:
        _overview(session, listing.overview(session.context), limit)
        return
    place = listing.find_place(session.context, reference)
    if isinstance(place, Collection):
        total, rows = listing.version_rows(session.context, place, sort=sort, limit=limit, deleted=everything)
        session.note_more(total - len(rows))
        if metrics:
            _add_metrics(session, rows, metrics)
        _versions(session, place.ref, total, rows, metrics or ())
    else:
        documents = listing.collection_rows(session.context, place, sort=sort)
        shown = documents[:limit]
        session.note_more(len(documents) - len(shown))
        _collections(session, shown)


def _overview(session: Session, document: dict[str, Any], limit: int | None) -> None:
    rows = [("registry", f"{row['name']}/", row["collections"], row["description"]) for row in document["registries"]]
    rows += [("project", f"{row['ref']}/", row["collections"], "") for row in document["projects"]]
    session.note_more(len(rows) - len(rows[:limit]))
    session.emit(document, table(["Kind", "Name", "Collections", "Description"], rows[:limit]))


def _collections(session: Session, documents: list[dict[str, Any]]) -> None:
    session.emit({"collections": documents}, collection_table(documents))


def _add_metrics(session: Session, documents: list[dict[str, Any]], names: Sequence[str]) -> None:
    """Put the chosen metrics, wherever they were logged, under `columns`."""
    from regcli.domain.comparing import MetricsOf

    gathered = MetricsOf(session.context)
    for row in documents:
        values = gathered.of(row["metrics"], row["metadata"], row["logged_by"])
        row["columns"] = {name: values.get(name.removeprefix("metrics.").removeprefix("metadata.")) for name in names}


def _versions(session: Session, ref: str, total: int, documents: list[dict[str, Any]], metrics: Sequence[str]) -> None:
    session.emit(
        {"ref": ref, "versions": documents, "total": total},
        table(
            ["Version", "Aliases", "Tags", "Size", "Files", "Created", "Source", *metrics],
            [
                (
                    row["ref"],
                    Chips(row["aliases"], row["protected_aliases"], row["signed_aliases"]),
                    ", ".join(row["tags"]),
                    Size(row["size"]),
                    row["file_count"],
                    When(row["created_at"]),
                    _source(row),
                    *(row["columns"][name] for name in metrics),
                )
                for row in documents
            ],
        ),
    )


def _source(row: dict[str, Any]) -> str:
    """Return where a link's version was logged, and what became of a version that is no longer there."""
    gone = "" if row["state"] == "COMMITTED" else "UNLINKED" if row["is_link"] else str(row["state"])
    return " ".join(filter(None, [row["source"] if row["is_link"] else "", gone]))
