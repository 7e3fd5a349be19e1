"""Delete and undelete: what stands in the way, what goes along, what comes back."""

from __future__ import annotations

import multiprocessing
from typing import TYPE_CHECKING

import pytest

from regcli.domain.deletion import delete_version, undelete_version
from regcli.domain.documents import version_document
from regcli.domain.history import history
from regcli.domain.linking import unlink
from regcli.domain.members import set_member
from regcli.domain.registries import create_registry
from regcli.domain.resolving import resolve
from regcli.domain.verification import verify_root
from regcli.errors import NotFoundError, ProtectedError, RefusedError, RegcliError, RoleError, UsageError
from regcli.model import RegistryName
from tests.domain.world import World, world_in_memory

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def world() -> Iterator[World]:
    with world_in_memory() as world:
        world.log(content="zero")
        world.log(content="one")
        yield world


def test_latest_falls_back_and_the_number_is_not_used_again(world: World) -> None:
    deleted = delete_version(world.user(), "zoo:latest")
    assert deleted.version.ref == "local/default/zoo:v1"
    assert resolve(world.user(), "zoo").ref == "local/default/zoo:v0"
    with pytest.raises(NotFoundError, match="version v1 of 'local/default/zoo' was deleted"):
        resolve(world.user(), "zoo:v1")
    assert world.log().ref == "local/default/zoo:v2"


def test_the_same_content_as_a_deleted_version_makes_a_new_one(world: World) -> None:
    delete_version(world.user(), "zoo:v1")
    assert world.log(content="one").ref == "local/default/zoo:v2"


def test_undelete_brings_it_back_with_its_content_and_latest(world: World) -> None:
    delete_version(world.user(), "zoo:v1")
    restored = undelete_version(world.user(), "zoo:v1")
    assert restored.changed
    document = version_document(world.user(), resolve(world.user(), "zoo"))
    assert (document["ref"], document["state"], document["aliases"]) == ("local/default/zoo:v1", "COMMITTED", ["latest"])
    assert not undelete_version(world.user(), "zoo:v1").changed
    assert [event["action"] for event in history(world.user(), "zoo:v1")] == [
        "version-created",
        "version-deleted",
        "version-restored",
    ]


def test_undelete_of_an_older_version_does_not_move_latest(world: World) -> None:
    delete_version(world.user(), "zoo:v0")
    undelete_version(world.user(), "zoo:v0")
    assert resolve(world.user(), "zoo").ref == "local/default/zoo:v1"


def test_a_custom_alias_stands_in_the_way(world: World) -> None:
    from regcli.domain.aliasing import add_aliases
    from regcli.model import Alias

    add_aliases(world.user(), "zoo:v1", [Alias.parse("best"), Alias.parse("ours")])
    with pytest.raises(RefusedError, match="'local/default/zoo:v1' has the aliases 'best', 'ours'") as refused:
        delete_version(world.user(), "zoo:v1")
    assert "--delete-aliases" in str(refused.value.hint)
    assert delete_version(world.user(), "zoo:best", delete_aliases=True).aliases == ["best", "ours"]
    undelete_version(world.user(), "zoo:v1")
    assert resolve(world.user(), "zoo:v1").aliases == ["latest"]


def test_a_link_stands_in_the_way_and_force_withdraws_it_first(world: World) -> None:
    world.link("zoo:v0", "model/zoo", "candidate")
    world.link("zoo:v0", "dataset/animals")
    with pytest.raises(RefusedError, match=r"is linked as 'dataset/animals:v0', 'model/zoo:v0'") as refused:
        delete_version(world.user(), "zoo:v0")
    assert "--force" in str(refused.value.hint)
    assert resolve(world.user(), "model/zoo:candidate").ref == "model/zoo:v0"
    deleted = delete_version(world.user(), "zoo:v0", force=True)
    assert sorted(deleted.unlinked) == ["dataset/animals:v0", "model/zoo:v0"]
    for text in ("zoo:v0", "model/zoo", "dataset/animals:v0"):
        with pytest.raises(NotFoundError):
            resolve(world.user(), text)
    assert verify_root(world.user()).ok


def test_the_source_of_a_protected_link_is_deleted_by_nobody(world: World) -> None:
    world.link("zoo:v0", "model/zoo", "production")
    world.protect("production")
    for user in ("alice", "bob"):
        with pytest.raises(ProtectedError, match="'model/zoo:v0' is protected by alias 'production'") as refused:
            delete_version(world.user(user), "zoo:v0", force=True, delete_aliases=True)
        assert refused.value.exit_code == 5
    assert resolve(world.user(), "model/zoo:production").ref == "model/zoo:v0"


def test_a_link_is_unlinked_not_deleted(world: World) -> None:
    world.link("zoo:v0", "model/zoo")
    world.link("zoo:v0", "team/project/copies")
    for text in ("model/zoo:v0", "team/project/copies:v0"):
        with pytest.raises(RefusedError, match="unlink"):
            delete_version(world.user(), text)


