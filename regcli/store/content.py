"""The content of a root: blobs by digest, however they are laid out (FORMAT.md 3)."""

from __future__ import annotations

import os
import stat
from itertools import islice

import xxhash

from regcli.errors import IntegrityError, MissingBlobError, StorageError
from regcli.store import blobs, files, packs
from regcli.store.packset import PackSet

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Self

    from regcli.store.batch import Batch

    Problem = tuple[str, str, str | None, str]
    Place = tuple[bytes, int, int]

_MAX_READ = 1 << 30
_KEPT_OPEN = 128
_TOGETHER = 1 << 16


class Content:
    """The blobs below one root directory; making it reads and creates nothing.

    Reading is safe from several threads. Attributes:
        root: the root directory.
        index: where blobs are inside packs.
    """

    __slots__ = ("_descriptors", "index", "root")

    def __init__(self, root: str) -> None:
        self.root = root
        self.index = PackSet(f"{root}/packs")
        self._descriptors: dict[bytes, int] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        try:
            self.close()
        except (AttributeError, TypeError):
            # At the very end of the interpreter modules are taken apart; the system closes what is left.
            return

    def close(self) -> None:
        """Close the packs that were kept open; the object stays usable."""
        descriptors, self._descriptors = self._descriptors, {}
        for descriptor in descriptors.values():
            os.close(descriptor)
        self.index.close()

    # Adding

    def batch(self, *, reserve: int = 0) -> Batch:
        """Return a batch, to be used as a context manager; `reserve` bytes must be free on the disk.

        Raises:
            StorageError: they are not.
        """
        from regcli.store.batch import Batch

        return Batch(self, reserve=reserve)

    # Asking

    def have(self, digests: Iterable[str]) -> set[str]:
        """Return those digests whose blobs are stored (by the index and the directory; nothing is read).

        Raises:
            StorageError: it cannot be told.
        """
        wanted = set(digests)
        found = self.have_binary({bytes.fromhex(digest) for digest in wanted})
        return wanted if len(found) == len(wanted) else {digest for digest in wanted if bytes.fromhex(digest) in found}

    def have_binary(self, digests: set[bytes]) -> set[bytes]:
        """Do the same with digests of 16 bytes."""
        self.index.refresh()
        found = self.index.known(digests)
        if len(found) == len(digests):
            return found
        found |= {digest for digest in digests - found if self._loose_size(digest.hex()) is not None}
        if len(found) < len(digests) and self._recall(digests - found):
            missing = digests - found
            found |= self.index.known(missing)
            found |= {digest for digest in missing if self._loose_size(digest.hex()) is not None}
        return found

    def is_untouched_since(self, moment: int) -> bool:
        """Tell whether no pack and no large blob was added or taken away since a time, in ns since the epoch.

        By the times of some hundred directories: where those or the clocks do not tell, it is not.
        """
        try:
            for name in ("packs", "blobs"):
                path = f"{self.root}/{name}"
                # Where there never were any; taking the directory away changes the one above.
                if os.stat(path if os.path.exists(path) else self.root).st_mtime_ns >= moment:
                    return False
            with os.scandir(f"{self.root}/blobs") as shards:
                return all(shard.stat(follow_symlinks=False).st_mtime_ns < moment for shard in shards)
        except FileNotFoundError:
            return True
        except OSError:
            return False

    def _loose_size(self, digest: str) -> int | None:
        """Return the size of a large blob's file, or None where there is none; not knowing is not absence.

        Raises:
            StorageError: it cannot be told.
        """
        path = blobs.blob_path(self.root, digest)
        try:
            status = os.stat(path, follow_symlinks=False)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise files.explain(error, f"cannot read {path}") from error
        return status.st_size if stat.S_ISREG(status.st_mode) else None

    def size(self, digest: str) -> int:
        """Return a blob's size.

        Raises:
            MissingBlobError: it is not stored.
            StorageError: it cannot be told.
        """
        for attempt in range(4):
            places = self.index.find(bytes.fromhex(digest))
            if places:
                return places[0][1]
            size = self._loose_size(digest)
            if size is not None:
                return size
            if not self._again(digest, attempt):
                break
        raise MissingBlobError(f"no blob {digest} in {self.root}", hint="run `regcli verify` to see all damage")

    def sizes(self, digests: Iterable[str], unreadable: dict[str, str] | None = None) -> dict[str, int]:
        """Return the sizes of those of many blobs that are stored (by the index and the directory; nothing is read).

        Args:
            digests: the blobs.
            unreadable: takes, for each blob of which it cannot be told, a sentence that says why.

        Raises:
            StorageError: it cannot be told of one, and there is no `unreadable`.
        """
        found: dict[str, int] = {}
        rest = iter(digests)
        # A part at a time: the places of a million blobs take half a gigabyte.
        while some := {bytes.fromhex(digest): digest for digest in islice(rest, _TOGETHER)}:
            found.update([(some[digest], place[1]) for digest, place in self.index.places(some).items()])
            for digest in some.values():
                if digest in found:
                    continue
                try:
                    size = self._loose_size(digest)
                except StorageError as error:
                    if unreadable is None:
                        raise
                    unreadable[digest] = error.message
                    continue
                if size is not None:
                    found[digest] = size
        return found

    def _again(self, digest: str, attempt: int) -> bool:
        """After a miss: look at what other processes added, then into the trash."""
        if attempt == 0:
            self._forget()
            return True
        if attempt == 1:
            # An index file may be wrong though its checksums are right; the packs themselves say what is in them.
            self.index.distrust()
            return True
        return attempt == 2 and self._recall({bytes.fromhex(digest)})

    def _forget(self) -> None:
        """Read the index anew: packs may have been added or rewritten since it was loaded."""
        self.index.close()
        self.index.refresh()

    def blobs(self) -> Iterator[tuple[str, int]]:
        """Yield (digest, size) of every stored blob, each once.

        Raises:
            StorageError: a directory cannot be read.
        """
        self.index.refresh()
        seen = set()
        for digest, _, length, _ in self.index.rows():
            if digest not in seen:
                seen.add(digest)
                yield digest.hex(), length
        for name in list(blobs.scan_blobs(self.root)):
            if bytes.fromhex(name) not in seen:
                size = self._loose_size(name)
                if size is not None:
                    yield name, size

    # Reading

    def pack_descriptor(self, identity: bytes) -> tuple[int, bool]:
        """Return an open pack, and whether the caller must close it.

        Raises:
            FileNotFoundError: it is gone.
        """
        descriptor = self._descriptors.get(identity)
        if descriptor is not None:
            return descriptor, False
        descriptor = packs.open_pack(self.index.pack_path(identity))
        # Those kept open are never closed before the end, so that other threads may be reading from them.
        if len(self._descriptors) < _KEPT_OPEN and self._descriptors.setdefault(identity, descriptor) == descriptor:
            return descriptor, False
        return descriptor, True

    def read_place(self, digest: bytes, place: Place) -> bytes:
        """Return the bytes of a record, unproven but with the right record header.

        Raises:
            PackError: there is no such record at that place.
            OSError: the pack is gone, or cannot be read.
        """
        identity, length, offset = place
        descriptor, owned = self.pack_descriptor(identity)
        try:
            data = packs.read_exactly(descriptor, length + 24, offset - 24) if offset >= 24 else b""
        finally:
            if owned:
                os.close(descriptor)
        if data[:24] != packs.RECORD.pack(packs.RECORD_MAGIC, length, digest) or len(data) != length + 24:
            raise packs.PackError("no such record")
        return data[24:]

    def read(self, digest: str, limit: int = _MAX_READ) -> bytes:
        """Return a whole blob, proven against its digest.

        Raises:
            MissingBlobError: it is not stored.
            IntegrityError: it is damaged everywhere, or larger than `limit`; names the file.
            StorageError: a file that it may be in cannot be read.
        """
        problems: list[str] = []
        for attempt in range(4):
            data = self._read_from_packs(digest, limit, problems)
            if data is None:
                data = self._read_from_file(digest, limit, problems)
            if data is not None:
                return data
            if not self._again(digest, attempt):
                break
        # In a root that cannot be written nothing can be moved back, but read where it is.
        from regcli.store.sweep import trash_contents

        unread = [
            files.explain(error, f"cannot read {self.index.pack_path(pack)}") for pack, error in self.index.unreadable.items()
        ]
        for trash in trash_contents(self.root):
            with trash:
                try:
                    return trash.read(digest, limit)
                except IntegrityError:
                    continue
                except StorageError as error:
                    # It may be in another one.
                    unread.append(error)
        if unread and not problems:
            raise unread[0]
        problems += [f"{self.index.pack_path(pack)}, perhaps: {damage}" for pack, damage in self.index.damaged.items()]
        if problems:
            raise IntegrityError(f"blob {digest} is corrupt in {problems[0]}", hint="run `regcli verify` to see all damage")
        raise MissingBlobError(f"no blob {digest} in {self.root}", hint="run `regcli verify` to see all damage")

    def _read_from_packs(self, digest: str, limit: int, problems: list[str]) -> bytes | None:
        binary = bytes.fromhex(digest)
        for place in self.index.find(binary):
            path = self.index.pack_path(place[0])
            if place[1] > limit:
                raise IntegrityError(f"blob {digest} is larger than {limit} bytes")
            try:
                data = self.read_place(binary, place)
            except FileNotFoundError:
                continue
            except packs.PackError:
                problems.append(path)
                continue
            except OSError as error:
                raise files.explain(error, f"cannot read {path}") from error
            if xxhash.xxh3_128_digest(data) == binary:
                return data
            problems.append(path)
        return None

    def _read_from_file(self, digest: str, limit: int, problems: list[str]) -> bytes | None:
        path = blobs.blob_path(self.root, digest)
        try:
            data = files.read_document(path, limit)
        except (FileNotFoundError, NotADirectoryError):
            return None
        if xxhash.xxh3_128_hexdigest(data) == digest:
            return data
        problems.append(path)
        return None

    def open_loose(self, digest: str) -> int | None:
        """Return a descriptor of a large blob's file, or None.

        Raises:
            IntegrityError: it is no regular file.
            StorageError: it is there but cannot be opened.
        """
        path = blobs.blob_path(self.root, digest)
        try:
            descriptor = os.open(path, files.READ)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise files.explain(error, f"cannot read {path}") from error
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise IntegrityError(f"{path} is not a regular file")
        except OSError as error:
            os.close(descriptor)
            raise files.explain(error, f"cannot read {path}") from error
        except IntegrityError:
            os.close(descriptor)
            raise
        return descriptor

    def stream(self, digest: str) -> Iterator[bytes]:
        """Yield a blob's bytes. What is in a pack is proven before the first byte; a file is proven as it goes.

        Raises:
            MissingBlobError: it is not stored.
            IntegrityError: it is damaged; for a file after the last byte that could be read.
            StorageError: it cannot be read.
        """
        descriptor = None if self.index.find(bytes.fromhex(digest)) else self.open_loose(digest)
        if descriptor is None:
            yield self.read(digest)
            return
        path = blobs.blob_path(self.root, digest)
        hasher = xxhash.xxh3_128()
        try:
            while data := os.read(descriptor, blobs.BUFFER):
                hasher.update(data)
                yield data
        except OSError as error:
            raise files.explain(error, f"cannot read {path}") from error
        finally:
            os.close(descriptor)
        if hasher.hexdigest() != digest:
            raise IntegrityError(f"blob {digest} is corrupt in {path}", hint="run `regcli verify` to see all damage")

    # Trash: what a sweep took away and somebody wants again

    def _recall(self, digests: set[bytes]) -> bool:
        if not files.is_there(f"{self.root}/trash"):
            return False
        from regcli.store.sweep import recall

        if recall(self, digests):
            self._forget()
            return True
        return False

    # Checking and mending

    def check(
        self,
        *,
        quick: bool = False,
        threads: int | None = None,
        progress: Callable[[int, int], None] | None = None,
        only: set[str] | None = None,
    ) -> Iterator[Problem]:
        """Yield every problem as (kind, path, digest or None, message); see `regcli.store.check`."""
        from regcli.store.check import check_content

        return check_content(self, quick=quick, threads=threads, progress=progress, only=only)

    def restore(self, digest: str, source_path: str) -> bool:
        """Put back a damaged or missing blob from an intact file; False when that file has other content."""
        from regcli.store.check import restore_blob

        return restore_blob(self, digest, source_path)

    def free_space(self) -> int:
        """Return the bytes that an ordinary user may still write where the root is."""
        path = self.root
        while True:
            try:
                status = os.statvfs(path)
            except FileNotFoundError:
                parent = os.path.dirname(os.path.abspath(path))
                if parent == path:
                    return 1 << 62
                path = parent
            except OSError as error:
                raise files.explain(error, f"cannot read {path}") from error
            else:
                return status.f_bavail * status.f_frsize

    def require_space(self, size: int) -> None:
        """Refuse at once what cannot fit.

        Raises:
            StorageError: fewer than `size` bytes are free.
        """
        if size and self.free_space() < size:
            raise StorageError(
                f"not enough space in {self.root}: {size} bytes are needed",
                hint="free some space (`regcli gc` frees what the store no longer needs), then try again",
            )
