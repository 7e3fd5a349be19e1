"""`regcli import`: take versions in from a bundle that `regcli export` wrote."""

from __future__ import annotations

from typing import Annotated

import typer

from regcli.cli.context import session_of
from regcli.cli.logging import steps
from regcli.cli.output import human_count, human_size
from regcli.cli.progress import progress

app = typer.Typer()


@app.command()
def import_(
    ctx: typer.Context, path: Annotated[str, typer.Argument(metavar="FILE", help="What `regcli export` wrote")]
) -> None:
    """Take versions in from a file that `export` wrote

    What is missing is made; references, times, aliases, tags and history stay. Everything is checked before anything is
    written, and running it again finishes an import that was interrupted.

    Examples:
        regcli import zoo.tar
    """
    session = session_of(ctx)
    from regcli.domain.importing import import_bundle

    with progress(session, "importing") as update:
        done = import_bundle(session.context, path, progress=steps(update))
    for remark in dict.fromkeys(done.remarks):
        session.note(remark)
    session.note(
        f"{human_count(done.versions, 'new version')}, {human_count(done.blobs, 'new blob')}, {human_size(done.bytes)}"
    )
    session.emit(done.document(), done.collections)
