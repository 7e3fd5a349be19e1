"""Packs: many small blobs in one file that is written once (FORMAT.md 3.1)."""

from __future__ import annotations

import errno
import os
from struct import Struct

import xxhash

from regcli.errors import IntegrityError
from regcli.store import files
from regcli.store.blobs import Flush
from regcli.store.packindex import LOCATION, Index, encode_index, open_index

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

SMALL = 1 << 20
MAX_PACK = 1 << 30
# Sorting the rows of an index takes four times the memory that keeping them does.
MAX_ROWS = 1 << 18
HEADER = Struct("<8sII16s")
RECORD = Struct("<4sI16s")
FOOTER = Struct("<QQ8s16s")
MAGIC = b"regclpk1"
RECORD_MAGIC = b"blob"
END_MAGIC = b"regclend"
SUFFIX = ".pack"
_CHUNK = 1 << 20
_PARTS = 512
# How much a scan may read in vain: so many times the pack, and so many bytes.
_VAIN_FACTOR = 4
_VAIN = 64 << 20
_FIRST_LOOK = 4096


class PackError(Exception):
    """A pack is damaged; the text says how."""


def footer_for(offset: int, length: int, header: bytes) -> bytes:
    """Return the footer of a pack whose index lies at `offset`."""
    start = FOOTER.pack(offset, length, END_MAGIC, b"")[:24]
    return start + xxhash.xxh3_128_digest(start + header)


