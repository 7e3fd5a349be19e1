"""The stat cache: what digest a file had when it was last read, by what `stat` says of it (FORMAT.md 3.5).

It may be lost or damaged at any time, and is never trusted by `verify`.
"""

from __future__ import annotations

import os
import time
from itertools import chain, islice
from operator import attrgetter
from struct import Struct, error

import xxhash

from regcli.store import files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

KEY = Struct("<QQQqq")
# A key and the mode, and the columns of them: "q" for all is the same bytes, and packs a whole directory at once.
ROW = Struct("<40sQ")
_COLUMNS = attrgetter("st_dev", "st_ino", "st_size", "st_mtime_ns", "st_ctime_ns", "st_mode")
_SUMMARY = Struct("<8sI16s16s16sQQ")
_SUMMARY_MAGIC = b"regclss1"
_MAGIC = b"regclsc1"
_HEAD = Struct("<8sII16s")
_DIGEST = 16
_COARSE = 2_000_000_000
_FINE = 100_000_000
_MAX_FILE = 1 << 28


def make_key(status: os.stat_result) -> bytes:
    """Return the key of a file: device, inode, size, mtime and ctime."""
    return KEY.pack(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


def pack_rows(statuses: Sequence[os.stat_result]) -> bytes:
    """Return the `ROW` of each file: what is done for a directory at once costs a fraction of what is done for each file."""
    try:
        values = list(chain.from_iterable(map(_COLUMNS, statuses)))
        return Struct(f"<{len(values)}q").pack(*values)
    except error:
        # An inode above 2**63: network file systems have them.
        return b"".join([ROW.pack(make_key(status), status.st_mode) for status in statuses])


class Summary:
    """What a whole directory was when it was last logged or downloaded to.

    Attributes:
        listing: XXH3-128 over every name and `ROW`.
        digest: of the manifest that it gave, or (downloaded) of the blob that is its manifest; 16 bytes.
        files, bytes: how many, and their sizes together.
        proven_at: when all of its content was seen in the store, in ns since the epoch; 0 where that is not known.
    """

    __slots__ = ("bytes", "digest", "files", "listing", "proven_at")

    def __init__(self, listing: bytes, digest: bytes, files: int, bytes: int) -> None:  # noqa: A002 - as everywhere here
        self.listing = listing
        self.digest = digest
        self.files = files
        self.bytes = bytes
        self.proven_at = 0


class Section:
    """The part of the cache for one directory (or file) that is logged or downloaded to.

    Attributes:
        fresh: rows that this run learned, as they are written: a million of them must not be a million objects.
    """

    __slots__ = ("_known", "_own", "_path", "_width", "fresh")

    def __init__(self, path: str, width: int, *, own: bool = False) -> None:
        self._path = path
        self._own = own
        self._width = width
        self._known: dict[bytes, bytes] | None = None
        self.fresh = bytearray()

    @property
    def known(self) -> dict[bytes, bytes]:
        """Key -> digest (16 bytes, or 32 with the MD5), as the last run left it; read when it is first asked for."""
        if self._known is None:
            self._known = self._load() if self._path else {}
        return self._known

    def _load(self) -> dict[bytes, bytes]:
        try:
            data = files.read_document(self._path, _MAX_FILE)
        except Exception:  # noqa: BLE001
            # Missing, unreadable, a FIFO, too large: a cache that cannot be read is an empty cache.
            return {}
        if len(data) < _HEAD.size:
            return {}
        magic, version, width, checksum = _HEAD.unpack_from(data)
        body = memoryview(data)[_HEAD.size :]
        if (magic, version, width) != (_MAGIC, 1, self._width) or len(body) % (KEY.size + width):
            return {}
        if xxhash.xxh3_128_digest(body) != checksum:
            return {}
        return dict(Struct(f"{KEY.size}s{width}s").iter_unpack(body))

    def add(self, status: os.stat_result, value: bytes) -> None:
        """Remember a file that was just read; `status` is from after reading."""
        self.fresh += make_key(status) + value

    def save(self, seen: int = 0, *, now: Callable[[], int] = time.time_ns) -> bool:
        """Write what was learned, when anything was. Never fails.

        Args:
            seen: how many files there are now; of the store's own none is forgotten.
            now: the clock.

        Returns:
            Whether all that was learned can be trusted later: no file was too young.
        """
        if not self._path or not self.fresh:
            return True
        if self._own:
            self._merge()
        stamp = now()
        width = KEY.size + self._width
        settled: bytes | bytearray = self.fresh
        keys = Struct(f"{KEY.size}s{self._width}x").iter_unpack(settled)
        young = [number for number, (key,) in enumerate(keys) if not is_settled(key, stamp, own=self._own)]
        if young:
            starts = [0, *[(number + 1) * width for number in young]]
            ends = [*[number * width for number in young], len(settled)]
            settled = b"".join([settled[start:end] for start, end in zip(starts, ends, strict=True)])
        # Rows of files that are gone are dropped once they are the larger part. Of two rows for one key the last counts.
        # What nobody asked for was not needed: everything was read anew.
        known = self._known or {}
        if len(known) > 2 * seen + 64:
            known = {}
        if settled:
            hasher = xxhash.xxh3_128()
            for piece in _pieces(known):
                hasher.update(piece)
            hasher.update(settled)
            head = _HEAD.pack(_MAGIC, 1, self._width, hasher.digest())
            self._write(self._path, chain([head], _pieces(known), [settled]))
        return len(settled) == len(self.fresh)

    def _merge(self) -> None:
        """Take what is known as learned too, with one row for each digest, however often links changed its ctime."""
        rows = {value: key for key, value in self.known.items()}
        rows.update((value, key) for key, value in Struct(f"{KEY.size}s{self._width}s").iter_unpack(self.fresh))
        self._known = {}
        self.fresh = bytearray().join([key + value for value, key in rows.items()])

    def forget(self) -> None:
        """Let go of what is in memory, after `save`."""
        self._known = {}
        self.fresh = bytearray()

    def settled(self) -> Callable[[bytes], bytes | None]:
        """Return a look-up of all that is known, with what this run learned, of files old enough to be trusted."""
        stamp = time.time_ns()
        rows = Struct(f"{KEY.size}s{self._width}s").iter_unpack(self.fresh)
        fresh = {row[0]: row[1] for row in rows if is_settled(row[0], stamp, own=self._own)}
        known = self.known
        return known.get if not fresh else lambda key: fresh.get(key) or known.get(key)

    def summary(self, use: str = "all") -> Summary | None:
        """Return what the whole directory last was, if that was saved; `use` keeps what is logged and downloaded apart."""
        if not self._path:
            return None
        path = f"{self._path}-{use}"
        try:
            proven_at = os.stat(path).st_mtime_ns
            data = files.read_document(path, 2 * _SUMMARY.size)
            magic, version, checksum, *values = _SUMMARY.unpack(data)
        except Exception:  # noqa: BLE001 - as in `_load`
            return None
        if (magic, version) != (_SUMMARY_MAGIC, 1) or xxhash.xxh3_128_digest(data[28:]) != checksum:
            return None
        summary = Summary(*values)
        summary.proven_at = proven_at
        return summary

    def confirm_summary(self) -> None:
        """Note that all content of what the directory was when it was last logged is in the store now. Never fails."""
        try:
            os.utime(f"{self._path}-all")
        except OSError:
            pass

    def save_summary(self, summary: Summary, use: str = "all") -> None:
        """Remember what the whole directory is; only for one whose files were all known or settled. Never fails.

        That its content is stored is not said by this, but by `confirm_summary`.
        """
        if self._path:
            values = summary.listing, summary.digest, summary.files, summary.bytes
            body = _SUMMARY.pack(b"", 0, b"", *values)[28:]
            data = _SUMMARY.pack(_SUMMARY_MAGIC, 1, xxhash.xxh3_128_digest(body), *values)
            # Its time is set before it has its name: whoever is killed in between must not have said that all is stored.
            self._write(f"{self._path}-{use}", [data], times=(0, 0))

    @staticmethod
    def _write(path: str, pieces: Iterable[bytes | bytearray], times: tuple[int, int] | None = None) -> None:
        try:
            os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
            files.replace_file(path, pieces, mode=0o600, times=times)
        except OSError:
            # A full or read-only cache makes the next run slower, no more.
            pass


def _pieces(known: dict[bytes, bytes]) -> Iterator[bytes]:
    """Yield the rows a few thousand at a time: all of them together would be as much memory again."""
    rows = iter(known.items())
    while some := list(islice(rows, 8192)):
        yield b"".join(chain.from_iterable(some))


def is_settled(key: bytes, now: int, *, own: bool = False) -> bool:
    """Tell whether a later write to the file must show in its time stamps (git's rule for "racily clean" entries).

    A file system on a block device that stores microseconds ticks at least every 10 ms; of others nothing is
    known, and FAT counts in steps of two seconds. With `own` the file is the store's: linking to it changes its ctime, and a
    write that does not show in its mtime would have to put that back within the same 10 ms. Nobody but us writes to it, so that
    stamps in nanoseconds are believed on every file system (Btrfs looks like one without a device).
    """
    device, _, _, mtime, ctime = KEY.unpack(key)
    is_fine = (own or os.major(device) != 0) and mtime % 1_000_000 != 0 and ctime % 1_000_000 != 0
    newest: int = mtime if own else max(mtime, ctime)
    return newest < now - (_FINE if is_fine else _COARSE)


class StatCache:
    """The cache of one user, in a directory that need not exist."""

    __slots__ = ("_directory",)

    def __init__(self, directory: str) -> None:
        self._directory = directory

    def section(self, path: str, algorithm: str = "XXH128", *, own: bool = False) -> Section:
        """Return the section for a directory or file; where `algorithm` is MD5, values have the MD5 too.

        With `own` the files are the store's (see `is_settled`).
        """
        width = 2 * _DIGEST if algorithm == "MD5" else _DIGEST
        name = xxhash.xxh3_128_hexdigest(os.fsencode(os.path.abspath(path)))
        return Section(f"{self._directory}/{name}-{width}", width, own=own)


def blobs_section(cache: StatCache, root: str) -> Section:
    """Return the section about the large blobs of a root, which were hashed when they were logged or first linked to."""
    return cache.section(f"{root}/blobs", own=True)


def no_section(algorithm: str = "XXH128") -> Section:
    """Return a section that knows nothing and saves nothing."""
    return Section("", 2 * _DIGEST if algorithm == "MD5" else _DIGEST)
