"""`regcli download`: bring a version's files into a directory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from regcli.cli.context import session_of
from regcli.cli.output import human_count, human_size
from regcli.cli.parameters import AllowMissing, Jobs, LinkMode
from regcli.cli.progress import progress, steps
from regcli.cli.signing import AllowUnsigned, allow_unsigned
from regcli.errors import UsageError

if TYPE_CHECKING:
    from regcli.cli.context import Session
    from regcli.domain.download import Downloaded

app = typer.Typer()


@app.command()
def download(
    ctx: typer.Context,
    reference: Annotated[str, typer.Argument(metavar="REF", help="The version")],
    output: Annotated[
        str | None, typer.Option("--output", "-o", metavar="DIR", help="Where; default: artifacts/NAME:vN")
    ] = None,
    path_prefix: Annotated[
        str | None, typer.Option("--path-prefix", metavar="PREFIX", help="Only paths that begin with this text")
    ] = None,
    include: Annotated[
        list[str] | None,
        typer.Option("--include", metavar="PATTERN", help="Only what matches a gitignore pattern (repeatable)"),
    ] = None,
    exclude: Annotated[
        list[str] | None, typer.Option("--exclude", metavar="PATTERN", help="Not what matches a gitignore pattern (repeatable)")
    ] = None,
    link_mode: LinkMode = "auto",
    jobs: Jobs = None,
    allow_missing: AllowMissing = False,
    stamp: Annotated[
        str | None, typer.Option("--stamp", metavar="FILE", help="Write the digest there, only when it changed (for Make)")
    ] = None,
    depfile: Annotated[
        str | None, typer.Option("--depfile", metavar="FILE", help="With --stamp: write rules for Make that name the files")
    ] = None,
    unsigned: AllowUnsigned = False,
) -> None:
    """Bring a version's files into a directory

    A file that is there already with the right content is left alone, other files stay. Every byte is checked before its
    file gets its name. References are fetched from where they lead. Prints the directory.

    Examples:
        regcli download model/zoo:production
        regcli download zoo:v2 -o data/zoo --include '*.csv'
        regcli download zoo:latest -o data/zoo --stamp data/zoo.stamp -q
    """
    session = session_of(ctx)
    allow_unsigned(session, unsigned)
    if depfile is not None and stamp is None:
        raise UsageError("--depfile needs --stamp", hint="its rules say that the files are made with the stamp")
    from regcli.domain.caches import stat_cache
    from regcli.domain.download import DownloadOptions
    from regcli.domain.download import download as fetch

    with progress(session, "downloading") as update:
        options = DownloadOptions(
            link_mode=link_mode,
            threads=jobs,
            allow_missing_references=allow_missing,
            cache=stat_cache(session.context, session.settings.cache_path),
            progress=steps(update),
        )
        done = fetch(
            session.context, reference, output, options, prefix=path_prefix, include=include or (), exclude=exclude or ()
        )
    if stamp is not None:
        _tell_make(session, done, output, stamp, depfile)
    session.note(
        f"{done.version.ref}: {human_count(done.written, 'file')} written ({human_size(done.bytes)}),"
        f" {done.skipped} already there"
    )
    session.emit(done.document(), [done.path])


def _tell_make(session: Session, done: Downloaded, output: str | None, stamp: str, depfile: str | None) -> None:
    """Write the stamp, and the rules about the files; the stamp last, since it says that all is done."""
    from regcli.domain.download import default_directory
    from regcli.domain.stamps import write_depfile, write_stamp

    if depfile is not None:
        directory = output if output is not None else default_directory(done.version)
        for name in write_depfile(depfile, stamp, directory, done.list_names()):
            session.warn(f"Make cannot name the file {name}; it is left out of {depfile}")
    write_stamp(stamp, done.version.digest)
