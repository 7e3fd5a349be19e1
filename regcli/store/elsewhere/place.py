"""From a reference to a file below a directory: only below it, only checked bytes, nothing half done.

The rules of `materialize` hold here too: no link is followed, bytes get their name when they are checked, and a file that has
the right content stays as it is.
"""

from __future__ import annotations

import errno
import os
import stat

import xxhash

from regcli.errors import ReferenceChangedError
from regcli.model import quote
from regcli.store import blobs, files
from regcli.store.beneath import LinkInTheWayError
from regcli.store.elsewhere import ETAG, MD5, SIZE, XXH128, hex_of, split_etag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from regcli.store.beneath import Beneath
    from regcli.store.elsewhere import Opened
    from regcli.store.manifest import Entry

_HEX = frozenset("0123456789abcdef")


class Expected:
    """What is known of a reference's bytes before they are fetched.

    Attributes:
        path: place inside the artifact. uri: where the bytes are.
        check: how they are checked. digest: hex digits of the content, where `check` is a hash.
        size: bytes, or None. etag: or None. version_id: or None.
    """

    __slots__ = ("check", "digest", "etag", "path", "size", "uri", "version_id")

    def __init__(self, entry: Entry) -> None:
        """Read an entry that anybody may have written."""
        extra: dict[str, Any] = entry[4] or {}
        self.path = entry[0]
        self.uri: str = extra["ref"]
        self.check: str = extra.get("check", SIZE)
        self.digest = hex_of(entry[1]) if self.check in (XXH128, MD5) else None
        self.size = None if extra.get("unsized") or (self.check not in (XXH128, MD5, ETAG, SIZE)) else entry[2]
        self.etag: str | None = extra.get("etag")
        self.version_id: str | None = extra.get("version_id")

    @property
    def md5(self) -> str | None:
        """The MD5 that proves a file, where one is recorded: object stores' ETag of what was put in one piece is one.

        Only equality says something: the ETag of encrypted objects looks the same and is another number.
        """
        if self.check == MD5:
            return self.digest
        plain = (self.etag or "").strip('"')
        return plain if len(plain) == 32 and _HEX.issuperset(plain) else None


class Hashes:
    """The digests of bytes as they go by."""

    __slots__ = ("_md5", "_xxh", "size")

    def __init__(self, *, md5: bool) -> None:
        """Start; MD5 only where it is asked for."""
        self.size = 0
        self._xxh = xxhash.xxh3_128()
        self._md5: Any = None
        if md5:
            import hashlib

            self._md5 = hashlib.md5(usedforsecurity=False)

    def update(self, data: bytes) -> None:
        """Take the next bytes."""
        self.size += len(data)
        self._xxh.update(data)
        if self._md5 is not None:
            self._md5.update(data)

    @property
    def xxh128(self) -> str:
        """XXH3-128 in hex digits."""
        return self._xxh.hexdigest()

    @property
    def md5(self) -> str:
        """MD5 in hex digits, "" where it was not asked for."""
        digest: str = self._md5.hexdigest() if self._md5 is not None else ""
        return digest


def check_before(expected: Expected, opened: Opened) -> None:
    """Refuse what is other content already by what the place says of it.

    Raises:
        ReferenceChangedError: size or ETag is another one.
    """
    if expected.size is not None and opened.size is not None and opened.size != expected.size:
        raise _changed(expected, f"has {opened.size} bytes instead of {expected.size}")
    # Azure's listings give an ETag without the quotes that its answers have.
    if expected.check == ETAG and split_etag(opened.etag) != split_etag(expected.etag):
        raise _changed(expected, f"has the ETag {opened.etag or 'none'} instead of {expected.etag}")


def checked_chunks(expected: Expected, opened: Opened, hashes: Hashes) -> Iterator[bytes]:
    """Yield the bytes, never more than were announced, and refuse at their end what is other content.

    Raises:
        ReferenceChangedError: there are more or fewer bytes, or they have another digest.
    """
    limit = expected.size if expected.size is not None else opened.size
    for data in opened.chunks:
        hashes.update(data)
        if limit is not None and hashes.size > limit:
            raise _changed(expected, f"has more than {limit} bytes")
        yield data
    if limit is not None and hashes.size != limit:
        raise _changed(expected, f"has {hashes.size} bytes instead of {limit}")
    if expected.check == XXH128 and hashes.xxh128 != expected.digest:
        raise _changed(expected, "has other content")
    if expected.check == MD5 and hashes.md5 != expected.digest:
        raise _changed(expected, "has other content")


