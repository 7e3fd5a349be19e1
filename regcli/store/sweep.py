"""Taking away what no version needs: first to the trash, later for good (FORMAT.md 3.6).

The caller knows what is live and holds the exclusive lock; nothing here decides what a version is.
"""

from __future__ import annotations

import errno
import os
import stat
import time

from regcli.errors import IntegrityError
from regcli.store import blobs, files, packs
from regcli.store.packindex import index_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from regcli.store.content import Content

MIN_GRACE = 3600.0
_LITTER = ".tmp-"
_TRASH_NAME = frozenset("0123456789TZ-abcdef")
# Of what regcli puts there nothing lies deeper than in `blobs/aa`.
_DEEPEST = 8


class Swept:
    """What a sweep took away (or, as a dry run, would).

    Attributes:
        blobs: blobs that are gone.
        bytes: bytes that the disk gets back when the trash is purged.
        packs: packs taken away or written anew.
        young: dead blobs that were left because they are young.
        kept_bytes: bytes of dead blobs in packs that are mostly alive.
        trash: the trash directory, or None when nothing was moved.
        litter: temporary files of killed processes that were removed.
    """

    __slots__ = ("blobs", "bytes", "kept_bytes", "litter", "packs", "trash", "young")

    def __init__(self) -> None:
        self.blobs = 0
        self.bytes = 0
        self.packs = 0
        self.young = 0
        self.kept_bytes = 0
        self.trash: str | None = None
        self.litter = 0


def _stamp(now: float) -> str:
    return time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now))


class _Trash:
    """One trash directory, made when the first thing goes there."""

    __slots__ = ("_root", "_touched", "path")

    def __init__(self, root: str, now: float) -> None:
        self._root = root
        self.path = f"{root}/trash/{_stamp(now)}-{files.random_hex(4)}"
        self._touched: set[str] = set()

    def take(self, path: str, place: str) -> None:
        """Move a file of the store to its place below the trash directory."""
        target = f"{self.path}/{place}"
        directory = os.path.dirname(target)
        if directory not in self._touched:
            files.make_within(self._root, directory)
        into = files.open_within(self._root, directory)
        try:
            source = files.open_within(self._root, os.path.dirname(path))
            try:
                os.rename(os.path.basename(path), os.path.basename(target), src_dir_fd=source, dst_dir_fd=into)
            finally:
                os.close(source)
        finally:
            os.close(into)
        self._touched.add(directory)
        self._touched.add(os.path.dirname(path))

    def sync(self) -> str | None:
        """Make the moves durable; return the directory when there were any."""
        for directory in sorted(self._touched):
            files.fsync_directory(directory)
        return self.path if self._touched else None


def sweep(content: Content, live: set[str], *, now: float, grace: float = MIN_GRACE, dry_run: bool = False) -> Swept:
    """Move every blob that is not in `live` and older than `grace` seconds to the trash.

    Less than an hour is for a caller whose exclusive lock proves that nobody is writing. A pack is written anew when more
    than half of it is dead, otherwise its dead blobs stay with it.

    Raises:
        StorageError: something could not be moved; what was moved before can be had back from the trash.
    """
    alive = {bytes.fromhex(digest) for digest in live}
    before = now - grace
    swept = Swept()
    trash = _Trash(content.root, now)
    try:
        if not dry_run:
            swept.litter = remove_litter(content, now=now)
        _sweep_files(content, live, before, swept, None if dry_run else trash)
        content.index.close()
        content.index.refresh()
        for identity in sorted(content.index.pack_ids()):
            _sweep_pack(content, identity, alive, before, swept, None if dry_run else trash)
        swept.trash = trash.sync()
    except OSError as error:
        raise files.explain(error, f"cannot sweep {content.root}") from error
    if swept.trash is not None:
        content.close()
        content.index.merge()
    return swept


def _sweep_files(content: Content, live: set[str], before: float, swept: Swept, trash: _Trash | None) -> None:
    for name in list(blobs.scan_blobs(content.root)):
        if name in live:
            continue
        path = blobs.blob_path(content.root, name)
        try:
            status = os.lstat(path)
        except FileNotFoundError:
            continue
        if status.st_mtime > before:
            swept.young += 1
            continue
        swept.blobs += 1
        swept.bytes += status.st_size
        if trash is not None:
            trash.take(path, f"blobs/{name[:2]}/{name}")


