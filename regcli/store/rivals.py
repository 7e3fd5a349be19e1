"""Two contents with one digest: told from a damaged copy, and never overwritten (FORMAT.md 3.6).

Another writer may publish between our look and our own publishing, so names and packs are compared again afterwards.
"""

from __future__ import annotations

import os

from regcli.errors import DigestCollisionError
from regcli.store import blobs, files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from regcli.store.content import Content
    from regcli.store.packs import PackWriter


def collision(digest: bytes, where: str) -> DigestCollisionError:
    """Return the error to raise for a content that is not the one which is stored under its digest."""
    return DigestCollisionError(
        f"two different contents have the digest {digest.hex()} (the other is in {where}); nothing was overwritten",
        hint="XXH3-128 is no defence against made-up collisions; find out where the file comes from",
    )


def is_damaged(path: str, digest: bytes) -> bool:
    """Tell whether a blob's file has other bytes than its name says.

    Raises:
        OSError: it cannot be read.
    """
    descriptor = os.open(path, files.READ)
    try:
        return blobs.hash_file(descriptor)[0] != digest
    finally:
        os.close(descriptor)


def settle_blob(digest: bytes, temporary: str, path: str, place: int) -> bool:
    """Tell whether ours takes the name of a blob that is taken, perhaps since we looked: it has the same bytes, or is damaged.

    `place` is a descriptor of its directory.

    Raises:
        DigestCollisionError: it is neither. OSError: one of them cannot be read.
    """
    theirs, ours = os.open(path, files.READ), os.open(temporary, files.READ)
    try:
        if blobs.same_bytes(theirs, ours):
            return False
        if not is_damaged(path, digest):
            raise collision(digest, path)
    finally:
        os.close(theirs)
        os.close(ours)
    # Proven not to be what its name says: the one case where a blob's file is replaced, but by a copy of itself (`lent.py`).
    os.replace(temporary, os.path.basename(path), dst_dir_fd=place)
    return True


def withdraw(content: Content, writer: PackWriter, digest: bytes) -> None:
    """Replace a published pack by one without a blob; the others may be in use by now."""
    from regcli.store.sweep import copy_records

    index = writer.index
    rows = [(other, row[1], row[2]) for other, row in index.rows() if other != digest] if index is not None else []
    if rows:
        copy_records(content, writer.identity, rows)
    writer.withdraw()
