"""DVC: what the `.dvc` files and `dvc.lock` of a repository track, with content from its cache.

Each tracked output becomes an artifact of its own. Cache layouts: `files/md5/ab/cdef…` (DVC 3) and `ab/cdef…` (DVC 2); a
directory is a JSON list of its files under `….dir`. The MD5 that DVC recorded is checked before anything is logged.
"""

from __future__ import annotations

import hashlib
import json
import os

from regcli.domain.foreign.taking import Find, read_yaml
from regcli.errors import IntegrityError, NotFoundError, UsageError
from regcli.model import quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

_HEX = frozenset("0123456789abcdef")


def read_dvc(path: str) -> Iterator[Find]:
    """Yield what the repository at `path` tracks now, ordered by where it lies in the repository.

    Raises:
        NotFoundError: it is no DVC repository, or content is not in its cache.
        IntegrityError: cached content does not have the MD5 that was recorded.
    """
    if not os.path.isdir(os.path.join(path, ".dvc")):
        raise NotFoundError(f"{quote(path)} is no DVC repository", hint="name the directory that holds `.dvc`")
    cache = _cache_directory(path)
    for base, output, stage in sorted(_outputs(path), key=lambda row: (row[0], str(row[1].get("path")))):
        yield _read_output(path, cache, base, output, stage)


def _cache_directory(top: str) -> str:
    """Return the cache: `cache.dir` of the repository's settings, else `.dvc/cache`."""
    import configparser

    parser = configparser.ConfigParser(strict=False, interpolation=None)
    for name in ("config", "config.local"):
        try:
            parser.read(os.path.join(top, ".dvc", name), encoding="utf-8")
        except (configparser.Error, UnicodeDecodeError) as error:
            raise UsageError(f"{top}/.dvc/{name} cannot be read: {error}") from None
    named = parser.get("cache", "dir", fallback="")
    return os.path.join(top, ".dvc", named or "cache")


def _outputs(top: str) -> Iterator[tuple[str, dict[str, Any], str | None]]:
    """Yield (directory, output, stage) of every output that is tracked."""
    for directory, below, names in os.walk(top):
        below[:] = sorted(name for name in below if name not in (".git", ".dvc"))
        for name in sorted(names):
            path = os.path.join(directory, name)
            if name.endswith(".dvc"):
                for output in _outs_of(read_yaml(path)):
                    yield directory, output, None
            elif name == "dvc.lock":
                document = read_yaml(path)
                stages = document.get("stages") if isinstance(document, dict) else None
                for stage, content in (stages or {}).items():
                    for output in _outs_of(content):
                        yield directory, output, str(stage)


def _outs_of(document: Any) -> list[dict[str, Any]]:
    rows = document.get("outs") if isinstance(document, dict) else None
    return [row for row in rows or [] if isinstance(row, dict)]


def _read_output(top: str, cache: str, base: str, output: dict[str, Any], stage: str | None) -> Find:
    name, digest = str(output.get("path")), str(output.get("md5") or "")
    where = os.path.relpath(os.path.join(base, name), top)
    find = Find(os.path.basename(name.rstrip("/")), "dataset", {"tool": "dvc", "path": where, "md5": digest})
    if digest.endswith(".dir"):
        find.files = [
            (str(row["relpath"]), _cached(cache, str(row["md5"]), f"{where}/{row['relpath']}"))
            for row in _directory(cache, digest, where)
        ]
    else:
        find.files = [(os.path.basename(name), _cached(cache, digest, where))]
    find.description = str(output.get("desc") or "")
    find.metadata = {"path": where, **({"stage": stage} if stage is not None else {})}
    if isinstance(output.get("meta"), dict):
        find.metadata["meta"] = output["meta"]
    if isinstance(output.get("type"), str):
        find.type = output["type"]
    if isinstance(output.get("labels"), list):
        find.tags = [str(label) for label in output["labels"]]
    return find


def _place(cache: str, digest: str) -> str | None:
    stem = digest.removesuffix(".dir")
    if len(stem) != 32 or not _HEX.issuperset(stem):
        return None
    for parts in (("files", "md5", digest[:2], digest[2:]), (digest[:2], digest[2:])):
        path = os.path.join(cache, *parts)
        if os.path.isfile(path):
            return path
    return None


def _cached(cache: str, digest: str, where: str) -> str:
    """Return the cached file with that MD5, after reading it."""
    path = _place(cache, digest)
    if path is None:
        raise NotFoundError(
            f"the content of {quote(where)} is not in the DVC cache", hint="bring it with `dvc fetch`, then try again"
        )
    with open(path, "rb") as stream:
        found = hashlib.file_digest(stream, "md5").hexdigest()
    if found != digest.removesuffix(".dir"):
        raise IntegrityError(f"the DVC cache is damaged: {path} has MD5 {found}")
    return path


def _directory(cache: str, digest: str, where: str) -> list[dict[str, Any]]:
    path = _cached(cache, digest, where)
    try:
        with open(path, encoding="utf-8") as stream:
            rows = json.load(stream)
        if not all(isinstance(row["relpath"], str) and isinstance(row["md5"], str) for row in rows):
            raise ValueError("a row without path or MD5")
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise UsageError(f"{path} is no DVC directory: {error}") from None
    return list(rows)
