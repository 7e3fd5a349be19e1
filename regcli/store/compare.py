"""A directory against a version: what is missing, modified, extra, and what a checkout would lose."""

from __future__ import annotations

import os
import stat

from regcli.errors import StorageError, reason_of
from regcli.model import quote
from regcli.store import blobs, files
from regcli.store.manifest import EXECUTABLE, REFERENCE
from regcli.store.statcache import make_key

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from regcli.store.beneath import Beneath
    from regcli.store.content import Content
    from regcli.store.manifest import Entry
    from regcli.store.proofs import Proofs

    Found = dict[str, os.stat_result]
    Problem = tuple[str, str, str]
    Change = tuple[str, str, bool]

_HEX = frozenset("0123456789abcdef-")
# Below this, starting threads costs more than hashing.
_WORTH_THREADS = 32 << 20


class Scan:
    """What is in a directory.

    Attributes:
        files: path -> `stat` of everything that is no directory, links not followed.
        directories: paths of the directories below, parents first.
    """

    __slots__ = ("directories", "files")

    def __init__(self) -> None:
        self.files: Found = {}
        self.directories: list[str] = []


def scan_directory(target: str, *, avoid: tuple[int, int] | None = None) -> Scan:
    """Return everything below a directory, without following links; `avoid` is (device, inode) of one to leave out.

    Raises:
        StorageError: the directory or one below cannot be read.
    """
    try:
        top = os.open(target, files.DIRECTORY)
    except OSError as error:
        raise files.explain(error, f"cannot open {target}") from error
    try:
        return scan_descriptor(top, target, avoid=avoid)
    finally:
        os.close(top)


def scan_descriptor(top: int, target: str, *, avoid: tuple[int, int] | None = None) -> Scan:
    """Do the same with an open directory; `target` is for messages."""
    scan = Scan()
    found = scan.files
    pending = [""]
    while pending:
        prefix = pending.pop()
        try:
            descriptor = os.open(prefix or ".", files.DIRECTORY | files.NOFOLLOW, dir_fd=top)
            try:
                below = []
                with os.scandir(descriptor) as entries:
                    for entry in entries:
                        status = entry.stat(follow_symlinks=False)
                        if status.st_mode & 0o170000 != stat.S_IFDIR:
                            found[prefix + entry.name] = status
                        elif (status.st_dev, status.st_ino) != avoid:
                            below.append(f"{prefix}{entry.name}/")
            finally:
                os.close(descriptor)
        except OSError as error:
            raise files.explain(error, f"cannot read {target}/{prefix}") from error
        below.sort(reverse=True)
        scan.directories += [name[:-1] for name in below]
        pending += below
    return scan


def compare_directory(
    content: Content | None,
    entries: Iterable[Entry],
    target: str,
    *,
    threads: int | None = None,
    proofs: Proofs | None = None,
) -> list[Problem]:
    """Return every difference between a directory and a version as (kind, path, message), sorted by path.

    Kinds: `missing`, `modified`, `extra`. Everything is hashed, whatever a cache says. References are not looked at.
    `content` tells which links lead to the store's own files, `proofs` what a signature says the files must be.
    """
    scan = scan_directory(target, avoid=_identity(content.root if content is not None else None))
    problems: list[Problem] = []
    jobs: list[tuple[str, str, int, bool]] = []
    known = set()
    directories = set(scan.directories)
    for path, digest, size, flags, _ in entries:
        known.add(path)
        if flags == REFERENCE:
            continue
        status = scan.files.get(path)
        if status is None:
            what = "is a directory" if path in directories else "is missing"
            problems.append(("missing", path, f"{quote(path)} {what}"))
            continue
        is_link = stat.S_ISLNK(status.st_mode)
        wrong = _difference(content, f"{target}/{path}", digest, size, flags, status)
        if wrong is not None:
            problems.append(("modified", path, f"{quote(path)} {wrong}"))
        else:
            jobs.append((path, digest, size, is_link))
    problems += [("extra", path, f"{quote(path)} is not in the version") for path in scan.files if path not in known]
    problems += _hash_all(target, jobs, threads, proofs)
    problems.sort(key=_path_of)
    return problems


