"""Durations, TTLs and sizes, as people write them."""

from __future__ import annotations

import pytest

from regcli.domain.amounts import parse_default_ttl, parse_duration, parse_size, parse_ttl
from regcli.errors import UsageError


@pytest.mark.parametrize(
    ("text", "seconds"), [("24h", 86400), (" 30D ", 2592000), ("1.5m", 90), ("45s", 45), ("2w", 1209600), ("0", 0), ("0.0", 0)]
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text, "--grace") == seconds


@pytest.mark.parametrize("text", ["", "h", "-1", "1y", "nan", "inf", "1e300", "tomorrow", "10 20"])
def test_what_is_no_duration_is_named(text: str) -> None:
    with pytest.raises(UsageError, match=r"--grace .* is not a duration"):
        parse_duration(text, "--grace")


def test_a_duration_needs_its_unit() -> None:
    """`gc --keep-within 30` kept half a minute."""
    with pytest.raises(UsageError, match="--keep-within '30' has no unit") as caught:
        parse_duration("30", "--keep-within")
    assert caught.value.hint == "write 30d for days or 30s for seconds"


@pytest.mark.parametrize(("text", "ttl"), [("none", None), ("Inherit", "inherit"), ("30d", 2592000), ("1s", 1), ("1.9s", 1)])
def test_ttls(text: str, ttl: int | str | None) -> None:
    assert parse_ttl(text) == ttl


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("0", "under one second"),
        ("0.9s", "under one second"),
        ("-5d", "under one second"),
        ("-inf", "under one second"),
        ("inf", "too long"),
        ("1e12", "too long"),
        ("nan", "not a duration"),
        ("", "not a duration"),
        ("soon", "not a duration"),
        ("30", "no unit"),
        ("1.5", "no unit"),
    ],
)
def test_a_ttl_that_cannot_be_says_why(text: str, problem: str) -> None:
    with pytest.raises(UsageError, match=problem):
        parse_ttl(text)


def test_a_ttl_without_a_unit_is_shown_with_one() -> None:
    """It was taken for seconds, and the next `gc` deleted what was to live for a month."""
    with pytest.raises(UsageError) as caught:
        parse_ttl(" 30 ")
    assert caught.value.hint == "write 30d for days or 30s for seconds"


def test_a_default_ttl_cannot_inherit() -> None:
    assert parse_default_ttl("none") is None
    assert parse_default_ttl("12h") == 43200
    with pytest.raises(UsageError, match="cannot inherit"):
        parse_default_ttl("inherit")


@pytest.mark.parametrize(
    ("text", "size"), [("0", 0), ("500MB", 500_000_000), ("10g", 10**10), ("1.5 GiB", 3 << 29), ("1ki", 1024), ("12b", 12)]
)
def test_sizes(text: str, size: int) -> None:
    assert parse_size(text, "--max-size") == size


@pytest.mark.parametrize("text", ["", "big", "-1", "1x", "nan", "inf", "1e30"])
def test_what_is_no_size_is_named(text: str) -> None:
    with pytest.raises(UsageError, match=r"--max-size .* is not a size"):
        parse_size(text, "--max-size")
