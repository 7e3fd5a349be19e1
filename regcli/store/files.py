"""The file-system calls that every part of the store is made of: create-exclusive, replace, sync.

Only built-in modules are imported here: this is on the path of the fastest commands.
"""

from __future__ import annotations

import errno
import os
import stat
import time

from regcli.errors import IntegrityError, StorageError, reason_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import TypedDict

    class Places(TypedDict):
        """What `os.link` and its like take the two names of a file relative to."""

        src_dir_fd: int | None
        dst_dir_fd: int | None


BINARY = getattr(os, "O_BINARY", 0)
NOFOLLOW = getattr(os, "O_NOFOLLOW", 0)
CLOEXEC = getattr(os, "O_CLOEXEC", 0)
DIRECTORY = os.O_RDONLY | CLOEXEC | getattr(os, "O_DIRECTORY", 0)
READ = os.O_RDONLY | CLOEXEC | NOFOLLOW | BINARY | getattr(os, "O_NONBLOCK", 0)
CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | CLOEXEC | NOFOLLOW | BINARY
MAX_DOCUMENT = 64 * 1024 * 1024
# Seconds after which every file system has written a new name by itself.
_SETTLED = 900


def random_hex(size: int) -> str:
    """Return `size` random bytes as hex digits."""
    return os.urandom(size).hex()


def explain(error: OSError, what: str) -> StorageError:
    """Turn an OSError into the sentence a user needs: what was being done, to which path, why it failed."""
    reason = reason_of(error)
    hint = None
    if error.errno in (errno.ENOSPC, getattr(errno, "EDQUOT", -1)):
        hint = "free some space (`regcli gc` frees what the store no longer needs), then try again"
    elif error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        hint = "check its permissions; `regcli doctor` looks at those of the root"
    elif error.errno == errno.EMFILE:
        hint = "raise the limit on open files (ulimit -n)"
    return StorageError(f"{what}: {reason}", hint=hint)


def read_document(path: str, limit: int = MAX_DOCUMENT, *, dir_fd: int | None = None) -> bytes:
    """Return the bytes of a small regular file of the store.

    Links are not followed and FIFOs do not block; a file over `limit` bytes is refused before it is read.

    Raises:
        FileNotFoundError, NotADirectoryError: there is no such file.
        IntegrityError: it is no regular file, or too large.
        StorageError: it cannot be read.
    """
    try:
        descriptor = os.open(path, READ, dir_fd=dir_fd)
    except (FileNotFoundError, NotADirectoryError):
        raise
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO):
            raise IntegrityError(f"{path} is not a regular file") from error
        raise explain(error, f"cannot read {path}") from error
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise IntegrityError(f"{path} is not a regular file")
        if status.st_size > limit:
            raise IntegrityError(f"{path} is larger than {limit} bytes")
        data = os.read(descriptor, status.st_size + 1)
        if len(data) == status.st_size:
            return data
        chunks = [data]
        total = len(data)
        while chunks[-1]:
            if total > limit:
                raise IntegrityError(f"{path} is larger than {limit} bytes")
            chunks.append(os.read(descriptor, 1 << 20))
            total += len(chunks[-1])
        return b"".join(chunks)
    except OSError as error:
        raise explain(error, f"cannot read {path}") from error
    finally:
        os.close(descriptor)


def is_there(path: str) -> bool:
    """Tell whether there is anything under a name; not knowing is not no, as it would be to `os.path.lexists`.

    Raises:
        StorageError: it cannot be told.
    """
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise explain(error, f"cannot read {path}") from error
    return True


def write_all(descriptor: int, data: bytes | bytearray | memoryview) -> None:
    """Write every byte, whatever the kernel takes at a time."""
    view = memoryview(data)
    while view:
        written = os.write(descriptor, view)
        view = view[written:]


def fsync_file(descriptor: int) -> None:
    """Make a file's content durable; on macOS the drive's own cache is flushed too."""
    full = getattr(__import__("fcntl"), "F_FULLFSYNC", None) if os.uname().sysname == "Darwin" else None
    if full is not None:
        import fcntl

        fcntl.fcntl(descriptor, full)
    else:
        os.fsync(descriptor)


def fsync_directory(path: str) -> None:
    """Make the names in a directory durable (no operation on Windows, which cannot)."""
    if os.name == "nt":
        return
    descriptor = os.open(path, DIRECTORY)
    try:
        fsync_names(descriptor)
    finally:
        os.close(descriptor)


