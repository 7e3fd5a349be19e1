"""Figures, cells and views: whole in a pipe, readable on a terminal, harmless on both."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from regcli.cli.output import (
    Chips,
    Size,
    When,
    definitions,
    escape,
    human_age,
    human_count,
    human_size,
    plain_lines,
    table,
    tree,
)
from regcli.cli.render import draw
from tests.cli.terminal import on_terminal

if TYPE_CHECKING:
    from regcli.cli.output import Definitions, Table

NOW = 1_790_000_000.0
HOSTILE = "a\x1b]0;x\x07\tb\nc\N{RIGHT-TO-LEFT OVERRIDE}[red]d[/red]"
ESCAPED = "a\\x1b]0;x\\x07\\tb\\nc\\u202e[red]d[/red]"


def drawn(view: Table | Definitions, *, width: int = 80, color: bool = False, unicode: bool = True) -> str:
    return draw(view, width=width, color=color, unicode=unicode, now=NOW)


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (1, "1 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (4769, "4.8 kB"),
        (9_949, "9.9 kB"),
        (9_950, "10 kB"),
        (999_499, "999 kB"),
        (999_500, "1.0 MB"),
        (120_000_000, "120 MB"),
        (5 * 10**9, "5.0 GB"),
        (10**15, "1.0 PB"),
        (10**19, "10000 PB"),
    ],
)
def test_sizes(size: int, text: str) -> None:
    assert human_size(size) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "just now"),
        (9, "just now"),
        (-5, "just now"),
        (59, "59 seconds ago"),
        (60, "1 minute ago"),
        (3599, "59 minutes ago"),
        (3600, "1 hour ago"),
        (86_400 * 3, "3 days ago"),
        (86_400 * 8, "1 week ago"),
        (86_400 * 40, "1 month ago"),
        (86_400 * 366, "1 year ago"),
        (86_400 * 3650, "9 years ago"),
        (-7200, "in 2 hours"),
    ],
)
def test_ages(seconds: float, text: str) -> None:
    assert human_age(seconds) == text


def test_counts() -> None:
    assert human_count(1, "file") == "1 file"
    assert human_count(1234, "file") == "1,234 files"
    assert human_count(2, "entry", "entries") == "2 entries"


def test_escape_leaves_printable_text_of_every_language() -> None:
    for text in ("plain", "모델 레지스트리", "モデル", "naïve café", "🦓"):
        assert escape(text) == text
    assert escape(HOSTILE) == ESCAPED
    assert escape("\udce9\x7f\x85") == "\\udce9\\x7f\\x85"


ROWS = [
    ("model/zoo:v1", Chips(["latest", "production"], {"production"}), Size(4769), When("2026-09-01T00:00:00Z")),
    (HOSTILE, Chips([]), Size(0), When(None)),
]


def test_piped_table_has_whole_lines_with_tabs_and_no_header() -> None:
    assert list(plain_lines(table(["Ref", "Aliases", "Size", "Created"], ROWS))) == [
        "model/zoo:v1\tlatest, production (protected)\t4769\t2026-09-01T00:00:00Z",
        f"{ESCAPED}\t\t0\t",
    ]


def test_piped_lines_are_never_cut() -> None:
    name = "x" * 5000
    assert list(plain_lines(table(["Name"], [[name]]))) == [name]
    assert list(plain_lines([name])) == [name]


def test_plain_lines_are_escaped_but_for_tabs() -> None:
    assert list(plain_lines(["a\tb\x1b"])) == ["a\tb\\x1b"]


def test_colour_in_a_pipe_paints_chips() -> None:
    (line,) = plain_lines(table(["Aliases"], [[Chips(["latest", "prod"], {"prod"})]]), color=True)
    assert "48;5;208m latest " in line
    assert "48;5;241m \N{LOCK} prod " in line


def test_a_signed_alias_is_told_from_one_that_is_only_protected() -> None:
    chips = Chips(["latest", "gold", "prod"], {"gold", "prod"}, {"prod"})
    assert list(plain_lines(table(["Aliases"], [[chips]]))) == ["latest, gold (protected), prod (signed)"]
    assert "latest, gold (protected), prod (signed)" in drawn(table(["Aliases"], [[chips]]))
    for colored in (drawn(table(["Aliases"], [[chips]]), color=True), *plain_lines(table(["Aliases"], [[chips]]), color=True)):
        assert "\N{LOCK} gold" in colored
        assert "\N{LOCK WITH INK PEN} prod" in colored


def test_chips_on_a_terminal_are_orange_and_gray_with_a_lock() -> None:
    text = drawn(table(["Aliases"], [[Chips(["latest", "prod"], {"prod"})]]), color=True)
    assert "\N{LOCK} prod" in text
    assert "(protected)" not in text
    plain = drawn(table(["Aliases"], [[Chips(["latest", "prod"], {"prod"})]]))
    assert "latest, prod (protected)" in plain
    assert "\x1b" not in plain


def test_terminal_without_unicode_gets_ascii() -> None:
    text = drawn(table(["Name", "Aliases"], [["한", Chips(["prod"], {"prod"})]]), unicode=False, color=True)
    assert text.isascii()
    assert "\\ud55c" in text
    assert "prod (protected)" in text


def test_terminal_table_shows_human_figures() -> None:
    text = drawn(table(["Ref", "Aliases", "Size", "Created", "Files"], [(*ROWS[0], 1234)]), width=120)
    assert "4.8 kB" in text
    assert "2 weeks ago" in text
    assert "1,234" in text


def test_nothing_in_a_cell_is_obeyed_on_a_terminal() -> None:
    text = drawn(table(["Ref", "Aliases", "Size", "Created"], ROWS), width=150)
    assert ESCAPED in text
    assert "\x1b" not in text


def test_nothing_in_a_title_is_obeyed_on_a_terminal() -> None:
    """Titles are names of metrics too, which are anybody's."""
    text = drawn(table(["Version", "a\x1b[2J", "[red]b[/red]"], [["v0", 1, 2]]), width=150)
    assert "a\\x1b[2J" in text
    assert "[red]b[/red]" in text
    assert "\x1b" not in text
    assert "\x1b" not in drawn(definitions(("a\x1b[2J", "b")))


