"""Durations, TTLs and sizes, as people write them."""

from __future__ import annotations

import math

from regcli.errors import UsageError
from regcli.model import quote

UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


def _seconds(text: str) -> float | None:
    """Return the seconds that a duration means (they may be negative or infinite), None where it is none."""
    number, unit = (text[:-1], text[-1]) if text and text[-1] in UNITS else (text, "s")
    try:
        seconds = float(number) * UNITS[unit]
    except ValueError:
        return None
    return None if math.isnan(seconds) else seconds


def _require_unit(text: str, what: str) -> None:
    """Refuse a bare number: who writes 30 mostly means days, and would lose in half a minute what was to stay a month."""
    if text[-1] not in UNITS:
        raise UsageError(f"{what} has no unit", hint=f"write {text}d for days or {text}s for seconds")


def parse_duration(text: str, what: str) -> float:
    """Return the seconds that `24h`, `30d`, `90m`, `45s` or `2w` mean; 0 is the only one that needs no unit.

    Raises:
        UsageError: it is no duration, or it has no unit.
    """
    lowered = text.strip().lower()
    seconds = _seconds(lowered)
    if seconds is None or not 0 <= seconds < 10**11:
        raise UsageError(f"{what} {quote(text)} is not a duration", hint="write 24h, 30d, 90m or 0")
    if seconds:
        _require_unit(lowered, f"{what} {quote(text)}")
    return seconds


def parse_ttl(text: str) -> int | str | None:
    """Return the TTL that `30d`, `12h`, `90m`, `45s`, `2w`, `none` or `inherit` means.

    Raises:
        UsageError: it is none of these, has no unit, or is under one second.
    """
    lowered = text.strip().lower()
    if lowered == "none":
        return None
    if lowered == "inherit":
        return "inherit"
    seconds = _seconds(lowered)
    if seconds is None:
        raise UsageError(f"TTL {quote(text)} is not a duration", hint="write 30d, 12h, 90m, 45s, none or inherit")
    if seconds < 1:
        raise UsageError(f"TTL {quote(text)} is under one second", hint="use `none` for a version that never expires")
    if seconds > 10**11:
        raise UsageError(f"TTL {quote(text)} is too long", hint="use `none` for a version that never expires")
    _require_unit(lowered, f"TTL {quote(text)}")
    return int(seconds)


def parse_default_ttl(text: str) -> int | None:
    """Return the TTL that a registry's or root's default means: a duration or `none`."""
    ttl = parse_ttl(text)
    if isinstance(ttl, str):
        raise UsageError("a default TTL cannot inherit", hint="write 30d, 12h or none")
    return ttl


def parse_size(text: str, what: str) -> int:
    """Return the bytes that `500MB`, `10GB`, `1.5 GiB` or plain bytes mean.

    Raises:
        UsageError: it is no size.
    """
    lowered = text.strip().lower().removesuffix("b")
    factor = 1
    for position, unit in enumerate("kmgtp", 1):
        if lowered.endswith(f"{unit}i"):
            factor, lowered = 1024**position, lowered[:-2]
            break
        if lowered.endswith(unit):
            factor, lowered = 1000**position, lowered[:-1]
            break
    try:
        size = float(lowered) * factor
    except ValueError:
        size = -1.0
    if not 0 <= size < 10**18:
        raise UsageError(f"{what} {quote(text)} is not a size", hint="write 500MB, 10GB or 1.5GiB")
    return int(size)
