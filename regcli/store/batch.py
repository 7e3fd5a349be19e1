"""Adding blobs: everything is staged, then published at once, durable (FORMAT.md 3.6)."""

from __future__ import annotations

import os
import stat
import time

import xxhash

from regcli.errors import DigestCollisionError, MissingPathError, SourceChangedError, UsageError
from regcli.store import blobs, files, packs
from regcli.store.statcache import is_settled, make_key

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Self

    from regcli.store.content import Content

_RETRIES = 3
# Up to here an fsync per file is cheaper than waiting for everybody's data on the file system.
_SYNC_EACH = 16
# One set of all digests is cheaper from so many look-ups on, and from one look-up for so many rows on; up to so many rows it is
# small enough.
_LOOKUPS = 64
_ROWS_A_LOOKUP = 32
_MAX_SET = 2_000_000


class Batch:
    """Blobs that are being added; a context manager that drops what was not published.

    Not safe for several threads at once. Attributes:
        content: the content that the blobs go to.
        added: blobs staged so far that the store did not have, and their bytes.
        learned: rows of the stat cache for the large blobs that were published, which were hashed on their way in. None for
            those whose file others can write to or have made: it may have changed since.
    """

    __slots__ = (
        "_finished",
        "_foreign",
        "_known",
        "_large",
        "_lookups",
        "_open",
        "_pack",
        "_refreshed",
        "added",
        "added_bytes",
        "content",
        "learned",
    )

    def __init__(self, content: Content, *, reserve: int = 0) -> None:
        self.content = content
        content.require_space(reserve)
        self.added = 0
        self.added_bytes = 0
        self._pack: packs.PackWriter | None = None
        self._finished: list[packs.PackWriter] = []
        self._large: dict[bytes, str] = {}
        self._open: list[int] = []
        self._known: set[bytes] | None = None
        self._lookups = 0
        self.learned = bytearray()
        self._foreign: set[bytes] = set()
        self._refreshed: set[str] = set()

    def __enter__(self) -> Self:
        self.content.index.refresh()
        return self

    def __exit__(self, *_: object) -> None:
        self.discard()

    def discard(self) -> None:
        """Drop everything that was not published."""
        writers = list(self._finished)
        if self._pack is not None:
            writers.append(self._pack)
        for writer in writers:
            writer.close(drop=True)
        for descriptor in self._open:
            os.close(descriptor)
        for path in self._large.values():
            try:
                os.unlink(path)
            except OSError:
                pass
        self._pack = None
        self._finished, self._large, self._open = [], {}, []

    # Small blobs

    def put_bytes(self, data: bytes) -> str:
        """Stage a blob from memory; return its digest.

        Raises:
            DigestCollisionError: another content with this digest is stored or staged.
            StorageError: it cannot be written.
        """
        digest = xxhash.xxh3_128_digest(data)
        if len(data) < packs.SMALL:
            self.put_small(digest, data)
        elif not self._is_stored(digest, data):
            self._put_large_bytes(digest, data)
        return digest.hex()

    def put_small(self, digest: bytes, data: bytes) -> None:
        """Stage a small blob whose digest was just computed from `data`."""
        writer = self._pack
        if writer is not None and digest in writer.rows:
            self._compare(digest, data, writer.read(digest), "this batch")
            return
        if self._is_stored(digest, data):
            return
        try:
            if writer is None:
                writer = self._new_pack()
            elif writer.size + len(data) > packs.MAX_PACK or len(writer.rows) >= packs.MAX_ROWS:
                self._finish_pack()
                writer = self._new_pack()
            writer.add(digest, data)
        except OSError as error:
            raise files.explain(error, f"cannot write to {self.content.root}") from error
        self.added += 1
        self.added_bytes += len(data)

    def _new_pack(self) -> packs.PackWriter:
        directory = self.content.index.directory
        try:
            self._pack = packs.PackWriter(directory)
        except FileNotFoundError:
            files.make_directories(directory)
            self._pack = packs.PackWriter(directory)
        return self._pack

    def _finish_pack(self) -> None:
        if self._pack is not None:
            self._pack.finish()
            self._finished.append(self._pack)
            self._pack = None

    def _is_stored(self, digest: bytes, data: bytes) -> bool:
        """Tell whether a blob is stored or staged; where it is, its bytes are compared."""
        for writer in self._finished:
            if writer.has(digest):
                self._compare(digest, data, writer.read(digest), "this batch")
                return True
        staged = self._large.get(digest)
        if staged is not None:
            self._compare(digest, data, _read_file(staged), "this batch")
            return True
        known = self._known
        if known is None:
            self._lookups += 1
            if self._lookups >= _LOOKUPS and self.content.index.count <= min(_MAX_SET, self._lookups * _ROWS_A_LOOKUP):
                self._known = self.content.index.all_digests()
        elif digest not in known and len(data) < packs.SMALL:
            return False
        return self._is_same_as_stored(digest, data)

    def _is_same_as_stored(self, digest: bytes, data: bytes) -> bool:
        content = self.content
        for place in content.index.find(digest):
            try:
                stored = content.read_place(digest, place)
            except (OSError, packs.PackError):
                # Damaged or gone: a second, intact copy is what the store needs.
                continue
            if stored != data and xxhash.xxh3_128_digest(stored) != digest:
                continue
            self._compare(digest, data, stored, content.index.pack_path(place[0]))
            self._refresh(content.index.pack_path(place[0]))
            return True
        if len(data) < packs.SMALL:
            # A small blob is seldom a file: not worth a system call for each. Stored twice is no harm.
            return False
        descriptor = content.open_loose(digest.hex())
        if descriptor is None:
            return False
        try:
            stored = packs.read_exactly(descriptor, len(data) + 1, 0)
        finally:
            os.close(descriptor)
        path = blobs.blob_path(content.root, digest.hex())
        if stored != data and _is_damaged(path, digest):
            return False
        self._compare(digest, data, stored, path)
        self._refresh(path)
        return True

    def _refresh(self, path: str) -> None:
        """Make a stored file young again, so that a sweep that runs at the same time leaves it alone."""
        if path not in self._refreshed:
            self._refreshed.add(path)
            try:
                os.utime(path)
            except OSError:
                # Another user's file: the lock that the caller holds keeps the sweep away.
                pass

    @staticmethod
    def _compare(digest: bytes, data: bytes, stored: bytes, where: str) -> None:
        if stored != data:
            raise _collision(digest, where)

    # Large blobs

    def _put_large_bytes(self, digest: bytes, data: bytes) -> None:
        path = ""
        try:
            path, descriptor = self._new_large()
            self._keep_open(descriptor)
            files.write_all(descriptor, data)
            os.fchmod(descriptor, 0o444)
        except OSError as error:
            _unlink(path)
            raise files.explain(error, f"cannot write to {self.content.root}") from error
        self._large[digest] = path
        self.added += 1
        self.added_bytes += len(data)

    def _new_large(self) -> tuple[str, int]:
        directory = f"{self.content.root}/blobs"
        path = files.temporary_path(directory)
        flags = files.CREATE & ~os.O_WRONLY | os.O_RDWR
        try:
            return path, os.open(path, flags, 0o600)
        except FileNotFoundError:
            files.make_directories(directory)
            return path, os.open(path, flags, 0o600)

    def _keep_open(self, descriptor: int) -> None:
        """Keep a few descriptors for their fsync; beyond that the whole file system is synced."""
        self._open.append(descriptor)
        if len(self._open) > _SYNC_EACH + 1:
            os.close(self._open.pop(0))

    def put_file(self, path: str) -> tuple[str, int]:
        """Stage the content of a regular file (links are followed); return digest and size.

        Raises:
            UsageError: it is no regular file.
            SourceChangedError: it kept changing while it was read.
            StorageError: it cannot be read, or the store cannot be written.
        """
        descriptor = open_source(path)
        try:
            digest, size, _ = self.put_descriptor(descriptor, path)
        finally:
            os.close(descriptor)
        return digest.hex(), size

    def put_stream(self, chunks: Iterable[bytes]) -> str:
        """Stage a large blob whose bytes come in pieces; return its digest.

        Raises:
            StorageError: the store cannot be written.
        """
        import xxhash

        state = xxhash.xxh3_128()
        size = 0
        try:
            temporary, owned = self._new_large()
        except OSError as error:
            raise files.explain(error, f"cannot write to {self.content.root}") from error
        keep = False
        try:
            for chunk in chunks:
                state.update(chunk)
                files.write_all(owned, chunk)
                size += len(chunk)
            keep = self._adopt(state.digest(), temporary, owned, size)
        except OSError as error:
            raise files.explain(error, f"cannot write to {self.content.root}") from error
        finally:
            if not keep:
                os.close(owned)
                _unlink(temporary)
        return state.hexdigest()

    def put_descriptor(
        self, descriptor: int, path: str, *, md5: bool = False, link_from: str | None = None
    ) -> tuple[bytes, int, bytes]:
        """Stage the content of an open file; return digest, size and MD5 (or b"").

        `link_from` is a path of the same file, to be linked instead of copied where the file system can.
        """
        for _ in range(_RETRIES):
            try:
                before = os.fstat(descriptor)
            except OSError as error:
                raise files.explain(error, f"cannot read {path}") from error
            if not stat.S_ISREG(before.st_mode):
                raise UsageError(f"{path} is not a regular file")
            if before.st_size < packs.SMALL and link_from is None:
                found = self._take_small(descriptor, path, before, md5=md5)
            else:
                found = self._take_large(descriptor, path, before, md5=md5, link_from=link_from)
            if found is not None:
                return found
        raise SourceChangedError(f"{path} kept changing while it was read", hint="log it when nothing writes to it")

    def _take_small(self, descriptor: int, path: str, before: os.stat_result, *, md5: bool) -> tuple[bytes, int, bytes] | None:
        try:
            data = packs.read_exactly(descriptor, before.st_size + 1, 0)
            after = os.fstat(descriptor)
        except OSError as error:
            raise files.explain(error, f"cannot read {path}") from error
        if len(data) != before.st_size or not is_unchanged(before, after):
            return None
        digest = xxhash.xxh3_128_digest(data)
        self.put_small(digest, data)
        return digest, len(data), md5_of(data) if md5 else b""

    def _take_large(
        self, descriptor: int, path: str, before: os.stat_result, *, md5: bool, link_from: str | None
    ) -> tuple[bytes, int, bytes] | None:
        update, finish = md5_updater() if md5 else (None, None)
        try:
            if link_from is not None and (linked := self._link(link_from, before)):
                temporary, owned = linked
            else:
                temporary, owned = self._new_large()
        except OSError as error:
            raise files.explain(error, f"cannot write to {self.content.root}") from error
        keep = False
        try:
            if owned < 0:
                # Linking changes ctime: the look from before must be from after it.
                before = os.fstat(descriptor)
                digest, size = blobs.hash_file(descriptor, update)
            elif blobs.clone(descriptor, owned):
                # What is stored is hashed, not what the source has become meanwhile; the same where every change would show,
                # and then the source is what lies in memory. (Cloning writes out what is mapped: later writes show too.)
                is_safe = is_settled(make_key(before), time.time_ns())
                digest, size = blobs.hash_file(descriptor if is_safe else owned, update)
            else:
                digest, size = blobs.copy_hashing(descriptor, owned, before.st_size, update=update, flush=blobs.Flush(owned))
            if size != before.st_size or not is_unchanged(before, os.fstat(descriptor)):
                return None
            keep = self._adopt(digest, temporary, owned, size)
        except OSError as error:
            raise files.explain(error, f"cannot copy {path} into {self.content.root}") from error
        finally:
            if not keep:
                if owned >= 0:
                    os.close(owned)
                _unlink(temporary)
        return digest, size, finish() if finish is not None else b""

    def _link(self, source: str, before: os.stat_result) -> tuple[str, int] | None:
        """Make the source itself the staged file, read-only from now on; None where it cannot be linked."""
        directory = f"{self.content.root}/blobs"
        files.make_directories(directory)
        temporary = files.temporary_path(directory)
        try:
            os.link(source, temporary)
            linked = os.lstat(temporary)
            if (linked.st_dev, linked.st_ino) != (before.st_dev, before.st_ino):
                raise OSError(0, "replaced")
            os.chmod(temporary, stat.S_IMODE(before.st_mode) & 0o555 | 0o444)
        except OSError:
            _unlink(temporary)
            return None
        return temporary, -1

    def _adopt(self, digest: bytes, temporary: str, owned: int, size: int) -> bool:
        """Keep a staged file, unless its bytes are stored or staged already (which is proven)."""
        other = self._large.get(digest)
        name = digest.hex()
        if other is None and self._pack_has(digest, temporary):
            return False
        path = other or blobs.blob_path(self.content.root, name)
        descriptor = os.open(other, files.READ) if other else self.content.open_loose(name)
        if descriptor is not None:
            staged = os.open(temporary, files.READ)
            try:
                same = blobs.same_bytes(descriptor, staged)
            finally:
                os.close(staged)
                os.close(descriptor)
            if same:
                if not other:
                    self._refresh(path)
                return False
            # What is stored may be damaged; then ours takes its place when the batch is published.
            if other or not _is_damaged(path, digest):
                raise _collision(digest, "this batch" if other else path)
        if owned >= 0:
            os.fchmod(owned, 0o444)
            self._keep_open(owned)
        else:
            self._keep_open(os.open(temporary, files.READ))
            self._foreign.add(digest)
        self._large[digest] = temporary
        self.added += 1
        self.added_bytes += size
        return True

    def _pack_has(self, digest: bytes, temporary: str) -> bool:
        """Tell whether a pack has these bytes, which happens where it was written with another threshold."""
        writers = list(self._finished)
        if self._pack is not None:
            writers.append(self._pack)
        if not any(writer.has(digest) for writer in writers) and not self.content.index.find(digest):
            return False
        data = _read_file(temporary)
        for writer in writers:
            if writer.has(digest):
                self._compare(digest, data, writer.read(digest), "this batch")
                return True
        return self._is_same_as_stored(digest, data) if len(data) < packs.MAX_PACK else False

    # Publishing

    def publish(self) -> None:
        """Make everything durable and visible; returns only when it is.

        Raises:
            StorageError: it could not be made durable; nothing refers to it yet, so nothing is half done.
        """
        root = self.content.root
        try:
            self._finish_pack()
            self._sync_large()
            for writer in self._finished:
                writer.publish()
            touched = self._name_large()
            if self._finished:
                files.fsync_directory(self.content.index.directory)
            if len(touched) <= _SYNC_EACH or not blobs.sync_file_system(f"{root}/blobs"):
                for directory in touched:
                    files.fsync_directory(directory)
        except OSError as error:
            raise files.explain(error, f"cannot write to {root}") from error
        for writer in self._finished:
            self._check_rival_packs(writer)
            writer.close()
            if writer.index is not None:
                self.content.index.add(writer.identity, writer.index)
        added = bool(self._finished)
        self._finished = []
        large = [digest for digest in self._large if digest not in self._foreign]
        self.discard()
        self._learn(large)
        if added:
            self.content.index.merge()

    def _learn(self, digests: list[bytes]) -> None:
        """Note what `stat` says of published blobs, after their other names are gone, which changes it."""
        for digest in digests:
            try:
                status = os.lstat(blobs.blob_path(self.content.root, digest.hex()))
            except OSError:
                continue
            self.learned += make_key(status) + digest

    def _sync_large(self) -> None:
        if not self._large:
            return
        if len(self._large) > _SYNC_EACH and blobs.sync_file_system(f"{self.content.root}/blobs"):
            return
        if len(self._open) == len(self._large):
            for descriptor in self._open:
                files.fsync_file(descriptor)
            return
        for path in self._large.values():
            descriptor = os.open(path, files.READ)
            try:
                files.fsync_file(descriptor)
            finally:
                os.close(descriptor)

    def _name_large(self) -> list[str]:
        """Give the staged files their names; return the directories that changed."""
        touched = set()
        for digest, temporary in self._large.items():
            path = blobs.blob_path(self.content.root, digest.hex())
            directory = os.path.dirname(path)
            if directory not in touched:
                files.make_directories(directory)
                touched.add(directory)
            if not files.link_exclusive(temporary, path):
                self._check_rival(digest, temporary, path)
        return sorted(touched)

    def _check_rival_packs(self, writer: packs.PackWriter) -> None:
        """Compare with what others published meanwhile: of two writers, at least the later one looks after both are there."""
        for digest, identity, length, offset in self.content.index.rivals(writer.has, writer.identity):
            stored = self.content.read_place(digest, (identity, length, offset))
            if stored != writer.read(digest) and xxhash.xxh3_128_digest(stored) == digest:
                self._withdraw(writer, digest)
                raise _collision(digest, self.content.index.pack_path(identity))

    def _withdraw(self, writer: packs.PackWriter, digest: bytes) -> None:
        """Replace a published pack by one without a blob; the others may be in use by now."""
        from regcli.store.sweep import copy_records

        index = writer.index
        rows = [(other, row[1], row[2]) for other, row in index.rows() if other != digest] if index is not None else []
        if rows:
            copy_records(self.content, writer.identity, rows)
        os.unlink(writer.final_path)

    def _check_rival(self, digest: bytes, temporary: str, path: str) -> None:
        """The name is taken, perhaps since we looked: it must be the same bytes, or damaged."""
        theirs, ours = os.open(path, files.READ), os.open(temporary, files.READ)
        try:
            if blobs.same_bytes(theirs, ours):
                self._foreign.add(digest)
                return
            if not _is_damaged(path, digest):
                raise _collision(digest, path)
        finally:
            os.close(theirs)
            os.close(ours)
        # Proven not to be what its name says: the one case where a blob's file is replaced.
        os.replace(temporary, path)


