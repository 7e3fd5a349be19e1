"""Large blobs as files (FORMAT.md 3.3), the files they come from, and the loops that copy, hash and compare bytes."""

from __future__ import annotations

import errno
import os

import xxhash

from regcli.errors import MissingPathError
from regcli.store import files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sized

# 256 KiB stays in the second-level cache between read, hash and write.
BUFFER = 256 << 10
# Where nothing is written: the fewer turns, the less a hashing thread waits for one that is busy with Python.
_HASHED = 1 << 20
# The kernel copies so much at a time; the hashing thread follows close enough to find it in the processor's cache.
_TURN = 1 << 20
_IN_KERNEL = 1 << 20
_FLUSH = 8 << 20
_THREADED = 8 << 20
_FICLONE = 0x40049409
_HEX = frozenset("0123456789abcdef")
_NO_CLONE = frozenset(
    (errno.EOPNOTSUPP, errno.ENOTTY, errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EPERM, errno.ETXTBSY, errno.ENOTSOCK)
)


class StoppedError(Exception):
    """What a thread is at is not wanted any more."""


def blob_path(root: str, digest: str) -> str:
    """Return the path of a large blob below a root (or a trash directory, which has the same layout)."""
    return f"{root}/blobs/{digest[:2]}/{digest}"


def scan_blobs(root: str) -> Iterator[str]:
    """Yield the digests of the large blobs below a root."""
    for shard in sorted(files.scan_names(f"{root}/blobs")):
        if len(shard) == 2:
            for name in sorted(files.scan_names(f"{root}/blobs/{shard}")):
                if is_digest(name) and name.startswith(shard):
                    yield name


def is_digest(name: str) -> bool:
    """Tell whether a text is a digest: 32 lower-case hex digits."""
    return len(name) == 32 and _HEX.issuperset(name)


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


def clone(source: int, target: int) -> bool:
    """Let `target` share the bytes of `source` where the file system can; False where it cannot."""
    try:
        import fcntl

        fcntl.ioctl(target, _FICLONE, source)
    except ImportError:
        return False
    except OSError as error:
        if error.errno in _NO_CLONE:
            return False
        raise
    return True


def hash_file(descriptor: int, update: Callable[[memoryview], object] | None = None, *, stop: Sized = ()) -> tuple[bytes, int]:
    """Return digest and size of a file's bytes from its start; `update` sees them too.

    Raises:
        StoppedError: there is something in `stop`.
    """
    hasher = xxhash.xxh3_128()
    view = memoryview(bytearray(_HASHED))
    offset = 0
    while True:
        count = os.preadv(descriptor, [view], offset)
        if not count:
            return hasher.digest(), offset
        _look(stop)
        part = view[:count]
        hasher.update(part)
        if update is not None:
            update(part)
        offset += count


def _look(stop: Sized) -> None:
    if stop:
        raise StoppedError


def md5_of(data: bytes) -> bytes:
    """Return the MD5 that W&B's older manifests name files by."""
    from hashlib import md5

    return md5(data, usedforsecurity=False).digest()


def md5_updater() -> tuple[Callable[[memoryview], object], Callable[[], bytes]]:
    """Return functions that take bytes in parts, and give the MD5 in the end."""
    from hashlib import md5

    hasher = md5(usedforsecurity=False)
    return hasher.update, hasher.digest


class Flush:
    """Lets the disk begin with what is written while more is written: the sync at the end then has little left to do."""

    __slots__ = ("_begun", "_descriptor")

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._begun = 0

    def follow(self, end: int) -> None:
        """Begin with what lies before an offset, a few MiB at a time; never fails, the sync will say what is wrong."""
        if end - self._begun < _FLUSH or not hasattr(os, "posix_fadvise"):
            return
        try:
            # Linux begins to write dirty pages of the range, without waiting; dirty pages also stay in memory.
            os.posix_fadvise(self._descriptor, self._begun, end - self._begun, os.POSIX_FADV_DONTNEED)
        except OSError:
            pass
        self._begun = end