def _difference(content: Content | None, path: str, digest: str, size: int, flags: int, status: os.stat_result) -> str | None:
    """Return what is different already by `stat`, or None."""
    if stat.S_ISLNK(status.st_mode):
        expected = os.path.abspath(blobs.blob_path(content.root, digest)) if content is not None else None
        return None if os.readlink(path) == expected else "is a symbolic link"
    if not stat.S_ISREG(status.st_mode):
        return "is not a regular file"
    if status.st_size != size:
        return f"has {status.st_size} bytes instead of {size}"
    if (status.st_mode & 0o100 != 0) != (flags == EXECUTABLE):
        return "is executable" if status.st_mode & 0o100 else "is not executable"
    return None


def _hash_all(target: str, jobs: list[tuple[str, str, int, bool]], threads: int | None, proofs: Proofs | None) -> list[Problem]:
    from regcli.store.parallel import run_parallel

    try:
        top = os.open(target, files.DIRECTORY)
    except OSError as error:
        raise files.explain(error, f"cannot open {target}") from error

    def check(part: list[tuple[str, str, int, bool]]) -> list[Problem]:
        problems = []
        for path, digest, size, is_link in part:
            try:
                flags = files.READ & ~files.NOFOLLOW if is_link else files.READ
                descriptor = os.open(path, flags, dir_fd=top)
                try:
                    found = hash_small(descriptor, size)
                    is_signed = proofs is None or found != digest or proofs.vouches_for(digest, descriptor)
                finally:
                    os.close(descriptor)
            except OSError as error:
                problems.append(("modified", path, f"{quote(path)} cannot be read: {reason_of(error)}"))
                continue
            if found != digest:
                problems.append(("modified", path, f"{quote(path)} has other content"))
            elif not is_signed:
                problems.append(("modified", path, f"{quote(path)} is not what was signed: BLAKE3 differs, XXH3-128 does not"))
        return problems

    try:
        return [problem for problems in run_parallel(check, _parts(jobs), threads) for problem in problems]
    finally:
        os.close(top)


def hash_small(descriptor: int, size: int) -> str:
    """Return the hex digest of an open file of about this size."""
    if size <= blobs.BUFFER:
        import xxhash

        data = os.read(descriptor, size + 1)
        if len(data) == size:
            return xxhash.xxh3_128_hexdigest(data)
    return blobs.hash_file(descriptor)[0].hex()


def _parts(jobs: list[tuple[str, str, int, bool]]) -> list[list[tuple[str, str, int, bool]]]:
    """Cut the work into parts of about 32 MiB; small files alone are not worth a second thread."""
    parts: list[list[tuple[str, str, int, bool]]] = []
    room = 0
    for job in jobs:
        if room <= 0 or not parts:
            parts.append([])
            room = _WORTH_THREADS
        parts[-1].append(job)
        room -= job[2] + 4096
    return parts


# Checkout: what would be lost, and removing it


def prune_directory(
    content: Content,
    entries: Sequence[Entry],
    beneath: Beneath,
    approve: Callable[[list[Change]], None],
    *,
    known: dict[bytes, bytes],
) -> list[str]:
    """Remove what is not in the version, after `approve` was told of all that would be lost; return the removed paths.

    `approve` gets (path, `extra` or `modified`, whether the store has that content), sorted by path, and raises to refuse.
    Directories that are left empty are removed too. `known` is the stat cache.
    """
    scan = scan_descriptor(beneath.top, beneath.path, avoid=_identity(content.root))
    wanted = {entry[0]: entry for entry in entries}
    # Where the version has a file and the directory a directory, all that is in it is in the way.
    extra = [path for path in scan.files if path not in wanted]
    modified = [
        path
        for path, status in scan.files.items()
        if (entry := wanted.get(path)) is not None and entry[3] != REFERENCE and not _is_same(status, entry, known)
    ]
    changes = _changes(content, beneath, scan, wanted, extra, modified, known)
    changes.sort()
    approve(changes)
    for path in extra:
        _remove(beneath, path)
    keep = {parent for path in wanted for parent in _ancestors(path)}
    for directory in reversed(scan.directories):
        if directory not in keep:
            _remove_directory(beneath, directory)
    return sorted(extra)


