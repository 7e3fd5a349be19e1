"""Markers: who points to a version."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from regcli.errors import IntegrityError
from regcli.store import backrefs

if TYPE_CHECKING:
    from pathlib import Path

ARTIFACT = "8d" * 16
OTHER = "9e" * 16
PLACE = "registries/model/collections/zoo"


def marker_of(root: Path, artifact: str = ARTIFACT) -> Path:
    (path,) = (root / "backrefs" / artifact[:2] / artifact).iterdir()
    return path


def test_markers_come_back_sorted_and_by_kind(tmp_path: Path) -> None:
    for kind, number in ((backrefs.LINK, 3), (backrefs.USE, 0), (backrefs.LINK, 1), (backrefs.INPUT, 2), (backrefs.LINK, 1)):
        backrefs.add_backref(str(tmp_path), ARTIFACT, kind, PLACE, number)
    assert backrefs.read_backrefs(str(tmp_path), ARTIFACT, backrefs.LINK) == [("link", PLACE, 1), ("link", PLACE, 3)]
    assert len(backrefs.read_backrefs(str(tmp_path), ARTIFACT)) == 4
    assert backrefs.read_backrefs(str(tmp_path), OTHER) == []


@pytest.mark.parametrize("damage", ["empty", "other", "number", "directory", "fifo", "link"])
def test_a_damaged_marker_is_not_believed_and_is_written_again(tmp_path: Path, damage: str) -> None:
    backrefs.add_backref(str(tmp_path), ARTIFACT, backrefs.LINK, PLACE, 1)
    backrefs.add_backref(str(tmp_path), OTHER, backrefs.LINK, "registries/model/collections/other", 7)
    marker = marker_of(tmp_path)
    data = marker.read_bytes()
    marker.unlink()
    if damage == "directory":
        marker.mkdir()
    elif damage == "fifo":
        os.mkfifo(marker)
    elif damage == "link":
        marker.symlink_to("/etc/passwd")
    elif damage == "other":
        # Intact, but another's: it would tell a deletion that nothing points here.
        marker.write_bytes(marker_of(tmp_path, OTHER).read_bytes())
    else:
        marker.write_bytes(b"" if damage == "empty" else data.replace(b":1}", b":2}"))
    assert backrefs.read_backrefs(str(tmp_path), ARTIFACT) == []
    with pytest.raises(IntegrityError, match="is corrupt"):
        backrefs.read_backrefs(str(tmp_path), ARTIFACT, strict=True)
    backrefs.add_backref(str(tmp_path), ARTIFACT, backrefs.LINK, PLACE, 1)
    assert backrefs.read_backrefs(str(tmp_path), ARTIFACT, strict=True) == [("link", PLACE, 1)]
    assert marker_of(tmp_path).is_file()


def test_only_damaged_markers_are_removed(tmp_path: Path) -> None:
    backrefs.add_backref(str(tmp_path), ARTIFACT, backrefs.LINK, PLACE, 1)
    backrefs.add_backref(str(tmp_path), OTHER, backrefs.USE, "projects/local/default/runs/train", 0)
    damaged = marker_of(tmp_path, OTHER)
    damaged.chmod(0o600)
    damaged.write_bytes(b"{}")
    found = dict(backrefs.all_markers(str(tmp_path)))
    assert found == {str(marker_of(tmp_path)): ("link", PLACE, 1), str(damaged): None}
    assert backrefs.remove_damaged(str(tmp_path)) == [str(damaged)]
    assert not damaged.exists()
    assert backrefs.read_backrefs(str(tmp_path), ARTIFACT, strict=True) == [("link", PLACE, 1)]
