"""Manifests: the sorted list of what a version holds, its digest, and its form as a blob (FORMAT.md 3.4).

An entry is a plain tuple `(path, digest, size, flags, extra)`: a version may have a million of them.
"""

from __future__ import annotations

import os
from _operator import eq, itemgetter
from binascii import b2a_base64
from itertools import islice

import xxhash

from regcli.errors import IntegrityError, UsageError
from regcli.model import quote
from regcli.store import jsontext

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any

    Entry = tuple[str, str, int, int, dict[str, Any] | None]

FILE = 0
EXECUTABLE = 1
REFERENCE = 2

MAX_MANIFEST = 1 << 30
_BLOCK = 4 << 20
_LINES = 1 << 15
# Lines and entries of a larger manifest are not kept for the next one: they take five times the memory of the text.
_REMEMBERED = 32 << 20
_ALGORITHMS = ("XXH128", "MD5")
_HEADER = b"wandb-artifact-manifest-v1\n"
_path_of = itemgetter(0)
_MAX_SIZE = 1 << 63
_HEX = b"0123456789abcdef"
_LETTERS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")


class InvalidPathError(UsageError):
    """A path inside an artifact is absolute, leaves the artifact, or cannot be written down."""

    kind = "invalid-path"


def sort_entries(entries: Iterable[Entry]) -> list[Entry]:
    """Return the entries in the order of a manifest: by path, which as code points is the order of UTF-8 bytes too."""
    return sorted(entries, key=_path_of)


def manifest_digest(entries: Iterable[Entry], algorithm: str = "XXH128") -> str:
    """Return the digest that W&B computes for these entries (32 hex digits).

    Source: `semantics.md` H-01 to H-12; size, flags and references' URIs are no part of it.
    """
    ordered = sort_entries(entries)
    if algorithm == "MD5":
        parts = [_HEADER]
        add = parts.append
        from_hex = bytes.fromhex
        for path, digest, _, flags, extra in ordered:
            if flags != REFERENCE:
                digest = (extra or {}).get("md5", digest)  # noqa: PLW2901
                add(b"%s:%s" % (path.encode(), b2a_base64(from_hex(digest))))
            else:
                add(f"{path}:{digest}\n".encode())
        from hashlib import md5

        return md5(b"".join(parts), usedforsecurity=False).hexdigest()
    hasher = xxhash.xxh3_128(_HEADER)
    for start in range(0, len(ordered), _LINES):
        hasher.update("".join(_digest_lines(ordered[start : start + _LINES])).encode())
    return hasher.hexdigest()


def _digest_lines(entries: Sequence[Entry]) -> list[str]:
    if any(entry[3] == REFERENCE for entry in entries):
        # b2a_base64 ends with the newline that the rule asks for.
        return [
            f"{path}:{digest}\n" if flags == REFERENCE else f"{path}:{b2a_base64(bytes.fromhex(digest)).decode()}"
            for path, digest, _, flags, _ in entries
        ]
    # All at once: 16 bytes and two zeros are 24 characters of base64, of which the last two stand for the zeros.
    encoded = b2a_base64(bytes.fromhex("0000".join([entry[1] for entry in entries]) + "0000"), newline=False).decode()
    return [f"{entry[0]}:{encoded[at : at + 22]}==\n" for at, entry in zip(range(0, len(encoded), 24), entries, strict=True)]


def encode_manifest(entries: Iterable[Entry], algorithm: str = "XXH128") -> bytes:
    """Return the manifest as a blob: the same entries give the same bytes.

    Raises:
        UsageError: it would be larger than what is read.
    """
    ordered = sort_entries(entries)
    encoded = bytearray(f"{_header(algorithm, len(ordered))}\n".encode())
    # A million lines as strings would be three times the manifest.
    for start in range(0, len(ordered), _LINES):
        encoded += "".join(_lines(ordered[start : start + _LINES])).encode("ascii")
        if len(encoded) > MAX_MANIFEST:
            raise UsageError(
                f"the list of {len(ordered)} files takes more than {MAX_MANIFEST} bytes", hint="log them as several artifacts"
            )
    return bytes(encoded)


def _header(algorithm: str, entries: int) -> str:
    return f'{{"format":1,"algorithm":"{algorithm}","entries":{entries}}}'


