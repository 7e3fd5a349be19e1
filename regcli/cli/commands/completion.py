"""`regcli completion`: the scripts that complete commands, options and names in a shell."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from regcli.cli import settings
from regcli.cli.completion import SCRIPTS, install_script, line_for, read_script
from regcli.cli.context import session_of
from regcli.errors import UsageError
from regcli.model import quote

if TYPE_CHECKING:
    from regcli.cli.context import Session

app = typer.Typer()

_START_FILES = {"zsh": "~/.zshrc, before compinit", "bash": "~/.bashrc"}


@app.command()
def completion(
    ctx: typer.Context,
    action: Annotated[
        Literal["bash", "zsh", "fish", "install"],
        typer.Argument(metavar="bash|zsh|fish|install", help="The shell to print the script of, or `install`"),
    ],
    named: Annotated[
        Literal["bash", "zsh", "fish"] | None, typer.Argument(metavar="bash|zsh|fish", help="With `install`: as --shell")
    ] = None,
    shell: Annotated[
        Literal["bash", "zsh", "fish"] | None,
        typer.Option("--shell", metavar="bash|zsh|fish", help="With `install`: the shell; default: the one of SHELL"),
    ] = None,
) -> None:
    """Print or install the completion script for a shell

    `install` puts it where the shell looks for completions, and never edits a start file; what zsh needs in its own is
    printed.

    Examples:
        regcli completion install
        regcli completion install zsh
        regcli completion bash > ~/.local/share/bash-completion/completions/regcli
        source <(regcli completion bash)
    """
    session = session_of(ctx)
    wanted = shell or named
    if named not in (None, wanted):
        raise UsageError(f"{named} and --shell {shell} are two shells", hint="name one of them")
    if action == "install":
        _install(session, wanted)
    elif wanted is not None:
        raise UsageError("a second shell goes with `install`", hint=f"`regcli completion {wanted}` prints its script")
    else:
        script = read_script(action)
        session.emit({"shell": action, "script": script}, script.splitlines())


def _install(session: Session, shell: str | None) -> None:
    name = shell or settings.login_shell()
    if name not in SCRIPTS:
        told = f"there is no completion for the shell {quote(name)}" if name else "nothing says which shell you use"
        raise UsageError(told, hint="name one with --shell bash, zsh or fish")
    path = settings.completion_path(name)
    written = install_script(name, path)
    line = line_for(name, path)
    if line is not None:
        session.note(f"put this into {_START_FILES[name]}:")
    else:
        session.note("it is there in the next shell that you start")
    session.emit({"shell": name, "path": path, "written": written, "line": line}, [line or path])
