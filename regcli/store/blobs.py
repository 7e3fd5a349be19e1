"""Large blobs as files, and the loops that copy, hash and compare bytes (FORMAT.md 3.3)."""

from __future__ import annotations

import errno
import os

import xxhash

from regcli.store import files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# 256 KiB stays in the second-level cache between read, hash and write; 1 MiB pays only where two threads take turns.
BUFFER = 256 << 10
_TURN = 1 << 20
_THREADED = 16 << 20
_FICLONE = 0x40049409
_HEX = frozenset("0123456789abcdef")
_NO_CLONE = frozenset((errno.EOPNOTSUPP, errno.ENOTTY, errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EPERM, errno.ETXTBSY))


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


def hash_file(descriptor: int, update: Callable[[memoryview], object] | None = None) -> tuple[bytes, int]:
    """Return digest and size of a file's bytes from its start; `update` sees them too."""
    hasher = xxhash.xxh3_128()
    view = memoryview(bytearray(BUFFER))
    offset = 0
    while True:
        count = os.preadv(descriptor, [view], offset)
        if not count:
            return hasher.digest(), offset
        part = view[:count]
        hasher.update(part)
        if update is not None:
            update(part)
        offset += count


def copy_hashing(
    source: int, target: int, size: int, *, update: Callable[[memoryview], object] | None = None, threads: int = 2
) -> tuple[bytes, int]:
    """Copy all bytes to the end of `target`; return the digest of exactly the bytes written, and their number.

    `size` is what is expected and only decides whether a second thread hashes while this one reads and writes.
    """
    if size >= _THREADED and threads > 1 and update is None:
        return _copy_in_turns(source, target)
    hasher = xxhash.xxh3_128()
    view = memoryview(bytearray(max(1, min(BUFFER, size + 1))))
    offset = 0
    while True:
        count = os.preadv(source, [view], offset)
        if not count:
            return hasher.digest(), offset
        part = view[:count]
        hasher.update(part)
        if update is not None:
            update(part)
        files.write_all(target, part)
        offset += count


def _copy_in_turns(source: int, target: int) -> tuple[bytes, int]:
    import threading

    hasher = xxhash.xxh3_128()
    views = [memoryview(bytearray(_TURN)) for _ in range(2)]
    filled: list[memoryview | None] = []
    ready, free = threading.Semaphore(0), threading.Semaphore(2)

    def hash_parts() -> None:
        while True:
            ready.acquire()
            part = filled.pop(0)
            if part is None:
                return
            hasher.update(part)
            free.release()

    thread = threading.Thread(target=hash_parts, name="regcli-hash", daemon=True)
    thread.start()
    offset = turn = 0
    try:
        while True:
            free.acquire()
            count = os.preadv(source, [views[turn]], offset)
            if not count:
                break
            part = views[turn][:count]
            filled.append(part)
            ready.release()
            files.write_all(target, part)
            offset += count
            turn ^= 1
    finally:
        filled.append(None)
        ready.release()
        thread.join()
    return hasher.digest(), offset


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
    descriptor = os.open(directory, os.O_RDONLY | files.CLOEXEC | getattr(os, "O_DIRECTORY", 0))
    try:
        if call(descriptor) != 0:
            number = ctypes.get_errno()
            if number == errno.ENOSYS:
                return False
            raise OSError(number, os.strerror(number))
    finally:
        os.close(descriptor)
    return True