def _lines(entries: Sequence[Entry]) -> list[str]:
    joined = "".join([entry[0] for entry in entries])
    # Printable ASCII without quote and backslash is its own JSON; nearly every path is.
    is_plain = joined.isascii() and joined.isprintable() and '"' not in joined and "\\" not in joined
    if is_plain and not any(entry[3] == REFERENCE or entry[4] for entry in entries):
        return [f'["{path}","{digest}",{size},{flags}]\n' for path, digest, size, flags, _ in entries]
    return [f"{jsontext.dumps(list(entry if entry[4] else entry[:4]))}\n" for entry in entries]


def decode_manifest(data: bytes, where: str) -> tuple[str, list[Entry]]:
    """Return the algorithm and the entries of a manifest that anybody may have written; `where` names it in errors.

    Everything that `materialize` relies on is checked here: form, types, sizes, digests, order, and that no path leaves
    the target or is both a file and a directory.

    Raises:
        IntegrityError: the manifest is not as FORMAT.md 3.4 says.
    """
    if len(data) > MAX_MANIFEST:
        raise IntegrityError(f"{where} is larger than {MAX_MANIFEST} bytes")
    # Not `partition`: a manifest may be 50 MB, and one copy of it is enough.
    start = data.find(b"\n") + 1 or len(data) + 1
    header = jsontext.loads(data[: start - 1], where)
    if not isinstance(header, dict):
        raise IntegrityError(f"{where} is corrupt: no header")
    if header.get("format") != 1:
        raise IntegrityError(f"{where} has a format that this version of regcli does not know", hint="upgrade regcli")
    algorithm = header.get("algorithm")
    if algorithm not in _ALGORITHMS or data[-1:] != b"\n":
        raise IntegrityError(f"{where} is corrupt: malformed header or a line is cut off")
    entries: list[Entry] = []
    problem = None
    # A few MiB at a time: the lists that JSON gives are larger than the entries made of them.
    while start < len(data) and problem is None:
        end = data.find(b"\n", min(start + _BLOCK, len(data) - 1)) + 1
        problem = _decode_lines(data[start : end - 1].split(b"\n"), where, entries)
        start = end
    if problem is None and header.get("entries") != len(entries):
        problem = "it does not have the number of entries that it says"
    if problem is None and entries:
        problem = _problem_in_entries(entries, algorithm) or _problem_in_order(entries)
    if problem is not None:
        raise IntegrityError(f"{where} is corrupt: {problem}")
    return algorithm, entries


def _decode_lines(lines: list[bytes], where: str, entries: list[Entry]) -> str | None:
    """Add the entries of some lines; returns what is wrong with them."""
    rows: list[Any] = jsontext.loads(b"[" + b",".join(lines) + b"]", where, plain=True)
    # One array per line: this also finds what only looks right because line ends became commas.
    problem = _problem_in_rows(rows) if len(rows) == len(lines) else "an entry is not on a line of its own"
    if problem is None:
        entries += [(row[0], row[1], row[2], row[3], row[4] if len(row) == 5 else None) for row in rows]
    return problem


def plain_digests(data: bytes) -> set[bytes] | None:
    """Return the digests of the blobs that a manifest names, without decoding it; None for one with anything unusual in it."""
    body = data[data.find(b"\n") + 1 :]
    # Four quotes in every line of `_lines`: around the path, and around the digest.
    pieces = body.split(b'"')
    found = pieces[3::4]
    if len(pieces) != 4 * body.count(b"\n") + 1 or set(map(len, found)) != {32}:
        return None
    try:
        joined = bytes.fromhex(b"".join(found).decode("ascii"))
    except ValueError:
        return None
    return {joined[at : at + 16] for at in range(0, len(joined), 16)} if len(joined) == 16 * len(found) else None


