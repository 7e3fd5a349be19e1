"""A download that is in place as a whole is known without its manifest, and whatever changed is seen."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from regcli.store import walk
from regcli.store.content import Content
from regcli.store.inplace import find_in_place
from regcli.store.manifest import encode_manifest
from regcli.store.materialize import materialize
from regcli.store.statcache import StatCache
from tests.store.content_cases import log, make_tree, settle

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

TREE = {"one": b"1", "a/two": b"2" * 1000, "a/b/three": b"3" * 100_000, "모델": b"4"}


class Place:
    """A version, and a directory that it was downloaded to."""

    def __init__(self, path: Path) -> None:
        self.content = Content(str(path / "root"))
        self.entries = log(self.content, make_tree(str(path / "source"), TREE)).entries
        with self.content.batch() as batch:
            self.manifest = batch.put_bytes(encode_manifest(self.entries))
            batch.publish()
        self.target = str(path / "target")
        self.cache = StatCache(str(path / "cache"))

    def download(self) -> int:
        """Write what is missing; return how many files were written."""
        done = materialize(self.content, self.entries, self.target, cache=self.cache, manifest=self.manifest)
        return done.written

    def is_in_place(self) -> bool:
        return find_in_place(self.cache, self.target, self.manifest) is not None


@pytest.fixture
def place(tmp_path: Path) -> Place:
    place = Place(tmp_path)
    assert place.download() == len(TREE)
    settle(tmp_path)
    assert place.download() == 0
    return place


def test_what_is_in_place_is_counted(place: Place) -> None:
    found = find_in_place(place.cache, place.target, place.manifest)
    assert found is not None
    assert (found.files, found.bytes) == (len(TREE), sum(map(len, TREE.values())))
    assert find_in_place(place.cache, place.target, "0" * 32) is None
    assert find_in_place(StatCache(f"{place.target}/none"), place.target, place.manifest) is None


def change(path: str) -> None:
    """Write other bytes of the same length, and put the times back."""
    status = os.stat(path)
    with open(path, "r+b") as file:
        file.write(b"9")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def link(path: str) -> None:
    """Put a link to the same bytes in the place of a file."""
    os.rename(path, f"{path}-other")
    os.symlink(f"{path}-other", path)


CHANGES: dict[str, Callable[[str], object]] = {
    "content": lambda top: change(f"{top}/one"),
    "more": lambda top: make_tree(top, {"more": b""}),
    "fewer": lambda top: os.unlink(f"{top}/one"),
    "renamed": lambda top: os.rename(f"{top}/one", f"{top}/eno"),
    "moved": lambda top: os.rename(f"{top}/one", f"{top}/a/one"),
    "mode": lambda top: os.chmod(f"{top}/one", 0o755),
    "link to a file": lambda top: link(f"{top}/one"),
    "link to a directory": lambda top: link(f"{top}/a"),
    "link beside": lambda top: os.symlink("nowhere", f"{top}/beside"),
    "fifo": lambda top: os.mkfifo(f"{top}/fifo"),
    "all gone": lambda top: os.rename(top, f"{top}-gone"),
}


@pytest.mark.parametrize("what", CHANGES)
def test_every_change_is_seen(place: Place, what: str) -> None:
    assert place.is_in_place()
    CHANGES[what](place.target)
    assert not place.is_in_place()


def test_a_directory_with_other_files_is_not_walked_to_its_end(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_tree(place.target, {f"z/{number}/file": b"" for number in range(50)})
    seen: list[str] = []
    real = os.open

    def count(path: str, *rest: int, **more: int) -> int:
        seen.append(path)
        return real(path, *rest, **more)

    monkeypatch.setattr(os, "open", count)
    assert not place.is_in_place()
    assert len(seen) < 20


def test_what_is_young_or_unknown_is_not_remembered(tmp_path: Path) -> None:
    place = Place(tmp_path)
    place.download()
    assert not place.is_in_place()
    os.utime(f"{place.target}/one")
    place.download()
    assert not place.is_in_place()
    settle(place.target)
    place.download()
    assert place.is_in_place()


def test_large_directories_come_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(walk, "CHUNK", 2)
    place = Place(tmp_path)
    place.download()
    settle(place.target)
    place.download()
    assert place.is_in_place()
    os.unlink(f"{place.target}/one")
    assert not place.is_in_place()
