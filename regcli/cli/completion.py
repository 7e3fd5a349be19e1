"""Where the generated completion scripts are."""

from __future__ import annotations

import os

from regcli.errors import NotFoundError

SCRIPTS = {"bash": "regcli.bash", "zsh": "_regcli", "fish": "regcli.fish"}


def read_script(shell: str) -> str:
    """Return the completion script for a shell.

    Raises:
        NotFoundError: this installation has no scripts.
    """
    here = os.path.dirname(os.path.abspath(__file__))
    # In a wheel the scripts lie beside this module; in a checkout they are in completions/.
    for directory in (os.path.join(here, "_completions"), os.path.join(here, "..", "..", "completions")):
        try:
            with open(os.path.join(directory, SCRIPTS[shell]), encoding="utf-8") as file:
                return file.read()
        except FileNotFoundError:
            continue
    raise NotFoundError(f"this installation has no completion script for {shell}", hint="install regcli again")
