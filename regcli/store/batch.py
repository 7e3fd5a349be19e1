"""Adding blobs: everything is staged, then published at once, durable (FORMAT.md 3.6)."""

from __future__ import annotations

import os
import stat
import time

import xxhash

from regcli.errors import SourceChangedError, UsageError
from regcli.store import blobs, files, packs
from regcli.store.lent import Lent
from regcli.store.stage import LargeStage, PackStage, read_file
from regcli.store.statcache import is_settled, make_key

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Self

    from regcli.store.content import Content

_RETRIES = 3
# One set of all digests is cheaper from so many look-ups on, and from one look-up for so many rows on; up to so many rows it is
# small enough.
_LOOKUPS = 64
_ROWS_A_LOOKUP = 32
_MAX_SET = 2_000_000


class Batch:
    """Blobs that are being added; a context manager that drops what was not published.

    Not safe for several threads at once. Attributes:
        content: the content that the blobs go to.
        added: how many blobs were staged so far that the store did not have.
        learned: rows of the stat cache for the large blobs that were published, which were hashed on their way in. None for
            those whose file others can write to or have made: it may have changed since.
    """

    __slots__ = (
        "_known", "_large", "_lent", "_lookups", "_packs", "_refreshed", "added", "content", "learned",
    )  # fmt: skip

    def __init__(self, content: Content, *, reserve: int = 0) -> None:
        self.content = content
        content.require_space(reserve)
        self.added = 0
        self._packs = PackStage(content.root)
        self._large = LargeStage(content.root)
        self._lent = Lent(content.root, self._large.create)
        self._known: set[bytes] | None = None
        self._lookups = 0
        self.learned = bytearray()
        self._refreshed: set[str] = set()

    def __enter__(self) -> Self:
        self.content.index.refresh()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is not None:
                self.give_back()
        finally:
            self.discard()

    def keep_sources(self) -> None:
        """Let the store have the files that it shares for good: what was to come of the batch has come."""
        self._lent.keep()

    def give_back(self) -> list[str]:
        """Make the files that were to be shared what they were; return those that stay read-only."""
        return self._lent.give_all_back()

    def discard(self) -> None:
        """Drop everything that was not published."""
        self._packs.discard()
        self._large.discard()

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
        writer = self._packs.writer
        if writer is not None and digest in writer.rows:
            self._compare(digest, data, writer.read(digest), "this batch")
            return
        if self._is_stored(digest, data):
            return
        try:
            self._packs.add(digest, data)
        except OSError as error:
            raise files.explain(error, f"cannot write to {self.content.root}") from error
        self.added += 1

    def _is_stored(self, digest: bytes, data: bytes) -> bool:
        """Tell whether a blob is stored or staged; where it is, its bytes are compared."""
        for writer in self._packs.finished:
            if writer.has(digest):
                self._compare(digest, data, writer.read(digest), "this batch")
                return True
        staged = self._large.paths.get(digest)
        if staged is not None:
            self._compare(digest, data, read_file(staged), "this batch")
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
        if stored != data:
            from regcli.store.rivals import is_damaged

            if is_damaged(path, digest):
                return False
        self._compare(digest, data, stored, path)
        self._refresh(path)
        return True

    def _refresh(self, path: str) -> None:
        """Make a stored file young again, so that a sweep that runs at the same time leaves it alone."""
        if path not in self._refreshed:
            self._refreshed.add(path)
            try:
                os.utime(path, follow_symlinks=False)
            except OSError:
                # Another user's file: the lock that the caller holds keeps the sweep away.
                pass

    @staticmethod
    def _compare(digest: bytes, data: bytes, stored: bytes, where: str) -> None:
        if stored != data:
            from regcli.store.rivals import collision

            raise collision(digest, where)

    # Large blobs

    def _put_large_bytes(self, digest: bytes, data: bytes) -> None:
        try:
            self._large.add_bytes(digest, data)
        except OSError as error:
            raise files.explain(error, f"cannot write to {self.content.root}") from error
        self.added += 1

    def put_stream(self, chunks: Iterable[bytes]) -> str:
        """Stage a large blob whose bytes come in pieces; return its digest.

        Raises:
            StorageError: the store cannot be written.
        """
        state = xxhash.xxh3_128()
        try:
            temporary, owned = self._large.create()
        except OSError as error:
            raise files.explain(error, f"cannot write to {self.content.root}") from error
        keep = False
        try:
            for chunk in chunks:
                state.update(chunk)
                files.write_all(owned, chunk)
            keep = self._adopt(state.digest(), temporary, owned)
        except OSError as error:
            raise files.explain(error, f"cannot write to {self.content.root}") from error
        finally:
            if not keep:
                os.close(owned)
                files.unlink_quietly(temporary)
        return state.hexdigest()

    def put_descriptor(
        self, descriptor: int, path: str, *, md5: bool = False, link_from: str | None = None
    ) -> tuple[bytes, int, bytes]:
        """Stage the content of an open file; return digest, size and MD5 (or b"").

        `link_from` is a path of the same file, to be linked instead of copied where the file system can.

        Raises:
            UsageError: it is no regular file.
            SourceChangedError: it kept changing while it was read.
            StorageError: it cannot be read, or the store cannot be written.
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
            elif link_from is None:
                found = self._take_large(descriptor, path, before, md5=md5, link_from=None)
            else:
                found = self._take_shared(descriptor, path, before, md5=md5, link_from=link_from)
            if found is not None:
                return found
        raise SourceChangedError(f"{path} kept changing while it was read", hint="log it when nothing writes to it")

    def _take_small(self, descriptor: int, path: str, before: os.stat_result, *, md5: bool) -> tuple[bytes, int, bytes] | None:
        try:
            data = packs.read_exactly(descriptor, before.st_size + 1, 0)
            after = os.fstat(descriptor)
        except OSError as error:
            raise files.explain(error, f"cannot read {path}") from error
        if len(data) != before.st_size or not blobs.is_unchanged(before, after):
            return None
        digest = xxhash.xxh3_128_digest(data)
        self.put_small(digest, data)
        return digest, len(data), blobs.md5_of(data) if md5 else b""

    def _take_shared(
        self, descriptor: int, path: str, before: os.stat_result, *, md5: bool, link_from: str
    ) -> tuple[bytes, int, bytes] | None:
        self._lent.note(link_from, before)
        added = self.added
        found = self._take_large(descriptor, path, before, md5=md5, link_from=link_from)
        if found is not None and self.added > added:
            self._lent.stage(link_from, found[0])
        elif found is not None:
            # The store has its bytes already.
            self._lent.give_back(link_from, stored=found[0])
        return found

    def _take_large(
        self, descriptor: int, path: str, before: os.stat_result, *, md5: bool, link_from: str | None
    ) -> tuple[bytes, int, bytes] | None:
        update, finish = blobs.md5_updater() if md5 else (None, None)
        try:
            if link_from is not None and (linked := self._large.link(link_from, before)):
                temporary, owned = linked, -1
            else:
                temporary, owned = self._large.create()
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
            if size != before.st_size or not blobs.is_unchanged(before, os.fstat(descriptor)):
                return None
            keep = self._adopt(digest, temporary, owned)
        except OSError as error:
            raise files.explain(error, f"cannot copy {path} into {self.content.root}") from error
        finally:
            if not keep:
                if owned >= 0:
                    os.close(owned)
                files.unlink_quietly(temporary)
        return digest, size, finish() if finish is not None else b""

    def _adopt(self, digest: bytes, temporary: str, owned: int) -> bool:
        """Keep a staged file, unless its bytes are stored or staged already (which is proven)."""
        other = self._large.paths.get(digest)
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
            from regcli.store import rivals

            if other or not rivals.is_damaged(path, digest):
                raise rivals.collision(digest, "this batch" if other else path)
        self._large.add(digest, temporary, owned)
        self.added += 1
        return True

    def _pack_has(self, digest: bytes, temporary: str) -> bool:
        """Tell whether a pack has these bytes, which happens where it was written with another threshold."""
        writers = self._packs.all()
        if not any(writer.has(digest) for writer in writers) and not self.content.index.find(digest):
            return False
        data = read_file(temporary)
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
            self._packs.finish()
            self._large.sync()
            for writer in self._packs.finished:
                writer.publish()
            touched = self._large.name()
            if self._packs.finished:
                self._packs.finished[0].sync_names()
            self._large.sync_names(touched)
        except OSError as error:
            raise files.explain(error, f"cannot write to {root}") from error
        for writer in self._packs.finished:
            self._check_rival_packs(writer)
            writer.close()
            if writer.index is not None:
                self.content.index.add(writer.identity, writer.index)
        added = bool(self._packs.finished)
        self._packs.finished = []
        large = self._large.own()
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

    def _check_rival_packs(self, writer: packs.PackWriter) -> None:
        """Compare with what others published meanwhile: of two writers, at least the later one looks after both are there."""
        for digest, identity, length, offset in self.content.index.rivals(writer.has, writer.identity):
            stored = self.content.read_place(digest, (identity, length, offset))
            if stored != writer.read(digest) and xxhash.xxh3_128_digest(stored) == digest:
                from regcli.store import rivals

                rivals.withdraw(self.content, writer, digest)
                raise rivals.collision(digest, self.content.index.pack_path(identity))
