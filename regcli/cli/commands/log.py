"""`regcli log`: files become the next version of an artifact."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from regcli.cli.context import session_of

app = typer.Typer()


@app.command()
def log(
    ctx: typer.Context,
    paths: Annotated[list[str] | None, typer.Argument(metavar="PATH", help="Files and directories")] = None,
    name: Annotated[str, typer.Option("--name", "-n", metavar="NAME", help="The artifact: NAME or ENTITY/PROJECT/NAME")] = "",
    type_: Annotated[
        str | None, typer.Option("--type", "-t", metavar="TYPE", help="What it is, such as dataset or model")
    ] = None,
    aliases: Annotated[
        list[str] | None, typer.Option("--alias", "-a", metavar="ALIAS", help="An alias for the version (repeatable)")
    ] = None,
    tags: Annotated[list[str] | None, typer.Option("--tag", metavar="TAG", help="A tag for the version (repeatable)")] = None,
    description: Annotated[str | None, typer.Option("--description", "-d", metavar="TEXT", help="Markdown")] = None,
    meta: Annotated[
        list[str] | None, typer.Option("--meta", metavar="KEY=VALUE", help="Metadata; the value may be JSON (repeatable)")
    ] = None,
    meta_file: Annotated[str | None, typer.Option("--meta-file", metavar="FILE", help="Metadata from a JSON object")] = None,
    metrics: Annotated[list[str] | None, typer.Option("--metric", metavar="KEY=NUMBER", help="A metric (repeatable)")] = None,
    references: Annotated[
        list[str] | None,
        typer.Option("--ref", metavar="[NAME=]URI", help="Record what a URI leads to, without copying it (repeatable)"),
    ] = None,
    no_checksum: Annotated[bool, typer.Option("--no-checksum", help="With --ref: record the URI alone, unchecked")] = False,
    max_objects: Annotated[
        int | None, typer.Option("--max-objects", metavar="N", min=0, help="With --ref: refuse more (default: 10 million)")
    ] = None,
    at: Annotated[
        str | None, typer.Option("--at", metavar="PREFIX", help="Place the paths under this directory of the artifact")
    ] = None,
    exclude: Annotated[
        list[str] | None, typer.Option("--exclude", metavar="PATTERN", help="A gitignore pattern to leave out (repeatable)")
    ] = None,
    inputs: Annotated[
        list[str] | None, typer.Option("--input", metavar="REF", help="A version it was made from (repeatable)")
    ] = None,
    run: Annotated[str | None, typer.Option("--run", metavar="RUN", help="The run that made it")] = None,
    ttl: Annotated[
        str, typer.Option("--ttl", metavar="DURATION", help="How long to keep it: 30d, 12h, none, inherit")
    ] = "inherit",
    links: Annotated[
        list[str] | None, typer.Option("--link", metavar="COLLECTION", help="Publish it there too (repeatable)")
    ] = None,
    base: Annotated[
        str | None, typer.Option("--base", metavar="REF", help="Start from this version's files, without downloading")
    ] = None,
    remove: Annotated[
        list[str] | None, typer.Option("--remove", metavar="ENTRY", help="With --base: leave out this path (repeatable)")
    ] = None,
    link_mode: Annotated[
        Literal["copy", "hardlink", "move"],
        typer.Option("--link-mode", metavar="copy|hardlink|move", help="How content comes into the store"),
    ] = "copy",
    follow: Annotated[bool, typer.Option("--follow-links", help="Follow symbolic links to directories")] = False,
    rehash: Annotated[bool, typer.Option("--rehash", help="Read every file, whatever its times say")] = False,
    new_version: Annotated[bool, typer.Option("--new-version", help="Make a version even if nothing changed")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be logged")] = False,
) -> None:
    """Log files as the next version of an artifact

    A directory's content goes to the artifact's root, a file keeps its name. Content that equals the latest version makes
    no new version. Prints the version's reference.

    What --exclude or a `.regcliignore` file names, in gitignore syntax, is left out; the file itself is logged, as git keeps
    a `.gitignore`. Without either, a `.git` is logged too, and said.

    Examples:
        regcli log data/ --name zoo --type dataset
        regcli log model.pt --name classifier --type model --alias best --metric accuracy=0.93
        regcli log data/ -n zoo -t dataset --link dataset/zoo --input zoo_raw:v3
        regcli log labels.csv -n zoo --base zoo:latest --remove old_labels.csv
        regcli log -n raw -t dataset --ref s3://bucket/raw/ --ref labels.csv=https://example.com/labels-2.csv
    """
    from regcli.cli.logging import LogOptions, perform_log

    options = LogOptions(
        paths=paths or [], name=name, type=type_,
        aliases=aliases or [], tags=tags or [],
        description=description, meta=meta or [], meta_file=meta_file, metrics=metrics or [],
        references=references or [], checksum=not no_checksum, max_objects=max_objects, at=at, exclude=exclude or [],
        inputs=inputs or [], run=run, ttl=ttl, links=links or [], base=base, remove=remove or [], link_mode=link_mode,
        follow=follow, rehash=rehash, new_version=new_version, dry_run=dry_run,
    )  # fmt: skip
    perform_log(session_of(ctx), options)
