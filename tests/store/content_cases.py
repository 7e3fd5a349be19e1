"""Builders that the tests of content share."""

from __future__ import annotations

import os
import time

import xxhash

from regcli.store.blobs import open_source
from regcli.store.ingest import Ingested, Source, ingest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from regcli.store.batch import Batch
    from regcli.store.content import Content


class Failing:
    """Stands in for a function of `os`: call number `at` (from 0) fails, the others are the real one's.

    Attributes:
        calls: how many there were.
    """

    def __init__(self, call: str, at: int, number: int) -> None:
        self._real = getattr(os, call)
        self._at = at
        self._number = number
        self.calls = 0

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        self.calls += 1
        if self.calls == self._at + 1:
            raise OSError(self._number, os.strerror(self._number))
        return self._real(*arguments, **named)


def put_file(batch: Batch, path: str) -> tuple[str, int]:
    """Stage the content of a file; return digest and size."""
    descriptor = open_source(path)
    try:
        digest, size, _ = batch.put_descriptor(descriptor, path)
    finally:
        os.close(descriptor)
    return digest.hex(), size


def digest_of(data: bytes) -> str:
    return xxhash.xxh3_128_hexdigest(data)


def collision(size: int = 2048, filler: bytes = b"\0") -> tuple[bytes, bytes]:
    """Return two different contents with one XXH3-128.

    Where the low half of a word equals the secret's, the product that XXH3 makes of it is zero, and only its sum with the
    word 64 bytes later remains.
    """
    pair = []
    for difference in (0, 1):
        data = bytearray(filler * size)
        data[0:8] = bytes.fromhex("b8fe6c39") + (1000 + difference).to_bytes(4, "little")
        data[64:72] = bytes.fromhex("7c01812c") + (1000 - difference).to_bytes(4, "little")
        pair.append(bytes(data))
    return pair[0], pair[1]


def make_tree(top: str, tree: dict[str, bytes]) -> str:
    for path, data in tree.items():
        full = os.path.join(top, path)
        os.makedirs(os.path.dirname(full), exist_ok=True)
        with open(full, "wb") as file:
            file.write(data)
    return top


def store(content: Content, *blobs: bytes) -> list[str]:
    with content.batch() as batch:
        digests = [batch.put_bytes(blob) for blob in blobs]
        batch.publish()
    return digests


def log(content: Content, path: str, **options: object) -> Ingested:
    with content.batch() as batch:
        result = ingest(batch, [Source(path)], **options)  # type: ignore[arg-type]
        batch.publish()
    return result


def all_files(top: str) -> dict[str, bytes]:
    """Return path -> bytes of every regular file below, links not followed."""
    found = {}
    for directory, _, names in os.walk(top):
        for name in names:
            path = os.path.join(directory, name)
            if not os.path.islink(path) and os.path.isfile(path):
                with open(path, "rb") as file:
                    found[os.path.relpath(path, top)] = file.read()
    return found


def litter(top: str) -> list[str]:
    return [
        os.path.join(directory, name)
        for directory, directories, names in os.walk(top)
        for name in directories + names
        if name.startswith(".tmp-")
    ]


def pack_paths(root: str) -> list[str]:
    directory = f"{root}/packs"
    return sorted(f"{directory}/{name}" for name in os.listdir(directory) if name.endswith(".pack"))


def flip(path: str, offset: int) -> None:
    mode = os.stat(path).st_mode
    os.chmod(path, 0o644)
    with open(path, "r+b") as file:
        file.seek(offset)
        byte = file.read(1)
        file.seek(offset)
        file.write(bytes([byte[0] ^ 0x40]))
    os.chmod(path, mode & 0o777)


def settle(path: str | os.PathLike[str]) -> None:
    """Wait until what was just written below `path` is older than the file system's grain, as far as the stat cache knows it.

    Nothing is known of file systems without a block device, such as a temporary directory in memory.
    """
    time.sleep(0.15 if os.major(os.stat(path).st_dev) else 2.15)
