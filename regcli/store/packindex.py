"""The index of a pack, or of many packs: which blob is where (FORMAT.md 3.2)."""

from __future__ import annotations

import os
from bisect import bisect_left
from struct import Struct

import xxhash

from regcli.errors import IntegrityError

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
