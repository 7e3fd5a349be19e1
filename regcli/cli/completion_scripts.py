"""Makes the completion scripts in `completions/` from the command tree; `regcli.cli.generate` writes them.

The scripts know every command, option and choice, so a TAB runs no Python. Names that live in a root are asked from
`regcli __complete KIND WORD`, which is answered on the fast lane. Each script holds the same three tables (the words
that may follow a command, what an option's value is, what an argument is) and one walk over the line that uses them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from regcli.cli.completion import SCRIPTS
from regcli.cli.completion_bash import bash_script
from regcli.cli.completion_fish import fish_script
from regcli.cli.completion_zsh import zsh_script

if TYPE_CHECKING:
    from collections.abc import Callable

    from regcli.cli.command_tree import Node

MAKERS: dict[str, Callable[[Node], str]] = {"bash": bash_script, "zsh": zsh_script, "fish": fish_script}


def make_scripts(tree: Node) -> dict[str, str]:
    """Return file name and text of each script."""
    return {SCRIPTS[shell]: make(tree) for shell, make in MAKERS.items()}