def open_source(path: str) -> int:
    """Open a user's file for reading; a FIFO does not block.

    Raises:
        StorageError: it cannot be opened.
        MissingPathError: there is no such file.
    """
    try:
        return os.open(path, files.READ & ~files.NOFOLLOW)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise MissingPathError(f"there is no file {path}") from error
    except OSError as error:
        raise files.explain(error, f"cannot read {path}") from error


def is_unchanged(before: os.stat_result, after: os.stat_result) -> bool:
    """Tell whether a file's content cannot have changed between two looks (mmap writers excepted)."""
    return (before.st_size, before.st_mtime_ns, before.st_ctime_ns, before.st_ino, before.st_dev) == (
        after.st_size,
        after.st_mtime_ns,
        after.st_ctime_ns,
        after.st_ino,
        after.st_dev,
    )


def md5_of(data: bytes) -> bytes:
    """Return the MD5 that W&B's older manifests name files by."""
    from hashlib import md5

    return md5(data, usedforsecurity=False).digest()


def md5_updater() -> tuple[Callable[[memoryview], object], Callable[[], bytes]]:
    """Return functions that take bytes in parts, and give the MD5 in the end."""
    from hashlib import md5

    hasher = md5(usedforsecurity=False)
    return hasher.update, hasher.digest


def _collision(digest: bytes, where: str) -> DigestCollisionError:
    return DigestCollisionError(
        f"two different contents have the digest {digest.hex()} (the other is in {where}); nothing was overwritten",
        hint="XXH3-128 is no defence against made-up collisions; find out where the file comes from",
    )


def _is_damaged(path: str, digest: bytes) -> bool:
    descriptor = os.open(path, files.READ)
    try:
        return blobs.hash_file(descriptor)[0] != digest
    finally:
        os.close(descriptor)


def _read_file(path: str) -> bytes:
    descriptor = os.open(path, files.READ)
    try:
        return packs.read_exactly(descriptor, os.fstat(descriptor).st_size, 0)
    finally:
        os.close(descriptor)


def _unlink(path: str) -> None:
    if path:
        try:
            os.unlink(path)
        except OSError:
            pass
