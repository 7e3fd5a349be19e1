"""Where blobs are inside packs: one pack's own index, and derived files over many packs (FORMAT.md 3.2)."""

from __future__ import annotations

import os
from bisect import bisect_left
from struct import Struct

import xxhash

from regcli.errors import IntegrityError
from regcli.store import files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

LOCATION = Struct("<IIQ")
_HEAD = Struct("<8sIIQII")
_MAGIC = b"regclix1"
_DIGEST = Struct("16s")
# About 64 rows to a bucket: 1 KiB of digests, which `bytes.find` searches faster than Python can halve intervals.
_BUCKET = 64
_MAX_BITS = 16
# Up to this size an index is read as a whole: one read is cheaper than a dozen small ones.
_WHOLE = 1 << 20


def encode_index(rows: Iterable[tuple[bytes, bytes]], packs: Sequence[bytes]) -> bytes:
    """Return an index of (digest, encoded location) rows, in any order, over packs with these ids."""
    ordered = sorted(rows)
    count = len(ordered)
    bits = _bits_for(count)
    digests = [row[0] for row in ordered]
    ends = [bisect_left(digests, (number << (16 - bits)).to_bytes(2, "big")) for number in range(1, 1 << bits)]
    ends.append(count)
    digest_column = b"".join(digests)
    location_column = b"".join([row[1] for row in ordered])
    checks = []
    start = 0
    for end in ends:
        checks.append(xxhash.xxh3_64_intdigest(digest_column[start * 16 : end * 16] + location_column[start * 16 : end * 16]))
        start = end
    head = b"".join(
        (
            _HEAD.pack(_MAGIC, 1, bits, count, len(packs), 0),
            *packs,
            Struct(f"<{len(ends)}I").pack(*ends),
            Struct(f"<{len(ends)}Q").pack(*checks),
        )
    )
    return b"".join((head, xxhash.xxh3_128_digest(head), digest_column, location_column))


def _bits_for(count: int) -> int:
    bits = 0
    while bits < _MAX_BITS and count >> bits > _BUCKET:
        bits += 1
    return bits


def index_size(count: int) -> int:
    """Return the size of one pack's index with so many rows."""
    return _HEAD.size + 16 + (12 << _bits_for(count)) + 16 + 32 * count


