"""The commands, one module each, and how to write one.

A command parses, calls one domain function and renders what it returns; it has no rule of its own::

    \"\"\"`regcli alias`: names that move from version to version.\"\"\"

    from __future__ import annotations

    from typing import Annotated

    import typer

    from regcli.cli.context import session_of
    from regcli.cli.output import Chips, table
    from regcli.model import Alias

    app = typer.Typer(help="Name versions: add, remove and list aliases")


    @app.command("add")
    def add(
        ctx: typer.Context,
        reference: Annotated[str, typer.Argument(metavar="REF", help="The version that gets the aliases")],
        aliases: Annotated[list[str], typer.Argument(metavar="ALIAS", help="Names to add")],
        expect: Annotated[str | None, typer.Option("--expect", metavar="VERSION", help="Fail unless …")] = None,
    ) -> None:
        \"\"\"Add aliases to one version, taking them from the version that has them

        Longer prose, wrapped by the help page. The first line is in the imperative and has no full stop.

        Examples:
            regcli alias add model/zoo:v2 production
            regcli alias add model/zoo:v2 production --expect v1
        \"\"\"
        session = session_of(ctx)
        from regcli.domain.aliasing import add_aliases

        names = [Alias.parse(alias) for alias in aliases]
        change = add_aliases(session.context, reference, names, expect=expect)
        session.emit(change.document(), table(["Version", "Aliases"], [(change.ref, Chips(change.aliases))]))

Conventions:
- Register the command by one row in `COMMANDS` below (name, panel, one-line help, equal to the docstring's first line
  or, for a group, to `typer.Typer(help=…)`). The module has the command's name; `import` lives in `import_`.
- A module with one `@app.command()` and no callback is a plain command. For a group of one, add an empty `@app.callback()`.
- Imports at the top: typing, typer, `regcli.cli…`, `regcli.errors`, `regcli.model`. Domain modules are imported
  inside the function, so that help stays cheap. rich is never imported here.
- Every option has an explicit name and help; a flag is `typer.Option("--force", help=…)] = False`; an option that may be
  repeated is a `list[str] | None`, has a singular name and says "(repeatable)". Never `Path` or `Enum`: paths and names are
  `str`, checked below; a fixed choice is `Literal["a", "b"]`, or metavar `a|b`.
- An option that another command has too is declared in `regcli.cli.parameters` (or `regcli.cli.signing`).
- Metavars say what completion offers: REF, REGISTRY, COLLECTION, ALIAS, TAG, PROJECT (known names), ENTRY (a file in a
  version, after REF), PATH, FILE, DIR (local files), `a|b|c` (these words); anything else offers nothing.
- The global options (`--root`, `-C`, `--project`, `--json`, `-q`, `-v`, `--color`, `--no-progress`, `--wait`, `--version`,
  `-h`) are added to every command; read them from `session.options` and `session.settings`.
- Print with `session.emit(document, view)` once; `session.note`, `session.warn`; raw bytes with `session.write_bytes`; a page
  that is laid out already with `session.emit_page`. Ask with `session.confirm` (False without a terminal).
- What `emit` gets as lines or cells is escaped there; never put colour codes or markup into them.
- Fail by raising a `RegcliError`. Return a number to exit with it (1: differences found); return nothing for 0.
- After a change of options or help: `python -m regcli.cli.generate`. The row in `COMMANDS`, the examples (each is
  parsed), the help of every option and the scripts are tested for all commands in `tests/cli/test_help.py` and
  `test_completion.py`; a command's own tests use the fixtures `invoke` (in this process, fast) and `run` (a process of its
  own) of `tests/conftest.py`; helpers are imported as `from tests.conftest import Result`.
- Long work: `with progress(session, "hashing") as update:` (`regcli.cli.progress`).
"""

from __future__ import annotations

LOG = "Log and publish"
FIND = "Find and look"
FETCH = "Fetch and check"
ORGANIZE = "Organize"
SHELL = "Shell and help"

COMMANDS: tuple[tuple[str, str, str], ...] = (
    ("log", LOG, "Log files as the next version of an artifact"),
    ("link", LOG, "Publish a version in a registry"),
    ("unlink", LOG, "Withdraw a version from a registry"),
    ("use", LOG, "Record that a run uses a version"),
    ("alias", LOG, "Name versions: add, remove and list aliases"),
    ("protect", LOG, "List, add or remove a registry's protected aliases"),
    ("download", FETCH, "Bring a version's files into a directory"),
    ("checkout", FETCH, "Make a directory exactly one version"),
    ("verify", FETCH, "Check a root, a version or a directory for damage"),
    ("lock", FETCH, "Pin references to versions in regcli.lock"),
    ("sync", FETCH, "Bring exactly the versions of regcli.lock"),
    ("resolve", FETCH, "Print which version a reference means"),
    ("cat", FETCH, "Print one file of a version"),
    ("ls", FIND, "List registries, collections or versions"),
    ("show", FIND, "Show everything about one version"),
    ("files", FIND, "List the files of a version"),
    ("search", FIND, "Find registries, collections and versions"),
    ("compare", FIND, "Compare the metrics of a collection's versions"),
    ("diff", FIND, "Compare two versions"),
    ("lineage", FIND, "Show what a version was made from, and what was made from it"),
    ("history", FIND, "Show who changed what, and when"),
    ("export", FETCH, "Write versions with content, links, aliases and history into one file"),
    ("import", FETCH, "Take versions in from a bundle, or from MLflow, DVC, W&B or pins"),
    ("init", ORGANIZE, "Make a root"),
    ("registry", ORGANIZE, "Create, list, show, edit and delete registries"),
    ("collection", ORGANIZE, "Create, list, describe, rename and delete collections"),
    ("member", ORGANIZE, "List, add or remove the members of a registry"),
    ("trust", ORGANIZE, "Choose whose signatures on protected aliases are believed"),
    ("delete", ORGANIZE, "Delete a version"),
    ("undelete", ORGANIZE, "Bring a deleted version back"),
    ("gc", ORGANIZE, "Free the space of what no version needs"),
    ("du", ORGANIZE, "Show what versions cost, alone and shared"),
    ("automation", ORGANIZE, "Tell webhooks, Slack or your own commands what happens"),
    ("tag", ORGANIZE, "Label versions and collections"),
    ("edit", ORGANIZE, "Change a version's description, metadata or lifetime"),
    ("hook", SHELL, "Install and run git hooks that check locks and large files"),
    ("mk", SHELL, "Print rules for Make that fetch, log and promote"),
    ("completion", SHELL, "Print or install the completion script for a shell"),
    ("doctor", SHELL, "Show which root is used and why, and what is wrong with it"),
    ("config", SHELL, "Show the settings and where they come from"),
    ("help", SHELL, "Read the built-in documentation"),
)
