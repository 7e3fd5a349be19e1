"""Versions and the root stay apart: nothing is downloaded into the root, checked out over it, or logged from it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from regcli.domain.download import DownloadOptions, checkout, download
from regcli.domain.log import log_version
from regcli.domain.log_request import LogRequest
from regcli.domain.verification import verify_root
from regcli.errors import RefusedError, UsageError
from regcli.model import TypeName
from regcli.store.ingest import Source
from tests.domain.world import World, world_in_memory

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def world() -> Iterator[World]:
    with world_in_memory() as world:
        world.log(content="zero")
        yield world


def _log_at(world: World, prefix: str, name: str = "regcli.toml") -> None:
    file = world.path / "evil" / name
    file.parent.mkdir(exist_ok=True)
    file.write_text("evil\n")
    request = LogRequest("evil", TypeName.parse("model"))
    request.sources = [Source(str(file), prefix=prefix)]
    log_version(world.user(), request)


def _whole(world: World) -> bool:
    return not verify_root(world.user()).problems


@pytest.mark.parametrize("part", ["", "/projects", "/projects/local", "/blobs", "/registries/model", "/new/../locks"])
def test_a_directory_of_the_root_is_no_target(world: World, part: str) -> None:
    for bring in (download, checkout):
        with pytest.raises(UsageError, match="lies in the root itself"):
            bring(world.user(), "zoo", world.root + part, DownloadOptions())
    with pytest.raises(UsageError, match="lies in the root itself"):
        checkout(world.user(), "zoo", world.root + part, DownloadOptions(), force=True)
    assert _whole(world)


def test_a_link_into_the_root_is_no_way_in(world: World) -> None:
    link = world.path / "link"
    link.symlink_to(f"{world.root}/projects")
    with pytest.raises(UsageError, match="lies in the root itself"):
        checkout(world.user(), "zoo", str(link), DownloadOptions(), force=True)
    assert _whole(world)


@pytest.mark.parametrize("prefix", ["root", "ROOT", "root/registries/model/settings"])
def test_a_version_with_paths_that_lead_into_the_root_is_not_written(world: World, prefix: str) -> None:
    _log_at(world, prefix)
    before = sorted(os.listdir(world.path))
    for bring in (download, checkout):
        with pytest.raises(RefusedError, match="would be written into the root itself"):
            bring(world.user(), "evil", str(world.path), DownloadOptions())
    assert sorted(os.listdir(world.path)) == before
    assert _whole(world)


def test_a_file_in_the_place_of_the_root_is_not_written(world: World) -> None:
    _log_at(world, "", "root")
    with pytest.raises(RefusedError, match="would be written into the root itself"):
        download(world.user(), "evil", str(world.path), DownloadOptions())
    assert _whole(world)


def test_paths_that_only_begin_like_the_root_are_written(world: World, tmp_path: Path) -> None:
    _log_at(world, "root-beer")
    download(world.user(), "evil", str(world.path), DownloadOptions())
    assert (world.path / "root-beer" / "regcli.toml").read_text() == "evil\n"
    _log_at(world, "root")
    download(world.user(), "evil", str(tmp_path), DownloadOptions())
    assert (tmp_path / "root" / "regcli.toml").read_text() == "evil\n"
    assert _whole(world)


def test_a_target_without_name_is_refused(world: World) -> None:
    for bring in (download, checkout):
        with pytest.raises(UsageError, match="name of the directory is empty"):
            bring(world.user(), "zoo", "", DownloadOptions())


@pytest.mark.parametrize("mode", ["copy", "move"])
@pytest.mark.parametrize("part", ["", "/projects", "/regcli.toml"])
def test_the_root_is_not_logged_and_not_moved(world: World, mode: str, part: str) -> None:
    request = LogRequest("root", TypeName.parse("model"))
    request.sources = [Source(world.root + part)]
    request.link_mode = mode
    with pytest.raises(UsageError, match="lies in the root itself"):
        log_version(world.user(), request)
    assert _whole(world)


def test_files_beside_the_roots_own_are_logged_and_brought_back(world: World) -> None:
    """Whoever makes the working directory a root, `regcli init .`, can work there."""
    data = f"{world.root}/data"
    os.mkdir(data)
    with open(f"{data}/a.txt", "w", encoding="utf-8") as file:
        file.write("a")
    request = LogRequest("data", TypeName.parse("dataset"))
    request.sources = [Source(data)]
    log_version(world.user(), request)
    done = download(world.user(), "data", f"{world.root}/artifacts/data:v0", DownloadOptions())
    assert done.written == 1