class Index:
    """A readable index; each bucket is proven when it is first looked at.

    Attributes:
        packs: ids of the packs, by the numbers that locations use.
        count: rows.
    """

    __slots__ = ("_base", "_buckets", "_checks", "_data", "_descriptor", "_ends", "_rows_at", "_shift", "count", "packs")

    def __init__(self, data: bytes, *, descriptor: int = -1, base: int = 0, length: int = -1) -> None:
        """Parse the head; `data` is all of the index, or its beginning with the rest to be read from `descriptor`.

        Raises:
            IntegrityError: the head is damaged.
        """
        length = len(data) if length < 0 else length
        if len(data) < _HEAD.size:
            raise IntegrityError("cut off")
        magic, version, bits, self.count, pack_count, _ = _HEAD.unpack_from(data)
        if magic != _MAGIC or version != 1 or bits > _MAX_BITS:
            raise IntegrityError("not an index of this format")
        size = _HEAD.size + 16 * pack_count + 12 * (1 << bits)
        self._rows_at = size + 16
        if length != self._rows_at + 32 * self.count:
            raise IntegrityError("wrong length")
        if len(data) < self._rows_at:
            data = _read(descriptor, self._rows_at, base)
        if xxhash.xxh3_128_digest(data[:size]) != data[size : size + 16]:
            raise IntegrityError("wrong checksum")
        position = _HEAD.size + 16 * pack_count
        self.packs = [data[at : at + 16] for at in range(_HEAD.size, position, 16)]
        self._ends = memoryview(data)[position : position + (4 << bits)].cast("I")
        self._checks = memoryview(data)[position + (4 << bits) : size]
        self._shift = 16 - bits
        self._buckets: dict[int, tuple[bytes, bytes]] = {}
        self._data = data if len(data) == length else b""
        self._descriptor = descriptor
        self._base = base

    def _column(self, start: int, count: int) -> bytes:
        if self._data:
            return self._data[start : start + count]
        return _read(self._descriptor, count, self._base + start)

    def _bucket(self, number: int) -> tuple[bytes, bytes]:
        first = self._ends[number - 1] if number else 0
        rows = self._ends[number] - first
        if rows < 0:
            raise IntegrityError("malformed")
        digests = self._column(self._rows_at + 16 * first, 16 * rows)
        locations = self._column(self._rows_at + 16 * (self.count + first), 16 * rows)
        check = int.from_bytes(self._checks[number * 8 : number * 8 + 8], "little")
        if xxhash.xxh3_64_intdigest(digests + locations) != check:
            raise IntegrityError("wrong checksum")
        self._buckets[number] = digests, locations
        return digests, locations

    def find(self, digest: bytes) -> list[tuple[int, int, int]]:
        """Return (pack number, length, offset) of each place where a blob is.

        Raises:
            IntegrityError: the bucket is damaged.
        """
        number = (digest[0] << 8 | digest[1]) >> self._shift
        bucket = self._buckets.get(number)
        digests, locations = self._bucket(number) if bucket is None else bucket
        found = []
        at = digests.find(digest)
        while at >= 0:
            # A hit between two digests is a coincidence of their bytes.
            if at % 16 == 0:
                found.append(LOCATION.unpack_from(locations, at))
            at = digests.find(digest, at + 1)
        return found

    def prove(self) -> None:
        """Check every bucket.

        Raises:
            IntegrityError: one is damaged.
        """
        for number in range(len(self._ends)):
            if number not in self._buckets:
                self._bucket(number)

    def digests(self) -> list[bytes]:
        """Return all digests, proven."""
        self.prove()
        column = self._column(self._rows_at, 16 * self.count)
        return [row[0] for row in _DIGEST.iter_unpack(column)]

    def rows(self) -> list[tuple[bytes, tuple[int, int, int]]]:
        """Return all (digest, (pack number, length, offset)), proven, sorted by digest."""
        self.prove()
        column = self._column(self._rows_at + 16 * self.count, 16 * self.count)
        return list(zip(self.digests(), LOCATION.iter_unpack(column), strict=True))

    def encoded_rows(self) -> list[tuple[bytes, bytes]]:
        """Return all (digest, encoded location), proven, as `encode_index` takes them."""
        self.prove()
        column = self._column(self._rows_at + 16 * self.count, 16 * self.count)
        return list(zip(self.digests(), [row[0] for row in _DIGEST.iter_unpack(column)], strict=True))

    def close(self) -> None:
        """Let go of the file."""
        if self._descriptor >= 0 and not self._data:
            os.close(self._descriptor)
        self._descriptor = -1


def _read(descriptor: int, size: int, offset: int) -> bytes:
    data = os.pread(descriptor, size, offset)
    while len(data) < size:
        more = os.pread(descriptor, size - len(data), offset + len(data))
        if not more:
            raise IntegrityError("cut off")
        data += more
    return data


def open_index(descriptor: int, base: int, length: int) -> Index:
    """Return the index at `base` of an open file, which stays the caller's.

    Raises:
        IntegrityError: it is damaged.
    """
    if length <= _WHOLE:
        return Index(_read(descriptor, length, base))
    copy = os.dup(descriptor)
    try:
        return Index(_read(copy, _HEAD.size, base), descriptor=copy, base=base, length=length)
    except BaseException:
        os.close(copy)
        raise


class _Part:
    """One loaded index: its file's name (or pack) and the packs that it speaks of, None for those that are gone."""

    __slots__ = ("index", "name", "packs")

    def __init__(self, name: str, index: Index, packs: list[bytes | None]) -> None:
        self.name = name
        self.index = index
        self.packs = packs


