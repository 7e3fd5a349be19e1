"""`verify --repair`: what is damaged comes back from any intact copy, and what cannot is said."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import pytest

from regcli.domain.download import DownloadOptions, download
from regcli.domain.repairing import repair
from regcli.domain.verification import verify_root
from regcli.errors import NotFoundError, RegcliError
from tests.domain.world import World

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from regcli.domain.context import Context
    from regcli.domain.report import Report

SMALL = b"small content of a file that lies in a pack"
LARGE = os.urandom(1 << 20) + b"large"


@pytest.fixture
def world(tmp_path: Path) -> World:
    """A root with packs, a large blob, links and settings, and an intact copy of it in `copy`."""
    world = World(tmp_path)
    world.log("zoo", SMALL)
    world.log("zoo", LARGE)
    world.link("zoo:v0")
    world.link("zoo:v1")
    world.protect("production")
    verify_root(world.user())
    shutil.copytree(world.root, tmp_path / "copy")
    return world


def fresh(world: World) -> Context:
    """Return surroundings that have nothing open."""
    world._contexts.clear()
    return world.user()


def check_of(context: Context) -> Callable[[], Report]:
    return lambda: verify_root(context)


def mend(world: World, *sources: Path) -> Report:
    context = fresh(world)
    return repair(context, check_of(context), [str(source) for source in sources])


def truth(root: Path) -> list[Path]:
    """Return the files that cannot be derived from others, but for the one that says what the root is."""
    found = [*root.glob("packs/*.pack"), *root.glob("blobs/*/*"), *root.glob("**/log/*.json"), *root.glob("**/settings/*.json")]
    return sorted(found)


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.unlink()
    path.write_bytes(data)


def flip_the_first(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[0] ^= 1
    path.unlink()
    path.write_bytes(data)


def halve(path: Path) -> None:
    data = path.read_bytes()
    path.unlink()
    path.write_bytes(data[: len(data) // 2])


def empty(path: Path) -> None:
    path.unlink()
    path.write_bytes(b"")


def extend(path: Path) -> None:
    path.chmod(0o644)
    with path.open("ab") as stream:
        stream.write(b"more")


def delete(path: Path) -> None:
    path.unlink()


def make_directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


def make_link(path: Path) -> None:
    path.unlink()
    path.symlink_to("/etc/hostname")


def make_fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


DAMAGES = (flip, flip_the_first, halve, empty, extend, delete, make_directory, make_link, make_fifo)


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_every_file_comes_back_from_a_copy_of_the_root(world: World, tmp_path: Path, damage: Callable[[Path], None]) -> None:
    root, copy = tmp_path / "root", tmp_path / "copy"
    for path in truth(root):
        shutil.rmtree(root)
        shutil.copytree(copy, root)
        damage(path)
        report = mend(world, copy)
        assert report.ok, (path, [problem.message for problem in report.problems])
        assert report.repaired, path
        assert verify_root(fresh(world)).ok, path
        for version, content in (("v0", SMALL), ("v1", LARGE)):
            download(fresh(world), f"model/zoo:{version}", str(tmp_path / "out"), DownloadOptions())
            assert (tmp_path / "out/data.bin").read_bytes() == content


def test_all_content_at_once_comes_back(world: World, tmp_path: Path) -> None:
    root = tmp_path / "root"
    shutil.rmtree(root / "packs")
    shutil.rmtree(root / "blobs")
    report = mend(world, tmp_path / "copy")
    assert report.ok, [problem.message for problem in report.problems]
    assert verify_root(fresh(world)).ok


def test_blobs_come_back_from_a_plain_directory_or_file(world: World, tmp_path: Path) -> None:
    shutil.rmtree(tmp_path / "root/blobs")
    (tmp_path / "data/deep").mkdir(parents=True)
    (tmp_path / "data/deep/any name").write_bytes(LARGE)
    (tmp_path / "data/other").write_bytes(b"other")
    os.mkfifo(tmp_path / "data/fifo")
    (tmp_path / "data/loop").symlink_to(tmp_path / "data")
    assert mend(world, tmp_path / "data").ok
    shutil.rmtree(tmp_path / "root/blobs")
    assert mend(world, tmp_path / "data/deep/any name").ok


def test_what_has_no_copy_is_said(world: World, tmp_path: Path) -> None:
    shutil.rmtree(tmp_path / "root/blobs")
    delete(next((tmp_path / "root/projects").glob("*/*/collections/*/log/*.json")))
    (tmp_path / "empty").mkdir()
    report = mend(world, tmp_path / "empty")
    assert {problem.kind for problem in report.problems} == {"missing", "history"}
    assert not report.repaired


def test_wrong_copies_are_not_taken(world: World, tmp_path: Path) -> None:
    """A copy of another root, a forged commit and bytes of another digest prove nothing."""
    log = next((tmp_path / "root/projects").glob("*/*/collections/*/log"))
    forged = tmp_path / "copy" / log.relative_to(tmp_path / "root") / "0000000001.json"
    data = forged.read_bytes().replace(b"alice", b"mally")
    forged.chmod(0o644)
    forged.write_bytes(data)
    delete(log / "0000000001.json")
    report = mend(world, tmp_path / "copy")
    assert [problem.kind for problem in report.problems] == ["history"]
    assert not (log / "0000000001.json").exists()


def test_commits_lost_at_the_end_come_back_where_the_head_knows_them(world: World, tmp_path: Path) -> None:
    from regcli.domain.collections import find_collection
    from regcli.model import Alias, parse_collection

    log = next((tmp_path / "root/projects").glob("*/*/collections/*/log"))
    for alias in ("a", "b", "c"):
        from regcli.domain.aliasing import add_aliases

        add_aliases(world.user(), "zoo:v0", [Alias.parse(alias)])
    shutil.rmtree(tmp_path / "copy")
    shutil.copytree(world.root, tmp_path / "copy")
    commits = sorted(log.glob("*.json"))
    for path in commits[-3:]:
        path.unlink()
    assert not verify_root(fresh(world)).ok
    report = mend(world, tmp_path / "copy")
    assert report.ok, [problem.message for problem in report.problems]
    assert sorted(log.glob("*.json")) == commits
    context = fresh(world)
    assert set(find_collection(context, parse_collection("zoo", context.project)).state["aliases"]) == {"a", "b", "c"}


def test_the_trash_is_an_intact_copy(world: World, tmp_path: Path) -> None:
    root = tmp_path / "root"
    shutil.copytree(root / "packs", root / "trash/20260101T000000Z-00000000/packs")
    for path in (root / "packs").glob("*.pack"):
        flip(path)
    report = mend(world)
    assert report.ok, [problem.message for problem in report.problems]


def test_a_source_that_is_not_there_is_an_error(world: World, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        mend(world, tmp_path / "nowhere")


def test_nothing_is_mended_where_nothing_is_wrong(world: World, tmp_path: Path) -> None:
    before = {path: (path.stat().st_mtime_ns, path.stat().st_ino) for path in truth(tmp_path / "root")}
    report = mend(world, tmp_path / "copy")
    assert report.ok
    assert not report.repaired
    assert {path: (path.stat().st_mtime_ns, path.stat().st_ino) for path in truth(tmp_path / "root")} == before


def test_a_root_that_cannot_be_read_as_one_still_gives_its_blobs(world: World, tmp_path: Path) -> None:
    (tmp_path / "copy/regcli.toml").chmod(0o644)
    (tmp_path / "copy/regcli.toml").write_text("damaged")
    shutil.rmtree(tmp_path / "root/blobs")
    assert mend(world, tmp_path / "copy").ok
    with pytest.raises(RegcliError):
        mend(world, tmp_path / "absent")


def test_a_newest_commit_of_the_wrong_shape_comes_back(world: World, tmp_path: Path) -> None:
    """It parses and follows the one before it, but what it adds up to is refused: the whole log is suspected."""
    log = next((tmp_path / "root/projects").glob("*/*/collections/*/log"))
    path = max(log.glob("*.json"))
    data = path.read_bytes()
    path.unlink()
    path.write_bytes(data.replace(b'"digest":"', b'"digest":"X', 1))
    assert not verify_root(fresh(world)).ok
    report = mend(world, tmp_path / "copy")
    assert report.ok, [problem.message for problem in report.problems]
    assert path.read_bytes() == data