def fsync_names(descriptor: int) -> None:
    """Make the names in an open directory durable."""
    os.fsync(descriptor)


def _is_settled(status: os.stat_result) -> bool:
    return _SETTLED < time.time() - status.st_mtime < 1 << 40


def fsync_recent(path: str) -> None:
    """Make the names in a directory durable unless they have not changed for so long that they are."""
    if not _is_settled(os.stat(path)):
        fsync_directory(path)


def _make_directory(path: str, parent: str, mode: int) -> None:
    os.mkdir(path, mode)
    # Below a set-gid directory (a shared root) the parent's permissions go on, whatever the user's umask is.
    inherited = stat.S_IMODE(os.stat(parent).st_mode)
    if inherited & stat.S_ISGID and mode == 0o777:
        os.chmod(path, inherited)


def make_directories(path: str, mode: int = 0o777) -> None:
    """Make a directory and its missing parents outside of a root; the whole path is durable afterwards.

    Also where the directory exists: another process may have made it a moment ago and been killed before it was synced.
    """
    parent = os.path.dirname(path) or "."
    try:
        _make_directory(path, parent, mode)
    except FileExistsError:
        fsync_recent(parent)
        return
    except FileNotFoundError:
        if parent == path:
            raise
        make_directories(parent, mode)
        try:
            _make_directory(path, parent, mode)
        except FileExistsError:
            pass
    fsync_directory(parent)


def make_within(root: str, path: str, mode: int = 0o777) -> None:
    """Make a directory of a root and its missing parents, as `make_directories` does, following no link out of the root.

    Raises:
        IntegrityError: a link stands in the place of a parent. OSError: it cannot be made.
    """
    if path == root:
        make_directories(root, mode)
        return
    parent, name = os.path.split(path)
    above = open_or_make(root, parent, mode)
    try:
        try:
            os.mkdir(name, mode, dir_fd=above)
        except FileExistsError:
            if _is_settled(os.stat(above)):
                return
        else:
            # See `_make_directory`.
            inherited = stat.S_IMODE(os.stat(above).st_mode)
            if inherited & stat.S_ISGID and mode == 0o777:
                made = os.open(name, DIRECTORY | NOFOLLOW, dir_fd=above)
                try:
                    os.fchmod(made, inherited)
                finally:
                    os.close(made)
        fsync_names(above)
    finally:
        os.close(above)


def open_or_make(root: str, directory: str, mode: int = 0o777) -> int:
    """Return a descriptor of a directory of a root as `open_within` does; one that is missing is made.

    Raises:
        IntegrityError, OSError: as `make_within`.
    """
    try:
        return open_within(root, directory)
    except FileNotFoundError:
        make_within(root, directory, mode)
        return open_within(root, directory)


def temporary_name() -> str:
    """Return a fresh name for a temporary file: host-independent, never taken, recognizable as litter."""
    return f".tmp-{os.getpid()}-{random_hex(8)}"


def temporary_path(directory: str) -> str:
    """Return a fresh path for a temporary file in a directory."""
    return f"{directory}/{temporary_name()}"


def unlink_quietly(path: str, *, dir_fd: int | None = None) -> None:
    """Remove a file that does no harm where it stays, as a sweep finds it; it may be gone already."""
    try:
        os.unlink(path, dir_fd=dir_fd)
    except OSError:
        pass


def _open_parent(path: str, root: str | None) -> int:
    """Return a descriptor of the directory that a file lies in; in a root no link leads out of it."""
    directory = os.path.dirname(path) or "."
    return os.open(directory, DIRECTORY) if root is None else open_within(root, directory)


def create_exclusive(path: str, data: bytes, *, mode: int = 0o444, root: str | None = None) -> bool:
    """Publish a whole, durable file under a name that must not exist: the commit point of every log.

    The bytes are synced before the name appears, the name is synced before the call returns. `root` is the root that
    the file lies in, if any.

    Returns:
        True when this call made the file, False when the name was taken.

    Raises:
        IntegrityError: a link leads out of the root. StorageError: the file system refused; nothing was published.
        OutcomeUnknownError: published, but the directory could not be synced.
    """
    from regcli.errors import OutcomeUnknownError

    name, temporary = os.path.basename(path), temporary_name()
    try:
        parent = _open_parent(path, root)
    except OSError as error:
        raise explain(error, f"cannot write {path}") from error
    try:
        try:
            descriptor = os.open(temporary, CREATE, 0o600, dir_fd=parent)
            try:
                write_all(descriptor, data)
                os.fchmod(descriptor, mode)
                fsync_file(descriptor)
            finally:
                os.close(descriptor)
            won = link_exclusive(temporary, name, src_dir_fd=parent, dst_dir_fd=parent)
        except OSError as error:
            raise explain(error, f"cannot write {path}") from error
        finally:
            unlink_quietly(temporary, dir_fd=parent)
        if won:
            try:
                fsync_names(parent)
            except OSError as error:
                raise OutcomeUnknownError(
                    f"{path} was written, but the directory could not be synced: {error.strerror}",
                    hint="check with `regcli history` whether the change is there",
                ) from error
        return won
    finally:
        os.close(parent)


