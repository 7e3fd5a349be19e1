"""Disk usage: exact bytes, alone and shared."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from regcli.domain.deletion import delete_version
from regcli.domain.registries import create_registry
from regcli.domain.usage import disk_usage
from regcli.errors import NotFoundError, RoleError
from regcli.model import RegistryName
from tests.domain.world import World

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

A, B, C = b"a" * 1000, b"b" * 200, b"c" * 30


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Three versions: v0 is A; v1 is B, made from v0, so it holds A and B; other:v0 is B and C."""
    from regcli.store.ingest import Source

    world = World(tmp_path)
    for number, content in enumerate((A, B, C)):
        (tmp_path / f"part-{number}").write_bytes(content)
    world.log("zoo", A)
    world.log("zoo", B, sources=[Source(str(tmp_path / "part-0")), Source(str(tmp_path / "part-1"))])
    world.log("other", C, sources=[Source(str(tmp_path / "part-1")), Source(str(tmp_path / "part-2"))])
    return world


def sizes(document: dict[str, Any]) -> tuple[int, int, int]:
    return document["alone"], document["shared"], document["total"]


def test_a_version_costs_alone_what_no_other_has(world: World) -> None:
    assert sizes(disk_usage(world.user(), "zoo:v0")) == (0, 1000, 1000)
    assert sizes(disk_usage(world.user(), "zoo:v1")) == (0, 1200, 1200)
    assert sizes(disk_usage(world.user(), "other:v0")) == (30, 200, 230)


def test_a_collection_costs_alone_what_no_other_collection_has(world: World) -> None:
    document = disk_usage(world.user(), "zoo")
    assert sizes(document) == (1000, 200, 1200)
    assert [(part["ref"], *sizes(part)) for part in document["parts"]] == [
        ("local/default/zoo:v1", 0, 1200, 1200),
        ("local/default/zoo:v0", 0, 1000, 1000),
    ]
    assert sizes(disk_usage(world.user(), "local/default/")) == (1230, 0, 1230)


def test_deleting_moves_the_cost_to_who_is_left(world: World) -> None:
    delete_version(world.user(), "zoo:v0")
    assert sizes(disk_usage(world.user(), "zoo:v1")) == (1000, 200, 1200)
    delete_version(world.user(), "other:v0")
    assert sizes(disk_usage(world.user(), "zoo:v1")) == (1200, 0, 1200)
    root = disk_usage(world.user(), None)
    assert root["deleted_versions"] == 2
    assert root["reclaimable"] > 30


def test_a_link_costs_nothing_and_a_registry_what_is_linked_in_it(world: World) -> None:
    before = disk_usage(world.user(), None)
    world.link("zoo:v1", "model/zoo")
    world.link("other:v0", "model/zoo")
    after = disk_usage(world.user(), None)
    assert sizes(after) == sizes(before) == (1230, 0, 1230)
    assert after["stored"] == before["stored"]
    assert sizes(disk_usage(world.user(), "model/")) == (230, 1000, 1230)
    assert sizes(disk_usage(world.user(), "model/zoo:v0")) == (0, 1200, 1200)


def test_the_root_says_what_is_on_the_disk(world: World) -> None:
    document = disk_usage(world.user(), None)
    assert document["stored"] == document["total"] + document["manifests"]
    assert (document["reclaimable"], document["trash"], document["deleted_versions"]) == (0, 0, 0)
    assert [part["ref"] for part in document["parts"]] == ["local/default/"]


def test_the_same_content_twice_in_one_collection_is_shared_by_both(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.log(content=A)
    world.log(content=B)
    world.log(content=A)
    assert sizes(disk_usage(world.user(), "zoo:v2")) == (0, 1000, 1000)
    assert sizes(disk_usage(world.user(), "zoo:v1")) == (200, 0, 200)


def test_what_may_not_be_seen_is_not_shown(world: World) -> None:
    create_registry(world.user(), RegistryName.parse("secret"), visibility="restricted")
    world.link("zoo:v1", "secret/zoo")
    with pytest.raises(RoleError):
        disk_usage(world.user("bob"), "secret/")
    with pytest.raises(NotFoundError):
        disk_usage(world.user(), "nothing:v0")
    assert "secret" not in str(disk_usage(world.user("bob"), None))
