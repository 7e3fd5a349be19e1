"""W&B: an artifact's directory as it was downloaded, or the artifacts that an offline run has waiting.

An offline run keeps its records in `run-ID.wandb`: a LevelDB log (blocks of 32 KiB; checksum, length and type before each
fragment) of protocol buffer messages. Only the few fields that say what an artifact is are read here; numbers as in the
original's `wandb_internal.proto`.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os

from regcli.domain.foreign.taking import Find, files_below, relocate
from regcli.errors import IntegrityError, NotFoundError, UsageError, reason_of
from regcli.model import quote, version_index

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    Fields = dict[int, list[bytes]]

_MAGIC = b":W&B"
_BLOCK = 32768
_HEADER = 7
_FULL, _FIRST, _MIDDLE, _LAST = 1, 2, 3, 4
_MAX = 1 << 30


def read_wandb(path: str, *, type_name: str = "dataset") -> Iterator[Find]:
    """Yield what an artifact directory or an offline run holds.

    Args:
        path: `…/NAME:vN`, or `…/wandb/offline-run-…`, or a directory of such runs.
        type_name: the artifact type of a plain directory, which does not say it.

    Raises:
        NotFoundError: there is nothing at `path`, or staged content is gone.
        IntegrityError: staged content does not have the digest that was recorded.
    """
    if not os.path.isdir(path):
        raise NotFoundError(f"there is no directory {quote(path)}")
    runs = _runs_below(path)
    if not runs:
        yield _read_directory(path, type_name)
    for run in runs:
        yield from _read_run(run, path)


def _runs_below(path: str) -> list[str]:
    """Return the record files of the runs in a directory, oldest first (their directories begin with the time)."""
    found = [os.path.join(path, name) for name in os.listdir(path) if name.startswith("run-") and name.endswith(".wandb")]
    for name in sorted(os.listdir(path)):
        below = os.path.join(path, name)
        if name == "wandb" or name.startswith(("offline-run-", "run-")):
            found += _runs_below(below) if os.path.isdir(below) else []
    return sorted(set(found))


def _read_directory(path: str, type_name: str) -> Find:
    base = os.path.basename(os.path.abspath(path))
    name, _, version = base.partition(":")
    if not version and version_index(base.rpartition("-")[2]) is not None:
        # Where a colon is not allowed in file names, the original writes `NAME-vN`.
        name, _, version = base.rpartition("-")
    find = Find(name or base, type_name, {"tool": "wandb", "artifact": base})
    find.files = files_below(path)
    find.collection = find.name
    if version:
        find.metadata["version"] = version
    return find


def _read_run(path: str, top: str) -> Iterator[Find]:
    artifacts: list[Fields] = []
    metrics: dict[str, float | int] = {}
    run = ""
    for data in _messages(path):
        record = _fields(data)
        artifacts += [_fields(message) for message in record.get(8, [])]
        for message in record.get(17, []):
            run = _string(_fields(message), 1) or run
        for number in (2, 3):
            for message in record.get(number, []):
                _keep_metrics(metrics, _fields(message))
    for fields in artifacts:
        yield _read_artifact(fields, run, metrics, top)


def _read_artifact(fields: Fields, run: str, metrics: dict[str, float | int], top: str) -> Find:
    name, digest = _string(fields, 5), _string(fields, 6)
    find = Find(name, _string(fields, 4) or "dataset", {"tool": "wandb", "run": run, "artifact": name, "digest": digest})
    manifest = _fields(fields[12][0]) if 12 in fields else {}
    if 5 in manifest:
        raise UsageError(
            f"artifact {quote(name)} keeps its manifest in a file of its own",
            hint="download it with wandb, then import the directory",
        )
    entries = [_fields(message) for message in manifest.get(4, [])]
    find.files = [_staged(entry, top, name) for entry in entries]
    find.collection = name
    find.description = _string(fields, 7)
    find.aliases = [alias for alias in _strings(fields, 11) if alias != "latest" and version_index(alias) is None]
    find.tags = _strings(fields, 19)
    find.metrics = dict(metrics)
    text = _string(fields, 8)
    try:
        metadata = json.loads(text) if text else {}
    except (ValueError, RecursionError):
        metadata = {}
    find.metadata = {**(metadata if isinstance(metadata, dict) else {}), "run": run}
    return find


def _staged(entry: Fields, top: str, name: str) -> tuple[str, str]:
    """Return (path in the artifact, staged file) of a manifest entry, after checking the file's digest."""
    path, local = _string(entry, 1), _string(entry, 6)
    if 3 in entry:
        raise UsageError(f"{quote(path)} of artifact {quote(name)} is a reference", hint="log it with `regcli log --ref`")
    found = _relocate(local, top)
    if found is None:
        raise NotFoundError(f"{quote(path)} of artifact {quote(name)} is not at {local}, where it was staged")
    expected = _string(entry, 2)
    if expected not in _digests(found):
        raise IntegrityError(f"{found} does not have the digest {expected} that was recorded for {quote(path)}")
    return path, found