def link_exclusive(source: str, target: str, *, src_dir_fd: int | None = None, dst_dir_fd: int | None = None) -> bool:
    """Give a finished file its final name unless the name is taken; True when it is now ours."""
    where: Places = {"src_dir_fd": src_dir_fd, "dst_dir_fd": dst_dir_fd}
    try:
        os.link(source, target, **where, follow_symlinks=os.link not in os.supports_follow_symlinks)
    except FileExistsError:
        # On NFS the answer to a link() that worked can be lost and the retry reports EEXIST.
        return _is_ours(source, target, **where)
    except OSError as error:
        if _is_ours(source, target, **where):
            return True
        if error.errno in (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK):
            return _rename_exclusive(source, target, error, **where)
        raise
    return True


def _is_ours(source: str, target: str, *, src_dir_fd: int | None, dst_dir_fd: int | None) -> bool:
    try:
        ours, theirs = os.lstat(source, dir_fd=src_dir_fd), os.lstat(target, dir_fd=dst_dir_fd)
    except OSError:
        return False
    return ours.st_ino == theirs.st_ino and ours.st_dev == theirs.st_dev


def _rename_exclusive(source: str, target: str, cause: OSError, *, src_dir_fd: int | None, dst_dir_fd: int | None) -> bool:
    """Do what link() does on file systems without hard links, with renameat2(RENAME_NOREPLACE)."""
    import ctypes

    try:
        call = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError):
        raise cause from None
    at_cwd, no_replace = -100, 1
    places = [at_cwd if descriptor is None else descriptor for descriptor in (src_dir_fd, dst_dir_fd)]
    if call(places[0], os.fsencode(source), places[1], os.fsencode(target), no_replace) == 0:
        return True
    number = ctypes.get_errno()
    if number == errno.EEXIST:
        return False
    raise cause


def replace_file(
    path: str,
    data: bytes | Iterable[bytes | bytearray],
    *,
    mode: int = 0o666,
    durable: bool = False,
    times: tuple[int, int] | None = None,
    root: str | None = None,
) -> None:
    """Replace a derived file in one step; without `durable` a power cut may leave the old or an empty one.

    `data` may be pieces that are written one after the other. `times` are what its atime and mtime shall be, in seconds.
    `root` is the root that it lies in, if any.

    Raises:
        IntegrityError: a link leads out of the root. OSError: the file could not be written; the old one stays.
    """
    name, temporary = os.path.basename(path), temporary_name()
    parent = _open_parent(path, root)
    try:
        descriptor = os.open(temporary, CREATE, mode, dir_fd=parent)
        try:
            try:
                for piece in (data,) if isinstance(data, bytes) else data:
                    write_all(descriptor, piece)
                if not mode & 0o222:
                    # Whatever the umask is: what nobody changes is read by all who come so far.
                    os.fchmod(descriptor, mode)
                if times is not None:
                    os.utime(descriptor, times)
                if durable:
                    fsync_file(descriptor)
            finally:
                os.close(descriptor)
            os.replace(temporary, name, src_dir_fd=parent, dst_dir_fd=parent)
        except BaseException:
            unlink_quietly(temporary, dir_fd=parent)
            raise
        if durable:
            fsync_names(parent)
    finally:
        os.close(parent)


def replace_own_file(path: str, data: bytes) -> None:
    """Replace a file of the user's own, durable and for no other user; its directory is made where it is missing.

    Raises:
        StorageError: the file could not be written; the old one stays.
    """
    try:
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        replace_file(path, data, mode=0o600, durable=True)
    except OSError as error:
        raise explain(error, f"cannot write {path}") from error


