"""Commands and groups that carry the global options, and a top group that imports a command when it is called.

Built on what Typer documents (`Typer`, `TyperCommand`, `TyperGroup`, `get_command`): each command module exposes
`app = typer.Typer()`, and `build_command` turns it into the classes below.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from regcli.cli.helptext import write_help
from regcli.cli.interrupts import raise_when_interrupted
from regcli.cli.options import global_options, show_help
from regcli.errors import UsageError
from regcli.model import quote

if TYPE_CHECKING:
    from collections.abc import Iterable

    import typer

PROGRAM = "regcli"
# Words of other tools, so that a first guess finds the way.
OTHER_WORDS = {
    "add": ["log", "alias add", "tag add"],
    "artifact": ["show", "log"],
    "commit": ["log"],
    "create": ["registry create", "log"],
    "fetch": ["download"],
    "find": ["search"],
    "fsck": ["verify"],
    "get": ["download", "resolve"],
    "info": ["show"],
    "list": ["ls"],
    "promote": ["link", "alias add"],
    "publish": ["link"],
    "pull": ["download"],
    "push": ["log", "link"],
    "put": ["log"],
    "register": ["link"],
    "remove": ["delete", "unlink", "alias rm"],
    "rm": ["delete", "unlink", "alias rm"],
    "status": ["ls", "verify"],
    "upload": ["log"],
}


class Command(TyperCommand):
    """One command with the global options and our help page."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{**kwargs, "add_help_option": False})
        _add_global_options(self)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the help page."""
        write_help(self, ctx, formatter, ())

    def invoke(self, ctx: Any) -> Any:
        """Run the command under its own name."""
        ctx.obj.command = ctx.command_path.removeprefix(f"{PROGRAM} ")
        raise_when_interrupted()
        return super().invoke(ctx)


class Group(TyperGroup):
    """A command with sub-commands."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{**kwargs, "add_help_option": False})
        _add_global_options(self)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the help page, the sub-commands in it."""
        write_help(self, ctx, formatter, self.sections())

    def sections(self) -> Iterable[tuple[str, list[tuple[str, str]]]]:
        """Return titled groups of sub-commands with their one-line help."""
        return [("Commands", [(name, summary(command)) for name, command in self.commands.items() if not command.hidden])]

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the options of this level; a name must follow."""
        rest = super().parse_args(ctx, args)
        if not ctx._protected_args and not ctx.resilient_parsing:  # noqa: SLF001 - Typer's group keeps the name there
            self.without_command(ctx)
        return rest

    def without_command(self, ctx: Any) -> None:
        """Say what may follow."""
        raise UsageError(f"`{ctx.command_path}` needs a command", hint=f"one of: {', '.join(self.commands)}")

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """Find the sub-command that `args` begins with.

        Raises:
            UsageError: there is none; the hint names the nearest.
        """
        name = args[0]
        if name not in self.commands:
            raise UsageError(
                f"there is no command {quote(f'{ctx.command_path} {name}'.strip())}", hint=self._nearest(ctx, name)
            )
        return name, self.commands[name], args[1:]

    def _nearest(self, ctx: Any, name: str) -> str:
        from difflib import get_close_matches

        places = ctx.command_path.removeprefix(PROGRAM).strip()
        found = OTHER_WORDS.get(name, []) if not places else []
        # Words of other tools first, if we have the commands they stand for.
        matches = [word for word in found if word.split()[0] in self.commands] or get_close_matches(name, self.commands)
        if not matches:
            return f"see `{ctx.command_path} --help`"
        shown = " or ".join(f"`{ctx.command_path} {match}`" for match in matches)
        return f"did you mean {shown}?"


class TopGroup(Group):
    """The program: knows every command's name and help, and imports a command only to run it.

    Args:
        table: rows of name, panel, one-line help (`commands.COMMANDS`).
    """

    def __init__(self, table: Iterable[tuple[str, str, str]], **kwargs: Any) -> None:
        rows = list(table)
        stubs = {name: TyperCommand(name, help=text) for name, _, text in rows}
        super().__init__(name=PROGRAM, commands=cast("Any", stubs), **kwargs)
        self._panels = {name: panel for name, panel, _ in rows}

    def sections(self) -> Iterable[tuple[str, list[tuple[str, str]]]]:
        """Return the commands by panel, the main job first."""
        panels: dict[str, list[tuple[str, str]]] = {}
        for name, command in self.commands.items():
            panels.setdefault(self._panels[name], []).append((name, summary(command)))
        return panels.items()

    def without_command(self, ctx: Any) -> None:
        """Show the help page: a bare `regcli` is a question, not a mistake."""
        show_help(ctx)

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """Find and import the command that `args` begins with."""
        name, _, rest = super().resolve_command(ctx, args)
        return name, load_command(cast("str", name)), rest

    def load_all(self) -> None:
        """Replace every stub by the command itself: for completion scripts, the man page and tests."""
        for name in self.commands:
            self.commands[name] = load_command(name)


def summary(command: Any) -> str:
    """Return the first line of a command's help."""
    text: str = command.help or ""
    return text.strip().partition("\n")[0]


def module_name(name: str) -> str:
    """Return the module that holds a command; Python's own words get an underscore (`import_`)."""
    from keyword import iskeyword

    plain = name.replace("-", "_")
    return f"regcli.cli.commands.{plain}_" if iskeyword(plain) else f"regcli.cli.commands.{plain}"


def load_command(name: str) -> TyperCommand | TyperGroup:
    """Import a command's module and build it."""
    from importlib import import_module

    return build_command(name, import_module(module_name(name)).app)


def build_command(name: str, app: typer.Typer) -> TyperCommand | TyperGroup:
    """Build what `app` declares, with our classes; one command without callback is a command, else it is a group."""
    _adopt(app)
    command = cast("TyperCommand | TyperGroup", get_command(app))
    command.name = name
    return command


def _adopt(app: typer.Typer) -> None:
    app._add_completion = False  # noqa: SLF001 - our own scripts complete; authors need not repeat the argument
    app.rich_markup_mode = None
    app.info.cls = Group
    for command in app.registered_commands:
        command.cls = Command
    for group in app.registered_groups:
        group.cls = Group
        if group.typer_instance is not None:
            _adopt(group.typer_instance)


def _add_global_options(command: TyperCommand | TyperGroup) -> None:
    taken = {spelling for param in command.params for spelling in (*param.opts, *param.secondary_opts)}
    command.params.extend(global_options(taken))
