"""Sharing bytes on file systems that can, XFS and btrfs: what is logged and downloaded has the same extents."""

from __future__ import annotations

import fcntl
import os
import struct
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from regcli.store.batch import Batch
from regcli.store.content import Content
from regcli.store.materialize import materialize
from tests.reliability.harness import is_root, mounted, tool
from tests.store.content_cases import digest_of, log, put_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

FS_IOC_FIEMAP = 0xC020660B
SYNC, SHARED = 1, 0x2000
MEBIBYTE = 1 << 20
# What each needs at least, and how it is made.
KINDS = {"xfs": (320, ["-q", "-m", "reflink=1"]), "btrfs": (128, ["-q", "--mixed"])}


def extents(path: str) -> list[tuple[int, int, int]]:
    """Return (physical offset, length, flags) of each extent of a file."""
    with open(path, "rb") as stream:
        data = bytearray(struct.pack("<QQIIII", 0, 1 << 62, SYNC, 0, 256, 0) + bytes(256 * 56))
        fcntl.ioctl(stream, FS_IOC_FIEMAP, data)
    count = struct.unpack_from("<I", data, 20)[0]
    rows = [struct.unpack_from("<QQQQQI", data, 32 + 56 * number) for number in range(count)]
    return [(row[1], row[2], row[5]) for row in rows]


def assert_shared(one: str, other: str) -> None:
    first, second = extents(one), extents(other)
    assert first == second != []
    assert all(flags & SHARED for _, _, flags in first)


class Disk:
    """A file system that can share bytes, with a large file on it."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.tree = place / "tree"
        self.tree.mkdir()
        self.bytes = os.urandom(8 * MEBIBYTE + 123)
        self.write(self.bytes)
        self.content = Content(str(place / "root"))

    def write(self, data: bytes) -> None:
        with (self.tree / "large").open("wb") as stream:
            stream.write(data)
            os.fsync(stream.fileno())

    @property
    def blob(self) -> str:
        digest = digest_of(self.bytes)
        return f"{self.place}/root/blobs/{digest[:2]}/{digest}"


@pytest.fixture(params=KINDS)
def disk(tmp_path: Path, request: pytest.FixtureRequest, not_done: Callable[[str], None]) -> Iterator[Disk | None]:
    size, options = KINDS[request.param]
    if not is_root() or (make := tool(f"mkfs.{request.param}")) is None:
        not_done(f"no sharing on {request.param}: not root, or mkfs.{request.param} is not installed")
        yield None
        return
    image = tmp_path / "image"
    with image.open("wb") as stream:
        stream.truncate(size * MEBIBYTE)
    subprocess.run([make, *options, str(image)], check=True, capture_output=True)
    with mounted(["-o", "loop", str(image)], tmp_path / "mounted") as is_mounted:
        if not is_mounted:
            not_done(f"no sharing on {request.param}: it cannot be mounted (no loop devices?)")
        yield Disk(tmp_path / "mounted") if is_mounted else None


def test_log_and_download_share_the_bytes(disk: Disk | None) -> None:
    if disk is None:
        return
    entries = log(disk.content, str(disk.tree)).entries
    assert_shared(f"{disk.tree}/large", disk.blob)
    for mode in ("auto", "reflink"):
        target = f"{disk.place}/{mode}"
        assert materialize(disk.content, entries, target, link_mode=mode).written == 1
        assert_shared(f"{target}/large", disk.blob)
        # Sharing is not linking: whoever writes to the copy has a copy.
        with open(f"{target}/large", "r+b") as stream:
            stream.write(b"mine")
    target = f"{disk.place}/copy"
    materialize(disk.content, entries, target, link_mode="copy")
    assert {row[0] for row in extents(f"{target}/large")}.isdisjoint(row[0] for row in extents(disk.blob))
    assert list(disk.content.check()) == []


def test_what_is_shared_later_is_what_was_hashed(disk: Disk | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that is written to between its cloning and its hashing is noticed, whether it is young or old."""
    if disk is None:
        return
    from regcli.store import blobs

    real = blobs.clone
    later = bytearray(disk.bytes)
    later[5 * MEBIBYTE] ^= 1
    for age in (0.0, 2.2):
        disk.write(disk.bytes)
        time.sleep(age)
        calls: list[int] = []

        def clone(source: int, target: int, calls: list[int] = calls) -> bool:
            done = real(source, target)
            if not calls:
                with (disk.tree / "large").open("r+b") as stream:
                    stream.write(later)
            calls.append(source)
            return done

        monkeypatch.setattr(blobs, "clone", clone)
        entries = log(disk.content, str(disk.tree)).entries
        monkeypatch.undo()
        assert len(calls) == 2
        assert entries[0][1] == digest_of(bytes(later))
        assert list(disk.content.check()) == []


def test_what_cannot_be_shared_is_copied(disk: Disk | None, tmp_path: Path) -> None:
    """The source lies on another file system."""
    if disk is None:
        return
    source = tmp_path / "elsewhere"
    source.write_bytes(disk.bytes)
    with disk.content.batch() as batch:
        assert isinstance(batch, Batch)
        assert put_file(batch, str(source)) == (digest_of(disk.bytes), len(disk.bytes))
        batch.publish()
    assert all(not flags & SHARED for _, _, flags in extents(disk.blob))
    entry = ("large", digest_of(disk.bytes), len(disk.bytes), 0, None)
    assert materialize(disk.content, [entry], str(tmp_path / "out")).written == 1
    assert (tmp_path / "out/large").read_bytes() == disk.bytes