def open_to_append(path: str, root: str, mode: int) -> int:
    """Open a file of a root for adding to its end, a new one with this mode; the descriptor reads, too.

    Raises:
        IntegrityError: it is no file of its own: a link (of either kind) to another one, a pipe; or a link leads out of the
            root. OSError: it cannot be opened.
    """
    name = os.path.basename(path)
    parent = open_within(root, os.path.dirname(path))
    try:
        descriptor = os.open(name, READ | os.O_RDWR | os.O_APPEND | os.O_CREAT, mode, dir_fd=parent)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO, errno.EISDIR):
            raise IntegrityError(f"{path} is not a regular file") from error
        raise
    finally:
        os.close(parent)
    status = os.fstat(descriptor)
    if stat.S_ISREG(status.st_mode) and status.st_nlink < 2:
        return descriptor
    os.close(descriptor)
    if stat.S_ISREG(status.st_mode):
        raise IntegrityError(f"{path} is a file that has other names, too", hint="put a copy of it in its place")
    raise IntegrityError(f"{path} is not a regular file")


def remove_obstacle(path: str, root: str) -> None:
    """Make way for a file of a root where something that is no file was put in its place: an empty directory or a tree.

    Raises:
        IntegrityError: a link leads out of the root. OSError: it cannot be removed.
    """
    name = os.path.basename(path)
    parent = open_within(root, os.path.dirname(path))
    try:
        if not stat.S_ISDIR(os.lstat(name, dir_fd=parent).st_mode):
            return
        try:
            os.rmdir(name, dir_fd=parent)
        except OSError:
            # It is moved, not deleted: whatever lies in it is not ours.
            os.rename(name, f"{name}.moved-{random_hex(4)}", src_dir_fd=parent, dst_dir_fd=parent)
    except FileNotFoundError:
        return
    finally:
        os.close(parent)


def open_directory(path: str) -> int:
    """Return a descriptor of a directory of the store, which is never a link: whoever made it one means to lead elsewhere.

    Raises:
        FileNotFoundError, NotADirectoryError: there is no such directory.
        IntegrityError: it is a link.
    """
    try:
        return os.open(path, DIRECTORY | NOFOLLOW)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENOTDIR) and os.path.islink(path):
            raise _is_link(path) from error
        raise


def _is_link(path: str) -> IntegrityError:
    return IntegrityError(
        f"{path} is a symbolic link, which is not followed in a root", hint="put what it leads to in its place"
    )


def open_within(root: str, directory: str) -> int:
    """Return a descriptor of a directory of a root, proven to lie in it: what is done by it stays in the root.

    Whoever can write to the root may put links into the path, also between two calls. But `..` of a directory is never a
    link: from a directory that lies in the root it leads back to the root in as many steps as its path has names. The
    root itself may be a link, and lie behind some.

    Raises:
        FileNotFoundError, NotADirectoryError: there is no such directory.
        IntegrityError: a link stands in the place of one.
    """
    depth = sum(name not in ("", ".") for name in directory[len(root) :].split("/"))
    if not depth:
        return os.open(root, DIRECTORY)
    descriptor = open_directory(directory)
    try:
        if os.path.samestat(os.stat("/".join([".."] * depth), dir_fd=descriptor), os.stat(root)):
            return descriptor
        path = directory
        while len(path) > len(root):
            if os.path.islink(path):
                raise _is_link(path)
            path = os.path.dirname(path)
        raise IntegrityError(f"{directory} was moved while it was used", hint="try again")
    except BaseException:
        os.close(descriptor)
        raise


def scan_names(path: str) -> Iterator[str]:
    """Yield the names in a directory of the store; none where it does not exist.

    Raises:
        IntegrityError: it is a link. StorageError: it cannot be read. The system's own error, their cause, has its path.
    """
    try:
        descriptor = open_directory(path)
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        raise explain(error, f"cannot read {path}") from error
    try:
        with os.scandir(descriptor) as entries:
            for entry in entries:
                yield entry.name
    except OSError as error:
        # It names the descriptor, which says nothing to anybody.
        error.filename = path
        raise explain(error, f"cannot read {path}") from error
    finally:
        os.close(descriptor)


def remove_names(directory: str, names: Iterable[str], root: str) -> list[str]:
    """Remove files of a directory of the store, as far as that can be; returns the names that are gone.

    No link leads out of the root, also none that is put there meanwhile.
    """
    removed: list[str] = []
    try:
        descriptor = open_within(root, directory)
    except (OSError, IntegrityError):
        return removed
    try:
        for name in names:
            try:
                os.unlink(name, dir_fd=descriptor)
            except OSError:
                continue
            removed.append(name)
    finally:
        os.close(descriptor)
    return removed