def _digests(path: str) -> set[str]:
    import xxhash

    md5, xxh = hashlib.md5(usedforsecurity=False), xxhash.xxh3_128()
    with open(path, "rb") as stream:
        while chunk := stream.read(1 << 18):
            md5.update(chunk)
            xxh.update(chunk)
    return {base64.b64encode(value).decode() for value in (md5.digest(), xxh.digest())}


def _relocate(path: str, top: str) -> str | None:
    """Return where a staged file is now: as recorded, or in the same place below a directory that was moved."""
    above = os.path.abspath(top)
    # The run lies in `wandb/offline-run-…`; the staging directory may be beside `wandb`.
    for _ in range(3):
        found = relocate(path, above)
        if found != path and os.path.isfile(found):
            return found
        above = os.path.dirname(above)
    return path if os.path.isfile(path) else None


def _keep_metrics(metrics: dict[str, float | int], record: Fields) -> None:
    import math

    for message in record.get(1, []):
        item = _fields(message)
        key = _string(item, 1) or ".".join(_strings(item, 2))
        try:
            value = json.loads(_string(item, 16))
        except (ValueError, RecursionError):
            continue
        if (
            key
            and not key.startswith("_")
            and isinstance(value, (int, float))
            and not isinstance(value, bool)
            and math.isfinite(value)
        ):
            metrics[key] = value


# The log


def _messages(path: str) -> Iterator[bytes]:
    """Yield the messages of a `.wandb` file; a torn end (the run was killed) ends them."""
    try:
        with open(path, "rb") as stream:
            data = stream.read(_MAX)
    except OSError as error:
        raise UsageError(f"cannot read {path}: {reason_of(error)}") from None
    if data[:4] != _MAGIC:
        raise UsageError(f"{quote(path)} is no record of a run")
    offset = 7
    parts: list[bytes] = []
    while offset + _HEADER <= len(data):
        if _BLOCK - offset % _BLOCK < _HEADER:
            offset += _BLOCK - offset % _BLOCK
            continue
        length = int.from_bytes(data[offset + 4 : offset + 6], "little")
        kind = data[offset + 6]
        start = offset + _HEADER
        offset = start + length
        if kind not in (_FULL, _FIRST, _MIDDLE, _LAST) or offset > len(data):
            return
        if kind in (_FULL, _FIRST):
            parts = []
        parts.append(data[start:offset])
        if kind in (_FULL, _LAST):
            yield b"".join(parts)


# Protocol buffers: as much of the wire format as is needed


def _varint(data: bytes, offset: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[offset]
        value |= (byte & 0x7F) << shift
        offset += 1
        shift += 7
        if byte < 0x80:
            return value, offset
        if shift > 63:
            raise ValueError("a number is too long")


def _fields(data: bytes) -> Fields:
    """Return the length-delimited fields of a message by number; others are passed over."""
    found: Fields = {}
    offset = 0
    try:
        while offset < len(data):
            key, offset = _varint(data, offset)
            wire = key & 7
            if wire == 0:
                _, offset = _varint(data, offset)
            elif wire == 1:
                offset += 8
            elif wire == 5:
                offset += 4
            elif wire == 2:
                length, offset = _varint(data, offset)
                if offset + length > len(data):
                    raise ValueError("a field is cut off")
                found.setdefault(key >> 3, []).append(data[offset : offset + length])
                offset += length
            else:
                raise ValueError("an unknown wire type")
    except (IndexError, ValueError) as error:
        raise UsageError(f"the run's record is damaged: {error}") from None
    return found


def _strings(fields: Fields, number: int) -> list[str]:
    return [value.decode("utf-8", "replace") for value in fields.get(number, [])]


def _string(fields: Fields, number: int) -> str:
    values: Any = _strings(fields, number)
    return str(values[-1]) if values else ""