class Decoder:
    """Decodes one manifest after the other; what the last one had too, line for line, is not decoded and checked again."""

    __slots__ = ("_algorithm", "_known")

    def __init__(self) -> None:
        self._algorithm = ""
        self._known: dict[bytes, Entry] = {}

    def decode(self, data: bytes, where: str) -> list[Entry]:
        """Return the entries, with all that `decode_manifest` promises and raises."""
        entries = self._decode(data, where)
        if entries is None:
            self._algorithm, entries = decode_manifest(data, where)
            self._keep(data, entries)
        return entries

    def _keep(self, data: bytes, entries: list[Entry]) -> None:
        """Keep the lines that are written as we write them: each of those stands for its entry alone."""
        self._known = {}
        if len(data) <= _REMEMBERED:
            lines = data.split(b"\n")[1:-1]
            for start in range(0, len(lines), _LINES):
                some = entries[start : start + _LINES]
                texts = "".join(_lines(some)).encode().split(b"\n")
                self._known.update(
                    (line, entry)
                    for line, text, entry in zip(lines[start : start + _LINES], texts, some, strict=False)
                    if line == text
                )

    def _decode(self, data: bytes, where: str) -> list[Entry] | None:
        """Return the entries; None where decoding it alone is what has to be done."""
        header, _, body = data.partition(b"\n")
        lines = body.split(b"\n")
        known = self._known
        if not known or lines.pop() or header != _header(self._algorithm, len(lines)).encode():
            return None
        new = [line for line in lines if line not in known]
        if 2 * len(new) > len(lines) or b"" in new:
            return None
        if new:
            added: list[Entry] = []
            try:
                problem = _decode_lines(new, where, added) or _problem_in_entries(added, self._algorithm)
            except IntegrityError:
                # What is wrong is said about the whole manifest.
                return None
            if problem:
                return None
            texts = "".join(_lines(added)).encode().split(b"\n")
            if texts[:-1] != new:
                return None
            known.update(zip(new, added, strict=True))
        entries = [known[line] for line in lines]
        if _problem_in_order(entries):
            return None
        self._known = dict(zip(lines, entries, strict=True))
        return entries


def _problem_in_rows(rows: list[Any]) -> str | None:
    """Check shapes and types column by column: loops in C, because there may be a million rows."""
    if not rows or set(map(type, rows)) != {list} or not {4, 5}.issuperset(map(len, rows)):
        return "an entry is not a list of four or five"
    if {type(row[0]) for row in rows} != {str} or {type(row[1]) for row in rows} != {str}:
        return "a path or digest is not a string"
    if {type(row[2]) for row in rows} != {int} or {type(row[3]) for row in rows} != {int}:
        return "a size is not an integer"
    if any(type(row[4]) is not dict for row in rows if len(row) == 5):
        return "an entry's extra is not an object"
    return None


def _problem_in_entries(entries: list[Entry], algorithm: str) -> str | None:
    sizes = [entry[2] for entry in entries]
    if min(sizes) < 0 or max(sizes) >= _MAX_SIZE:
        return "a size is out of range"
    if not {FILE, EXECUTABLE, REFERENCE}.issuperset(entry[3] for entry in entries):
        return "an entry has unknown flags"
    digests = [entry[1] for entry in entries if entry[3] != REFERENCE]
    if digests and not _are_digests(digests):
        return "a digest is malformed"
    for path, digest, _, flags, extra in entries:
        if (extra or flags == REFERENCE or algorithm == "MD5") and (
            wrong := _problem_in_extra(digest, flags, extra, algorithm)
        ):
            return f"{wrong} ({quote(path[:80])})"
    return None


def _problem_in_order(entries: list[Entry]) -> str | None:
    paths = [entry[0] for entry in entries]
    if sorted(paths) != paths or has_twins(paths):
        return "the paths are not sorted or not unique"
    return problem_in_paths(paths)


def _are_digests(digests: list[str]) -> bool:
    if set(map(len, digests)) != {32}:
        return False
    joined = "".join(digests)
    return joined.isascii() and not joined.encode().translate(None, _HEX)


def _problem_in_extra(digest: str, flags: int, extra: dict[str, Any] | None, algorithm: str) -> str | None:
    if flags == REFERENCE:
        if not isinstance((extra or {}).get("ref"), str):
            return "a reference has no URI"
        if not digest or len(digest) > 1 << 16 or "\n" in digest or not _is_text(digest) or not _is_text((extra or {})["ref"]):
            return "a reference's digest or URI is malformed"
        if wrong := _problem_in_reference(extra or {}):
            return wrong
    md5 = (extra or {}).get("md5")
    if md5 is None:
        problem = "an MD5 digest is missing" if algorithm == "MD5" and flags != REFERENCE else None
    else:
        problem = None if isinstance(md5, str) and _are_digests([md5]) else "an MD5 digest is malformed"
    if problem is None and extra is not None and "object" in extra:
        kind = extra["object"].get("kind") if isinstance(extra["object"], dict) else None
        return None if isinstance(kind, str) and kind else "what an object is is not said"
    return problem


