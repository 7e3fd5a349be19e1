"""`regcli.toml`: written once, and any damage to it is seen."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from regcli.errors import IntegrityError, NotFoundError, StorageError
from regcli.store.root import MARKER, create_root, open_root, seal_marker

if TYPE_CHECKING:
    from pathlib import Path


def make(path: Path, owner: str = "alice") -> bool:
    return create_root(str(path), owner=owner, created_at="2026-11-30T08:15:00.123456Z", entity="local", personal=False)[1]


def test_a_root_is_made_once(tmp_path: Path) -> None:
    assert make(tmp_path / "root") is True
    assert make(tmp_path / "root", owner="bob") is False
    root = open_root(str(tmp_path / "root"))
    assert (root.owner, root.entity, root.personal, len(root.id)) == ("alice", "local", False, 32)


def test_a_root_amid_a_project_hides_from_git(tmp_path: Path) -> None:
    make(tmp_path / ".regcli")
    assert (tmp_path / ".regcli" / ".gitignore").read_text() == "*\n"
    make(tmp_path / "regcli")
    assert not (tmp_path / "regcli" / ".gitignore").exists()
    (tmp_path / ".regcli" / ".gitignore").unlink()
    assert make(tmp_path / ".regcli") is False
    assert not (tmp_path / ".regcli" / ".gitignore").exists()


def test_every_flipped_bit_is_seen(tmp_path: Path) -> None:
    make(tmp_path)
    marker = tmp_path / MARKER
    data = marker.read_bytes()
    for position in range(len(data)):
        damaged = bytearray(data)
        damaged[position] ^= 1 << (position % 8)
        marker.unlink()
        marker.write_bytes(damaged)
        with pytest.raises(IntegrityError, match=r"regcli\.toml (is corrupt|has format)"):
            open_root(str(tmp_path))


@pytest.mark.parametrize("cut", [0, 1, 50, -40, -1])
def test_a_cut_file_is_seen(tmp_path: Path, cut: int) -> None:
    make(tmp_path)
    marker = tmp_path / MARKER
    data = marker.read_bytes()
    marker.unlink()
    marker.write_bytes(data[:cut])
    with pytest.raises(IntegrityError):
        open_root(str(tmp_path))


def test_a_newer_format_is_refused_as_such(tmp_path: Path) -> None:
    (tmp_path / MARKER).write_bytes(seal_marker("format = 2\n"))
    with pytest.raises(IntegrityError, match="newer than this program") as caught:
        open_root(str(tmp_path))
    assert caught.value.hint == "upgrade regcli"


def test_a_lost_file_does_not_make_room_for_a_new_root(tmp_path: Path) -> None:
    make(tmp_path)
    os.unlink(tmp_path / MARKER)
    # Killed before it was written: nothing is there yet, and the next one makes it.
    with pytest.raises(NotFoundError):
        open_root(str(tmp_path))
    for place in ("registries/model/settings", "projects/local/default/collections", "projects/local/default/runs"):
        (tmp_path / place).mkdir(parents=True)
        with pytest.raises(IntegrityError, match=r"regcli\.toml is missing"):
            make(tmp_path)
        for directory in (place, os.path.dirname(place)):
            (tmp_path / directory).rmdir()
    assert make(tmp_path) is True


def test_locks_that_are_no_directory_are_named(tmp_path: Path) -> None:
    path = str(tmp_path / "root")
    make(tmp_path / "root")
    root = open_root(path)
    for name in os.listdir(f"{path}/locks"):
        os.unlink(f"{path}/locks/{name}")
    os.rmdir(f"{path}/locks")
    os.close(root.open_locks())
    os.rmdir(f"{path}/locks")
    (tmp_path / "root/locks").write_text("")
    with pytest.raises(StorageError, match=f"cannot open {path}/locks: not a directory"):
        root.open_locks()


def test_an_ordinary_directory_of_projects_may_become_a_root(tmp_path: Path) -> None:
    (tmp_path / "projects" / "mine" / "src").mkdir(parents=True)
    assert make(tmp_path) is True
