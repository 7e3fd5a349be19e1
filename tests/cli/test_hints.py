"""What messages, hints and topics tell people to type exists: every command in backquotes or a block, and every option."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import regcli
from regcli.cli.command_tree import read_tree
from regcli.cli.topics import list_topics

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGE = Path(regcli.__file__).parent
TREE = read_tree()
NODES = {node.name: node for node in TREE.walk()}
OPTIONS = {spelling for node in NODES.values() for option in node.options for spelling in option.spellings}
QUOTED = re.compile(r"`regcli ([^`]*)`")
BLOCK = re.compile(r"^```\w*\n(.*?)^```", re.MULTILINE | re.DOTALL)
# A command of a block: up to what the shell does with it, or a remark.
LINE = re.compile(r"^(?:[ \t]*(?:-? run: |\$ )?)regcli ([a-z][^|>#;&)\n]*)", re.MULTILINE)
OPTION = re.compile(r"(?<![\w'-])(--[a-z][a-z-]*|-[A-Za-z](?![\w-]))")
# What other programs are called with, and what only the completion scripts pass.
FOREIGN = re.compile(r"`(?:pip|git|ssh-keygen|ssh-add|python|regcli __complete) [^`]*`|`--of`")


def texts(path: Path) -> Iterator[tuple[int, str]]:
    """Yield line and text of every string of a module; what an f-string fills in is `X`."""
    tree = ast.parse(path.read_text())
    inner: set[ast.AST] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            inner.update(ast.walk(node))
            yield node.lineno, "".join(part.value if isinstance(part, ast.Constant) else "X" for part in node.values)  # type: ignore[misc]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in inner:
            yield node.lineno, node.value


def commands() -> Iterator[tuple[str, str]]:
    """Yield (where, words) of every command that some text names."""
    for path in sorted(PACKAGE.rglob("*.py")):
        for line, text in texts(path):
            yield from ((f"{path.relative_to(PACKAGE)}:{line}", words) for words in QUOTED.findall(text))
    for path in sorted(PACKAGE.rglob("*.md")):
        text = path.read_text()
        where = f"{path.relative_to(PACKAGE)}"
        yield from ((where, words.replace("\n", " ")) for words in QUOTED.findall(text))
        for block in BLOCK.findall(text):
            yield from ((where, words) for words in LINE.findall(block.replace("\\\n", " ")))


def problem(words: str) -> str | None:
    """Return what is wrong with a command that a text names, or None."""
    node, rest = TREE, words.split()
    if rest[:1] == ["__complete"] or words == "COMMAND --help" or rest[:2] == ["X", "--help"]:
        return None
    while rest and node.children and not rest[0].startswith("-"):
        name = f"{node.name} {rest[0]}".strip()
        if name not in NODES:
            return f"there is no command {name!r}"
        node, rest = NODES[name], rest[1:]
    if node.name == "help" and rest and rest[0].isalpha() and rest[0].islower():
        known = {name for name, _ in list_topics()} | set(NODES)
        return None if " ".join(rest) in known else f"there is no topic {rest[0]!r}"
    spellings = {spelling for option in node.options for spelling in option.spellings} | {"--help", "--version"}
    for word in rest:
        if word in ("--", "|"):
            break
        if word.startswith("-") and word != "-" and word.partition("=")[0] not in spellings:
            return f"{node.name!r} has no option {word}"
    return None


COMMANDS = sorted(set(commands()))


def test_texts_are_found() -> None:
    assert len(COMMANDS) > 100


@pytest.mark.parametrize(("where", "words"), COMMANDS)
def test_a_command_that_a_text_names_exists(where: str, words: str) -> None:
    assert problem(words) is None, f"{where}: `regcli {words}`: {problem(words)}"


def options() -> Iterator[tuple[str, str]]:
    """Yield (where, option) of every option that a sentence names; lists of words for other programs are no sentences."""
    for path in sorted(PACKAGE.rglob("*.py")):
        # The templates of completion scripts are full of options of other programs.
        if not path.name.startswith("completion_"):
            for line, text in texts(path):
                if " " in text:
                    yield from ((f"{path.relative_to(PACKAGE)}:{line}", word) for word in OPTION.findall(FOREIGN.sub("", text)))


def test_every_option_that_a_sentence_names_exists() -> None:
    named = set(options())
    assert len({word for _, word in named}) > 60
    assert sorted((where, word) for where, word in named if word not in OPTIONS) == []
