"""Metadata and metrics: what may be recorded about a version, from `K=V` words, files and Python values."""

from __future__ import annotations

import math

from regcli.errors import MissingPathError, UsageError, reason_of
from regcli.model import quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

MAX_KEYS = 100
MAX_DEPTH = 50
# What the store reads back.
DIGITS = 38
MAX_INTEGER = 10**DIGITS
MAX_BYTES = 1024 * 1024


def parse_assignment(text: str, what: str) -> tuple[str, str]:
    """Split `K=V`."""
    key, separator, value = text.partition("=")
    if not separator or not key.strip():
        raise UsageError(f"{what} {quote(text)} is not of the form KEY=VALUE")
    return key.strip(), value


def parse_value(text: str) -> Any:
    """Return what a value on the command line means: JSON where it is JSON, else the text itself."""
    import json

    try:
        value = json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        return text
    return value


def _refuse_constant(text: str) -> Any:
    raise ValueError(text)


def parse_pairs(pairs: Sequence[str]) -> dict[str, Any]:
    """Return the dictionary that `--meta K=V …` means; a dotted key makes nested objects only where it is given so."""
    return {key: parse_value(value) for key, value in (parse_assignment(pair, "metadata") for pair in pairs)}


def parse_metrics(pairs: Sequence[str]) -> dict[str, float | int]:
    """Return the dictionary that `--metric K=V …` means; every value is a finite number."""
    metrics: dict[str, float | int] = {}
    for pair in pairs:
        key, text = parse_assignment(pair, "metric")
        try:
            value: float | int = int(text)
            if not -MAX_INTEGER < value < MAX_INTEGER:
                value = float(text)
        except ValueError:
            try:
                value = float(text)
            except ValueError:
                raise UsageError(f"metric {quote(key)} is not a number: {quote(text)}") from None
        if not math.isfinite(value):
            raise UsageError(f"metric {quote(key)} is not a finite number: {quote(text)}")
        metrics[key] = value
    return metrics


def read_metadata_file(path: str) -> dict[str, Any]:
    """Read `--meta-file`: one JSON object.

    Raises:
        MissingPathError: it is not there. UsageError: it cannot be read, or holds something else.
    """
    import json

    try:
        with open(path, encoding="utf-8") as stream:
            document = json.load(stream, parse_constant=_refuse_constant)
    except (FileNotFoundError, NotADirectoryError):
        raise MissingPathError(f"there is no file {quote(path)}") from None
    except OSError as error:
        raise UsageError(f"cannot read {path}: {reason_of(error)}") from None
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path} is not JSON: {error}") from None
    if not isinstance(document, dict):
        raise UsageError(f"{path} does not hold a JSON object")
    return document


def check_metadata(metadata: dict[str, Any]) -> dict[str, Any]:
    """Return the metadata if it may be stored.

    Raises:
        UsageError: over 100 top-level keys, over 1 MiB, nested over 50 deep, or with a number that is not finite.
    """
    from regcli.store.jsontext import dumps

    if len(metadata) > MAX_KEYS:
        raise UsageError(f"metadata has {len(metadata)} keys, more than {MAX_KEYS}", hint="group them under fewer keys")
    _check_depth(metadata, 0)
    try:
        size = len(dumps(metadata))
    except (ValueError, TypeError) as error:
        raise UsageError(f"metadata cannot be stored as JSON: {error}") from None
    if size > MAX_BYTES:
        raise UsageError(f"metadata takes {size} bytes, more than {MAX_BYTES}", hint="log it as a file instead")
    return metadata


def _check_depth(value: Any, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise UsageError(f"metadata is nested more than {MAX_DEPTH} deep")
    if isinstance(value, dict):
        for item in value.values():
            _check_depth(item, depth + 1)
    elif isinstance(value, list):
        for item in value:
            _check_depth(item, depth + 1)
    elif isinstance(value, int) and not -MAX_INTEGER < value < MAX_INTEGER:
        raise UsageError(f"metadata has an integer of more than {DIGITS} digits", hint="write it as a string")
    elif isinstance(value, str) and not value.isascii():
        try:
            value.encode("utf-8")
        except UnicodeEncodeError:
            raise UsageError("metadata has text that is not valid Unicode") from None
