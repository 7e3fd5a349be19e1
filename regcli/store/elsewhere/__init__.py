"""Content that is kept elsewhere: how a reference to it is recorded, opened and checked (FORMAT.md 3.4).

One module per kind of place: `local` (`file:`), `web` (`http:`, `https:`), `buckets` (object stores).
"""

from __future__ import annotations

from binascii import Error as Base64Error
from binascii import a2b_base64, b2a_base64

from regcli.errors import UsageError
from regcli.model import quote
from regcli.store.manifest import REFERENCE, normalize_path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any, Self

    from regcli.store.manifest import Entry

# How the bytes behind a reference are checked when they are fetched: the values of `check` in an entry's extra.
XXH128 = "xxh128"
MD5 = "md5"
ETAG = "etag"
SIZE = "size"
NONE = "none"

MAX_OBJECTS = 10_000_000
# Bytes that are read at a time.
CHUNK = 256 << 10
_MAX_ETAG = 1024


class Opened:
    """The bytes behind a reference, about to be read; to be used with `with`.

    Attributes:
        chunks: the bytes. size: how many there will be, or None where the place does not say.
        etag: as the place gives it, with its quotes, or None.
    """

    __slots__ = ("_close", "chunks", "etag", "size")

    def __init__(
        self,
        chunks: Iterator[bytes],
        *,
        size: int | None = None,
        etag: str | None = None,
        close: Callable[[], object] | None = None,
    ) -> None:
        """Bundle what is known before the first byte; `close` may be called twice."""
        self.chunks = chunks
        self.size = size
        self.etag = etag
        self._close = close

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Let go of the file or connection."""
        if self._close is not None:
            self._close()


def scheme_of(uri: str) -> str:
    """Return the scheme of a URI in lower case, or "" where it has none."""
    head, mark, _ = uri.partition("://")
    if not mark or not head.isascii() or not head[:1].isalpha() or not all(c.isalnum() or c in "+-." for c in head):
        return ""
    return head.lower()


def split_etag(etag: str | None) -> str | None:
    """Return an ETag without its quotes, which is the digest that W&B records (R-03); None for one of no use."""
    if etag is None or len(etag) > _MAX_ETAG or not etag.strip('"') or "\n" in etag or not etag.isprintable():
        return None
    if len(etag) > 2 and etag[0] == etag[-1] == '"':
        return etag[1:-1]
    return etag


def base64_of(digest: str) -> str:
    """Return a digest of hex digits as base64, as W&B writes the digests of files (H-04)."""
    return b2a_base64(bytes.fromhex(digest), newline=False).decode()


def hex_of(digest: str) -> str | None:
    """Return a base64 digest of 16 bytes as hex digits, or None where it is none."""
    try:
        data = a2b_base64(digest.encode(), strict_mode=True)
    except (Base64Error, UnicodeEncodeError):
        return None
    return data.hex() if len(data) == 16 else None


def make_entry(
    path: str,
    uri: str,
    digest: str,
    *,
    check: str,
    size: int | None = None,
    etag: str | None = None,
    version_id: str | None = None,
) -> Entry:
    """Return the manifest entry of a reference.

    Args:
        path: place inside the artifact.
        uri: where the bytes are.
        digest: what the manifest digest is made of.
        check: how the bytes are checked when they are fetched (a constant of this module).
        size: bytes, None where unknown.
        etag: with its quotes.
        version_id: of the object.
    """
    extra: dict[str, Any] = {"ref": uri, "check": check}
    if size is None:
        extra["unsized"] = True
    if etag is not None:
        extra["etag"] = etag
    if version_id is not None:
        extra["version_id"] = version_id
    return (normalize_path(path), digest, size or 0, REFERENCE, extra)


def too_many(limit: int, uri: str) -> UsageError:
    """Return the error of a reference to more objects than asked for (R-15)."""
    return UsageError(
        f"exceeded {limit} objects tracked under {quote(uri)}",
        hint="raise the limit with --max-objects (max_objects in Python)",
    )


def has_controls(uri: str) -> bool:
    """Tell whether a URI has a character that no URI may have: controls, line ends, lone surrogates."""
    return any(ord(c) < 0x20 or 0x7F <= ord(c) < 0xA0 or 0xD800 <= ord(c) <= 0xDFFF for c in uri)
