"""`regcli checkout`: a directory becomes exactly one version."""

from __future__ import annotations

from typing import Annotated

import typer

from regcli.cli.context import session_of
from regcli.cli.output import human_count
from regcli.cli.parameters import AllowMissing, LinkMode
from regcli.cli.progress import progress, steps
from regcli.cli.signing import AllowUnsigned, allow_unsigned

app = typer.Typer()


@app.command()
def checkout(
    ctx: typer.Context,
    reference: Annotated[str, typer.Argument(metavar="REF", help="The version")],
    directory: Annotated[str, typer.Argument(metavar="DIR", help="The directory that becomes it")],
    force: Annotated[bool, typer.Option("--force", "-f", help="Lose local changes that are stored nowhere")] = False,
    allow_missing: AllowMissing = False,
    link_mode: LinkMode = "auto",
    unsigned: AllowUnsigned = False,
) -> None:
    """Make a directory exactly one version

    Files that are not in the version are removed, provided that the store has their content; what is stored nowhere is a
    local change, and refused without --force.

    Examples:
        regcli checkout zoo:v2 data/zoo
        regcli checkout model/zoo:production serve/model --force
    """
    session = session_of(ctx)
    allow_unsigned(session, unsigned)
    from regcli.domain.caches import stat_cache
    from regcli.domain.download import DownloadOptions
    from regcli.domain.download import checkout as switch

    with progress(session, "checking out") as update:
        options = DownloadOptions(
            link_mode=link_mode,
            allow_missing_references=allow_missing,
            cache=stat_cache(session.context, session.settings.cache_path),
            progress=steps(update),
        )
        done = switch(session.context, reference, directory, options, force=force)
    session.note(
        f"{done.version.ref}: {human_count(done.written, 'file')} written, {done.skipped} already there, {done.removed} removed"
    )
    session.emit(done.document(), [done.path])
