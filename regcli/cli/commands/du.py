"""`regcli du`: what things cost."""

from __future__ import annotations

from typing import Annotated

import typer

from regcli.cli.context import session_of
from regcli.cli.output import Size, human_size, table
from regcli.cli.progress import progress

app = typer.Typer()


@app.command()
def du(
    ctx: typer.Context,
    reference: Annotated[
        str | None, typer.Argument(metavar="REF", help="A version, collection, REGISTRY/ or ENTITY/PROJECT/; default: all")
    ] = None,
) -> None:
    """Show what versions cost, alone and shared

    `alone` is what would be free if only this went; `shared` is what other versions use too. Content is stored once, so the
    figures do not add up. A link costs nothing. The last line is the whole.

    Examples:
        regcli du
        regcli du zoo
        regcli du zoo:v2 --json
    """
    session = session_of(ctx)
    from regcli.domain.usage import disk_usage

    with progress(session, "reading manifests") as update:
        document = disk_usage(session.context, reference, progress=update)
    rows = [*document["parts"], document]
    if "reclaimable" in document:
        session.note(
            f"stored: {human_size(document['stored'])}, of which `regcli gc` can free"
            f" {human_size(document['reclaimable'])}; in the trash: {human_size(document['trash'])}"
        )
    session.emit(
        document,
        table(
            ["Alone", "Shared", "Total", "Versions", "What"],
            [(Size(row["alone"]), Size(row["shared"]), Size(row["total"]), row["versions"], row["ref"]) for row in rows],
        ),
    )
