"""A version that is in place as a whole: known by one look at each file, without reading what the version's files are."""

from __future__ import annotations

import os
import stat
from bisect import bisect_left
from operator import itemgetter

import xxhash

from regcli.store import files, walk
from regcli.store.manifest import EXECUTABLE
from regcli.store.statcache import KEY, ROW, Summary, pack_rows

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from regcli.store.manifest import Entry
    from regcli.store.statcache import Section, StatCache

    Part = tuple[str, list[str], bytes]  # prefix of a directory, names, a ROW for each

_OUT = "out"
_path_of = itemgetter(0)


def find_in_place(cache: StatCache, target: str, manifest: str) -> Summary | None:
    """Return what is known of a directory that is exactly the version with this manifest, or None where that is not sure."""
    section = cache.section(target)
    summary = section.summary(_OUT)
    if summary is None or summary.digest.hex() != manifest:
        return None
    return summary if _listing(target, summary.files, lambda _: True) == summary.listing else None


def remember_in_place(section: Section, target: str, manifest: str, entries: Sequence[Entry]) -> None:
    """Remember that a directory is exactly these files, if it is, and all of them are known. Never fails.

    Args:
        section: what is known, with nothing in it that may have changed since without showing.
        target: the directory.
        manifest: digest of the blob that says these entries.
        entries: of the version, sorted by path, none of them a reference.
    """
    known = section.settled()
    end = len(entries)

    def is_right(part: Part) -> bool:
        prefix, names, rows = part
        for name, (key, mode) in zip(names, ROW.iter_unpack(rows), strict=True):
            # No dictionary: it would double the memory that a million entries take.
            at = bisect_left(entries, prefix + name, key=_path_of)
            entry = entries[at] if at < end else None
            value = known(key)
            if (
                entry is None
                or entry[0] != prefix + name
                or value is None
                or value.hex() != entry[1]
                or KEY.unpack(key)[2] != entry[2]
            ):
                return False
            if (mode & 0o100 != 0) != (entry[3] == EXECUTABLE):
                return False
        return True

    listing = _listing(target, len(entries), is_right)
    if listing is not None:
        summary = Summary(listing, bytes.fromhex(manifest), len(entries), sum([entry[2] for entry in entries]))
        section.save_summary(summary, _OUT)


def _listing(target: str, number: int, is_right: Callable[[Part], bool]) -> bytes | None:
    """Return the digest of the names and rows of so many files; None where there are more, fewer or others."""
    hasher = xxhash.xxh3_128()
    left = number
    try:
        for prefix, names, rows in _parts(target):
            left -= len(names)
            if left < 0 or not is_right((prefix, names, rows)):
                return None
            joined = os.fsencode("/".join(names))
            hasher.update(b"%d %d %s/%s" % (len(names), len(joined), os.fsencode(prefix), joined))
            hasher.update(rows)
    except (OSError, _OtherError):
        return None
    return hasher.digest() if not left else None


class _OtherError(Exception):
    """There is something that no version has, such as a link."""


def _parts(target: str) -> Iterator[Part]:
    top = os.open(target, files.DIRECTORY)
    try:
        pending = [""]
        while pending:
            prefix = pending.pop()
            descriptor = os.open(prefix or ".", files.DIRECTORY | files.NOFOLLOW, dir_fd=top)
            try:
                names: list[str] = []
                statuses: list[os.stat_result] = []
                with os.scandir(descriptor) as found:
                    for entry in found:
                        status = entry.stat(follow_symlinks=False)
                        if stat.S_ISREG(status.st_mode):
                            names.append(entry.name)
                            statuses.append(status)
                        elif stat.S_ISDIR(status.st_mode):
                            pending.append(f"{prefix}{entry.name}/")
                        else:
                            raise _OtherError
                        if len(names) >= walk.CHUNK:
                            yield prefix, names, pack_rows(statuses)
                            names, statuses = [], []
            finally:
                os.close(descriptor)
            yield prefix, names, pack_rows(statuses)
    finally:
        os.close(top)
