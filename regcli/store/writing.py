"""Writing the files of a version: small ones from packs, large ones from files, each proven before it has its name."""

from __future__ import annotations

import errno
import os

import xxhash

from regcli.errors import IntegrityError, MissingBlobError
from regcli.model import quote
from regcli.store import blobs, files, packs
from regcli.store.manifest import EXECUTABLE, FILE
from regcli.store.statcache import make_key

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from regcli.store.beneath import Beneath
    from regcli.store.content import Content
    from regcli.store.proofs import Proofs
    from regcli.store.tasks import Located, Setup, Task, Wanted

_CREATE = files.CREATE
# Records of a pack that are this near are read with one call.
_GAP = 64 << 10
_WINDOW = 1 << 20
_NO_LINK = (errno.EXDEV, errno.EPERM, errno.EMLINK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EACCES, errno.EROFS)


def _corrupt(content: Content, digest: str) -> IntegrityError:
    path = blobs.blob_path(content.root, digest)
    return IntegrityError(f"blob {digest} is corrupt in {path}", hint="run `regcli verify` to see all damage")


def _require_size(row: Wanted, size: int) -> None:
    """Refuse a blob of another size: its manifest lies, or something was added to it."""
    if size != row[2]:
        raise IntegrityError(
            f"the manifest says that {quote(row[0])} has {row[2]} bytes, but its blob has {size}",
            hint="run `regcli verify` to see all damage",
        )