def _changed(expected: Expected, what: str) -> ReferenceChangedError:
    return ReferenceChangedError(
        f"{quote(expected.uri)} changed since it was logged as {quote(expected.path)}: it {what}",
        hint="log it again to record what is there now",
    )


def open_present(beneath: Beneath, path: str) -> int | None:
    """Return a descriptor of the regular file at a path below a directory, or None.

    Raises:
        LinkInTheWayError: a directory is there, or a link or file where a directory should be.
    """
    directory, _, name = path.rpartition("/")
    try:
        descriptor = os.open(name, files.READ, dir_fd=beneath.open(directory))
    except OSError:
        # Nothing, a link or unreadable: it will be replaced, which needs no right to read it.
        return None
    kind = os.fstat(descriptor).st_mode
    if stat.S_ISREG(kind):
        return descriptor
    os.close(descriptor)
    if stat.S_ISDIR(kind):
        raise LinkInTheWayError(
            f"{quote(f'{beneath.path}/{path}')} is a directory, but the version has a file there",
            hint="remove it, or choose another directory",
        )
    return None


def hash_present(descriptor: int, *, md5: bool) -> Hashes:
    """Return the digests of an open file."""
    hashes = Hashes(md5=md5)
    os.lseek(descriptor, 0, os.SEEK_SET)
    while data := os.read(descriptor, blobs.BUFFER):
        hashes.update(data)
    return hashes


def is_proven(expected: Expected, descriptor: int) -> bool:
    """Tell whether an open file certainly has the reference's content, by what was recorded alone."""
    md5 = expected.md5
    if expected.size is None or (expected.check != XXH128 and md5 is None):
        return False
    if os.fstat(descriptor).st_size != expected.size:
        return False
    hashes = hash_present(descriptor, md5=md5 is not None)
    return hashes.xxh128 == expected.digest if expected.check == XXH128 else hashes.md5 == md5


def place_reference(
    beneath: Beneath, expected: Expected, open_reference: Callable[[Expected], Opened], temporary: str
) -> tuple[bool, int]:
    """Make the file of one reference; returns whether it was written, and its size.

    Args:
        beneath: the directory; its `open` is used, so that threads need one each.
        expected: what is to be written.
        open_reference: gives the bytes.
        temporary: a name that nobody else uses.

    Raises:
        MissingReferenceError, ReferenceChangedError: it cannot be had; what was there stays.
        LinkInTheWayError: a directory is in the way. StorageError: it cannot be fetched or written.
    """
    present = open_present(beneath, expected.path)
    try:
        if present is not None and is_proven(expected, present):
            return False, os.fstat(present).st_size
        with open_reference(expected) as opened:
            check_before(expected, opened)
            return _write(beneath, expected, opened, temporary, present)
    finally:
        if present is not None:
            os.close(present)


def _write(beneath: Beneath, expected: Expected, opened: Opened, temporary: str, present: int | None) -> tuple[bool, int]:
    directory, _, name = expected.path.rpartition("/")
    parent = beneath.open(directory, create=True)
    hashes = Hashes(md5=expected.check == MD5)
    shown = f"cannot write {beneath.path}/{expected.path}"
    try:
        descriptor = os.open(temporary, files.CREATE & ~os.O_WRONLY | os.O_RDWR, 0o666, dir_fd=parent)
    except OSError as error:
        raise files.explain(error, shown) from error
    try:
        for data in checked_chunks(expected, opened, hashes):
            files.write_all(descriptor, data)
        if present is not None and blobs.same_bytes(present, descriptor):
            # What was fetched is what was there: its times are left alone.
            os.unlink(temporary, dir_fd=parent)
            return False, hashes.size
        os.rename(temporary, name, src_dir_fd=parent, dst_dir_fd=parent)
    except BaseException as error:
        try:
            os.unlink(temporary, dir_fd=parent)
        except OSError:
            pass
        if isinstance(error, OSError):
            if error.errno in (errno.EISDIR, errno.ENOTEMPTY):
                raise LinkInTheWayError(
                    f"{quote(f'{beneath.path}/{expected.path}')} is a directory, but the version has a file there",
                    hint="remove it, or choose another directory",
                ) from error
            raise files.explain(error, shown) from error
        raise
    finally:
        os.close(descriptor)
    return True, hashes.size
