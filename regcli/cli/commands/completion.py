"""`regcli completion`: the scripts that complete commands, options and names in a shell."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from regcli.cli.completion import read_script
from regcli.cli.context import session_of

app = typer.Typer()


@app.command()
def completion(
    ctx: typer.Context,
    shell: Annotated[Literal["bash", "zsh", "fish"], typer.Argument(metavar="bash|zsh|fish", help="The shell to complete in")],
) -> None:
    """Print the completion script for a shell

    Put it where the shell looks for completions, or load it from the shell's start file.

    Examples:
        regcli completion bash > ~/.local/share/bash-completion/completions/regcli
        regcli completion zsh > ~/.zfunc/_regcli
        regcli completion fish > ~/.config/fish/completions/regcli.fish
        source <(regcli completion bash)
    """
    script = read_script(shell)
    session_of(ctx).emit({"shell": shell, "script": script}, script.splitlines())