def _is_same(status: os.stat_result, entry: Entry, known: dict[bytes, bytes]) -> bool:
    value = known.get(make_key(status))
    return value is not None and value.hex() == entry[1]


def _changes(
    content: Content,
    beneath: Beneath,
    scan: Scan,
    wanted: dict[str, Entry],
    extra: list[str],
    modified: list[str],
    known: dict[bytes, bytes],
) -> list[Change]:
    digests: dict[str, str] = {}
    for path in extra + modified:
        status = scan.files[path]
        if stat.S_ISREG(status.st_mode):
            value = known.get(make_key(status))
            digests[path] = value.hex() if value is not None else _hash_path(beneath, path, status.st_size)
        elif stat.S_ISLNK(status.st_mode) and (own := _own_link(content, beneath, path)):
            digests[path] = own
    stored = content.have({digest for digest in digests.values() if digest})
    changes = [(path, "extra", digests.get(path, "") in stored or _is_litter(path)) for path in extra]
    changes += [
        (path, "modified", digests.get(path, "") in stored) for path in modified if digests.get(path) != wanted[path][1]
    ]
    return changes


def _hash_path(beneath: Beneath, path: str, size: int) -> str:
    directory, _, name = path.rpartition("/")
    try:
        parent = beneath.open(directory)
    except OSError:
        return ""
    return hash_named(parent, name, size)


def hash_named(parent: int, name: str, size: int) -> str:
    """Return the digest of a file in an open directory; empty where it cannot be read, and is known to nobody."""
    try:
        descriptor = os.open(name, files.READ, dir_fd=parent)
    except OSError:
        return ""
    try:
        return hash_small(descriptor, size)
    except OSError:
        return ""
    finally:
        os.close(descriptor)


def _own_link(content: Content, beneath: Beneath, path: str) -> str:
    directory, _, name = path.rpartition("/")
    leads_to = os.readlink(name, dir_fd=beneath.open(directory))
    digest = os.path.basename(leads_to)
    if blobs.is_digest(digest) and leads_to == os.path.abspath(blobs.blob_path(content.root, digest)):
        return digest
    return ""


def _is_litter(path: str) -> bool:
    """Tell whether some name in a path is a temporary one of a download that was killed."""
    return any(part.startswith(".tmp-") and _HEX.issuperset(part[5:]) and part.count("-") >= 3 for part in path.split("/"))


def _ancestors(path: str) -> list[str]:
    found = []
    parent = path.rpartition("/")[0]
    while parent:
        found.append(parent)
        parent = parent.rpartition("/")[0]
    return found


def remove_files(target: str, paths: Iterable[str]) -> None:
    """Remove files below a directory, and directories that this leaves empty; links are not followed.

    Raises:
        StorageError: one could not be removed; those before are gone.
    """
    from regcli.store.beneath import Beneath

    with Beneath(target) as beneath:
        parents = set()
        for path in paths:
            _remove(beneath, path)
            parents.update(_ancestors(path))
        for directory in sorted(parents, key=len, reverse=True):
            _remove_directory(beneath, directory)


def _remove(beneath: Beneath, path: str) -> None:
    directory, _, name = path.rpartition("/")
    try:
        os.unlink(name, dir_fd=beneath.open(directory))
    except FileNotFoundError:
        pass
    except OSError as error:
        raise files.explain(error, f"cannot remove {beneath.path}/{path}") from error


def _remove_directory(beneath: Beneath, directory: str) -> None:
    parent, _, name = directory.rpartition("/")
    try:
        os.rmdir(name, dir_fd=beneath.open(parent))
    except (OSError, StorageError):
        # Not empty, or gone already.
        pass


def _identity(path: str | None) -> tuple[int, int] | None:
    try:
        status = os.stat(path) if path is not None else None
    except OSError:
        return None
    return (status.st_dev, status.st_ino) if status is not None else None


def _path_of(row: tuple[str, str, object]) -> str:
    return row[1]
