"""Python values as JSON: what metadata, a run's configuration and its metrics are made of.

Source of the rules for metadata: the W&B SDK (`semantics.md` C-10 to C-14).
"""

from __future__ import annotations

import math

from regcli.domain.metadata import DIGITS, MAX_INTEGER, check_metadata
from regcli.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

MAX_KEYS = 100
_MAX_DEPTH = 50


class NotJsonError(UsageError, TypeError):
    """A value has no form in JSON."""

    kind = "not-json"


class NotTextError(UsageError, TypeError):
    """Something that must be a string is none."""

    kind = "not-text"


MAX_TEXT = 1 << 20


def to_text(value: Any, what: str) -> str:
    """Return a value that must be a string, as it may be stored.

    Raises:
        NotTextError: it is none. UsageError: it is not valid Unicode, or over a million characters.
    """
    if not isinstance(value, str):
        raise NotTextError(f"{what} must be a string, not {type(value).__name__}")
    if len(value) > MAX_TEXT:
        raise UsageError(f"{what} has {len(value)} characters, more than {MAX_TEXT}", hint="log it as a file instead")
    return _unicode(value, what)


def to_optional_text(value: Any, what: str) -> str | None:
    """Return the same of a value that may be None."""
    return None if value is None else to_text(value, what)


def _unicode(value: str, what: str) -> str:
    if not value.isascii():
        try:
            value.encode("utf-8")
        except UnicodeEncodeError:
            raise UsageError(f"{what} has text that is not valid Unicode") from None
    # Of a subclass only the text is kept.
    return str(value)


def to_metadata(value: Any) -> dict[str, Any]:
    """Return metadata as it is stored: a copy that shares nothing with the caller's value.

    None and "" are empty, another string is parsed as JSON; NaN becomes null, tuples and arrays become lists.

    Raises:
        NotJsonError: it is not a dictionary, or holds what has no form in JSON.
        UsageError: an infinite number, over 100 top-level keys, over 1 MiB.
    """
    if value is None or value == "":
        return {}
    if isinstance(value, str):
        import json

        try:
            value = json.loads(value)
        except (ValueError, RecursionError) as error:
            raise UsageError(f"metadata is not JSON: {error}") from None
    if not hasattr(value, "items") or not hasattr(value, "keys"):
        raise NotJsonError(f"metadata must be a dictionary, not {type(value).__name__}")
    if len(value) > MAX_KEYS:
        raise UsageError(f"artifact must not have more than {MAX_KEYS} metadata keys", hint="group them under fewer keys")
    return check_metadata({_key(key): to_json(item) for key, item in value.items()})


def _key(key: Any) -> str:
    if isinstance(key, str):
        return _unicode(key, "a key")
    if isinstance(key, bool) or key is None or not isinstance(key, (int, float)):
        raise NotJsonError(f"a key must be a string, not {type(key).__name__}")
    return str(key)


def to_json(value: Any, *, keep_special: bool = False, depth: int = 0) -> Any:
    """Return a value as plain JSON types, sharing nothing with it.

    Args:
        value: None, bool, int, float, str, dict, list, tuple, set, slice, or anything with `tolist` or `item` (NumPy,
            PyTorch, pandas scalars), `isoformat` (dates) or `__fspath__` (paths).
        keep_special: write NaN and infinities as the strings `NaN`, `Infinity`, `-Infinity`, as histories do.
        depth: how deep it is nested already.

    Raises:
        NotJsonError: it has no form in JSON. UsageError: an infinite number, or nested too deep.
    """
    if value is None or isinstance(value, (bool, str)):
        return _unicode(value, "a value") if isinstance(value, str) else value
    if isinstance(value, int):
        if not -MAX_INTEGER < value < MAX_INTEGER:
            raise UsageError(f"an integer has more than {DIGITS} digits", hint="write it as a string")
        return int(value)
    if isinstance(value, float):
        return _number(float(value), keep_special=keep_special)
    if depth >= _MAX_DEPTH:
        raise UsageError(f"a value is nested more than {_MAX_DEPTH} deep")
    if hasattr(value, "items") and hasattr(value, "keys"):
        return {_key(key): to_json(item, keep_special=keep_special, depth=depth + 1) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        items = sorted(value, key=repr) if isinstance(value, (set, frozenset)) else value
        return [to_json(item, keep_special=keep_special, depth=depth + 1) for item in items]
    if isinstance(value, slice):
        bounds = {"slice_start": value.start, "slice_step": value.step, "slice_stop": value.stop}
        return {key: to_json(item, keep_special=keep_special, depth=depth + 1) for key, item in bounds.items()}
    return _from_object(value, keep_special=keep_special, depth=depth)


def _number(value: float, *, keep_special: bool) -> Any:
    if math.isfinite(value):
        return value
    if keep_special:
        return "NaN" if math.isnan(value) else ("Infinity" if value > 0 else "-Infinity")
    if math.isnan(value):
        return None
    raise UsageError("out of range float values are not JSON compliant: a number is infinite")


def _from_object(value: Any, *, keep_special: bool, depth: int) -> Any:
    for name in ("tolist", "item", "isoformat", "__fspath__"):
        convert = getattr(value, name, None)
        if callable(convert) and not isinstance(value, type):
            try:
                plain = convert()
            except (TypeError, ValueError, RuntimeError):
                continue
            if plain is not value and type(plain) is not type(value):
                return to_json(plain, keep_special=keep_special, depth=depth + 1)
    raise NotJsonError(f"a value of type {type(value).__module__}.{type(value).__qualname__} cannot be stored as JSON")


def numbers(values: dict[str, Any]) -> dict[str, float | int]:
    """Return the finite numbers among the values, without those whose key starts with `_`; nested ones as `a.b`."""
    found: dict[str, float | int] = {}
    for key, value in values.items():
        if key.startswith("_") or isinstance(value, bool):
            continue
        if isinstance(value, (int, float)) and math.isfinite(value):
            found[key] = value
        elif isinstance(value, dict):
            found.update({f"{key}.{inner}": number for inner, number in numbers(value).items()})
    return found
