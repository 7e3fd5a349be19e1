"""Filters and orders of queries, in the form of MongoDB's. Source: `semantics.md` SR-03 to SR-09.

A filter is a dictionary: `{"name": "zoo", "tag": {"$in": ["a", "b"]}}`. Several keys mean all of them; a plain value means
equality. A field that is a list (tags, aliases) matches when one of its elements does.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    Test = Callable[[dict[str, Any]], bool]
    Compare = Callable[[Any, Any], bool]

# Field -> the key of the record that it reads. Synonyms have the same key.
REGISTRY_FIELDS = {
    "name": "name", "description": "description", "created_at": "created_at", "createdAt": "created_at",
    "updated_at": "updated_at", "updatedAt": "updated_at", "id": "id", "visibility": "visibility",
}  # fmt: skip
COLLECTION_FIELDS = {
    "name": "name", "tag": "tags", "tags": "tags", "description": "description", "type": "type", "created_at": "created_at",
    "createdAt": "created_at", "updated_at": "updated_at", "updatedAt": "updated_at", "id": "id",
}  # fmt: skip
VERSION_FIELDS = {
    "tag": "tags", "tags": "tags", "alias": "aliases", "aliases": "aliases", "created_at": "created_at",
    "createdAt": "created_at", "updated_at": "updated_at", "updatedAt": "updated_at", "metadata": "metadata",
    "version": "version", "versionIndex": "version_index", "id": "id", "artifact_size": "size", "size": "size",
    "linked_at": "linked_at", "digest": "digest", "description": "description", "metrics": "metrics", "type": "type",
}  # fmt: skip
# What registries and collections can be ordered by, and the record's keys.
NAMED = {
    "name": "name", "created_at": "created_at", "createdAt": "created_at", "updated_at": "updated_at",
    "updatedAt": "updated_at",
}  # fmt: skip
_NESTED = {"metadata", "metrics"}
_DATES = {"created_at", "updated_at", "linked_at"}
_DATE = re.compile(r"(\d{4})-(\d{2})-(\d{2})(?:[ T](\d{2}):(\d{2}):(\d{2})(\.\d+)?)?Z?")
_ABSENT = object()
_LOGIC = ("$and", "$or", "$nor")


def compile_filter(filter: Mapping[str, Any] | None, fields: Mapping[str, str], what: str) -> Test:
    """Return a function that tells whether a record matches.

    Args:
        filter: as described above, or None for everything.
        fields: the fields that may be named, and the record's keys.
        what: of which things, for errors.

    Raises:
        ValueError: an unknown field or operator, an operand that does not fit, or two names for one field.
    """
    if filter is None:
        return lambda _: True
    if not hasattr(filter, "items"):
        raise ValueError(f"a filter must be a dictionary, not {type(filter).__name__}")
    tests: list[Test] = []
    seen: dict[str, str] = {}
    for name, condition in filter.items():
        if name in _LOGIC:
            tests.append(_logic(name, condition, fields, what))
            continue
        if name == "$not":
            inner = compile_filter(condition, fields, what)
            tests.append(lambda record, inner=inner: not inner(record))  # type: ignore[misc]
            continue
        key, path = _field(name, fields, what)
        full = ".".join([key, *path])
        if full in seen:
            raise ValueError(f"Duplicate fields: {seen[full]!r} and {name!r} are the same")
        seen[full] = name
        tests.append(_condition(key, path, condition, name))
    return lambda record: all(test(record) for test in tests)


def asks_for(filter: Any, fields: Mapping[str, str], key: str) -> bool:
    """Tell whether a filter, which was compiled before, names a field that reads this key of the record."""
    if isinstance(filter, (list, tuple)):
        return any(asks_for(part, fields, key) for part in filter)
    if not hasattr(filter, "items"):
        return False
    return any(
        fields.get(str(name)) == key or ((name in _LOGIC or name == "$not") and asks_for(inner, fields, key))
        for name, inner in filter.items()
    )


def _field(name: Any, fields: Mapping[str, str], what: str) -> tuple[str, list[str]]:
    head, *path = str(name).split(".")
    key = fields.get(head)
    if key is None or (path and key not in _NESTED):
        valid = ", ".join(sorted(fields))
        kind = "operator" if head.startswith("$") else "field"
        raise ValueError(f"unknown {kind} {name!r} in a filter of {what}; valid fields: {valid}")
    return key, path


def _logic(name: str, parts: Any, fields: Mapping[str, str], what: str) -> Test:
    if not isinstance(parts, (list, tuple)) or not parts:
        raise ValueError(f"{name} takes a list of filters")
    tests = [compile_filter(part, fields, what) for part in parts]
    if name == "$and":
        return lambda record: all(test(record) for test in tests)
    if name == "$or":
        return lambda record: any(test(record) for test in tests)
    return lambda record: not any(test(record) for test in tests)


def _condition(key: str, path: list[str], condition: Any, name: str) -> Test:
    def value_of(record: dict[str, Any]) -> Any:
        value = record.get(key, _ABSENT)
        for part in path:
            value = value.get(part, _ABSENT) if isinstance(value, dict) else _ABSENT
        return value

    test = _value_test(condition, is_date=key in _DATES, name=name)
    return lambda record: test(value_of(record))


def _value_test(condition: Any, *, is_date: bool, name: str) -> Callable[[Any], bool]:
    if not isinstance(condition, dict) or not any(str(key).startswith("$") for key in condition):
        return _operator("$eq", condition, is_date=is_date, name=name)
    tests = [_operator(str(key), operand, is_date=is_date, name=name) for key, operand in condition.items()]
    return lambda value: all(test(value) for test in tests)


def _operator(operator: str, operand: Any, *, is_date: bool, name: str) -> Callable[[Any], bool]:
    if operator == "$not":
        inner = _value_test(operand, is_date=is_date, name=name)
        return lambda value: not inner(value)
    if operator == "$exists":
        return lambda value: (value is not _ABSENT and value is not None) is bool(operand)
    if operator == "$size":
        return lambda value: isinstance(value, list) and len(value) == operand
    if operator == "$regex":
        return _regex(operand, name)
    if operator == "$contains":
        return _contains(operand)
    if operator in ("$in", "$nin", "$all"):
        return _membership(operator, operand, is_date=is_date, name=name)
    compare = _COMPARISONS.get(operator)
    if compare is None:
        raise ValueError(f"unknown operator {operator!r} for {name!r}; valid operators: {', '.join(sorted(OPERATORS))}")
    wanted = _date(operand, name) if is_date else operand
    if operator == "$ne":
        return lambda value: not _any(value, lambda item: _equal(item, wanted))
    return lambda value: _any(value, lambda item: compare(item, wanted))


def _any(value: Any, test: Callable[[Any], bool]) -> bool:
    if isinstance(value, list):
        return test(value) or any(test(item) for item in value)
    return test(None if value is _ABSENT else value)


def _equal(value: Any, wanted: Any) -> bool:
    if isinstance(value, bool) is not isinstance(wanted, bool):
        return False
    return bool(value == wanted)


def _ordered(compare: Compare) -> Compare:
    def test(value: Any, wanted: Any) -> bool:
        numbers = isinstance(value, (int, float)) and isinstance(wanted, (int, float))
        if not numbers and not (isinstance(value, str) and isinstance(wanted, str)):
            return False
        return compare(value, wanted)

    return test


_COMPARISONS: dict[str, Compare] = {
    "$eq": _equal,
    "$ne": _equal,
    "$gt": _ordered(lambda a, b: bool(a > b)),
    "$gte": _ordered(lambda a, b: bool(a >= b)),
    "$lt": _ordered(lambda a, b: bool(a < b)),
    "$lte": _ordered(lambda a, b: bool(a <= b)),
}
OPERATORS = [*_COMPARISONS, *_LOGIC, "$not", "$in", "$nin", "$all", "$size", "$regex", "$exists", "$contains"]


def _regex(operand: Any, name: str) -> Callable[[Any], bool]:
    try:
        pattern = re.compile(operand)
    except (re.error, TypeError) as error:
        raise ValueError(f"{operand!r} for {name!r} is not a regular expression: {error}") from None
    return lambda value: _any(value, lambda item: isinstance(item, str) and pattern.search(item) is not None)


def _contains(operand: Any) -> Callable[[Any], bool]:
    def test(value: Any) -> bool:
        if isinstance(value, str):
            return str(operand) in value
        if isinstance(value, list):
            return any(_equal(item, operand) or (isinstance(item, str) and str(operand) in item) for item in value)
        return isinstance(value, dict) and operand in value

    return test


def _membership(operator: str, operand: Any, *, is_date: bool, name: str) -> Callable[[Any], bool]:
    if not isinstance(operand, (list, tuple)):
        raise ValueError(f"{operator} for {name!r} takes a list")  # noqa: TRY004 - all errors of filters are ValueErrors
    wanted = [_date(item, name) if is_date else item for item in operand]

    def found(value: Any, item: Any) -> bool:
        return _any(value, lambda element: _equal(element, item))

    if operator == "$all":
        return lambda value: all(found(value, item) for item in wanted)
    if operator == "$in":
        return lambda value: any(found(value, item) for item in wanted)
    return lambda value: not any(found(value, item) for item in wanted)


def _date(operand: Any, name: str) -> Any:
    """Return a date as records have it, so that texts compare as times do."""
    if operand is None:
        return None
    if hasattr(operand, "isoformat"):
        operand = _utc(operand)
    matched = _DATE.fullmatch(operand) if isinstance(operand, str) else None
    if matched is None:
        raise ValueError(f"{operand!r} for {name!r} is not a date: write YYYY-MM-DD or YYYY-MM-DD HH:MM:SS (UTC)")
    year, month, day, hour, minute, second, fraction = matched.groups()
    digits = (fraction or ".")[1:].ljust(6, "0")[:6]
    return f"{year}-{month}-{day}T{hour or '00'}:{minute or '00'}:{second or '00'}.{digits}Z"


def _utc(moment: Any) -> str:
    from datetime import UTC

    if getattr(moment, "tzinfo", None) is not None:
        moment = moment.astimezone(UTC).replace(tzinfo=None)
    text: str = moment.isoformat()
    return text


def parse_order(order: str | None, keys: Mapping[str, str], what: str) -> tuple[str, bool] | None:
    """Return (the record's key, whether descending) of an order such as `-created_at`, or None.

    Raises:
        ValueError: the field cannot be ordered by.
    """
    if order is None:
        return None
    name = order.lstrip("+-") if order[:1] in ("+", "-") else order
    key = keys.get(name)
    if key is None:
        raise ValueError(f"{what} cannot be ordered by {name!r}; use one of {', '.join(sorted(keys))}, with + or - in front")
    return key, order.startswith("-")


def sort_rows(rows: Sequence[tuple[dict[str, Any], Any]], order: tuple[str, bool]) -> list[tuple[dict[str, Any], Any]]:
    """Return (record, thing) pairs in an order; what has no value comes last."""
    key, descending = order
    present = [row for row in rows if row[0].get(key) is not None]
    absent = [row for row in rows if row[0].get(key) is None]
    return sorted(present, key=lambda row: row[0][key], reverse=descending) + absent