def _sweep_pack(
    content: Content, identity: bytes, alive: set[bytes], before: float, swept: Swept, trash: _Trash | None
) -> None:
    path = content.index.pack_path(identity)
    try:
        descriptor = packs.open_pack(path)
    except FileNotFoundError:
        return
    try:
        status = os.fstat(descriptor)
        try:
            rows = [
                (digest, length, offset) for digest, (_, length, offset) in packs.read_trailer(descriptor, identity)[0].rows()
            ]
        except (packs.PackError, IntegrityError):
            # Damaged: what is in it is for `verify --repair` to say.
            return
    finally:
        os.close(descriptor)
    kept = [row for row in rows if row[0] in alive]
    dead = len(rows) - len(kept)
    if not dead:
        return
    if status.st_mtime > before:
        swept.young += dead
        return
    dead_bytes = sum(row[1] + packs.RECORD.size for row in rows if row[0] not in alive)
    if 2 * dead_bytes <= status.st_size and kept:
        swept.kept_bytes += dead_bytes
        return
    swept.blobs += dead
    swept.packs += 1
    swept.bytes += status.st_size - (pack_size(kept) if kept else 0)
    if trash is not None:
        if kept:
            copy_records(content, identity, kept)
        trash.take(path, f"packs/{os.path.basename(path)}")


def pack_size(rows: list[tuple[bytes, int, int]]) -> int:
    """Return the exact size of a pack with these (digest, length, offset) records."""
    return packs.HEADER.size + sum(row[1] + packs.RECORD.size for row in rows) + index_size(len(rows)) + packs.FOOTER.size


def copy_records(content: Content, identity: bytes, rows: list[tuple[bytes, int, int]]) -> None:
    """Write and publish a pack with some records of another, as they are: damage stays to be seen."""
    writer = packs.PackWriter(content.root)
    source = packs.open_pack(content.index.pack_path(identity))
    try:
        for digest, length, offset in sorted(rows, key=_offset_of):
            data = packs.read_exactly(source, length, offset)
            if len(data) != length:
                raise IntegrityError(f"pack {content.index.pack_path(identity)} is cut off")
            writer.add(digest, data)
        writer.finish()
        writer.publish()
        writer.sync_names()
    except BaseException:
        writer.close(drop=True)
        raise
    finally:
        os.close(source)
    writer.close()


def _offset_of(row: tuple[bytes, int, int]) -> int:
    return row[2]


def replace_pack(content: Content, identity: bytes, rows: list[tuple[bytes, int, int]]) -> None:
    """Replace a pack by one with some of its records; the old one goes to the trash.

    Raises:
        StorageError: it could not be done; the old pack is still there.
    """
    path = content.index.pack_path(identity)
    try:
        if rows:
            copy_records(content, identity, rows)
        trash = _Trash(content.root, time.time())
        trash.take(path, f"packs/{os.path.basename(path)}")
        trash.sync()
    except OSError as error:
        raise files.explain(error, f"cannot rewrite {path}") from error
    content.close()


def remove_litter(content: Content, *, now: float) -> int:
    """Remove temporary files that are older than an hour: their writers were killed. Return how many."""
    removed = 0
    directories = [content.index.directory, f"{content.index.directory}/index", f"{content.root}/blobs"]
    directories += [f"{content.root}/blobs/{name}" for name in files.scan_names(f"{content.root}/blobs") if len(name) == 2]
    for directory in directories:
        old = []
        for name in files.scan_names(directory):
            try:
                if name.startswith(_LITTER) and os.lstat(f"{directory}/{name}").st_ctime < now - MIN_GRACE:
                    old.append(name)
            except OSError:
                continue
        removed += len(files.remove_names(directory, old, content.root))
    return removed


# The trash


def trash_names(root: str) -> list[str]:
    """Return the names of the trash directories, newest first."""
    return sorted(files.scan_names(f"{root}/trash"), reverse=True)


