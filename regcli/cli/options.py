"""The global options: real parameters of every command and group, so they may stand anywhere on the line.

Each level gets its own copies. They are parsed by the level where they stand, so the value of another option is
never taken for one of them; what they say is kept in the session's `Options`, the last one wins.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from typer import BadParameter, Exit
from typer.core import TyperOption

from regcli import __version__
from regcli.cli.context import Session, session_of
from regcli.cli.settings import COLOR_CHOICES
from regcli.errors import MissingPathError, UsageError
from regcli.model import quote

if TYPE_CHECKING:
    from collections.abc import Callable

    import typer
    from typer import CallbackParam

    Callback = Callable[[typer.Context, CallbackParam, Any], None]

PANEL = "Global options"


def global_options(taken: set[str]) -> list[TyperOption]:
    """Return fresh global options; a spelling in `taken` belongs to the command itself and is left out."""
    options = []
    for name, spellings, details in _OPTIONS:
        free = [spelling for spelling in spellings if spelling not in taken]
        if free:
            options.append(
                TyperOption(param_decls=[f"global_{name}", *free], expose_value=False, rich_help_panel=PANEL, **details)
            )
    return options


def _keep(name: str) -> Callback:
    def callback(ctx: typer.Context, _param: CallbackParam, value: Any) -> None:
        if value is not None:
            setattr(session_of(ctx).options, name, value)

    return callback


def _change_directory(ctx: typer.Context, _param: CallbackParam, value: str | None) -> None:
    if value is None or ctx.resilient_parsing:
        return
    if not value:
        raise UsageError("-C is empty", hint="name a directory")
    try:
        os.chdir(value)
    except (FileNotFoundError, NotADirectoryError):
        raise MissingPathError(f"there is no directory {quote(value)}") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UsageError(f"cannot change to directory {quote(value)}: {reason.lower()}") from None


def _count_verbosity(ctx: typer.Context, _param: CallbackParam, value: int | None) -> None:
    session_of(ctx).options.verbosity += value or 0


def _disable_progress(ctx: typer.Context, _param: CallbackParam, value: bool | None) -> None:
    if value:
        session_of(ctx).options.progress = False


def _choose_color(ctx: typer.Context, param: CallbackParam, value: str | None) -> None:
    if value is None:
        return
    if value not in COLOR_CHOICES:
        raise BadParameter(f"{quote(value)} is not one of {', '.join(COLOR_CHOICES)}", ctx=ctx, param=param)
    session_of(ctx).options.color = value


def _set_wait(ctx: typer.Context, param: CallbackParam, value: float | None) -> None:
    if value is None:
        return
    if not value >= 0:
        raise BadParameter("give a number of seconds, 0 or more", ctx=ctx, param=param)
    session_of(ctx).options.wait = value


def _show_version(ctx: typer.Context, _param: CallbackParam, value: bool | None) -> None:
    if value and not ctx.resilient_parsing:
        session: Session = session_of(ctx)
        session.emit({"version": __version__}, [f"regcli {__version__}"])
        raise Exit


def show_help(ctx: typer.Context) -> None:
    """Print the help page of the command that `ctx` stands for, and end the run."""
    session_of(ctx).emit_page({"command": ctx.command_path, "help": ctx.get_help()}, ctx.get_help())
    raise Exit


def _show_help(ctx: typer.Context, _param: CallbackParam, value: bool | None) -> None:
    if value and not ctx.resilient_parsing:
        show_help(ctx)


_OPTIONS: tuple[tuple[str, tuple[str, ...], dict[str, Any]], ...] = (
    (
        "root",
        ("--root",),
        {
            "metavar": "DIR",
            "type": str,
            "callback": _keep("root"),
            "help": "Use this root (REGCLI_ROOT; else the nearest .regcli upward; else the user data directory)",
        },
    ),
    (
        "directory",
        ("-C",),
        {
            "metavar": "DIR",
            "type": str,
            "callback": _change_directory,
            # Eager, so that all other paths on the line are meant from there.
            "is_eager": True,
            "help": "Run as if started in DIR",
        },
    ),
    (
        "project",
        ("--project",),
        {
            "metavar": "[ENTITY/]PROJECT",
            "type": str,
            "callback": _keep("project"),
            "help": "Work in this project (REGCLI_PROJECT)",
        },
    ),
    (
        "json",
        ("--json",),
        {
            "is_flag": True,
            "default": None,
            "callback": _keep("json"),
            # Eager, as --version and errors of other options are printed in its form.
            "is_eager": True,
            "help": "Print one JSON document, also for errors",
        },
    ),
    (
        "quiet",
        ("-q", "--quiet"),
        {"is_flag": True, "default": None, "callback": _keep("quiet"), "help": "Print no notes and no progress; errors stay"},
    ),
    (
        "verbosity",
        ("-v", "--verbose"),
        {
            "count": True,
            "type": int,
            "callback": _count_verbosity,
            "help": "Say more; -vv shows the traceback of an error (repeatable)",
        },
    ),
    (
        "color",
        ("--color",),
        {
            "metavar": "|".join(COLOR_CHOICES),
            "type": str,
            "callback": _choose_color,
            "is_eager": True,
            "help": "Colour the output (NO_COLOR switches it off)",
        },
    ),
    (
        "progress",
        ("--no-progress",),
        {"is_flag": True, "default": None, "callback": _disable_progress, "help": "Show no progress bars"},
    ),
    (
        "wait",
        ("--wait",),
        {"metavar": "SECONDS", "type": float, "callback": _set_wait, "help": "Wait this long for a busy store (30)"},
    ),
    (
        "version",
        ("--version",),
        {
            "is_flag": True,
            "default": None,
            "callback": _show_version,
            "help": "Print the version and exit",
        },
    ),
    (
        "help",
        ("-h", "--help"),
        {
            "is_flag": True,
            "default": None,
            "callback": _show_help,
            # Eager, so that help is given before anything is found missing.
            "is_eager": True,
            "help": "Show this help and exit",
        },
    ),
)
