"""Writes what is made from the commands and checked in: `python -m regcli.cli.generate [DIRECTORY]`.

The completion scripts go to `completions/`, the manual page to `man/`. Tests compare them with the commands.
"""

from __future__ import annotations

import os
import sys

from regcli.cli.command_tree import read_tree
from regcli.cli.completion_scripts import make_scripts
from regcli.cli.manpage import make_page


def make_files() -> dict[str, str]:
    """Return path (relative to the repository) and text of each file."""
    tree = read_tree()
    scripts = {f"completions/{name}": text for name, text in make_scripts(tree).items()}
    return {**scripts, "man/regcli.1": make_page(tree)}


def main(directory: str = ".") -> None:
    """Write the files below a checkout."""
    for path, text in make_files().items():
        with open(os.path.join(directory, path), "w", encoding="utf-8", newline="\n") as file:
            file.write(text)


if __name__ == "__main__":
    main(*sys.argv[1:])