class Writer:
    """Writes files; one for each thread.

    Attributes:
        written, bytes: what was written.
        learned: rows of the stat cache, of files that have their final names.
        finished: (directory, name, key in the stat cache before it got its name, digest) of the others.
        leftovers: (directory, row) of files whose bytes were not where the index said.
    """

    __slots__ = (
        "_beneath",
        "_buffer",
        "_directory",
        "_place",
        "_setup",
        "_threads",
        "bytes",
        "finished",
        "learned",
        "leftovers",
        "written",
    )

    def __init__(self, setup: Setup, beneath: Beneath, *, threads: int) -> None:
        self._setup = setup
        self._beneath = beneath
        self._threads = threads
        self._buffer = memoryview(b"")
        self._directory = -1
        self._place = ""
        self.written = 0
        self.bytes = 0
        self.learned = bytearray()
        self.finished: list[tuple[str, str, bytes, str]] = []
        self.leftovers: list[tuple[str, Wanted]] = []

    def close(self) -> None:
        """Close the directories that are open."""
        self._beneath.close()

    def write(self, task: Task) -> None:
        """Write all files of a task, or raise; files with their final names stay."""
        self._place = task.directory
        if task.is_new and task.small:
            self._fill_new(task.directory, task.small)
        elif task.small:
            self._directory = self._beneath.open(task.directory, create=True)
            for row, data in self._proven(task.small):
                self._write_bytes(row, data)
        self._setup.report()
        if task.large:
            self._directory = self._beneath.open(task.directory, create=True)
            for row in task.large:
                self._write_large(row)
                self._setup.report()

    def write_again(self, leftovers: list[tuple[str, Wanted]]) -> None:
        """Write files whose blobs have to be looked up anew."""
        for directory, row in leftovers:
            self._place = directory
            self._directory = self._beneath.open(directory, create=True)
            self._write_bytes(row, self._read_whole(row))

    def _done(self, name: str, status: os.stat_result | None, row: Wanted) -> None:
        self.written += 1
        self.bytes += row[2]
        if status is not None:
            self.finished.append((self._place, name, make_key(status), row[1]))

    def _fill_new(self, directory: str, small: list[Located]) -> None:
        """Fill a directory under another name, then give it its own: one renaming for all its files."""
        parent, _, name = directory.rpartition("/")
        outer = self._beneath.open(parent, create=True)
        temporary = self._temporary()
        path = f"{self._beneath.path}/{directory}"
        try:
            os.mkdir(temporary, dir_fd=outer)
            self._directory = os.open(temporary, os.O_RDONLY | files.CLOEXEC | files.NOFOLLOW, dir_fd=outer)
        except OSError as error:
            raise files.explain(error, f"cannot make {path}") from error
        done: list[str] = []
        try:
            self._create(small, done)
            try:
                os.rename(temporary, name, src_dir_fd=outer, dst_dir_fd=outer)
            except OSError as error:
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
                    raise files.explain(error, f"cannot make {path}") from error
                self._move_out(directory, done)
            done = []
        finally:
            for left in done:
                _unlink(left, self._directory)
            os.close(self._directory)
            try:
                os.rmdir(temporary, dir_fd=outer)
            except OSError:
                pass

    def _move_out(self, directory: str, names: list[str]) -> None:
        """Somebody made the directory meanwhile: its files go in one by one."""
        inner = self._beneath.fork()
        try:
            descriptor = inner.open(directory, create=True)
            for name in names:
                os.rename(name, name, src_dir_fd=self._directory, dst_dir_fd=descriptor)
        except OSError as error:
            raise files.explain(error, f"cannot write to {self._beneath.path}/{directory}") from error
        finally:
            inner.close()

    def _proven(self, rows: list[Located]) -> Iterator[tuple[Wanted, memoryview]]:
        """Yield each row with its bytes, proven; what is damaged or was moved becomes a leftover: there may be another copy."""
        start = 0
        proofs = self._setup.proofs
        digest_of = xxhash.xxh3_128_hexdigest
        while start < len(rows):
            if self._setup.failures:
                raise blobs.StoppedError
            identity, first, length, _ = rows[start]
            end = start + 1
            limit = first + length
            while end < len(rows) and rows[end][0] == identity:
                offset, size = rows[end][1:3]
                if offset > limit + _GAP or offset + size > first + _WINDOW:
                    break
                limit = max(limit, offset + size)
                end += 1
            view = self._read(identity, first, limit - first)
            for _, offset, size, row in rows[start:end]:
                data = view[offset - first : offset - first + size]
                if digest_of(data) != row[1]:
                    self.leftovers.append((self._place, row))
                    continue
                if proofs is not None:
                    proofs.require_bytes(row[1], data, row[0])
                yield row, data
            start = end

    def _create(self, rows: list[Located], done: list[str]) -> None:
        """Write files into a new directory that nobody sees yet: no other names, nothing to look at twice.

        `done` gets the names. The loop is written out, since every call in it is made once for each file.
        """
        directory = self._directory
        modes = (self._mode(FILE), self._mode(EXECUTABLE))
        wants_status = self._setup.wants_status
        statuses: list[os.stat_result] = []
        digests: list[str] = []
        name = ""
        try:
            for (name, digest, size, flags), data in self._proven(rows):
                done.append(name)
                descriptor = os.open(name, _CREATE, modes[flags == EXECUTABLE], dir_fd=directory)
                try:
                    if os.write(descriptor, data) != size:
                        os.lseek(descriptor, 0, os.SEEK_SET)
                        files.write_all(descriptor, data)
                    if wants_status:
                        statuses.append(os.fstat(descriptor))
                        digests.append(digest)
                finally:
                    os.close(descriptor)
                self.bytes += size
        except OSError as error:
            raise files.explain(error, f"cannot write {self._path(name)}") from error
        self.written += len(done)
        self.learned += b"".join(
            [make_key(status) + bytes.fromhex(digest) for status, digest in zip(statuses, digests, strict=True)]
        )

    def _read(self, identity: bytes, offset: int, size: int) -> memoryview:
        """Return bytes of a pack, good until the next call: new memory for each window costs more than reading it."""
        if size > len(self._buffer):
            self._buffer = memoryview(bytearray(max(size, _WINDOW)))
        try:
            descriptor, owned = self._setup.content.pack_descriptor(identity)
            try:
                return self._buffer[: packs.fill(descriptor, self._buffer[:size], offset)]
            finally:
                if owned:
                    os.close(descriptor)
        except FileNotFoundError:
            # Rewritten by a sweep since the index was loaded: each blob is looked up anew.
            return self._buffer[:0]
        except OSError as error:
            raise files.explain(error, f"cannot read {self._setup.content.index.pack_path(identity)}") from error

    def _path(self, name: str) -> str:
        return f"{self._beneath.path}/{self._place}/{name}" if self._place else f"{self._beneath.path}/{name}"

    def _mode(self, flags: int) -> int:
        """Return the mode to create a file with (the kernel applies the umask): read-only where links were asked for."""
        mode = 0o777 if flags == EXECUTABLE else 0o666
        return mode & 0o555 if self._setup.shares_files else mode

    def _temporary(self) -> str:
        return self._setup.temporary()

    def _write_bytes(self, row: Wanted, data: memoryview | bytes) -> None:
        """Write proven bytes under another name, which becomes the file's."""
        directory = self._directory
        temporary = self._temporary()
        status = None
        try:
            descriptor = os.open(temporary, _CREATE, self._mode(row[3]), dir_fd=directory)
            try:
                files.write_all(descriptor, data)
                if self._setup.wants_status:
                    status = os.fstat(descriptor)
            except BaseException:
                _unlink(temporary, directory)
                raise
            finally:
                os.close(descriptor)
            self._rename(temporary, row[0])
        except OSError as error:
            raise files.explain(error, f"cannot write {self._path(row[0])}") from error
        self._done(row[0], status, row)

    def _rename(self, temporary: str, name: str) -> None:
        try:
            os.rename(temporary, name, src_dir_fd=self._directory, dst_dir_fd=self._directory)
        except BaseException:
            _unlink(temporary, self._directory)
            raise

    # Large blobs, and links to the store

    def _write_large(self, row: Wanted) -> None:
        source = self._setup.content.open_loose(row[1])
        if source is None:
            self.leftovers.append((self._place, row))
            return
        try:
            # Before anything is copied or read: a blob may be larger than the disk.
            if (size := os.fstat(source).st_size) > row[2]:
                _require_size(row, size)
            mode = self._setup.link_mode
            if mode in ("hardlink", "symlink") and row[3] != EXECUTABLE and self._link(row, source, mode):
                return
            self._copy(row, source)
        finally:
            os.close(source)

    def _read_whole(self, row: Wanted) -> bytes:
        try:
            data = self._setup.content.read(row[1])
        except MissingBlobError as error:
            raise MissingBlobError(
                f"the content of {quote(self._path(row[0]))} is missing from the store: blob {row[1]}", hint=error.hint
            ) from error
        _require_size(row, len(data))
        if self._setup.proofs is not None:
            self._setup.proofs.require_bytes(row[1], data, row[0])
        return data

    def _prove(self, source: int, row: Wanted) -> bytes:
        key = self._setup.prove(source, row[1])
        if key is None:
            raise _corrupt(self._setup.content, row[1])
        _require_size(row, os.fstat(source).st_size)
        return key

    def _link(self, row: Wanted, source: int, mode: str) -> bool:
        """Give the store's own file a name here; False where that cannot be."""
        before = self._prove(source, row)
        path = os.path.abspath(blobs.blob_path(self._setup.content.root, row[1]))
        temporary = self._temporary()
        try:
            if mode == "hardlink":
                os.link(path, temporary, dst_dir_fd=self._directory, follow_symlinks=False)
            else:
                os.symlink(path, temporary, dir_fd=self._directory)
            self._rename(temporary, row[0])
            # Where both names were one file already, rename does nothing and leaves both.
            _unlink(temporary, self._directory)
            self._setup.linked(source, row[1], before)
        except OSError as error:
            if error.errno in _NO_LINK:
                return False
            raise files.explain(error, f"cannot write {self._path(row[0])}") from error
        self._done(row[0], None, row)
        return True

    def _copy(self, row: Wanted, source: int) -> None:
        name, digest, size, _ = row
        setup = self._setup
        temporary = self._temporary()
        status = None
        try:
            descriptor = os.open(temporary, _CREATE & ~os.O_WRONLY | os.O_RDWR, self._mode(row[3]), dir_fd=self._directory)
            try:
                if setup.proofs is not None:
                    self._copy_signed(setup.proofs, row, source, descriptor)
                elif setup.link_mode in ("auto", "reflink") and blobs.clone(source, descriptor):
                    self._prove(source, row)
                else:
                    found, copied = blobs.copy_hashing(
                        source, descriptor, size,
                        threads=self._threads, share=setup.link_mode != "copy", stop=setup.failures,
                    )  # fmt: skip
                    if found.hex() != digest:
                        raise _corrupt(setup.content, digest)
                    _require_size(row, copied)
                status = os.fstat(descriptor)
            except BaseException:
                _unlink(temporary, self._directory)
                raise
            finally:
                os.close(descriptor)
            self._rename(temporary, name)
        except OSError as error:
            raise files.explain(error, f"cannot write {self._path(name)}") from error
        self._done(name, status, row)

    def _copy_signed(self, proofs: Proofs, row: Wanted, source: int, target: int) -> None:
        """Copy or clone a blob; what is proven is what the target has, since the source may be written to meanwhile."""
        name, digest, size, _ = row
        from regcli.store.proofs import new_hasher

        hasher = new_hasher()
        stop = self._setup.failures
        if self._setup.link_mode in ("auto", "reflink") and blobs.clone(source, target):
            found, copied = blobs.hash_file(target, hasher.update, stop=stop)
        else:
            found, copied = blobs.copy_hashing(source, target, size, update=hasher.update, stop=stop)
        if found.hex() != digest:
            raise _corrupt(self._setup.content, digest)
        _require_size(row, copied)
        proofs.require(digest, hasher.digest(), name)


def _unlink(name: str, directory: int) -> None:
    try:
        os.unlink(name, dir_fd=directory)
    except OSError:
        pass