class PackIndex:
    """All packs of a root as one index; loaded on first use, refreshed when asked.

    Attributes:
        directory: the packs' directory; need not exist.
        damaged: packs whose own index is damaged, with what is wrong. They are read by scanning.
    """

    __slots__ = ("_loaded", "_parts", "_stale", "_stamp", "damaged", "directory")

    def __init__(self, directory: str) -> None:
        self.directory = directory
        self.damaged: dict[bytes, str] = {}
        self._parts: list[_Part] = []
        self._loaded = False
        self._stamp: tuple[int, int] = (0, 0)
        self._stale: list[str] = []

    def refresh(self) -> bool:
        """Load what is there now; False when nothing changed since the last time."""
        stamp = self._current_stamp()
        if self._loaded and stamp == self._stamp:
            return False
        self.close()
        self._load()
        # The stamp from before loading: what appears meanwhile is seen by the next refresh.
        self._stamp = stamp
        self._loaded = True
        return True

    def _current_stamp(self) -> tuple[int, int]:
        try:
            status = os.stat(self.directory)
        except OSError:
            return (0, 0)
        return status.st_ino, status.st_mtime_ns

    def _load(self) -> None:
        # Index files before packs: an index file that names a pack made later than our listing would hide it as dead.
        indexes = sorted(name for name in files.scan_names(f"{self.directory}/index") if name.endswith(".idx"))
        present = self.pack_ids()
        loaded: list[_Part] = []
        for name in indexes:
            part = self._load_segment(name, present)
            if part is None:
                self._stale.append(name)
            else:
                loaded.append(part)
        covered = {pack for part in loaded for pack in part.packs}
        for identity in sorted(present - covered):
            if (index := self._load_pack(identity)) is not None:
                loaded.append(_Part("", index, [identity]))
        # The largest first: most blobs are there.
        loaded.sort(key=lambda part: -part.index.count)
        self._parts = loaded

    def pack_ids(self) -> set[bytes]:
        """Return the ids of the packs that are there now."""
        found = set()
        for name in files.scan_names(self.directory):
            if len(name) == 37 and name.endswith(".pack"):
                try:
                    found.add(bytes.fromhex(name[:32]))
                except ValueError:
                    continue
        return found

    def _load_segment(self, name: str, present: set[bytes]) -> _Part | None:
        try:
            descriptor = os.open(f"{self.directory}/index/{name}", files.READ)
        except OSError:
            return None
        try:
            index = open_index(descriptor, 0, os.fstat(descriptor).st_size)
        except (OSError, IntegrityError):
            return None
        finally:
            os.close(descriptor)
        return _Part(name, index, [pack if pack in present else None for pack in index.packs])

    def _load_pack(self, identity: bytes) -> Index | None:
        from regcli.store import packs

        path = self.pack_path(identity)
        try:
            descriptor = packs.open_pack(path)
        except FileNotFoundError:
            return None
        except OSError as error:
            self.damaged[identity] = (error.strerror or str(error)).lower()
            return None
        try:
            index = packs.read_trailer(descriptor, identity)[0]
            if index.count <= 4096:
                index.prove()
        except (packs.PackError, IntegrityError) as error:
            self.damaged[identity] = str(error)
            try:
                return packs.scanned_index(descriptor, identity)
            except OSError:
                return None
        except OSError as error:
            raise files.explain(error, f"cannot read {path}") from error
        else:
            return index
        finally:
            os.close(descriptor)

    def pack_path(self, identity: bytes) -> str:
        """Return the path of a pack."""
        return f"{self.directory}/{identity.hex()}.pack"

    def _drop(self, part: _Part) -> None:
        """Replace a damaged index file by the packs' own indexes, or a damaged pack index by a scan."""
        self._parts.remove(part)
        part.index.close()
        if part.name:
            self._stale.append(part.name)
            known = {pack for other in self._parts for pack in other.packs}
            for identity in part.packs:
                if identity is not None and identity not in known and (index := self._load_pack(identity)) is not None:
                    self._parts.append(_Part("", index, [identity]))
        elif (identity := part.packs[0]) is not None:
            from regcli.store import packs

            self.damaged[identity] = "the index is damaged"
            descriptor = packs.open_pack(self.pack_path(identity))
            try:
                self._parts.append(_Part("", packs.scanned_index(descriptor, identity), [identity]))
            finally:
                os.close(descriptor)

    def find(self, digest: bytes) -> list[tuple[bytes, int, int]]:
        """Return (pack id, length, offset) of each place where a blob should be."""
        if not self._loaded:
            self.refresh()
        found = []
        for part in tuple(self._parts):
            try:
                rows = part.index.find(digest)
            except (IntegrityError, OSError):
                self._drop(part)
                return self.find(digest)
            for number, length, offset in rows:
                identity = part.packs[number] if number < len(part.packs) else None
                if identity is not None:
                    found.append((identity, length, offset))
        return found

    @property
    def count(self) -> int:
        """The number of rows: blobs, with those that are stored twice counted twice."""
        if not self._loaded:
            self.refresh()
        return sum(part.index.count for part in self._parts)

    def known(self, digests: set[bytes]) -> set[bytes]:
        """Return those of many digests that some pack has."""
        if not self._loaded:
            self.refresh()
        left = set(digests)
        for part in tuple(self._parts):
            if not left:
                break
            try:
                # Many against few: a set is built in C. Few against many: look each one up.
                if None not in part.packs and part.index.count <= 8 * len(left):
                    left.difference_update(part.index.digests())
                else:
                    find, ids = part.index.find, part.packs
                    left.difference_update(
                        [
                            digest
                            for digest in left
                            if any(row[0] < len(ids) and ids[row[0]] is not None for row in find(digest))
                        ]
                    )
            except (IntegrityError, OSError):
                self._drop(part)
                return self.known(digests)
        return digests - left if left else set(digests)

    def all_digests(self) -> set[bytes]:
        """Return every digest that some pack has."""
        return {digest for digest, _, _, _ in self.rows()}

    def rows(self) -> list[tuple[bytes, bytes, int, int]]:
        """Return (digest, pack id, length, offset) of every row."""
        if not self._loaded:
            self.refresh()
        found = []
        for part in tuple(self._parts):
            try:
                rows = part.index.rows()
            except (IntegrityError, OSError):
                self._drop(part)
                return self.rows()
            for digest, (number, length, offset) in rows:
                identity = part.packs[number] if number < len(part.packs) else None
                if identity is not None:
                    found.append((digest, identity, length, offset))
        return found

    def add(self, identity: bytes, index: Index) -> None:
        """Take in a pack that this process has just published."""
        if self._loaded:
            self._parts.append(_Part("", index, [identity]))

    def merge(self, *, most: int = 8) -> None:
        """Write a new index file when more than `most` packs are in none; old ones of similar size go into it.

        Best effort: it is derived, and a failure to write it changes nothing.
        """
        if not self._loaded:
            self.refresh()
        loose = [part for part in self._parts if not part.name and part.packs[0] not in self.damaged]
        if len(loose) <= most and not self._stale:
            return
        taken = loose if len(loose) > most else []
        rows = sum(part.index.count for part in taken)
        for part in sorted((part for part in self._parts if part.name), key=lambda part: part.index.count):
            if (taken and part.index.count <= 2 * rows) or None in part.packs:
                taken.append(part)
                rows += part.index.count
        try:
            self._write(taken)
        except OSError:
            return

    def _write(self, taken: list[_Part]) -> None:
        numbers: dict[bytes, int] = {}
        rows: list[tuple[bytes, bytes]] = []
        try:
            for part in taken:
                for digest, (number, length, offset) in part.index.rows():
                    identity = part.packs[number] if number < len(part.packs) else None
                    if identity is not None:
                        place = numbers.setdefault(identity, len(numbers))
                        rows.append((digest, LOCATION.pack(place, length, offset)))
        except IntegrityError:
            return
        directory = f"{self.directory}/index"
        if rows:
            os.makedirs(directory, exist_ok=True)
            data = encode_index(rows, list(numbers))
            name = f"{files.random_hex(16)}.idx"
            files.replace_file(f"{directory}/{name}", data, mode=0o444)
            self._parts = [part for part in self._parts if part not in taken]
            self._parts.append(_Part(name, Index(data), list(numbers)))
        # Only now: until the new one is there, the old ones are what makes reading cheap.
        for old in [part.name for part in taken if part.name] + self._stale:
            try:
                os.unlink(f"{directory}/{old}")
            except OSError:
                pass
        for part in taken:
            part.index.close()
        self._stale = []

    def close(self) -> None:
        """Forget what was loaded."""
        for part in self._parts:
            part.index.close()
        self._parts = []
        self._loaded = False
        self._stale = []
        self.damaged = {}
