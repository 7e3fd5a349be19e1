"""`regcli export`: versions as one file for another root."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from regcli.cli.context import session_of
from regcli.cli.output import human_count, human_size
from regcli.cli.progress import progress, steps
from regcli.errors import UsageError

if TYPE_CHECKING:
    from regcli.cli.context import Session

app = typer.Typer()


@app.command()
def export(
    ctx: typer.Context,
    references: Annotated[list[str], typer.Argument(metavar="REF", help="Versions, collections, REGISTRY/ or ENTITY/PROJECT/")],
    output: Annotated[str, typer.Option("--output", "-o", metavar="FILE", help="The bundle to write; - is standard output")],
    since: Annotated[
        str | None, typer.Option("--since", metavar="TIME", help="Only what changed since: 2026-11-30, or 7d")
    ] = None,
) -> None:
    """Write versions with content, links, aliases and history into one file

    The file is a tar for `regcli import` in another root. The sources of links go along. With --since it holds only what
    changed, for a root that has the rest. With `-o -` the bundle goes to standard output, and nothing else does.

    Examples:
        regcli export model/zoo:production -o zoo.tar
        regcli export model/ dataset/ -o everything.tar
        regcli export model/ --since 7d -o this-week.tar
        regcli export model/zoo:production -o - | ssh host regcli import -
    """
    session = session_of(ctx)
    from regcli.domain.exporting import export_bundle
    from regcli.domain.history import parse_since

    moment = parse_since(since, session.context) if since is not None else None
    to_pipe = output == "-"
    if to_pipe:
        _require_pipe(session)
    with progress(session, "exporting") as update:
        done = export_bundle(
            session.context,
            references,
            output,
            since=moment,
            progress=steps(update),
            write=session.put_bytes if to_pipe else None,
        )
        if to_pipe:
            session.put_bytes(b"", flush=True)
    session.note(
        f"{human_count(done.versions, 'version')} of {human_count(done.collections, 'collection')},"
        f" {human_count(done.blobs, 'blob')}, {human_size(done.bytes)}"
    )
    if not to_pipe:
        session.emit(done.document(), [done.path])


def _require_pipe(session: Session) -> None:
    if session.is_json:
        raise UsageError("--json and `-o -` both want standard output", hint="name a file, as in -o bundle.tar")
    if session.is_terminal:
        raise UsageError(
            "a bundle is nothing for a terminal", hint="pipe it into `regcli import -`, or name a file, as in -o bundle.tar"
        )
