"""Help pages: every command has an example, every option an explanation, and lists say what commands say."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

import pytest

from regcli.cli.app import build_program
from regcli.cli.command_tree import Node, read_tree
from regcli.cli.commands import COMMANDS
from regcli.cli.context import Session
from regcli.cli.settings import Options
from regcli.cli.topics import list_topics

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import Result

    Invoke = Callable[..., Result]

TREE = read_tree()
NODES = list(TREE.walk())
LEAVES = [node for node in NODES if not node.children]
PIPES = {"|", ">", "<", "&&", ";", "||"}


def name_of(node: Node) -> str:
    return node.name or "regcli"


@pytest.mark.parametrize("node", LEAVES, ids=name_of)
def test_every_command_has_an_example_of_itself(node: Node) -> None:
    assert any(f"regcli {node.name}" in line for line in node.examples), f"regcli {node.name} has no Examples:"


@pytest.mark.parametrize("node", NODES, ids=name_of)
def test_every_example_is_a_line_that_the_program_understands(node: Node) -> None:
    for line in node.examples:
        words = shlex.split(line, comments=True)
        if words[:1] == ["regcli"] and not any("$(" in word or "<(" in word for word in words):
            end = next((i for i, word in enumerate(words) if word in PIPES or word.startswith((">", "2>"))), len(words))
            parse(words[1:end])


def parse(words: list[str]) -> None:
    """Parse a line down to its command, without running it; wrong ones raise."""
    context = build_program().make_context("regcli", words, obj=Session(Options()))
    while hasattr(context.command, "resolve_command"):
        rest = [*context._protected_args, *context.args]
        name, command, arguments = context.command.resolve_command(context, rest)
        context = command.make_context(name, arguments, parent=context)


@pytest.mark.parametrize("node", NODES, ids=name_of)
def test_first_line_is_a_short_imperative_sentence_without_full_stop(node: Node) -> None:
    assert node.summary
    assert not node.summary.endswith(".")
    assert node.summary[0].isupper()
    assert len(node.summary) <= 100


@pytest.mark.parametrize("node", NODES, ids=name_of)
def test_every_option_and_argument_is_explained(node: Node) -> None:
    for option in node.options:
        assert option.help, option.spellings
        assert not option.help.endswith("."), option.spellings
        assert any(spelling.startswith("--") for spelling in option.spellings) or option.is_global
        if option.is_repeatable:
            assert "repeatable" in option.help, option.spellings
        if option.metavar is not None:
            assert option.metavar == option.metavar.upper() or "|" in option.metavar, f"{option.spellings}: name the value"
    for argument in node.arguments:
        assert argument.help, argument.metavar


@pytest.mark.parametrize("node", NODES, ids=name_of)
def test_every_command_takes_the_global_options(node: Node) -> None:
    spellings = {spelling for option in node.options for spelling in option.spellings}
    assert {
        "--root",
        "-C",
        "--project",
        "--json",
        "-q",
        "--quiet",
        "-v",
        "--color",
        "--no-progress",
        "--wait",
        "--version",
        "-h",
        "--help",
    } <= spellings


@pytest.mark.parametrize("row", COMMANDS, ids=lambda row: row[0])
def test_the_list_of_commands_says_what_each_says_of_itself(row: tuple[str, str, str]) -> None:
    node = next(child for child in TREE.children if child.name == row[0])
    assert node.summary == row[2]


def test_main_job_comes_first(invoke: Invoke) -> None:
    page = invoke("--help").ok().stdout
    assert page.index("Log and publish:") < page.index("  download") < page.index("Shell and help:")
    assert page.index("Examples:") < page.index("Log and publish:")


@pytest.mark.parametrize("node", NODES, ids=name_of)
def test_help_pages_fit_the_terminal_and_name_the_command(node: Node, invoke: Invoke) -> None:
    page = invoke(*node.name.split(), "--help").ok().stdout
    assert page.startswith(f"Usage: {f'regcli {node.name}'.strip()} ")
    examples = set(node.examples)
    assert all(len(line) <= 80 for line in page.splitlines() if line.strip() not in examples), page


def test_every_topic_has_a_title_and_can_be_read(invoke: Invoke) -> None:
    topics = list_topics()
    assert ("references", "Names and references") in topics
    assert [line.split("\t")[0] for line in invoke("help").ok().lines] == [name for name, _ in topics]
    for name, title in topics:
        assert invoke("help", name).ok().lines[0] == f"# {title}"
        assert invoke("help", name, "--json").ok().json["name"] == name


def test_an_unknown_topic_is_not_found_and_gets_the_nearest(invoke: Invoke) -> None:
    result = invoke("help", "refrences")
    assert result.code == 3
    assert "did you mean 'references'?" in result.stderr
    for hostile in ("../errors", "/etc/passwd", "", "a\x00b"):
        assert invoke("help", hostile).code == 3


def test_help_of_a_command_is_its_help_page(invoke: Invoke) -> None:
    assert invoke("help", "log").ok().stdout == invoke("log", "--help").ok().stdout
    assert invoke("help", "alias", "add").ok().stdout == invoke("alias", "add", "--help").ok().stdout
    both = invoke("help", "search").ok()
    assert both.lines[0].startswith("# ")
    assert "regcli search --help" in both.stderr
    assert invoke("help", "nosuch", "thing").code == 2
