"""gc: what it deletes, what it never touches, and the bytes that come back."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from regcli.domain import expiry
from regcli.domain.aliasing import add_aliases
from regcli.domain.amounts import parse_duration, parse_size
from regcli.domain.collection_settings import edit_collection_settings
from regcli.domain.deletion import delete_version, undelete_version
from regcli.domain.documents import version_document
from regcli.domain.editing import edit
from regcli.domain.expiry import Policy
from regcli.domain.files import read_file
from regcli.domain.history import history
from regcli.domain.listing import version_rows
from regcli.domain.members import set_member
from regcli.domain.registry_settings import edit_registry
from regcli.domain.removal import remove_collection
from regcli.domain.resolving import resolve
from regcli.domain.retention import collect_garbage
from regcli.domain.settings import set_default_ttl
from regcli.domain.survey import parse_time
from regcli.domain.usage import disk_usage, tree_size
from regcli.domain.verification import verify_root
from regcli.errors import IntegrityError, NotFoundError, RefusedError, RoleError, UsageError
from regcli.model import Alias, RegistryName, parse_collection
from regcli.store import locktest
from tests.domain.world import DAY, World, world_in_memory

if TYPE_CHECKING:
    from collections.abc import Iterator

    from regcli.domain.retention import Collected

BIG = 2_000_000


@pytest.fixture
def world() -> Iterator[World]:
    with world_in_memory() as world:
        yield world


def big(number: int) -> bytes:
    return bytes([number]) * BIG


def gc(world: World, text: str | None = None, *, user: str = "alice", **policy: object) -> Collected:
    return collect_garbage(world.user(user), text, Policy(**policy))  # type: ignore[arg-type]


def deleted(collected: Collected) -> list[str]:
    return [item.document()["ref"].rpartition("/")[2] for item in collected.deleted]


def left(world: World, name: str = "zoo") -> list[str]:
    from regcli.domain.collections import find_collection

    collection = find_collection(world.user(), parse_collection(name, world.user().project))
    return [row["version"] for row in version_rows(world.user(), collection)[1]]


def stored(world: World) -> int:
    return tree_size(f"{world.root}/packs") + tree_size(f"{world.root}/blobs")


# The way of a deleted version


def test_deleted_purged_trashed_freed_each_after_the_grace_period(world: World) -> None:
    world.log(content=big(1))
    world.log(content=b"small")
    delete_version(world.user(), "zoo:v0")

    first = gc(world)
    assert (first.purged, first.blobs, first.freed, first.waiting) == ([], 0, 0, 1)
    undelete_version(world.user(), "zoo:v0")
    delete_version(world.user(), "zoo:v0")

    world.later(DAY + 60)
    second = gc(world)
    assert second.purged == ["local/default/zoo:v0"]
    assert second.freed == 0
    assert second.trashed > BIG
    with pytest.raises(NotFoundError, match="was purged: its content is gone"):
        undelete_version(world.user(), "zoo:v0")
    assert disk_usage(world.user(), None)["trash"] == second.trashed

    world.later(DAY + 60)
    before = tree_size(world.root)
    third = gc(world)
    assert third.freed == second.trashed
    assert before - tree_size(world.root) == pytest.approx(third.freed, abs=4096)
    assert disk_usage(world.user(), None)["trash"] == 0
    assert [event["action"] for event in history(world.user(), "zoo:v0")][-2:] == ["version-deleted", "version-purged"]
    assert verify_root(world.user()).ok


def test_without_grace_everything_happens_at_once_and_the_dry_run_said_the_exact_bytes(world: World) -> None:
    for number in range(3):
        world.log(content=big(number))
    world.log(content=b"small " * 100)
    world.log(content=b"last")
    for version in ("v0", "v1", "v3"):
        delete_version(world.user(), f"zoo:{version}")
    before = stored(world)
    promised = gc(world, grace=0, dry_run=True)
    assert stored(world) == before
    assert resolve(world.user(), "zoo:v0", deleted=True).record["state"] == "DELETED"
    done = gc(world, grace=0)
    assert done.purged == promised.purged == [f"local/default/zoo:{version}" for version in ("v0", "v1", "v3")]
    assert done.freed == promised.freed
    assert done.freed > 2 * BIG
    # The index over several packs is derived and may be written anew.
    assert before - stored(world) == pytest.approx(done.freed, abs=2048)
    assert b"".join(read_file(world.user(), "zoo:v2", "data.bin")) == big(2)
    assert gc(world, grace=0).freed == 0


def test_what_another_version_or_a_link_needs_stays(world: World) -> None:
    world.log("zoo", big(1))
    world.log("copy", big(1))
    world.log("zoo", b"two")
    world.link("copy:v0", "model/zoo")
    delete_version(world.user(), "zoo:v0")
    assert gc(world, grace=0).freed < BIG
    assert b"".join(read_file(world.user(), "model/zoo:v0", "data.bin")) == big(1)


def test_content_logged_again_comes_back_from_the_trash(world: World) -> None:
    world.log(content=big(1))
    world.log(content=b"two")
    delete_version(world.user(), "zoo:v0")
    world.later(DAY + 60)
    assert gc(world).trashed > BIG
    assert world.log(content=big(1)).ref == "local/default/zoo:v2"
    world.later(2 * DAY)
    gc(world)
    assert b"".join(read_file(world.user(), "zoo:v2", "data.bin")) == big(1)
    assert verify_root(world.user()).ok


def test_the_content_of_a_deleted_collection_goes_too(world: World) -> None:
    world.log(content=big(1))
    world.log("other", b"stays")
    remove_collection(world.user(), "zoo")
    assert gc(world).purged == []
    assert gc(world, grace=0).freed > BIG
    assert verify_root(world.user()).ok


def test_the_litter_of_killed_processes_goes_after_an_hour(world: World) -> None:
    world.log()
    litter = [Path(world.root, place, ".tmp-1-dead") for place in ("packs", "projects/local/default/collections/zoo/log", "")]
    for path in litter:
        path.write_bytes(b"x")
    assert gc(world).litter == 0
    world.later(3601)
    assert gc(world).litter == 3
    assert not any(path.exists() for path in litter)


# Expiry


def test_a_version_expires_by_its_own_ttl_and_inherits_the_collections_and_the_roots(world: World) -> None:
    world.log("own", ttl=3600)
    world.log("never", ttl=None)
    world.log("inherits")
    world.log("collected")
    set_default_ttl(world.user(), 2 * DAY)
    edit_collection_settings(world.user(), "collected", ttl=DAY)
    assert deleted(gc(world, dry_run=True)) == []
    world.later(3600)
    assert deleted(gc(world)) == ["own:v0"]
    world.later(DAY)
    assert deleted(gc(world)) == ["collected:v0"]
    world.later(DAY)
    assert deleted(gc(world)) == ["inherits:v0"]
    world.later(1000 * DAY)
    assert deleted(gc(world)) == []
    assert resolve(world.user(), "never").ref == "local/default/never:v0"


def test_a_version_is_kept_until_exactly_when_it_is_said_to_expire(world: World) -> None:
    """Its own TTL, the collection's and the root's; what has none, or has it cleared by a link, never expires."""
    for name, ttl in (("own", 3600), ("never", None), ("linked", 3600)):
        world.log(name, ttl=ttl)
    world.log("inherits")
    world.log("collected")
    set_default_ttl(world.user(), 2 * DAY)
    edit_collection_settings(world.user(), "collected", ttl=DAY)
    world.link("linked", "model/linked")
    names = ("own", "never", "linked", "model/linked", "inherits", "collected")
    ends = {name: version_document(world.user(), resolve(world.user(), name))["expires_at"] for name in names}
    assert {name for name, end in ends.items() if end is None} == {"never", "linked", "model/linked"}
    for name in ("own", "collected", "inherits"):
        world.later(parse_time(ends[name]) - world.user().clock() - 60)
        assert deleted(gc(world)) == []
        world.later(60)
        assert deleted(gc(world)) == [f"{name}:v0"]


def test_a_lifetime_that_no_calendar_holds_is_no_failure(world: World) -> None:
    world.log(ttl=10**30)
    assert version_document(world.user(), resolve(world.user(), "zoo"))["expires_at"] is None


def test_a_collection_can_say_never_against_the_roots_default(world: World) -> None:
    world.log()
    set_default_ttl(world.user(), 60)
    edit_collection_settings(world.user(), "zoo", ttl=None)
    world.later(DAY)
    assert deleted(gc(world)) == []
    edit_collection_settings(world.user(), "zoo", ttl="inherit")
    assert deleted(gc(world)) == ["zoo:v0"]


def test_only_the_owner_sets_the_roots_default(world: World) -> None:
    world.log()
    with pytest.raises(RoleError, match="user 'bob' may not change the default TTL of the root"):
        set_default_ttl(world.user("bob"), 60)


def test_what_is_linked_or_aliased_by_hand_never_expires(world: World) -> None:
    world.log("linked", ttl=60)
    world.log("aliased", ttl=60, aliases=["keep"])
    world.log("protected", ttl=60)
    world.link("linked", "model/linked")
    world.link("protected", "model/protected", "production")
    world.protect("production")
    world.later(1000 * DAY)
    assert deleted(gc(world, keep_last=1, keep_within=0, max_size=0)) == []
    assert verify_root(world.user()).ok


def test_an_expired_version_is_deleted_softly_and_says_why(world: World) -> None:
    world.log(ttl=60)
    world.log("used", inputs=["zoo:v0"])
    world.later(120)
    collected = gc(world)
    assert [item.document() for item in collected.deleted] == [
        {"ref": "local/default/zoo:v0", "reason": "ttl", "size": 9, "used_by": ["local/default/used:v0"]}
    ]
    assert history(world.user(), "zoo:v0")[-1]["reason"] == "gc: ttl"
    assert undelete_version(world.user(), "zoo:v0").changed


def test_a_ttl_counts_from_creation_also_when_set_later(world: World) -> None:
    world.log()
    world.later(DAY)
    edit(world.user(), "zoo:v0", ttl=DAY // 2)
    assert deleted(gc(world)) == ["zoo:v0"]


def test_a_clock_that_is_behind_the_store_deletes_nothing(world: World) -> None:
    world.later(10 * DAY)
    world.log(ttl=1)
    world.later(-9 * DAY)
    assert deleted(gc(world)) == []
    assert world.user().warnings == ["the clock is behind the newest change in the root: nothing is deleted by age"]


# Thinning out


def test_keep_last_and_keep_within_each_are_enough_to_stay(world: World) -> None:
    for _ in range(6):
        world.log()
        world.later(DAY)
    add_aliases(world.user(), "zoo:v1", [Alias.parse("good")])
    assert deleted(gc(world, dry_run=True, keep_last=2)) == ["zoo:v3", "zoo:v2", "zoo:v0"]
    assert deleted(gc(world, dry_run=True, keep_within=3.5 * DAY)) == ["zoo:v2", "zoo:v0"]
    assert deleted(gc(world, keep_last=1, keep_within=3.5 * DAY)) == ["zoo:v2", "zoo:v0"]
    assert left(world) == ["v5", "v4", "v3", "v1"]


def test_latest_stays_however_old_it_is(world: World) -> None:
    world.log()
    world.log()
    world.later(1000 * DAY)
    assert deleted(gc(world, keep_within=60)) == ["zoo:v0"]
    assert left(world) == ["v1"]


def test_only_what_is_named_is_thinned_out(world: World) -> None:
    for name in ("zoo", "other"):
        world.log(name)
        world.log(name)
    world.log("team/project/zoo")
    world.log("team/project/zoo")
    assert deleted(gc(world, "zoo", dry_run=True, keep_last=1)) == ["zoo:v0"]
    assert deleted(gc(world, "local/default/", dry_run=True, keep_last=1)) == ["other:v0", "zoo:v0"]
    assert len(deleted(gc(world, None, dry_run=True, keep_last=1))) == 3
    with pytest.raises(UsageError, match="names one version"):
        gc(world, "zoo:v0")


def test_max_size_lets_the_oldest_unaliased_versions_go(world: World) -> None:
    for number in range(5):
        world.log(content=big(number))
    add_aliases(world.user(), "zoo:v0", [Alias.parse("keep")])
    world.log("copy", big(3))  # what a version that stays needs as well costs nothing
    assert deleted(gc(world, dry_run=True, max_size=2 * BIG)) == []
    assert deleted(gc(world, dry_run=True, max_size=BIG)) == ["zoo:v1"]
    assert deleted(gc(world, max_size=BIG - 1)) == ["zoo:v2", "zoo:v1"]
    assert left(world) == ["v4", "v3", "v0"]


def test_links_go_only_where_the_registry_is_named_and_never_those_with_an_alias(world: World) -> None:
    for number in range(4):
        world.log()
        world.link(f"zoo:v{number}", "model/zoo", *(["good"] if number == 1 else []))
        world.later(60)
    everything = gc(world, dry_run=True, keep_last=1)
    assert everything.unlinked == []
    assert deleted(everything) == []
    named = gc(world, "model/zoo", keep_last=1)
    assert [item.document()["ref"] for item in named.unlinked] == ["model/zoo:v2", "model/zoo:v0"]
    assert left(world, "model/zoo") == ["v3", "v1"]
    assert left(world) == ["v3", "v2", "v1", "v0"]


def test_a_registrys_ttl_holds_for_links_and_a_collections_before_it(world: World) -> None:
    for name in ("one", "two"):
        world.log(name)
        world.link(name, f"model/{name}")
    edit_registry(world.user(), RegistryName.parse("model"), ttl=3600)
    edit_collection_settings(world.user(), "model/two", ttl=None)
    world.later(7200)
    assert gc(world).unlinked == []
    assert [item.document()["ref"] for item in gc(world, "model/").unlinked] == ["model/one:v0"]


def test_withdrawing_links_takes_the_right_and_is_refused_as_a_whole(world: World) -> None:
    world.log(ttl=60)
    for _ in range(2):
        world.log("linked")
        world.link("linked", "model/zoo")
    set_member(world.user(), RegistryName.parse("model"), "bob", "viewer")
    with pytest.raises(RoleError, match="may not unlink versions from registry 'model'"):
        gc(world, "model/", user="bob", keep_last=1)
    assert left(world, "model/zoo") == ["v1", "v0"]


# Caution


def test_gc_refuses_where_a_version_cannot_be_read(world: World) -> None:
    world.log(content=big(1))
    world.log("gone", big(2))
    delete_version(world.user(), "gone:v0")
    Path(world.root, "projects/local/default/collections/zoo/log/0000000001.json").chmod(0o644)
    log = Path(world.root, "projects/local/default/collections/zoo/log/0000000001.json")
    saved = log.read_bytes()
    log.write_bytes(saved[:50])
    Path(world.root, "projects/local/default/collections/zoo/head.json").unlink()
    before = stored(world)
    with pytest.raises(IntegrityError):
        gc(world, grace=0)
    assert stored(world) == before
    log.write_bytes(saved)
    assert gc(world, grace=0).freed > BIG


def test_gc_refuses_where_a_manifest_is_missing(world: World) -> None:
    world.log(content=b"small")
    world.log("gone", big(2))
    delete_version(world.user(), "gone:v0")
    shutil.rmtree(f"{world.root}/packs")
    with pytest.raises(IntegrityError, match="cannot be known"):
        gc(world, grace=0)
    assert stored(world) == BIG


def test_gc_waits_for_locks_it_can_trust(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    import fcntl

    world.log(ttl=60)
    world.later(120)
    # A file system whose flock says yes to everybody, as some network mounts do.
    monkeypatch.setattr(fcntl, "flock", lambda _descriptor, _operation: None)
    with pytest.raises(RefusedError, match="gc needs locks that work, and here they may not: two locks of one file") as refused:
        gc(world)
    assert "--offline" in str(refused.value.hint)
    assert deleted(gc(world, offline=True)) == ["zoo:v0"]


def test_gc_goes_on_without_locks_when_nobody_else_is_there(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    import fcntl

    def no_locks(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    world.log(ttl=60)
    world.later(120)
    monkeypatch.setattr(fcntl, "flock", no_locks)
    with pytest.raises(RefusedError, match=r"flock fails in .*: no locks available"):
        gc(world)
    assert deleted(gc(world, offline=True)) == ["zoo:v0"]


def test_locks_of_this_file_system_are_probed_and_its_type_is_known(tmp_path: Path) -> None:
    assert locktest.distrust_of_locks(str(tmp_path)) is None
    assert os.listdir(tmp_path / "locks") == []
    if Path("/proc/self/mountinfo").exists():
        assert locktest.file_system("/proc") == "proc"


def test_a_busy_root_is_not_swept(world: World) -> None:
    from regcli.errors import BusyError

    world.log()
    impatient = World(world.path).user(wait=0.05)
    with world.user().lock("content"), pytest.raises(BusyError):
        collect_garbage(impatient, None, Policy())


@pytest.mark.parametrize(
    ("text", "seconds"), [("24h", 86400), ("0", 0), ("1.5d", 129600), ("90m", 5400), ("45s", 45), ("2w", 1209600), ("0s", 0)]
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text, "--grace") == seconds


@pytest.mark.parametrize(
    ("text", "size"), [("10GB", 10**10), ("1.5GiB", 3 * 2**29), ("500", 500), ("500 MB", 5 * 10**8), ("2k", 2000), ("0", 0)]
)
def test_sizes(text: str, size: int) -> None:
    assert parse_size(text, "--max-size") == size


@pytest.mark.parametrize("text", ["", "soon", "-1h", "nan", "1e99w", "h"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is not a duration"):
        parse_duration(text, "--grace")


@pytest.mark.parametrize("text", ["", "much", "-5GB", "nan", "1e99", "GB"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is not a size"):
        parse_size(text, "--max-size")


def test_the_reasons_are_those_that_are_documented() -> None:
    assert {expiry.TTL, expiry.KEEP_LAST, expiry.KEEP_WITHIN, expiry.MAX_SIZE} == {
        "ttl",
        "keep-last",
        "keep-within",
        "max-size",
    }
