"""Values as JSON that any reader takes, and back as they were.

What JSON has no word for is written as an object with one key that begins with `$`: `{"$float": "NaN"}`, `{"$datetime": "…"}`.
"""

from __future__ import annotations

import datetime as dt
import json
import math
import sys
from typing import Any

_FLOATS = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
_MAX_DEPTH = 200


def to_plain(value: Any, depth: int = 0) -> Any:
    """Return a value that `json.dumps` takes without losing anything; tuples become lists.

    Raises:
        TypeError: the value, or one inside it, is of another type, or they contain each other.
    """
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return _plain_float(float(value))
    if depth > _MAX_DEPTH:
        raise TypeError("the value is nested too deeply, or contains itself")
    if isinstance(value, (list, tuple)):
        return [to_plain(item, depth + 1) for item in value]
    if isinstance(value, dict):
        return _plain_dict(value, depth)
    if isinstance(value, dt.datetime):
        return {"$datetime": value.isoformat()}
    if isinstance(value, dt.date):
        return {"$date": value.isoformat()}
    numpy = sys.modules.get("numpy")
    if numpy is not None and isinstance(value, (numpy.generic, numpy.ndarray)) and value.dtype.kind in "biufU":
        return to_plain(value.tolist(), depth + 1)
    raise TypeError(f"a value of type {_name_of(value)} has no form in JSON")


def _name_of(value: Any) -> str:
    kind = type(value)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def _plain_float(value: float) -> Any:
    if math.isfinite(value):
        return value
    return {"$float": "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"}


def _plain_dict(value: dict[Any, Any], depth: int) -> dict[str, Any]:
    for key in value:
        if not isinstance(key, str):
            raise TypeError(f"a dict's key of type {_name_of(key)} has no form in JSON; use str")
    plain = {str(key): to_plain(item, depth + 1) for key, item in value.items()}
    if len(plain) == 1 and next(iter(plain)).startswith("$"):
        return {"$dict": plain}
    return plain


def from_plain(value: Any) -> Any:
    """Return the value that `to_plain` was given.

    Raises:
        ValueError: it says something that `to_plain` never does.
    """
    if isinstance(value, list):
        return [from_plain(item) for item in value]
    if not isinstance(value, dict):
        return value
    if len(value) == 1:
        key, inner = next(iter(value.items()))
        if key.startswith("$"):
            return _from_marked(key, inner)
    return {key: from_plain(item) for key, item in value.items()}


def _from_marked(key: str, inner: Any) -> Any:
    if key == "$dict" and isinstance(inner, dict):
        return {name: from_plain(item) for name, item in inner.items()}
    if isinstance(inner, str):
        if key == "$float" and inner in _FLOATS:
            return _FLOATS[inner]
        if key == "$datetime":
            return dt.datetime.fromisoformat(inner)
        if key == "$date":
            return dt.date.fromisoformat(inner)
    raise ValueError(f"unknown mark {key!r}")


def dump(value: Any) -> bytes:
    """Return a plain value as UTF-8; the same value gives the same bytes."""
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(", ", ": ")).encode()
    except UnicodeEncodeError:
        # A lone surrogate, which only escapes can say.
        return json.dumps(value, ensure_ascii=True, allow_nan=False).encode()


def load(data: bytes) -> Any:
    """Return the plain value of some bytes.

    Raises:
        ValueError: they are no JSON.
    """
    return json.loads(data.decode("utf-8"), parse_constant=_refuse)


def _refuse(text: str) -> Any:
    raise ValueError(f"{text} is no JSON")
