"""`regcli lineage`: what a version was made from, and what was made from it."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from regcli.cli.context import session_of

app = typer.Typer()


@app.command()
def lineage(
    ctx: typer.Context,
    reference: Annotated[str, typer.Argument(metavar="REF", help="The version to start from; default: the latest")],
    form: Annotated[
        Literal["tree", "json", "mermaid", "dot"],
        typer.Option("--format", metavar="tree|json|mermaid|dot", help="How to print it"),
    ] = "tree",
    direction: Annotated[
        Literal["up", "down", "both"],
        typer.Option("--direction", metavar="up|down|both", help="What it was made from, what was made from it, or both"),
    ] = "both",
    depth: Annotated[
        int | None, typer.Option("--depth", metavar="N", min=1, help="At most so many steps; default: all")
    ] = None,
) -> None:
    """Show what a version was made from, and what was made from it

    Follows inputs, runs and links, across projects and registries. A step leads to a run, a version or a link.

    Examples:
        regcli lineage model/zoo:production
        regcli lineage zoo_raw:v0 --direction down --depth 2
        regcli lineage zoo:latest --format mermaid > lineage.mmd
    """
    session = session_of(ctx)
    from regcli.cli import graphs
    from regcli.domain.lineage import lineage as walk

    graph = walk(session.context, reference, direction=direction, depth=depth)
    if form == "json":
        session.options.json = True
    draw = {"mermaid": graphs.mermaid_lines, "dot": graphs.dot_lines}.get(form, graphs.tree_lines)
    session.emit(graph.document(), draw(graph))