def copy_hashing(
    source: int,
    target: int,
    size: int,
    *,
    update: Callable[[memoryview], object] | None = None,
    threads: int = 2,
    flush: Flush | None = None,
    share: bool = True,
    stop: Sized = (),
) -> tuple[bytes, int]:
    """Copy all bytes to the (empty, readable) file `target`; return the digest of exactly the bytes written, and their number.

    `size` is what is expected and only decides how: the kernel copies a large file while a second thread reads back and
    hashes what was written, which takes half the time of copying through this process. `flush` is for what will be synced.
    Without `share` the bytes are copied even where the file system would rather share them.

    Raises:
        StoppedError: there is something in `stop`.
    """
    if size >= _IN_KERNEL and update is None:
        copy = _copy_file_range if share else _sendfile
        if (done := _copy_in_kernel(copy, source, target, size, threads, flush, stop)) is not None:
            return done
    hasher = xxhash.xxh3_128()
    view = memoryview(bytearray(max(1, min(BUFFER, size + 1))))
    offset = 0
    while True:
        count = os.preadv(source, [view], offset)
        if not count:
            return hasher.digest(), offset
        _look(stop)
        part = view[:count]
        hasher.update(part)
        if update is not None:
            update(part)
        files.write_all(target, part)
        offset += count
        if flush is not None:
            flush.follow(offset)


def _copy_file_range(source: int, target: int, offset: int) -> int:
    return os.copy_file_range(source, target, _TURN, offset, offset)


def _sendfile(source: int, target: int, offset: int) -> int:
    # It writes at the target's position, which is where the last turn ended.
    return os.sendfile(target, source, offset, _TURN)


def _copy_in_kernel(
    copy: Callable[[int, int, int], int],
    source: int,
    target: int,
    size: int,
    threads: int,
    flush: Flush | None,
    stop: Sized,
) -> tuple[bytes, int] | None:
    """Copy without leaving the kernel; None, with nothing written, where the file systems cannot."""
    try:
        copied = copy(source, target, 0)
    except (AttributeError, OSError) as error:
        if isinstance(error, OSError) and error.errno not in _NO_CLONE:
            raise
        return None
    hasher = _Hasher(target)
    if size < _THREADED or threads < 2:
        while count := copy(source, target, copied):
            _look(stop)
            hasher.follow(copied)
            if flush is not None:
                flush.follow(copied)
            copied += count
        hasher.follow(copied)
        return hasher.digest(), copied
    import threading

    ready = threading.Semaphore(0)
    written = [copied]
    ended: list[BaseException | None] = []

    def run() -> None:
        try:
            while not ended:
                ready.acquire()
                # The rest is for the thread that waits for this one, which Ctrl-C reaches.
                hasher.follow(written[0], ended)
        except OSError as error:
            ended.append(error)

    thread = threading.Thread(target=run, name="regcli-hash", daemon=True)
    thread.start()
    try:
        while not ended and (count := copy(source, target, copied)):
            _look(stop)
            copied += count
            written[0] = copied
            ready.release()
            if flush is not None:
                # Not what is still to be hashed: a disk that is fast enough would make it be read again.
                flush.follow(hasher.offset)
    finally:
        ended.append(None)
        ready.release()
        thread.join()
    if ended[0] is not None:
        raise ended[0]
    while hasher.offset < copied:
        _look(stop)
        hasher.follow(min(copied, hasher.offset + _TURN))
    return hasher.digest(), copied


class _Hasher:
    """Hashes a file that is being written, as far as it has come: to `offset`."""

    __slots__ = ("_descriptor", "_hasher", "_view", "offset")

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._hasher = xxhash.xxh3_128()
        self.offset = 0
        self._view = memoryview(bytearray(BUFFER))

    def follow(self, end: int, stop: Sized = ()) -> None:
        """Hash up to an offset that was written, or as far as it came when there is something in `stop`."""
        while self.offset < end and not stop:
            count = os.preadv(self._descriptor, [self._view[: end - self.offset]], self.offset)
            if not count:
                raise OSError(errno.EIO, "what was written cannot be read back")
            self._hasher.update(self._view[:count])
            self.offset += count

    def digest(self) -> bytes:
        """Return the digest of what was hashed."""
        return self._hasher.digest()


def same_bytes(first: int, second: int) -> bool:
    """Compare two files from their start."""
    offset = 0
    while True:
        left = os.pread(first, BUFFER, offset)
        right = os.pread(second, len(left) or 1, offset)
        if len(right) < len(left):
            # A short read is not yet the end.
            left = left[: len(right)]
            if not right:
                return False
        if left != right:
            return False
        if not left:
            return True
        offset += len(left)


def sync_file_system(directory: str) -> bool:
    """Make everything on the file system of `directory` durable with one call; False where there is no such call.

    Raises:
        OSError: something could not be written; it may have been ours.
    """
    import ctypes

    try:
        call = ctypes.CDLL(None, use_errno=True).syncfs
    except (OSError, AttributeError):
        return False
    descriptor = os.open(directory, files.DIRECTORY)
    try:
        if call(descriptor) != 0:
            number = ctypes.get_errno()
            if number == errno.ENOSYS:
                return False
            raise OSError(number, os.strerror(number))
    finally:
        os.close(descriptor)
    return True
