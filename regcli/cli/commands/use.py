"""`regcli use`: a run takes a version as its input."""

from __future__ import annotations

from typing import Annotated

import typer

from regcli.cli.context import session_of

app = typer.Typer()


@app.command()
def use(
    ctx: typer.Context,
    reference: Annotated[str, typer.Argument(metavar="REF", help="The version that is used")],
    run: Annotated[
        str | None, typer.Option("--run", metavar="RUN", help="The run that uses it; default: a run named cli-USER")
    ] = None,
) -> None:
    """Record that a run uses a version

    The run is made when it is missing. What the same run logs (`regcli log --run RUN`) was then made from the version, and
    `regcli lineage` shows it. Prints the version's reference.

    Examples:
        regcli use dataset/zoo:production --run train-42
        regcli use zoo:v3
    """
    session = session_of(ctx)
    from regcli.domain.lineage import use as record

    used = record(session.context, reference, run=run)
    session.note(f"{used.run} uses {used.version.ref}" if used.created else f"{used.run} used {used.version.ref} already")
    document = {"ref": used.version.ref, "digest": used.version.digest, "run": used.run, "created": used.created}
    session.emit({**document, "seq": used.seq}, [used.version.ref])
