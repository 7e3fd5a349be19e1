"""`regcli export`: versions as one file for another root."""

from __future__ import annotations

from typing import Annotated

import typer

from regcli.cli.context import session_of
from regcli.cli.output import human_count, human_size
from regcli.cli.progress import progress, steps

app = typer.Typer()


@app.command()
def export(
    ctx: typer.Context,
    references: Annotated[list[str], typer.Argument(metavar="REF", help="Versions, collections, REGISTRY/ or ENTITY/PROJECT/")],
    output: Annotated[str, typer.Option("--output", "-o", metavar="FILE", help="The bundle to write")],
    since: Annotated[
        str | None, typer.Option("--since", metavar="TIME", help="Only what changed since: 2026-11-30, or 7d")
    ] = None,
) -> None:
    """Write versions with content, links, aliases and history into one file

    The file is a tar for `regcli import` in another root. The sources of links go along. With --since it holds only what
    changed, for a root that has the rest.

    Examples:
        regcli export model/zoo:production -o zoo.tar
        regcli export model/ dataset/ -o everything.tar
        regcli export model/ --since 7d -o this-week.tar
    """
    session = session_of(ctx)
    from regcli.domain.exporting import export_bundle
    from regcli.domain.history import parse_since

    moment = parse_since(since, session.context) if since is not None else None
    with progress(session, "exporting") as update:
        done = export_bundle(session.context, references, output, since=moment, progress=steps(update))
    session.note(
        f"{human_count(done.versions, 'version')} of {human_count(done.collections, 'collection')},"
        f" {human_count(done.blobs, 'blob')}, {human_size(done.bytes)}"
    )
    session.emit(done.document(), [done.path])
