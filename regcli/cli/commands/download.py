"""`regcli download`: bring a version's files into a directory."""

from __future__ import annotations

from typing import Annotated

import typer

from regcli.cli.context import session_of
from regcli.cli.downloading import perform_download
from regcli.cli.parameters import AllowMissing, Jobs, LinkMode
from regcli.cli.signing import AllowUnsigned

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
    perform_download(
        session_of(ctx), reference, output=output, path_prefix=path_prefix, include=include or (), exclude=exclude or (),
        link_mode=link_mode, jobs=jobs, allow_missing=allow_missing, stamp=stamp, depfile=depfile, unsigned=unsigned,
    )  # fmt: skip
