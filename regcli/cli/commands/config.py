"""`regcli config`: the settings in force."""

from __future__ import annotations

from typing import Annotated

import typer

from regcli.cli.context import session_of
from regcli.cli.output import table
from regcli.surroundings import PROJECT_CONFIG, environment, user_config_file

app = typer.Typer(help="Show the settings and where they come from")


@app.callback()
def config() -> None:
    """Show the settings and where they come from"""


@app.command("show")
def show(
    ctx: typer.Context,
    origin: Annotated[bool, typer.Option("--origin", help="Say where each value comes from")] = False,
) -> None:
    """Show the settings that are in force

    An option wins over an environment variable, that over the project's `.regcli.toml` (the nearest upward), that over the
    user's `config.toml`. Both files may set `root`, `project` and `wait`.

    Examples:
        regcli config show
        regcli config show --origin
    """
    session = session_of(ctx)
    settings = session.settings
    project = settings.project
    rows = [
        ("root", settings.root.value, settings.root.origin),
        ("project", str(session.context.project), project.origin if project is not None else "the root"),
        ("wait", settings.wait.value, settings.wait.origin),
        ("user", session.context.user, "the operating system"),
    ]
    document = {
        "settings": {name: {"value": value, "origin": source} for name, value, source in rows},
        "files": {"user": user_config_file(environment()), "project": PROJECT_CONFIG},
    }
    if origin:
        session.emit(document, table(["Setting", "Value", "From"], rows))
    else:
        session.emit(document, table(["Setting", "Value"], [row[:2] for row in rows]))
