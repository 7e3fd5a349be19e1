"""References to files of this machine: `file:///absolute/path` (R-07, R-08, R-11, R-16)."""

from __future__ import annotations

import os
import stat

from regcli.errors import MissingPathError, MissingReferenceError, UsageError
from regcli.model import quote
from regcli.store import files
from regcli.store.elsewhere import (
    CHUNK,
    MAX_OBJECTS,
    MD5,
    NONE,
    XXH128,
    Opened,
    base64_of,
    make_entry,
    too_many,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from io import FileIO

    from regcli.store.manifest import Entry
    from regcli.store.statcache import StatCache

_PREFIX = "file://"


def file_uri(path: str) -> str:
    """Return the URI of an absolute path; bytes that a URI may not have are written as `%XX`."""
    from urllib.parse import quote_from_bytes

    return _PREFIX + quote_from_bytes(os.fsencode(path), safe="/:@!$&'()*+,;=~")


def path_of(uri: str) -> str:
    """Return the path that a recorded `file:` URI means.

    Raises:
        UsageError: it is on another machine, or is no path at all.
    """
    from urllib.parse import unquote_to_bytes

    rest = uri[len(_PREFIX) :]
    if rest.startswith("localhost/"):
        rest = rest[len("localhost") :]
    if not rest.startswith("/"):
        raise UsageError(f"{quote(uri)} has no absolute path", hint="write file:///absolute/path")
    path = os.fsdecode(unquote_to_bytes(rest))
    if "\0" in path:
        raise UsageError(f"{quote(uri)} has a NUL character")
    return path


def _find(uri: str) -> str:
    """Return the absolute path that a URI means to whoever typed it: as it stands, else with `%XX` decoded.

    The original takes what follows `file://` as it stands, relative paths too.
    """
    from urllib.parse import unquote

    rest = uri[len(_PREFIX) :]
    if rest.startswith("localhost/"):
        rest = rest[len("localhost") :]
    if not rest or "\0" in rest:
        raise UsageError(f"{quote(uri)} must be a valid file or directory path", hint="write file:///absolute/path")
    for candidate in (rest, unquote(rest, errors="surrogateescape")):
        if "\0" not in candidate and os.path.exists(candidate):
            return os.path.abspath(candidate)
    if os.path.lexists(rest):
        raise MissingPathError(f"{quote(uri)} must be a valid file or directory path: it is a link that leads nowhere")
    raise MissingPathError(f"{quote(uri)} must be a valid file or directory path: there is nothing")


def collect(
    uri: str,
    name: str | None,
    *,
    checksum: bool,
    max_objects: int | None,
    algorithm: str,
    avoid: str | None,
    cache: StatCache | None,
    progress: Callable[[int, int], None] | None,
) -> list[Entry]:
    """Return an entry for the file, or for each file of the directory.

    With a checksum the digest is that of the content, so that a reference and a logged file of equal bytes give the
    artifact the same digest (H-03); without one it is the digest of the file's URI, and nothing is read.

    Raises:
        MissingPathError: there is nothing. UsageError: there are more than `max_objects` files.
        StorageError: something cannot be read.
    """
    path = _find(uri)
    limit = MAX_OBJECTS if max_objects is None else max_objects
    if os.path.isdir(path):
        if checksum:
            found = _hash_directory(uri, path, limit, algorithm, avoid, cache, progress)
        else:
            found = _list_directory(uri, path, limit, algorithm, avoid)
        prefix = f"{name}/" if name else ""
    else:
        if limit < 1:
            raise too_many(limit, uri)
        place = name or os.path.basename(path)
        found = _hash_file(path, place, algorithm, cache, progress) if checksum else _look_at_file(path, place, algorithm)
        prefix = ""
    check = (MD5 if algorithm == "MD5" else XXH128) if checksum else NONE
    return [
        make_entry(prefix + relative, file_uri(full), digest, check=check, size=size) for relative, full, digest, size in found
    ]


_Row = tuple[str, str, str, int]


def _hash_directory(
    uri: str,
    path: str,
    limit: int,
    algorithm: str,
    avoid: str | None,
    cache: StatCache | None,
    progress: Callable[[int, int], None] | None,
) -> list[_Row]:
    from regcli.store.ingest import Source, ingest

    def count(number: int, size: int) -> None:
        # Stops the walk early: a hundred million files must not be hashed to learn that they are too many.
        if number > limit:
            raise too_many(limit, uri)
        if progress is not None:
            progress(number, size)

    taken = ingest(None, [Source(path)], algorithm=algorithm, cache=cache, progress=count, store_root=avoid)
    return [(entry[0], os.path.join(path, entry[0]), _digest(entry), entry[2]) for entry in taken.entries]


def _hash_file(
    path: str, place: str, algorithm: str, cache: StatCache | None, progress: Callable[[int, int], None] | None
) -> list[_Row]:
    from regcli.store.ingest import ingest

    entry = ingest(None, [(place, path)], algorithm=algorithm, cache=cache, progress=progress).entries[0]
    return [(entry[0], path, _digest(entry), entry[2])]


def _digest(entry: Entry) -> str:
    extra = entry[4]
    return base64_of(extra["md5"] if extra is not None and "md5" in extra else entry[1])


def _list_directory(uri: str, path: str, limit: int, algorithm: str, avoid: str | None) -> list[_Row]:
    from regcli.store.walk import Walk

    identity = None
    if avoid is not None:
        try:
            status = os.stat(avoid)
            identity = (status.st_dev, status.st_ino)
        except OSError:
            pass
    found: list[_Row] = []
    for prefix, _, listed in Walk(path, avoid=identity).directories():
        for name, status in listed:
            full = f"{path}/{prefix}{name}"
            found.append((prefix + name, full, _digest_of_text(file_uri(full), algorithm), status.st_size))
        if len(found) > limit:
            raise too_many(limit, uri)
    return found


def _look_at_file(path: str, place: str, algorithm: str) -> list[_Row]:
    from regcli.store.walk import refuse_special

    try:
        status = os.stat(path)
    except OSError as error:
        raise files.explain(error, f"cannot read {path}") from error
    refuse_special(path, status.st_mode)
    return [(place, path, _digest_of_text(file_uri(path), algorithm), status.st_size)]


def _digest_of_text(text: str, algorithm: str) -> str:
    if algorithm == "MD5":
        from hashlib import md5

        return base64_of(md5(text.encode(), usedforsecurity=False).hexdigest())
    import xxhash

    return base64_of(xxhash.xxh3_128_hexdigest(text.encode()))


def open_file(uri: str) -> Opened:
    """Open the file that a recorded URI leads to; links are followed, FIFOs and devices refused.

    Raises:
        MissingReferenceError: it is gone. StorageError: it cannot be read.
    """
    path = path_of(uri)
    try:
        descriptor = os.open(path, files.READ & ~files.NOFOLLOW)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise MissingReferenceError(
            f"unable to find {quote(path)}, which a reference leads to",
            hint="bring it back, or leave such references out with --allow-missing-references",
        ) from error
    except OSError as error:
        raise files.explain(error, f"cannot read {path}") from error
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        os.close(descriptor)
        raise MissingReferenceError(f"{quote(path)}, which a reference leads to, is no longer a regular file")
    file = os.fdopen(descriptor, "rb", buffering=0)
    return Opened(_read(file, path), size=status.st_size, close=file.close)


def _read(file: FileIO, path: str) -> Iterator[bytes]:
    try:
        while data := file.read(CHUNK):
            yield data
    except OSError as error:
        raise files.explain(error, f"cannot read {path}") from error
