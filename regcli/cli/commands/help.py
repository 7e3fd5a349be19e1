"""`regcli help`: the documentation that comes with the program."""

from __future__ import annotations

from typing import Annotated

import typer

from regcli.cli.commands import COMMANDS
from regcli.cli.context import session_of
from regcli.cli.output import table
from regcli.cli.topics import list_topics, read_topic

app = typer.Typer()


@app.command("help")
def show_help(
    ctx: typer.Context,
    topic: Annotated[
        list[str] | None, typer.Argument(metavar="TOPIC", help="What to read, or a command; without it, the list of topics")
    ] = None,
) -> int:
    """Read the built-in documentation

    The name of a command shows its options, as `regcli COMMAND --help` does.

    Examples:
        regcli help
        regcli help references
        regcli help alias add
    """
    session = session_of(ctx)
    topics = list_topics()
    if not topic:
        session.emit({"topics": [{"name": name, "title": title} for name, title in topics]}, table(["Topic", "About"], topics))
        return 0
    is_command = topic[0] in [name for name, _, _ in COMMANDS]
    if len(topic) > 1 or (is_command and topic[0] not in [name for name, _ in topics]):
        from regcli.cli.app import run

        # Whatever is no command gets the answer that it gets without `help`.
        return run([*topic, "--help"])
    text = read_topic(topic[0])
    if is_command:
        session.note(f"the options are in `regcli {topic[0]} --help`")
    session.emit({"name": topic[0], "text": text}, text.splitlines())
    return 0