class PackWriter:
    """A pack being written under a temporary name.

    Attributes:
        rows: digest -> offset of the bytes << 32 | length; empty when it is finished.
        index: the index, when it is finished.
        size: bytes so far, those that are still in memory too.
        path, final_path: the temporary name, and the one it gets.
    """

    __slots__ = (
        "_descriptor",
        "_flush",
        "_header",
        "_parts",
        "_pending",
        "_root",
        "final_path",
        "identity",
        "index",
        "path",
        "rows",
        "size",
    )

    def __init__(self, root: str) -> None:
        directory = f"{root}/packs"
        self.identity = os.urandom(16)
        self.path = files.temporary_path(directory)
        self.final_path = f"{directory}/{self.identity.hex()}{SUFFIX}"
        self.rows: dict[bytes, int] = {}
        self.index: Index | None = None
        self._header = HEADER.pack(MAGIC, 1, 0, self.identity)
        self._parts: list[bytes] = [self._header]
        self._pending = len(self._header)
        self.size = len(self._header)
        self._root = root
        place = self._open_place()
        try:
            name, flags = os.path.basename(self.path), files.CREATE & ~os.O_WRONLY | os.O_RDWR
            self._descriptor = os.open(name, flags, 0o600, dir_fd=place)
        finally:
            os.close(place)
        self._flush = Flush(self._descriptor)

    def _open_place(self) -> int:
        # Not kept: of a large batch there are many packs at a time.
        return files.open_within(self._root, os.path.dirname(self.path))

    def add(self, digest: bytes, data: bytes) -> None:
        """Append a blob that the pack does not have."""
        length = len(data)
        self._parts += (RECORD.pack(RECORD_MAGIC, length, digest), data)
        self.rows[digest] = (self.size + 24) << 32 | length
        self.size += length + 24
        self._pending += length + 24
        if self._pending >= _CHUNK or len(self._parts) >= _PARTS:
            self.flush()

    def flush(self) -> None:
        """Write what is in memory."""
        parts, self._parts = self._parts, []
        pending, self._pending = self._pending, 0
        if not pending:
            return
        written = os.writev(self._descriptor, parts)
        if written < pending:
            files.write_all(self._descriptor, memoryview(b"".join(parts))[written:])
        self._flush.follow(self.size)

    def read(self, digest: bytes) -> bytes:
        """Return the bytes of a blob that was added."""
        if self.index is not None:
            _, length, offset = self.index.find(digest)[0]
            return read_exactly(self._descriptor, length, offset)
        row = self.rows[digest]
        self.flush()
        return read_exactly(self._descriptor, row & 0xFFFFFFFF, row >> 32)

    def has(self, digest: bytes) -> bool:
        """Tell whether a blob was added."""
        return digest in self.rows or (self.index is not None and bool(self.index.find(digest)))

    def finish(self) -> None:
        """Write index and footer, and sync. After an error the pack must be dropped, never synced again."""
        self.flush()
        pack = LOCATION.pack
        index = encode_index(
            [(digest, pack(0, row & 0xFFFFFFFF, row >> 32)) for digest, row in self.rows.items()], [self.identity]
        )
        files.write_all(self._descriptor, index + footer_for(self.size, len(index), self._header))
        self.size += len(index) + FOOTER.size
        os.fchmod(self._descriptor, 0o444)
        files.fsync_file(self._descriptor)
        self.index = Index(index)
        # The index has it all in a fifth of the memory.
        self.rows = {}

    def publish(self) -> None:
        """Give the finished pack its name; `sync_names` makes it durable."""
        place = self._open_place()
        try:
            # The name is 128 random bits: nobody else's file can be in the way.
            names = os.path.basename(self.path), os.path.basename(self.final_path)
            os.rename(*names, src_dir_fd=place, dst_dir_fd=place)
        finally:
            os.close(place)

    def sync_names(self) -> None:
        """Make the names of all packs in the directory durable."""
        files.fsync_directory(os.path.dirname(self.path))

    def withdraw(self) -> None:
        """Take the name of a published pack away."""
        place = self._open_place()
        try:
            os.unlink(os.path.basename(self.final_path), dir_fd=place)
        finally:
            os.close(place)

    def close(self, *, drop: bool = False) -> None:
        """Close the file; with `drop` remove it too."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
        if drop:
            files.unlink_quietly(self.path)


def read_exactly(descriptor: int, size: int, offset: int) -> bytes:
    """Return `size` bytes from `offset`; fewer only at the end of the file."""
    data = os.pread(descriptor, size, offset)
    if len(data) == size or not data:
        return data
    parts = [data]
    got = len(data)
    while got < size:
        data = os.pread(descriptor, size - got, offset + got)
        if not data:
            break
        parts.append(data)
        got += len(data)
    return b"".join(parts)


def fill(descriptor: int, view: memoryview, offset: int) -> int:
    """Read into a buffer from `offset`; return how many bytes, fewer than fit only at the end of the file."""
    filled = 0
    while filled < len(view):
        count = os.preadv(descriptor, [view[filled:]], offset + filled)
        if not count:
            break
        filled += count
    return filled


def open_pack(path: str) -> int:
    """Return a descriptor of a pack; FileNotFoundError when there is none."""
    return os.open(path, files.READ)


def read_trailer(descriptor: int, identity: bytes) -> tuple[Index, int]:
    """Return a pack's own index and the offset at which its records end.

    Raises:
        PackError: header, index or footer are damaged.
    """
    size = os.fstat(descriptor).st_size
    header = read_exactly(descriptor, HEADER.size, 0)
    if size < HEADER.size + FOOTER.size or header != HEADER.pack(MAGIC, 1, 0, identity):
        raise PackError("the header is damaged")
    footer = read_exactly(descriptor, FOOTER.size, size - FOOTER.size)
    offset, length, _, _ = FOOTER.unpack(footer)
    if footer != footer_for(offset, length, header) or offset + length + FOOTER.size != size or offset < HEADER.size:
        raise PackError("the footer is damaged or the end is missing")
    try:
        index = open_index(descriptor, offset, length)
    except IntegrityError as error:
        raise PackError(f"the index is damaged: {error.message}") from error
    if index.packs != [identity]:
        raise PackError("the index is another pack's")
    return index, offset


def scan(descriptor: int) -> Iterator[tuple[bytes, int, int]]:
    """Yield (digest, length, offset) of each intact record, looking at nothing but the records themselves.

    After damage the search goes on at the next magic: one broken record does not hide those behind it. What looks like a record
    and is none costs time, and a pack can be made of nothing else. So there is a limit to what is hashed in vain: first long
    records are passed over, which no writer makes and which text that holds the magic seems to begin; at last the search ends.
    """
    size = os.fstat(descriptor).st_size
    spare_for_long = spare = _VAIN_FACTOR * size + _VAIN
    position = HEADER.size
    while position + RECORD.size <= size and spare > 0:
        magic, length, digest = RECORD.unpack(read_exactly(descriptor, RECORD.size, position))
        start = position + RECORD.size
        if magic == RECORD_MAGIC and start + length <= size and (length <= SMALL or spare_for_long > 0):
            if digest_at(descriptor, start, length) == digest:
                yield digest, length, start
                position = start + length
                continue
            if length <= SMALL:
                spare -= length
            else:
                spare_for_long -= length
        spare -= _FIRST_LOOK
        position = _next_magic(descriptor, position + 1, size)


def digest_at(descriptor: int, offset: int, length: int) -> bytes:
    """Return the digest of some bytes, of which no more than a piece is held in memory."""
    state = xxhash.xxh3_128()
    end = offset + length
    while offset < end and (piece := read_exactly(descriptor, min(_CHUNK, end - offset), offset)):
        state.update(piece)
        offset += len(piece)
    return state.digest()


def _next_magic(descriptor: int, position: int, size: int) -> int:
    step = _FIRST_LOOK
    while position < size:
        chunk = read_exactly(descriptor, step, position)
        at = chunk.find(RECORD_MAGIC)
        if at >= 0:
            return position + at
        if len(chunk) < step:
            break
        position += len(chunk) - len(RECORD_MAGIC) + 1
        step = _CHUNK
        if chunk.count(0) == len(chunk):
            position = _after_hole(descriptor, position, size)
    return size


def _after_hole(descriptor: int, position: int, size: int) -> int:
    """Return where the next written bytes are: a file may claim any size without taking room, or reading it any end."""
    if not hasattr(os, "SEEK_DATA"):
        return position
    try:
        return os.lseek(descriptor, position, os.SEEK_DATA)
    except OSError as error:
        # No such offset: nothing but a hole follows. What else may fail (a file system that does not know) is read through.
        return size if error.errno == errno.ENXIO else position


def scanned_index(descriptor: int, identity: bytes) -> Index:
    """Return an index made by scanning, for a pack whose own is damaged."""
    rows = [(digest, LOCATION.pack(0, length, offset)) for digest, length, offset in scan(descriptor)]
    return Index(encode_index(rows, [identity]))
