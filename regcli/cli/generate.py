"""Writes what is made from the commands and checked in: `python -m regcli.cli.generate [DIRECTORY]`.

The completion scripts go to `completions/`, the manual page to `regcli/docs/`, the table of commands into `README.md`. Tests
compare them with the commands.
"""

from __future__ import annotations

import os
import sys

from regcli.cli.command_tree import read_tree
from regcli.cli.commands import COMMANDS
from regcli.cli.completion_scripts import make_scripts
from regcli.cli.manpage import make_page

_BEGIN = "<!-- commands: made by regcli.cli.generate -->"
_END = "<!-- end of commands -->"


def make_files() -> dict[str, str]:
    """Return path (relative to the repository) and text of each file."""
    tree = read_tree()
    scripts = {f"completions/{name}": text for name, text in make_scripts(tree).items()}
    return {**scripts, "regcli/docs/regcli.1": make_page(tree)}


def command_table() -> str:
    """Return the README's tables of commands, one for each panel of the help."""
    panels: dict[str, list[str]] = {}
    for name, panel, words in COMMANDS:
        panels.setdefault(panel, []).append(f"| `{name}` | {words.replace('|', chr(92) + '|')} |")
    tables = [f"**{panel}**\n\n| command | does |\n|---|---|\n" + "\n".join(rows) for panel, rows in panels.items()]
    return "\n\n".join(tables)


def with_table(readme: str) -> str:
    """Return the README with the tables of today's commands between its two marks."""
    before, _, rest = readme.partition(_BEGIN)
    _, _, after = rest.partition(_END)
    return f"{before}{_BEGIN}\n{command_table()}\n{_END}{after}"


def main(directory: str = ".") -> None:
    """Write the files below a checkout."""
    for path, text in make_files().items():
        with open(os.path.join(directory, path), "w", encoding="utf-8", newline="\n") as file:
            file.write(text)
    path = os.path.join(directory, "README.md")
    if os.path.exists(path):
        with open(path, encoding="utf-8") as file:
            readme = file.read()
        with open(path, "w", encoding="utf-8", newline="\n") as file:
            file.write(with_table(readme))


if __name__ == "__main__":
    main(*sys.argv[1:])
