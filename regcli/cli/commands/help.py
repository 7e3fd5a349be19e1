"""`regcli help`: the documentation that comes with the program."""

from __future__ import annotations

from typing import Annotated

import typer

from regcli.cli.context import session_of
from regcli.cli.output import table
from regcli.cli.topics import list_topics, read_topic

app = typer.Typer()


@app.command("help")
def show_help(
    ctx: typer.Context,
    topic: Annotated[str | None, typer.Argument(metavar="TOPIC", help="What to read; without it, the list of topics")] = None,
) -> None:
    """Read the built-in documentation

    For the options of a command use `regcli COMMAND --help`.

    Examples:
        regcli help
        regcli help references
    """
    session = session_of(ctx)
    if topic is None:
        topics = list_topics()
        session.emit({"topics": [{"name": name, "title": title} for name, title in topics]}, table(["Topic", "About"], topics))
        return
    text = read_topic(topic)
    session.emit({"name": topic, "text": text}, text.splitlines())
