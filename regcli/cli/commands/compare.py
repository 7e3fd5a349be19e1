"""`regcli compare`: the metrics of versions, side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from regcli.cli.context import session_of
from regcli.cli.output import Chips, markdown_cell, table
from regcli.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from regcli.cli.output import Cell
    from regcli.domain.comparing import Comparison, Row

app = typer.Typer()


@app.command()
def compare(
    ctx: typer.Context,
    reference: Annotated[str, typer.Argument(metavar="COLLECTION", help="The collection, or an artifact's name")],
    metrics: Annotated[
        list[str] | None, typer.Option("--metric", "-m", metavar="METRIC", help="Only this metric (repeatable)")
    ] = None,
    sort: Annotated[
        str | None,
        typer.Option(
            "--sort", metavar="METRIC", help="The best first; version or created: the newest first; -METRIC: reversed"
        ),
    ] = None,
    lower: Annotated[
        list[str] | None, typer.Option("--lower", metavar="METRIC", help="Less is better for this metric (repeatable)")
    ] = None,
    higher: Annotated[
        list[str] | None, typer.Option("--higher", metavar="METRIC", help="More is better for this metric (repeatable)")
    ] = None,
    limit: Annotated[
        int | None, typer.Option("--limit", metavar="N", min=1, help="At most this many; default: 50 on a terminal, else all")
    ] = None,
    markdown: Annotated[bool, typer.Option("--md", help="Print a Markdown table")] = False,
    csv: Annotated[bool, typer.Option("--csv", help="Print comma-separated values, with a header")] = False,
) -> None:
    """Compare the metrics of a collection's versions

    Each value is followed by the change since the version before; the best of a metric is marked with a star, and the last
    line shows how it went, the oldest version first. Metrics are those of `regcli log --metric` and of the run that logged
    the version; numbers in its metadata are shown too, without a star. More is better, except for a metric whose name says
    otherwise (loss, error, time, …).

    Examples:
        regcli compare model/zoo
        regcli compare classifier -m accuracy -m loss --sort accuracy
        regcli compare classifier --csv > metrics.csv
    """
    session = session_of(ctx)
    if markdown and csv:
        raise UsageError("--md and --csv exclude each other", hint="choose one")
    from regcli.domain.comparing import compare as read

    if not markdown and not csv:
        limit = session.terminal_limit(limit)
    found = read(
        session.context, reference, metrics=metrics or (), lower=lower or (), higher=higher or (), sort=sort, limit=limit
    )
    session.note_more(found.total - len(found.rows))
    if not found.names:
        session.note(f"the versions of {found.ref} have no metrics; log some with --metric NAME=VALUE")
    if csv:
        session.emit(found.document(), _csv_lines(found))
    elif markdown:
        session.emit(found.document(), _markdown_lines(found))
    else:
        rows: list[tuple[Cell, ...]] = [
            (f"v{row.index}", Chips(row.aliases, row.protected, row.signed), *(_cell(found, row, name) for name in found.names))
            for row in found.rows
        ]
        if found.names:
            rows.append(("trend", Chips(()), *(found.trends[name] for name in found.names)))
        session.emit(found.document(), table(["Version", "Aliases", *found.names], rows))


def _number(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:.6g}"


def _cell(found: Comparison, row: Row, name: str, star: str = " *") -> str:
    if name not in row.values:
        return ""
    text = _number(row.values[name])
    delta = row.deltas.get(name)
    if delta:
        text += f" ({'+' if delta > 0 else ''}{_number(delta)})"
    return text + (star if found.best.get(name) == row.index else "")


def _csv_lines(found: Comparison) -> Iterator[str]:
    import csv
    import io

    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="")
    header: list[object] = ["version", "ref", "aliases", "created_at", *found.names]
    lines: list[list[object]] = [header, *(_csv_cells(found, row) for row in found.rows)]
    for cells in lines:
        buffer.seek(0)
        buffer.truncate()
        writer.writerow(cells)
        yield buffer.getvalue()


def _csv_cells(found: Comparison, row: Row) -> list[object]:
    values = [row.values.get(name, "") for name in found.names]
    return [f"v{row.index}", row.ref, " ".join(row.aliases), row.created_at, *values]


def _markdown_lines(found: Comparison) -> Iterator[str]:
    def line(cells: list[str]) -> str:
        return "| " + " | ".join(cells) + " |"

    yield line(["Version", "Aliases", *map(markdown_cell, found.names)])
    yield line(["---", "---", *("---:" for _ in found.names)])
    for row in found.rows:
        cells = []
        for name in found.names:
            cell = markdown_cell(_cell(found, row, name, star=""))
            cells.append(f"**{cell}**" if cell and found.best.get(name) == row.index else cell)
        yield line([f"v{row.index}", markdown_cell(Chips(row.aliases, row.protected, row.signed)), *cells])
    if found.names:
        yield line(["trend", "", *(found.trends[name] for name in found.names)])