def test_force_needs_the_right_to_withdraw_every_link(world: World) -> None:
    create_registry(world.user(), RegistryName.parse("secret"), visibility="restricted")
    world.link("zoo:v0", "model/zoo")
    world.link("zoo:v0", "secret/zoo")
    with pytest.raises(RoleError):
        delete_version(world.user("bob"), "zoo:v0", force=True)
    assert resolve(world.user(), "model/zoo").ref == "model/zoo:v0"
    assert resolve(world.user(), "zoo:v0").ref == "local/default/zoo:v0"


def test_links_that_the_user_may_not_see_are_counted_not_named(world: World) -> None:
    create_registry(world.user(), RegistryName.parse("secret"), visibility="restricted")
    world.link("zoo:v0", "secret/zoo", "production")
    with pytest.raises(RefusedError) as refused:
        delete_version(world.user("bob"), "zoo:v0")
    assert "secret" not in str(refused.value)
    assert "1 more in registries that 'bob' may not see" in str(refused.value)
    world.protect("production", registry="secret")
    with pytest.raises(ProtectedError) as protected:
        delete_version(world.user("bob"), "zoo:v0", force=True)
    assert "secret" not in str(protected.value)


def test_what_depends_on_a_version_is_named_and_does_not_stop_it(world: World) -> None:
    world.log("trained", inputs=["zoo:v0"])
    assert delete_version(world.user(), "zoo:v0").consumers == ["local/default/trained:v0"]
    assert version_document(world.user(), resolve(world.user(), "trained"))["inputs"] == ["local/default/zoo:v0"]


@pytest.mark.parametrize("work", [delete_version, undelete_version])
def test_a_version_has_to_be_named(world: World, work: object) -> None:
    with pytest.raises(UsageError, match="'zoo' names no version"):
        work(world.user(), "zoo")  # type: ignore[operator]
    assert resolve(world.user(), "zoo").ref == "local/default/zoo:v1"


def test_what_was_never_there_or_is_deleted_already_is_not_found(world: World) -> None:
    delete_version(world.user(), "zoo:v0")
    for text in ("zoo:v0", "zoo:v7", "nothing:v0"):
        with pytest.raises(NotFoundError):
            delete_version(world.user(), text)
    with pytest.raises(NotFoundError):
        undelete_version(world.user(), "zoo:v7")


def test_an_unlinked_link_is_not_undeleted(world: World) -> None:
    from regcli.domain.linking import unlink

    world.link("zoo:v0", "model/zoo")
    unlink(world.user(), "model/zoo:v0")
    with pytest.raises(RefusedError, match="is a link: what was unlinked is linked again, under a new number"):
        undelete_version(world.user(), "model/zoo:v0")


def test_a_viewer_of_a_registry_may_delete_their_own_version_unless_it_is_linked_there(world: World) -> None:
    set_member(world.user(), RegistryName.parse("model"), "bob", "viewer")
    world.link("zoo:v0", "model/zoo")
    with pytest.raises(RoleError, match="user 'bob' is viewer and may not unlink versions from registry 'model'"):
        delete_version(world.user("bob"), "zoo:v0", force=True)
    assert delete_version(world.user("bob"), "zoo:v1").version.ref == "local/default/zoo:v1"


def _race(path: Path, action: str, number: int, queue: multiprocessing.Queue[str]) -> None:
    world = World(path)
    try:
        if action == "delete":
            delete_version(world.user(), "zoo:v0")
        else:
            world.link("zoo:v0", f"model/zoo-{number}")
    except RegcliError as error:
        queue.put(f"{action} {error.kind}")
    else:
        queue.put(f"{action} done")


def test_a_version_is_never_deleted_and_linked_at_once(world: World) -> None:
    context = multiprocessing.get_context("fork")
    for _ in range(3):
        queue: multiprocessing.Queue[str] = context.Queue()
        actions = ["link", "delete", "link"]
        workers = [context.Process(target=_race, args=(world.path, action, n, queue)) for n, action in enumerate(actions)]
        for worker in workers:
            worker.start()
        answers = [queue.get(timeout=60) for _ in workers]
        for worker in workers:
            worker.join()
        if "delete done" in answers:
            assert answers.count("link done") == 0
            undelete_version(world.user(), "zoo:v0")
        else:
            assert answers.count("link done") == 2
            break
    assert verify_root(world.user()).ok


def test_undelete_without_a_version_does_not_suggest_to_delete(world: World) -> None:
    world.log()
    with pytest.raises(UsageError) as caught:
        undelete_version(world.user(), "zoo")
    assert "zoo:v0" in (caught.value.hint or "")
    assert "rm" not in (caught.value.hint or "")


def test_a_link_that_was_withdrawn_is_called_so(world: World) -> None:
    world.log()
    world.link("zoo", "model/zoo")
    unlink(world.user(), "model/zoo:v0")
    with pytest.raises(NotFoundError, match="v0 of 'model/zoo' was unlinked"):
        resolve(world.user(), "model/zoo:v0")
