"""BLAKE3 of a version's manifest and of each of its files: what a signature vouches for, where XXH3-128 proves nothing.

The list is a blob (FORMAT.md 3.7): 16 bytes of magic, the BLAKE3 of the manifest's bytes, then 32 bytes for each entry of the
manifest that is a file, in its order. It is derived from the stored bytes; the BLAKE3 of the list itself is what is signed.
"""

from __future__ import annotations

from regcli.errors import IntegrityError, MissingLibraryError, SignatureRefusedError
from regcli.model import quote_some
from regcli.store.blobs import hash_file
from regcli.store.manifest import REFERENCE
from regcli.store.parallel import run_parallel

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any

    from regcli.store.content import Content
    from regcli.store.manifest import Entry

MAGIC = b"regcli-blake3-1\n"
SIZE = 32


def new_hasher() -> Any:
    """Return a BLAKE3 hasher.

    Raises:
        MissingLibraryError: the package is not installed.
    """
    try:
        from blake3 import blake3
    except ImportError:
        raise MissingLibraryError(
            "signed aliases need the package `blake3`", hint="install it with `pip install 'regcli[sign]'`"
        ) from None
    return blake3()


def digest_of(data: bytes) -> bytes:
    """Return the BLAKE3 of some bytes."""
    hasher = new_hasher()
    hasher.update(data)
    digest: bytes = hasher.digest()
    return digest


class Proofs:
    """What the files of a signed version must be: XXH3-128 of a blob -> BLAKE3 of its bytes.

    Attributes:
        ref: the version, for messages.
    """

    __slots__ = ("_referred", "_wanted", "ref")

    def __init__(self, ref: str, wanted: dict[str, bytes]) -> None:
        """Take the digests that were signed."""
        self.ref = ref
        self._wanted = wanted
        self._referred: frozenset[str] = frozenset()

    def leave_out(self, digests: Iterable[str]) -> None:
        """Take note of blobs that the version only refers to: what was signed of them is their XXH3-128."""
        self._referred = frozenset(digests).difference(self._wanted)

    def is_right(self, digest: str, found: bytes) -> bool:
        """Tell whether a BLAKE3 is the one that was signed for a blob."""
        return self._wanted.get(digest) == found or digest in self._referred

    def vouches_for(self, digest: str, descriptor: int) -> bool:
        """Tell whether an open file, read from its start, is what was signed for a blob."""
        hasher = new_hasher()
        hash_file(descriptor, hasher.update)
        return self.is_right(digest, hasher.digest())

    def require_bytes(self, digest: str, data: bytes | memoryview, what: str) -> None:
        """Refuse bytes that were not signed.

        Raises:
            SignatureRefusedError: they have the XXH3-128 of the manifest, but are others.
        """
        hasher = new_hasher()
        hasher.update(data)
        self.require(digest, hasher.digest(), what)

    def require(self, digest: str, found: bytes, what: str) -> None:
        """Refuse a BLAKE3 that was not signed. Raises as `require_bytes` does."""
        if not self.is_right(digest, found):
            raise self.refusal([what])

    def refusal(self, names: Sequence[str]) -> SignatureRefusedError:
        """Return the error about files that were swapped."""
        return SignatureRefusedError(
            f"{quote_some(names)} of {self.ref} {'is' if len(names) == 1 else 'are'} not what was signed: BLAKE3 differs,"
            " though XXH3-128 does not",
            hint="somebody swapped the stored content on purpose; restore the root from a copy you trust",
        )

    def swapped(self, content: Content, digests: Iterable[str]) -> list[str]:
        """Return those blobs whose stored bytes are not what was signed; one that is missing or corrupt is not among them."""

        def work(digest: str) -> str | None:
            try:
                return None if self.is_right(digest, _blake3_of(content, digest)) else digest
            except IntegrityError:
                return None

        return sorted(found for found in run_parallel(work, sorted(set(digests))) if found is not None)


def _blake3_of(content: Content, digest: str) -> bytes:
    hasher = new_hasher()
    for chunk in content.stream(digest):
        hasher.update(chunk)
    found: bytes = hasher.digest()
    return found


def measure(content: Content, manifest: bytes, entries: Sequence[Entry]) -> bytes:
    """Return the list for a version, from the bytes as they are stored, which are read in parallel.

    Raises:
        IntegrityError: one is missing or damaged.
    """
    wanted = _files_of(entries)

    def work(digest: str) -> tuple[str, bytes]:
        return digest, _blake3_of(content, digest)

    found = dict(run_parallel(work, sorted(set(wanted))))
    return b"".join([MAGIC, digest_of(manifest), *(found[digest] for digest in wanted)])


def parse_list(data: bytes, manifest: bytes, entries: Sequence[Entry], ref: str) -> Proofs | None:
    """Return what a list proves about a version, or None when it is not of this manifest."""
    wanted = _files_of(entries)
    start = len(MAGIC) + SIZE
    if len(data) != start + SIZE * len(wanted) or data[:start] != MAGIC + digest_of(manifest):
        return None
    pairs = {digest: data[start + SIZE * row : start + SIZE * (row + 1)] for row, digest in enumerate(wanted)}
    return Proofs(ref, pairs)


def _files_of(entries: Sequence[Entry]) -> list[str]:
    return [entry[1] for entry in entries if not entry[3] & REFERENCE]
