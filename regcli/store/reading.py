"""Reading a file that is to be logged: hashed, staged, and never taken for what it was before somebody wrote to it."""

from __future__ import annotations

import os

import xxhash

from regcli.errors import SourceChangedError
from regcli.store import blobs, files, packs
from regcli.store.statcache import make_key
from regcli.store.walk import refuse_special

TYPE_CHECKING = False
if TYPE_CHECKING:
    from regcli.store.batch import Batch

_OPEN = files.READ & ~files.NOFOLLOW
_RETRIES = 3


class Reader:
    """Reads files for one `ingest`; without a batch they are only hashed."""

    __slots__ = ("_batch", "_link_mode", "_md5")

    def __init__(self, batch: Batch | None, *, link_mode: str, md5: bool) -> None:
        self._batch = batch
        self._link_mode = link_mode
        self._md5 = md5

    def read(self, name: str, directory: int | None, where: str, key: bytes) -> tuple[bytes, os.stat_result, bytes]:
        """Stage the content of a file.

        Args:
            name: relative to `directory`, the descriptor of an open one, where that is given.
            directory: see there.
            where: the file's path.
            key: what `stat` said of it a moment ago, as the stat cache has it.

        Returns:
            The digest (with the MD5 behind it where that is asked for), and the `stat` of what was read with its key: another
            one than `key` where the file is no longer what was seen.

        Raises:
            SourceChangedError: it is gone, or kept changing. UsageError: it is no regular file any more.
            StorageError: it cannot be read, or the store cannot be written.
        """
        try:
            descriptor = os.open(name, _OPEN, dir_fd=directory)
        except FileNotFoundError as error:
            raise SourceChangedError(
                f"{where} vanished while it was logged", hint="log it when nothing writes to it"
            ) from error
        except OSError as error:
            raise files.explain(error, f"cannot read {where}") from error
        try:
            size = int.from_bytes(key[16:24], "little")
            if size < packs.SMALL and self._link_mode != "hardlink":
                # The look from before is the caller's: one call fewer for each file.
                try:
                    data = os.read(descriptor, size + 1)
                    after = os.fstat(descriptor)
                except OSError as error:
                    raise files.explain(error, f"cannot read {where}") from error
                if len(data) == size and make_key(after) == key:
                    digest = xxhash.xxh3_128_digest(data)
                    if self._batch is not None:
                        self._batch.put_small(digest, data)
                    return digest + blobs.md5_of(data) if self._md5 else digest, after, key
            return self._read_slowly(descriptor, where)
        finally:
            os.close(descriptor)

    def _read_slowly(self, descriptor: int, where: str) -> tuple[bytes, os.stat_result, bytes]:
        if self._batch is None:
            value = self._hash_only(descriptor, where)
        else:
            # The link is made from the path; a file that was replaced meanwhile is noticed and copied.
            link_from = os.path.realpath(where) if self._link_mode != "copy" else None
            digest, _, md5 = self._batch.put_descriptor(descriptor, where, md5=self._md5, link_from=link_from)
            value = digest + md5
        try:
            after = os.fstat(descriptor)
        except OSError as error:
            raise files.explain(error, f"cannot read {where}") from error
        return value, after, make_key(after)

    def _hash_only(self, descriptor: int, where: str) -> bytes:
        for _ in range(_RETRIES):
            try:
                before = os.fstat(descriptor)
                refuse_special(where, before.st_mode)
                update, finish = blobs.md5_updater() if self._md5 else (None, None)
                digest, size = blobs.hash_file(descriptor, update)
                after = os.fstat(descriptor)
            except OSError as error:
                raise files.explain(error, f"cannot read {where}") from error
            if size == after.st_size and blobs.is_unchanged(before, after):
                return digest + finish() if finish is not None else digest
        raise SourceChangedError(f"{where} kept changing while it was read", hint="log it when nothing writes to it")