def _problem_in_reference(extra: dict[str, Any]) -> str | None:
    for key in ("check", "etag", "version_id"):
        if key in extra and not (isinstance(extra[key], str) and _is_text(extra[key]) and len(extra[key]) < 1 << 16):
            return f"a reference's {key} is malformed"
    if extra.get("unsized", True) is not True:
        return "a reference's size is malformed"
    return None if isinstance(extra.get("source", {}), dict) else "a reference's source is malformed"


def _is_text(text: str) -> bool:
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def problem_in_paths(paths: Sequence[str]) -> str | None:
    """Return what is wrong with a set of artifact paths, or None; fast where nothing is."""
    for start in range(0, len(paths), _LINES):
        some = paths[start : start + _LINES]
        joined = f"/{'/'.join(some)}/"
        if "\0" in joined or "//" in joined or "/./" in joined or "/../" in joined or not _is_text(joined):
            return next((wrong for path in some if (wrong := _problem_in_path(path))), "a path is malformed")
        if "\\" in joined or ":" in joined:
            for path in some:
                if ("\\" in path or ":" in path) and (wrong := _problem_in_path(path)):
                    return wrong
    return _clash(paths)


def has_twins(ordered: Sequence[str]) -> bool:
    """Tell whether a sorted sequence has something twice."""
    return any(map(eq, ordered, islice(ordered, 1, None)))


def _clash(paths: Sequence[str]) -> str | None:
    directories: set[str] = set()
    for path in {path.rpartition("/")[0] for path in paths}:
        parent = path
        while parent and parent not in directories:
            directories.add(parent)
            parent = parent.rpartition("/")[0]
    clash = directories.intersection(paths)
    return f"{quote(min(clash))} is both a file and a directory" if clash else None


def _problem_in_path(path: str) -> str | None:
    """Return what is wrong with one path as it is stored, or None."""
    shown = quote(path[:120])
    if not path or "\0" in path:
        return f"the path {shown} is empty or has a NUL"
    if not _is_text(path):
        return f"the path {shown} is not UTF-8"
    if _leaves(path):
        return f"the path {shown} leaves the artifact"
    if any(part in ("", ".") for part in path.split("/")):
        return f"the path {shown} is not normalized"
    return None


def _leaves(path: str) -> bool:
    """Tell whether a path is absolute or climbs, read as POSIX or as Windows would."""
    if path[:1] in ("/", "\\") or (path[1:2] == ":" and path[0] in _LETTERS):
        return True
    parts = path.replace("\\", "/").split("/") if "\\" in path else path.split("/")
    return ".." in parts


def normalize_path(path: str | os.PathLike[str]) -> str:
    """Return the canonical form of a path inside an artifact: `./x//y` is `x/y`.

    A backslash is a character like any other on POSIX (semantics.md A-09), unless Windows would leave the artifact by it.

    Raises:
        InvalidPathError: empty, `.`, absolute, any `..`, a drive letter, NUL, not UTF-8.
    """
    if isinstance(path, str):
        text = path
    else:
        # A PureWindowsPath knows that its backslashes mean "/".
        text = path.as_posix() if hasattr(path, "as_posix") else os.fspath(path)
    if os.name == "nt":
        text = text.replace("\\", "/")
    shown = quote(text[:120])
    if "\0" in text:
        raise InvalidPathError(f"artifact path {shown} has a NUL character")
    if not _is_text(text):
        raise InvalidPathError(f"the name {shown} is not valid UTF-8", hint="rename the file, then try again")
    if _leaves(text):
        raise InvalidPathError(
            f"artifact path {shown} is absolute or leaves the artifact",
            hint="use a relative path without '..' or a drive letter",
        )
    normal = "/".join(part for part in text.split("/") if part not in ("", "."))
    if not normal:
        raise InvalidPathError(f"artifact path {shown} is empty")
    if _leaves(normal):
        # `./C:x` hides what the first look could not see.
        raise InvalidPathError(f"artifact path {shown} is absolute or leaves the artifact")
    return normal
