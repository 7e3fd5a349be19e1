"""The command tree as plain data, for what is generated from it: completion scripts, the man page, tests of the help.

What a parameter completes to is read from its type and metavar; the words are listed in `regcli.cli.commands`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from typer.core import TyperArgument, TyperOption

from regcli.cli.app import build_program
from regcli.cli.helptext import split_help
from regcli.cli.lazy import Group, summary
from regcli.cli.options import PANEL
from regcli.cli.topics import list_topics
from regcli.domain.events import EVENTS

if TYPE_CHECKING:
    from collections.abc import Iterator

# Metavar -> what completes it. `file` and `dir` are local; the others are asked from `regcli __complete KIND WORD`.
KINDS = {
    "REF": "ref",
    "SOURCE": "ref",
    "TARGET": "collection",
    "REGISTRY": "registry",
    "COLLECTION": "collection",
    "REGISTRY/COLLECTION": "collection",
    "PLACE": "collection",
    "ALIAS": "alias",
    "TAG": "tag",
    "PROJECT": "project",
    "[ENTITY/]PROJECT": "project",
    "ENTRY": "entry",
    "RUN": "run",
    "TYPE": "type",
    "USER": "user",
    "VERSION": "version",
    "PATH": "file",
    "FILE": "file",
    "DIR": "dir",
}
NOTHING = "nothing"


class Option:
    """An option: its spellings, the word for its value (None for a flag), what completes it, its help."""

    __slots__ = ("help", "is_global", "is_repeatable", "kind", "metavar", "spellings")

    def __init__(self, param: Any) -> None:
        self.spellings: list[str] = [*param.opts, *param.secondary_opts]
        takes_value = not param.is_flag and not param.count
        self.metavar: str | None = (param.metavar or "VALUE") if takes_value else None
        self.kind: str | None = kind_of(param) if takes_value else None
        self.help: str = param.help or ""
        self.is_global: bool = param.rich_help_panel == PANEL
        self.is_repeatable: bool = param.multiple or param.count


class Argument:
    """An argument: the word for it, what completes it, whether it must be given, whether it may be repeated."""

    __slots__ = ("help", "is_repeatable", "is_required", "kind", "metavar")

    def __init__(self, param: Any) -> None:
        self.metavar: str = (param.metavar or param.name.upper()).removesuffix("...")
        self.kind = kind_of(param)
        self.help: str = param.help or ""
        self.is_required: bool = param.required
        self.is_repeatable: bool = param.nargs != 1


class Node:
    """A command or group; `name` is what follows `regcli`, such as `alias add`, and empty for the program itself."""

    __slots__ = ("arguments", "children", "examples", "name", "options", "prose", "summary")

    def __init__(self, name: str, command: Any) -> None:
        self.name = name
        self.summary = summary(command)
        self.prose, self.examples = split_help(command.help)
        self.options = [Option(param) for param in command.params if isinstance(param, TyperOption) and not param.hidden]
        self.arguments = [Argument(param) for param in command.params if isinstance(param, TyperArgument) and not param.hidden]
        self.children: list[Node] = []
        if isinstance(command, Group):
            shown = [(key, child) for key, child in command.commands.items() if not child.hidden]
            self.children = [Node(f"{name} {key}".strip(), child) for key, child in shown]

    @property
    def word(self) -> str:
        """The last word of the name."""
        return self.name.rpartition(" ")[2]

    def walk(self) -> Iterator[Node]:
        """Yield this node and all below, in the order of the help pages."""
        yield self
        for child in self.children:
            yield from child.walk()


def kind_of(param: Any) -> str:
    """Return what completes a parameter: one of KINDS' values, `words a b c`, or NOTHING."""
    choices = getattr(param.type, "choices", None)
    word = (param.metavar or "").removesuffix("...")
    if choices is None and "|" in word:
        choices = word.split("|")
    if param.name == "name" and "--name" in param.opts:
        # An artifact that is logged anew, most likely.
        return "source"
    if word == "EVENT":
        choices = list(EVENTS)
    if word == "TOPIC":
        choices = [name for name, _ in list_topics()]
    if choices is not None:
        return "words " + " ".join(choices)
    return KINDS.get(word, NOTHING)


def read_tree() -> Node:
    """Import every command and return the whole tree."""
    program = build_program()
    program.load_all()
    return Node("", program)
