"""Durations and sizes, as people write them."""

from __future__ import annotations

from regcli.errors import UsageError
from regcli.model import quote


def parse_duration(text: str, what: str) -> float:
    """Return the seconds that `24h`, `30d`, `90m`, `45s`, `2w` or plain seconds mean; 0 is allowed.

    Raises:
        UsageError: it is no duration.
    """
    units = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
    lowered = text.strip().lower()
    number, unit = (lowered[:-1], lowered[-1]) if lowered and lowered[-1] in units else (lowered, "s")
    try:
        seconds = float(number) * units[unit]
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < 10**11:
        raise UsageError(f"{what} {quote(text)} is not a duration", hint="write 24h, 30d, 90m or 0")
    return seconds


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
