"""`--where`: what matches, what is refused and where the message points."""

from __future__ import annotations

import time
from typing import Any

import pytest

from regcli.domain.patterns import Pattern, PatternError
from regcli.domain.where import ExpressionError, dig, parse_where


class Rows:
    """Documents as rows."""

    def __init__(self, *documents: dict[str, Any]) -> None:
        self.documents = documents
        self.count = len(documents)

    def column(self, path: tuple[str, ...]) -> list[Any]:
        return [dig(document, path) for document in self.documents]


ONE: dict[str, Any] = {
    "version": "v10", "size": 5_000_000, "tags": ["Draft", "two words"], "aliases": ["latest", "Prod"], "is_link": False,
    "description": "A zoo", "created_at": "2026-11-30T08:00:00.000000Z", "registry": None,
    "metadata": {"acc": 0.95, "a": {"b": [1, 2], "c.d": 7}, "x y": "q", "flag": True, "text": "12"},
    "metrics": {"val/acc": 0.5, "loss": 1},
}  # fmt: skip


@pytest.mark.parametrize(
    "expression",
    [
        "metadata.acc > 0.9",
        "metadata.acc >= 0.95 and metadata.acc <= 0.95",
        "metadata.acc = 0.95",
        "metadata.acc == 0.950",
        "metadata.acc != 1",
        "metadata.a.b = 2",
        "metadata.a.c.d = 7",
        "metadata.'x y' = q",
        'metadata."x y" = "q"',
        "metadata.flag = true",
        "metadata.flag != false",
        "metadata.text > 9",
        "metadata.text = 12",
        "metadata.nothing = null",
        "metadata.nothing != 3",
        "not metadata.nothing = 3",
        "not metadata.nothing > 3",
        "metrics.val/acc < 1",
        "tags = draft",
        "tags = 'two words'",
        "tags ~ '^two'",
        "tags != other",
        "aliases = PROD",
        "version = V10",
        "version > v9",
        "version < v11",
        "size > 4MB",
        "size < 5MiB",
        "description ~ z.o",
        "description = 'A zoo'",
        "created_at > 2026-11-01",
        "created_at ~ ^2026",
        "registry = null",
        "is_link = false",
        "metadata.acc > 2 or tags = draft and size > 1",
        "(metadata.acc > 2 or tags = draft) and size > 1",
        "NOT (tags = draft AND size < 1)",
        "size>1",
    ],
)
def test_matches(expression: str) -> None:
    assert parse_where(expression).mask(Rows(ONE)) == [True]


@pytest.mark.parametrize(
    "expression",
    [
        "metadata.acc > 0.95",
        "metadata.acc = high",
        "metadata.nothing > 0",
        "metadata.nothing ~ .",
        "metadata.flag = 'true'",
        "metadata.flag = 1",
        "description = 'a zoo'",
        "tags != draft",
        "not tags = draft",
        "version > v10",
        "metadata = null",
        "(metadata.acc > 2 or tags = draft) and size < 1",
    ],
)
def test_does_not_match(expression: str) -> None:
    assert parse_where(expression).mask(Rows(ONE)) == [False]


def test_each_row_is_judged_alone() -> None:
    rows = Rows({"size": 1, "metadata": {"k": 3}}, {"size": 2, "metadata": {}}, {"size": 3, "metadata": {"k": "text"}})
    assert parse_where("metadata.k > 2").mask(rows) == [True, False, True]
    assert parse_where("size >= 2").mask(rows) == [False, True, True]
    assert parse_where("size = 1 or metadata.k = text").mask(rows) == [True, False, True]


