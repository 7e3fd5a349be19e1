"""`regcli import`: take versions in, from a bundle that `regcli export` wrote or from the data of other tools."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from regcli.cli.context import session_of
from regcli.cli.output import human_count, human_size
from regcli.cli.progress import progress, steps
from regcli.cli.settings import is_terminal
from regcli.errors import UsageError
from regcli.model import RegistryName, TypeName, quote

if TYPE_CHECKING:
    from regcli.cli.context import Session

app = typer.Typer()


@app.command()
def import_(
    ctx: typer.Context,
    source: Annotated[
        str,
        typer.Argument(metavar="FILE", help="A bundle, - for standard input; or mlflow, dvc, wandb or pins, followed by DIR"),
    ],
    directory: Annotated[str | None, typer.Argument(metavar="DIR", help="The other tool's directory or SQLite file")] = None,
    registry: Annotated[
        str | None, typer.Option("--registry", metavar="REGISTRY", help="Publish there (model for mlflow, dataset for pins)")
    ] = None,
    type_: Annotated[str | None, typer.Option("--type", "-t", metavar="TYPE", help="The type, where nothing says it")] = None,
) -> None:
    """Take versions in from a bundle, or from MLflow, DVC, W&B or pins

    A bundle is what `regcli export` wrote: what is missing is made; references, times, aliases, tags and history stay, and
    everything is checked before anything is written.

    Of other tools: MLflow's registry (file store or SQLite: models, versions, aliases, stages, tags, metrics), what a DVC
    repository tracks (`.dvc` files and `dvc.lock`, from its cache), a W&B artifact's directory or offline run, a pins board.
    Versions go into the current project. Running it again takes in only what is new.

    Examples:
        regcli import zoo.tar
        ssh host regcli export model/zoo -o - | regcli import -
        regcli import mlflow mlruns/ --registry model
        regcli import mlflow mlflow.db
        regcli import dvc ../repository --project team/data
        regcli import wandb artifacts/zoo:v3 --type dataset --registry dataset
        regcli import pins board/
    """
    session = session_of(ctx)
    from regcli.domain.foreign import TOOLS

    if directory is None:
        if source in TOOLS:
            raise UsageError(f"DIR is missing: where is the data of {source}", hint=f"as in `regcli import {source} DIR`")
        _take_bundle(session, source)
    elif source in TOOLS:
        _take_foreign(session, source, directory, registry, type_)
    else:
        raise UsageError(f"{quote(source)} is no tool that can be imported from", hint=f"use {', '.join(TOOLS)}, or one bundle")


def _take_bundle(session: Session, path: str) -> None:
    from regcli.domain.importing import import_bundle

    stream = None
    if path == "-":
        if is_terminal(sys.stdin):
            raise UsageError("a bundle cannot be typed", hint="pipe it in, as in `regcli export REF -o - | regcli import -`")
        path, stream = "standard input", 0
    with progress(session, "importing") as update:
        done = import_bundle(session.context, path, stream=stream, progress=steps(update))
    for remark in dict.fromkeys(done.remarks):
        session.note(remark)
    blobs = f"{human_count(done.blobs, 'new blob')}, {human_size(done.bytes)}"
    session.note(f"{human_count(done.versions, 'new version')}, {blobs}")
    session.emit(done.document(), done.collections)


def _take_foreign(session: Session, tool: str, directory: str, registry: str | None, type_name: str | None) -> None:
    from regcli.domain.foreign import REGISTRIES, read_foreign
    from regcli.domain.foreign.taking import take_in

    if type_name is not None:
        TypeName.parse(type_name)
    target = RegistryName.parse(registry) if registry is not None else REGISTRIES[tool]
    done = take_in(session.context, read_foreign(tool, directory, type_name=type_name), registry=target)
    for remark in dict.fromkeys(done.remarks):
        session.note(remark)
    session.note(f"{human_count(len(done.versions), 'new version')}, {done.skipped} here already")
    session.emit(done.document(), [*done.versions, *done.links])