def test_wide_characters_line_up() -> None:
    from rich.cells import cell_len

    text = drawn(table(["Name", "Mark"], [["모델", "|"], ["モデル", "|"], ["model", "|"]]))
    columns = {cell_len(line[: line.index("|")]) for line in text.splitlines() if "|" in line}
    assert len(columns) == 1


def test_long_names_fold_on_a_terminal_and_lose_nothing() -> None:
    name = "".join(chr(ord("a") + i % 26) for i in range(300))
    text = drawn(table(["Name"], [[name]]), width=40)
    assert "…" not in text
    assert name in "".join(text.split())


def test_a_crowded_terminal_keeps_references_in_one_piece() -> None:
    refs = ["model/Zoo_Classifier_Models:v1", "local/default/zoo_dataset:v0"]
    rows = [(refs[0], "a note of quite some length about this version", "a reason, and not a short one either", refs[1])]
    text = drawn(table(["Version", "Note", "Reason", "Source"], rows), width=84)
    assert all(ref in text for ref in refs)
    assert max(len(line) for line in text.splitlines()) <= 84
    # No room for both: the first.
    text = drawn(table(["Version", "Note", "Reason", "Source"], rows), width=64)
    assert refs[0] in text
    assert max(len(line) for line in text.splitlines()) <= 64
    # Where there is hardly room for anything, nothing is lost all the same.
    for width in (64, 40, 20):
        lines = drawn(table(["1", "2", "3", "4"], rows), width=width).splitlines()[2:]
        assert sorted("".join(lines).replace(" ", "")) == sorted("".join(rows[0]).replace(" ", ""))


def test_a_column_with_nothing_in_it_is_left_out_on_a_terminal_only() -> None:
    view = table(["Version", "Tags", "Files"], [["v0", "", 1], ["v1", None, 2]])
    assert drawn(view).splitlines()[0].split() == ["Version", "Files"]
    assert drawn(table(["Version", "Tags"], [["", ""]])).splitlines()[0].split() == ["Version"]
    assert list(plain_lines(view)) == ["v0\t\t1", "v1\t\t2"]


def test_definitions_leave_out_what_is_empty() -> None:
    view = definitions(("Ref", "model/zoo:v1"), ("Tags", ["a", "b"]), ("TTL", None), ("Aliases", Chips([])), ("Size", Size(10)))
    assert list(plain_lines(view)) == ["Ref\tmodel/zoo:v1", "Tags\ta", "Tags\tb", "Size\t10"]
    lines = drawn(view).splitlines()
    assert lines[0].split() == ["Ref", "model/zoo:v1"]
    assert lines[2].strip() == "b"


def test_tree_draws_guides() -> None:
    nodes: list[tuple[str, list[tuple[str, list[object]]]]] = [("a", [("b", []), ("c", [])]), ("d", [])]
    assert list(tree("root", nodes)) == ["root", "├── a", "│   ├── b", "│   └── c", "└── d"]
    assert all(line.isascii() for line in tree("root", nodes, ascii_only=True))


def test_times_that_are_none_are_shown_as_they_are() -> None:
    assert When("not a time").age(NOW) == "not a time"


def shown_by(*arguments: str, environment: dict[str, str] | None = None) -> str:
    return on_terminal("-m", "regcli", *arguments, environment=environment)


def test_on_a_terminal_tables_have_titles_and_help_has_bold_headings() -> None:
    assert "Topic" in shown_by("help")
    assert "references" in shown_by("help")
    assert "\x1b[1mExamples:\x1b[0m" in shown_by("help", "--help")
    assert "\x1b[1;31merror:\x1b[0m" in shown_by("help", "nope")


def test_on_a_terminal_json_is_indented() -> None:
    assert '\n  "version"' in shown_by("--version", "--json")


@pytest.mark.parametrize(
    ("arguments", "environment"),
    [([], {"NO_COLOR": "1"}), (["--color", "never"], {}), ([], {"TERM": "dumb"})],
)
def test_colour_can_be_switched_off(arguments: list[str], environment: dict[str, str]) -> None:
    for command in (["help"], ["help", "--help"], ["help", "nope"]):
        assert "\x1b" not in shown_by(*arguments, *command, environment=environment)