@pytest.mark.parametrize(
    ("expression", "position", "words"),
    [
        ("", 0, "a field is expected"),
        ("metadata.acc >", 14, "a value is expected after '>'"),
        ("metadata.acc", 12, "an operator is expected"),
        ("size = 1 size = 2", 9, "'and' or 'or' is expected"),
        ("(size = 1", 0, "'(' is never closed"),
        ("size = 1)", 8, "')' closes nothing"),
        ("size = 'a", 7, "never closed"),
        ("size = 1 and", 12, "a field is expected"),
        ("accuracy > 1", 0, "metadata.accuracy or metrics.accuracy"),
        ("size > 1 and siez > 1", 13, "did you mean 'size'?"),
        ("size.x = 1", 0, "has no parts"),
        ("metadata..x = 1", 0, "between dots"),
        ("tags ~ 'a(b'", 9, "malformed"),
        (r"tags ~ '(a)\1'", 8, "back reference"),
        ("not " * 200 + "size = 1", 403, "nested too deeply"),
    ],
)
def test_an_error_points_at_the_spot(expression: str, position: int, words: str) -> None:
    with pytest.raises(ExpressionError, match="at character") as caught:
        parse_where(expression)
    assert caught.value.position == position
    assert words in caught.value.message
    assert caught.value.exit_code == 2
    shown, caret = str(caught.value.hint).split("\n")
    assert caret == " " * min(position, 60) + "^"
    assert shown[: len(caret) - 1] == expression[max(0, position - 60) : position]


def test_the_caret_stands_under_wide_characters() -> None:
    with pytest.raises(ExpressionError) as caught:
        parse_where("description = '동물' 원")
    assert str(caught.value.hint).split("\n")[1] == " " * 21 + "^"


def test_a_bare_name_is_a_metric_where_metrics_are_meant() -> None:
    rows = Rows(ONE)
    assert parse_where("val/acc > 0.4 and loss = 1", metrics=True).mask(rows) == [True]
    assert parse_where("metadata.acc > 0.99", metrics=True).mask(rows) == [False]


@pytest.mark.parametrize(
    ("pattern", "text", "found"),
    [
        ("", "", True),
        ("b", "abc", True),
        ("^b", "abc", False),
        ("c$", "abc", True),
        ("^$", "", True),
        ("a.c", "a\nc", False),
        ("(?s)a.c", "a\nc", True),
        ("a{2,3}b", "ab", False),
        ("a{2,3}b", "aaab", True),
        ("a{0,2}$", "", True),
        ("x*?y+", "xxyy", True),
        ("(foo|bar)+baz", "foobarbaz", True),
        ("(foo|bar)+baz", "fobaz", False),
        ("[^a-c]", "abc", False),
        ("[^a-c]", "abcd", True),
        (r"\d{3}-\w+", "tel 555-x", True),
        (r"\bzoo\b", "a zoo", True),
        (r"\bzoo\b", "azoo", False),
        (r"\Bzoo", "azoo", True),
        ("(?i)PROD", "production", True),
        ("(?i)[^p]rod", "PROD", False),
        ("é+", "caféé", True),
    ],
)
def test_a_pattern_finds_what_re_finds(pattern: str, text: str, found: bool) -> None:
    import re

    assert (re.search(pattern, text) is not None) is found
    assert Pattern(pattern).found_in(text) is found


def test_patterns_agree_with_re_on_random_input() -> None:
    import random
    import re

    chance = random.Random(7)
    pieces = ["a", "b", ".", "[ab]", "[^a]", "(a|b)", "(ab|a)", "a*", "b+", "a?", "(ab)*", "a{1,2}", "^", "$", r"\b", "(a|)"]
    for _ in range(400):
        pattern = "".join(chance.choice(pieces) for _ in range(chance.randrange(1, 6)))
        compiled = Pattern(pattern)
        for _ in range(12):
            text = "".join(chance.choice("ab c") for _ in range(chance.randrange(8)))
            assert compiled.found_in(text) is (re.search(pattern, text) is not None), (pattern, text)


@pytest.mark.parametrize(
    "pattern", ["(a+)+b", "(a|a)*b", "(a*)*b", "(.*)*x", "(a?){50}a{50}b", "a*a*a*a*a*a*a*a*b", "(([a-z])+.)+[A-Z]b"]
)
def test_no_pattern_runs_away(pattern: str) -> None:
    before = time.process_time()
    assert Pattern(pattern).found_in("a" * 3000) is False
    # Backtracking would need longer than the universe has existed; the bound only tells the two apart.
    assert time.process_time() - before < 20


@pytest.mark.parametrize(
    "pattern",
    ["(a", "a{3000}{3000}", "((a{100}){100}){100}", "(?=a)b", "(?<!a)b", r"(a)\1", "(?>a)b", "(?m)^a", "a" * 501],
)
def test_what_cannot_be_bounded_is_refused(pattern: str) -> None:
    with pytest.raises(PatternError):
        Pattern(pattern)
