"""Whether locks can be relied on where a root lies: asked before anything is deleted."""

from __future__ import annotations

import errno
import os

from regcli.errors import reason_of
from regcli.store import files

# File systems on which flock is local to one host, silently does nothing, or depends on a mount option.
_DOUBTFUL = frozenset(
    [
        "9p", "afs", "beegfs", "ceph", "cifs", "cvmfs", "glusterfs", "gpfs", "lustre", "ncpfs", "nfs", "nfs4", "orangefs",
        "smb3", "smbfs", "vboxsf", "virtiofs", "wekafs",
    ]
)  # fmt: skip


def distrust_of_locks(root: str) -> str | None:
    """Return why locks in a root prove nothing, or None where they do.

    Two descriptors of one file are locked against each other, and the file system is looked up: one that is shared between
    hosts may lock within this host only.
    """
    kind = file_system(root)
    if kind is not None and (kind in _DOUBTFUL or kind.startswith("fuse.")):
        return f"{root} is on a file system that may be shared between hosts ({kind})"
    return _probe(root, f"{root}/locks")


def _failure(directory: str, error: OSError) -> str:
    return f"flock fails in {directory}: {reason_of(error)}"


def _probe(root: str, directory: str) -> str | None:
    try:
        import fcntl
    except ImportError:
        return "this system has no flock"
    name = f".tmp-locktest-{os.getpid()}-{files.random_hex(4)}"
    place = first = second = -1
    try:
        files.make_within(root, directory)
        place = files.open_within(root, directory)
        first = os.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL | files.CLOEXEC | files.NOFOLLOW, 0o600, dir_fd=place)
    except OSError as error:
        if place >= 0:
            os.close(place)
        raise files.explain(error, f"cannot make a lock in {directory}") from error
    try:
        second = os.open(name, os.O_RDWR | files.CLOEXEC | files.NOFOLLOW, dir_fd=place)
        fcntl.flock(first, fcntl.LOCK_EX | fcntl.LOCK_NB)
        try:
            fcntl.flock(second, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            return None if error.errno in (errno.EWOULDBLOCK, errno.EACCES) else _failure(directory, error)
    except OSError as error:
        return _failure(directory, error)
    else:
        return f"two locks of one file in {directory} do not exclude each other"
    finally:
        os.close(first)
        if second >= 0:
            os.close(second)
        os.unlink(name, dir_fd=place)
        os.close(place)


def file_system(path: str) -> str | None:
    """Return the type of the file system that a path is on, as the kernel calls it; None where it does not say."""
    try:
        device = os.stat(path).st_dev
        with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as stream:
            lines = stream.read().splitlines()
    except OSError:
        return None
    wanted = f"{os.major(device)}:{os.minor(device)}"
    for line in lines:
        head, _, tail = line.partition(" - ")
        if head.split(" ")[2:3] == [wanted] and tail:
            return tail.split(" ")[0]
    return None