def trash_contents(root: str) -> Iterator[Content]:
    """Yield each trash directory as content of its own: it has the same layout."""
    from regcli.store.content import Content

    for name in trash_names(root):
        yield Content(f"{root}/trash/{name}")


def recall(content: Content, digests: set[bytes]) -> bool:
    """Move blobs (or the packs that they are in) back from the trash, as far as they are there; True when any was moved.

    Raises:
        StorageError: the trash cannot be read.
    """
    moved = False
    wanted = set(digests)
    for trash in trash_contents(content.root):
        with trash:
            for digest in [digest for digest in wanted if files.is_there(blobs.blob_path(trash.root, digest.hex()))]:
                name = digest.hex()
                if _move_back(content.root, blobs.blob_path(trash.root, name), blobs.blob_path(content.root, name)):
                    moved = True
                    wanted.discard(digest)
            found = trash.index.known(wanted)
            for identity in {place[0] for digest in found for place in trash.index.find(digest)[:1]}:
                moved |= _move_back(content.root, trash.index.pack_path(identity), content.index.pack_path(identity))
            wanted -= found
    return moved


def _move_back(root: str, source: str, target: str) -> bool:
    place = trash = -1
    name, old = os.path.basename(target), os.path.basename(source)
    try:
        files.make_within(root, os.path.dirname(target))
        place = files.open_within(root, os.path.dirname(target))
        trash = files.open_within(root, os.path.dirname(source))
        if not files.link_exclusive(old, name, src_dir_fd=trash, dst_dir_fd=place) and not _are_equal(source, target):
            # What lies there may be damaged, and this its only intact copy: it stays in the trash.
            return False
        # Young again: the next sweep must not take it before its new version is committed.
        os.utime(name, dir_fd=place, follow_symlinks=False)
        files.fsync_names(place)
        os.unlink(old, dir_fd=trash)
    except OSError:
        return os.path.exists(target)
    finally:
        for descriptor in (place, trash):
            if descriptor >= 0:
                os.close(descriptor)
    return True


def _are_equal(first: str, second: str) -> bool:
    descriptors: list[int] = []
    try:
        # One by one: what was opened before a failure is closed below.
        descriptors.extend(os.open(path, files.READ) for path in (first, second))
        return blobs.same_bytes(*descriptors)
    except OSError:
        return False
    finally:
        for descriptor in descriptors:
            os.close(descriptor)


def purge(content: Content, *, now: float, older_than: float, dry_run: bool = False) -> int:
    """Delete trash directories older than so many seconds for good; return the bytes that the disk gets (would get) back."""
    limit = _stamp(now - older_than)
    # Names begin with their time in UTC, which sorts as text.
    due = [name for name in trash_names(content.root) if _TRASH_NAME.issuperset(name) and name[:16] < limit]
    freed = 0
    try:
        if due:
            top = files.open_directory(f"{content.root}/trash")
            try:
                freed = sum(_delete_tree(top, name, dry_run=dry_run) for name in due)
            finally:
                os.close(top)
    except OSError as error:
        raise files.explain(error, f"cannot delete what is in {content.root}/trash") from error
    return freed


def _delete_tree(parent: int, name: str, *, dry_run: bool, depth: int = 0) -> int:
    """Delete what has a name in an open directory; links are deleted, never followed."""
    if depth > _DEEPEST:
        raise OSError(errno.ENOTEMPTY, "it is nested too deeply")
    freed = 0
    try:
        status = os.stat(name, dir_fd=parent, follow_symlinks=False)
        if not stat.S_ISDIR(status.st_mode):
            if not dry_run:
                os.unlink(name, dir_fd=parent)
            return status.st_size
        directory = os.open(name, files.DIRECTORY | files.NOFOLLOW, dir_fd=parent)
        try:
            for below in os.listdir(directory):
                freed += _delete_tree(directory, below, dry_run=dry_run, depth=depth + 1)
        finally:
            os.close(directory)
        if not dry_run:
            os.rmdir(name, dir_fd=parent)
    except FileNotFoundError:
        pass
    return freed
