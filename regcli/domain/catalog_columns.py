"""Columns of the catalog, decoded and checked: whoever can write to a root can make a checksum that fits."""

from __future__ import annotations

from itertools import chain

from regcli.domain.shapes import LIFETIME, MAYBE_TEXT, TEXT
from regcli.errors import RegcliError
from regcli.store import jsontext

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_KINDS: dict[str, tuple[type, ...]] = {
    "state": TEXT, "id": TEXT, "digest": TEXT, "algorithm": TEXT, "linked_at": MAYBE_TEXT, "linked_by": MAYBE_TEXT,
    "tags": (list,), "description": TEXT, "metadata": (dict,), "metrics": (dict,), "ttl": LIFETIME, "inputs": (list,),
    "run": MAYBE_TEXT, "created_at": TEXT, "created_by": TEXT, "updated_at": TEXT,
}  # fmt: skip
# Numbers that are not negative; of some there may be none.
_NUMBERS = {"version": b"", "size": b"", "file_count": b"", "origin": b"nul", "origin_version": b"nul", "references": b"nul"}
_DIGITS = bytes.maketrans(b"123456789E", b"000000000e")
_TOO_LARGE = 10**40


class DamagedColumnsError(Exception):
    """A column of the catalog is not what this program writes; what was read from the catalog must be read from the log."""


def decode(name: str, raw: bytes, count: int, origins: int | None) -> list[Any]:
    """Return the values of a column.

    Every loop here is one in C: there are as many values as versions.

    Args:
        name: of the field.
        raw: its JSON.
        count: how many values there must be.
        origins: in how many collections the sources of links lie; None where the versions are no links.

    Raises:
        DamagedColumnsError: they are not what a log can add up to.
    """
    import json

    try:
        if name in _NUMBERS and raw.translate(None, b"0123456789," + _NUMBERS[name]) != b"[]":
            raise ValueError("not numbers")
        # The standard scanner makes numbers without calling back into Python.
        is_plain = name not in ("metadata", "metrics", "ttl") or not _is_suspect(raw)
        values = json.loads(raw, parse_constant=_refuse) if is_plain else jsontext.loads(raw, name)
        if type(values) is not list or len(values) != count:
            raise ValueError("not a value for each version")
        if name in _NUMBERS:
            _check_numbers(name, values, origins)
        else:
            _check(name, values)
    except (ValueError, TypeError, RecursionError, RegcliError) as error:
        raise DamagedColumnsError(f"column {name} of the catalog: {error}") from None
    else:
        return values


def _refuse(text: str) -> Any:
    raise ValueError(f"{text} is not JSON")


def _is_suspect(raw: bytes) -> bool:
    """Tell whether a number may have more than 40 digits or be infinite: then it is as long, or has a large exponent."""
    plain = raw.translate(_DIGITS, b"+")
    return b"0" * 40 in plain or b"e000" in plain


def _check_numbers(name: str, values: list[Any], origins: int | None) -> None:
    if name.startswith("origin") and origins is None:
        if values.count(None) < len(values):
            raise ValueError("what is no link has a source")
        return
    some = [value for value in values if value is not None] if name == "references" else values
    # Of numbers and nothing, the comparison raises TypeError.
    if some and max(some) >= (origins if name == "origin" and origins is not None else _TOO_LARGE):
        raise ValueError("a number is too large")


def _check(name: str, values: list[Any]) -> None:
    found = set(map(type, values))
    if not found.issubset(_KINDS[name]):
        raise ValueError("a value is malformed")
    if list in found and not set(map(type, chain.from_iterable(values))) <= {str}:
        raise ValueError("a value is not of texts")
    if name == "metrics" and not set(map(type, chain.from_iterable(map(dict.values, values)))) <= {int, float}:
        raise ValueError("a metric is not a number")
