"""A version whose files another refers to by `regcli-artifact:` is not deleted unless it is said so (semantics.md DL-08)."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from regcli.domain import referrers
from regcli.domain.context import Context
from regcli.domain.deletion import delete_version, undelete_version
from regcli.domain.expiry import Policy
from regcli.domain.exporting import export_bundle
from regcli.domain.importing import import_bundle
from regcli.domain.linking import unlink
from regcli.domain.log import log_version
from regcli.domain.log_request import LogRequest
from regcli.domain.references import collect_references
from regcli.domain.removal import remove_collection, remove_project
from regcli.domain.resolving import resolve
from regcli.domain.retention import collect_garbage
from regcli.domain.verification import verify_root
from regcli.errors import IntegrityError, NotFoundError, ProtectedError, RefusedError
from regcli.model import TypeName
from regcli.store import backrefs
from tests.domain.world import DAY, World, world_in_memory

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def world() -> Iterator[World]:
    with world_in_memory() as world:
        world.log("labels", b"a,b")
        yield world


def refer(world: World, name: str, *uris: str) -> str:
    """Log a version of a file of its own and of references; returns its reference."""
    entries = [
        entry
        for number, uri in enumerate(uris)
        for entry in collect_references(world.user(), uri, name=f"there-{number}", algorithm="XXH128")
    ]
    return world.log(name, entries=entries).ref


LABELS = "regcli-artifact://labels:v0/data.bin"


def markers(world: World) -> list[Path]:
    return sorted(Path(world.root, "backrefs").rglob("reference-*.json"))


def test_what_others_refer_to_is_not_deleted_and_they_are_named(world: World) -> None:
    refer(world, "train", LABELS)
    refer(world, "test", LABELS)
    with pytest.raises(RefusedError) as refused:
        delete_version(world.user(), "labels:v0")
    assert refused.value.message == (
        "'local/default/labels:v0' cannot be deleted: 'local/default/test:v0', 'local/default/train:v0' refer to its files"
    )
    assert "`regcli delete local/default/test:v0` first" in str(refused.value.hint)
    delete_version(world.user(), "test:v0")
    with pytest.raises(RefusedError, match="'local/default/train:v0' refers to its files"):
        delete_version(world.user(), "labels:v0")
    delete_version(world.user(), "train:v0")
    assert delete_version(world.user(), "labels:v0").referrers == []


def test_a_reference_through_another_is_one_to_where_the_bytes_are(world: World) -> None:
    refer(world, "middle", LABELS)
    refer(world, "end", "regcli-artifact://middle:v0/there-0")
    delete_version(world.user(), "middle:v0")
    with pytest.raises(RefusedError, match="'local/default/end:v0' refers to its files"):
        delete_version(world.user(), "labels:v0")


def test_force_deletes_all_the_same_and_says_whose_references_lead_nowhere(world: World) -> None:
    refer(world, "train", LABELS)
    assert delete_version(world.user(), "labels:v0", force=True).referrers == ["local/default/train:v0"]
    # It is as soft as any other: until gc it can be taken back, and then refuses again.
    undelete_version(world.user(), "labels:v0")
    with pytest.raises(RefusedError):
        delete_version(world.user(), "labels:v0")


def test_nobody_takes_the_files_away_that_a_protected_version_refers_to(world: World) -> None:
    refer(world, "train", LABELS)
    world.protect("production")
    world.link("train", "model/train", "production")
    for user in ("alice", "bob"):
        with pytest.raises(ProtectedError, match="'model/train:v0' is protected by alias 'production'"):
            delete_version(world.user(user), "labels:v0", force=True)
    unlink(world.user(), "model/train:v0")
    delete_version(world.user(), "labels:v0", force=True)


def test_references_inside_what_goes_together_are_not_in_the_way(world: World) -> None:
    refer(world, "labels", LABELS)
    refer(world, "train", LABELS)
    with pytest.raises(RefusedError, match="'local/default/labels:v1', 'local/default/train:v0' refer"):
        delete_version(world.user(), "labels:v0")
    with pytest.raises(RefusedError, match="'local/default/train:v0' refers"):
        remove_collection(world.user(), "labels")
    refer(world, "other/project/far", "regcli-artifact://local/default/labels:v0/data.bin")
    with pytest.raises(RefusedError, match="'other/project/far:v0' refers"):
        remove_project(world.user(), "local/default/")
    assert resolve(world.user(), "labels:v0").version == "v0"
    gone = remove_project(world.user(), "local/default/", force=True)
    assert {removed.ref: removed.referrers for removed in gone} == {
        "local/default/labels": ["other/project/far:v0"],
        "local/default/train": [],
    }


def test_gc_keeps_what_others_refer_to(world: World) -> None:
    world.log("old", b"old", ttl=DAY)
    world.log("old", b"new")
    refer(world, "train", "regcli-artifact://old:v0/data.bin")
    world.later(2 * DAY)
    for policy in (Policy(), Policy(keep_last=1), Policy(max_size=0), Policy(dry_run=True)):
        assert collect_garbage(world.user(), None, policy).deleted == []
    delete_version(world.user(), "train:v0")
    collected = collect_garbage(world.user(), None, Policy())
    assert [item.document()["ref"] for item in collected.deleted] == ["local/default/old:v0"]


def test_no_version_is_made_with_a_reference_to_what_was_deleted(world: World) -> None:
    entries = collect_references(world.user(), LABELS, name="x")
    refer(world, "base", LABELS)
    delete_version(world.user(), "labels:v0", force=True)
    request = LogRequest("late", TypeName.parse("model"))
    request.entries = entries
    with pytest.raises(NotFoundError, match="'x' refers to 'local/default/labels:v0', which was deleted") as refused:
        log_version(world.user(), request)
    assert "`regcli undelete local/default/labels:v0`" in str(refused.value.hint)
    with pytest.raises(NotFoundError):
        resolve(world.user(), "late")
    with pytest.raises(NotFoundError, match="'there-0' refers to"):
        world.log("next", base="base")
    assert world.log("next", base="base", remove=["there-0"]).created


def test_undelete_says_what_its_references_lack(world: World) -> None:
    refer(world, "train", LABELS)
    delete_version(world.user(), "train:v0")
    delete_version(world.user(), "labels:v0")
    undelete_version(world.user(), "train:v0")
    expected = "'there-0' refers to 'local/default/labels:v0', which is deleted: `regcli undelete local/default/labels:v0`"
    assert world.user().warnings == [expected]


def test_verify_writes_lost_and_damaged_markers_again(world: World) -> None:
    refer(world, "train", LABELS)
    (marker,) = markers(world)
    text = marker.read_bytes()
    marker.unlink()
    delete_version(world.user(), "labels:v0")
    undelete_version(world.user(), "labels:v0")
    assert verify_root(world.user()).ok
    assert marker.read_bytes() == text
    marker.chmod(0o600)
    marker.write_bytes(b"{")
    with pytest.raises(IntegrityError):
        delete_version(world.user(), "labels:v0")
    assert verify_root(world.user()).ok
    with pytest.raises(RefusedError):
        delete_version(world.user(), "labels:v0")


def test_a_record_that_does_not_say_it_is_completed_by_its_manifest(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    # As an older program wrote it, and as it is when there are very many.
    monkeypatch.setattr(referrers, "MAX_LISTED", 0)
    refer(world, "train", LABELS)
    assert "refers" not in resolve(world.user(), "train").record
    shutil.rmtree(Path(world.root, "backrefs"))
    Path(world.root, "backrefs").mkdir()
    assert verify_root(world.user()).ok
    assert len(markers(world)) == 1
    with pytest.raises(RefusedError):
        delete_version(world.user(), "labels:v0")
    world.later(400 * DAY)
    assert collect_garbage(world.user(), "labels", Policy(keep_within=DAY)).deleted == []


def test_a_marker_whose_commit_never_came_is_in_nobodys_way(world: World) -> None:
    version = resolve(world.user(), "labels:v0")
    world.log("train")
    backrefs.add_backref(world.root, version.record["id"], "reference", "projects/local/default/collections/train", 0)
    assert delete_version(world.user(), "labels:v0").referrers == []


def test_an_import_brings_its_references_along(world: World, tmp_path: Path) -> None:
    refer(world, "train", LABELS)
    bundle = str(tmp_path / "all.tar")
    export_bundle(world.user(), ["labels", "train"], bundle)
    other = Context(root_path=str(tmp_path / "root"), user="carol", uid=1, host="h")
    import_bundle(other, bundle)
    assert resolve(other, "train").record["refers"] == [resolve(other, "labels").record["id"]]
    with pytest.raises(RefusedError, match="'local/default/train:v0' refers to its files"):
        delete_version(other, "labels:v0")
