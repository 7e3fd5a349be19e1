"""Lays out help pages: usage, what it does, examples, arguments, options.

Typer's own pages need rich's markdown (200 ms) and cannot show an example verbatim. These are the same on a terminal
and in a pipe, but for bold headings, so the documentation and the man page can be made from them.
"""

from __future__ import annotations

import inspect
import sys
from typing import TYPE_CHECKING, Any

from typer.core import TyperArgument

from regcli.cli.options import PANEL
from regcli.cli.output import paint
from regcli.cli.settings import wants_color

if TYPE_CHECKING:
    from collections.abc import Iterable

    import typer
    from typer.core import TyperCommand, TyperGroup

EXAMPLES = "Examples:"
Rows = list[tuple[str, str]]


def split_help(text: str | None) -> tuple[str, list[str]]:
    """Split a command's docstring into its prose and the lines under `Examples:`."""
    prose, _, examples = inspect.cleandoc(text or "").partition(f"\n{EXAMPLES}\n")
    return prose.strip(), inspect.cleandoc(examples).splitlines() if examples.strip() else []


def write_help(
    command: TyperCommand | TyperGroup, ctx: typer.Context, formatter: Any, sections: Iterable[tuple[str, Rows]]
) -> None:
    """Write one help page; `sections` are the groups of sub-commands, if any."""
    page = _Page(formatter, color=wants_color(ctx.obj.options.color if ctx.obj else "auto", sys.stdout))
    prose, examples = split_help(command.help)
    formatter.write_usage(ctx.command_path, " ".join(usage_pieces(command)))
    page.prose(prose)
    page.verbatim("Examples", examples)
    for title, rows in sections:
        page.rows(title, rows)
    page.rows(
        "Arguments",
        [(metavar(param), param.help) for param in command.params if isinstance(param, TyperArgument) and param.help],
    )
    own, everywhere = _option_rows(command, ctx)
    page.rows("Options", own)
    if ctx.parent is None:
        page.rows(PANEL, everywhere)
    else:
        page.inline(PANEL, [names for names, _ in everywhere], "Explained by `regcli --help`.")


def usage_pieces(command: TyperCommand | TyperGroup) -> list[str]:
    """Return what follows the command's name in its usage line."""
    pieces = ["[OPTIONS]"]
    for param in command.params:
        if param.param_type_name == "argument":
            name = metavar(param)
            pieces.append(name if param.required else f"[{name}]")
    if hasattr(command, "commands"):
        pieces.append("COMMAND ...")
    return pieces


def metavar(param: Any) -> str:
    """Return the word that stands for an argument in help, with dots where it may be repeated."""
    name: str = param.metavar or (param.name or "").upper()
    return f"{name}..." if param.nargs != 1 and not name.endswith("...") else name


def _option_rows(command: TyperCommand | TyperGroup, ctx: typer.Context) -> tuple[Rows, Rows]:
    own: Rows = []
    everywhere: Rows = []
    for param in command.get_params(ctx):
        row = param.get_help_record(ctx) if param.param_type_name == "option" else None
        if row is not None:
            (everywhere if getattr(param, "rich_help_panel", None) == PANEL else own).append(row)
    return own, everywhere


class _Page:
    def __init__(self, formatter: Any, *, color: bool) -> None:
        self._formatter = formatter
        self._color = color

    def _heading(self, title: str) -> None:
        self._formatter.write("\n" + paint(f"{title}:", "heading", color=self._color) + "\n")

    def prose(self, text: str) -> None:
        if text:
            self._formatter.write_paragraph()
            self._formatter.write_text(text)

    def verbatim(self, title: str, lines: list[str]) -> None:
        if lines:
            self._heading(title)
            for line in lines:
                self._formatter.write(f"  {line}\n" if line else "\n")

    def rows(self, title: str, rows: Rows) -> None:
        if rows:
            self._heading(title)
            with self._formatter.indentation():
                self._formatter.write_dl(rows)

    def inline(self, title: str, names: list[str], remark: str) -> None:
        if names:
            self._heading(title)
            with self._formatter.indentation():
                self._formatter.write_text(", ".join(names) + ". " + remark)
