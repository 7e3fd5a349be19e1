"""Collections as such: created, described, renamed, removed."""

from __future__ import annotations

import multiprocessing
from typing import TYPE_CHECKING

import pytest

from regcli.domain import collection_settings as settings
from regcli.domain import removal
from regcli.domain.collections import chain_of, find_collection
from regcli.domain.documents import links_of
from regcli.domain.history import history
from regcli.domain.listing import collection_rows, find_place
from regcli.domain.resolving import resolve
from regcli.domain.verification import verify_root
from regcli.errors import (
    ConflictError,
    InvalidNameError,
    NotFoundError,
    ProtectedError,
    RefusedError,
    RenamedError,
    RoleError,
    TypeMismatchError,
    TypeNotAcceptedError,
    UsageError,
)
from regcli.model import RegistryName, TypeName, parse_collection
from tests.domain.world import World, world_in_memory

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MODEL = TypeName.parse("model")
DATASET = TypeName.parse("dataset")


@pytest.fixture
def world() -> Iterator[World]:
    with world_in_memory() as world:
        yield world


def test_an_empty_collection_takes_its_type_for_good(world: World) -> None:
    world.log()
    made = settings.create_collection(world.user(), "model/zoo", type=DATASET, description="# Zoo")
    assert made.collection.state["count"] == 0
    assert made.collection.state["description"] == "# Zoo"
    with pytest.raises(TypeMismatchError):
        world.link()


def test_an_empty_source_collection_is_logged_into(world: World) -> None:
    settings.create_collection(world.user(), "zoo", type=MODEL, description="animals")
    assert world.log().ref == "local/default/zoo:v0"
    assert resolve(world.user(), "zoo").collection.state["description"] == "animals"


def test_a_collection_is_not_made_twice_or_without_a_type(world: World) -> None:
    settings.create_collection(world.user(), "model/zoo", type=MODEL)
    with pytest.raises(ConflictError, match="collection 'model/zoo' exists already"):
        settings.create_collection(world.user(), "model/ZOO", type=MODEL)
    with pytest.raises(UsageError, match="type of a new collection is missing"):
        settings.create_collection(world.user(), "model/other")


def test_a_registry_that_accepts_one_type_gives_it(world: World) -> None:
    from regcli.domain.registries import create_registry

    create_registry(world.user(), RegistryName.parse("golden"), types=[DATASET])
    assert settings.create_collection(world.user(), "golden/zoo").collection.state["type"] == "dataset"
    with pytest.raises(TypeNotAcceptedError, match="does not accept artifacts of type 'model', only dataset"):
        settings.create_collection(world.user(), "golden/other", type=MODEL)


def test_a_rename_keeps_versions_aliases_and_links_and_the_old_name_says_the_new_one(world: World) -> None:
    world.log(aliases=["best"])
    world.log()
    world.link("zoo:best", "model/zoo", "production")
    settings.edit_collection_settings(world.user(), "model/zoo", rename="Animals")
    settings.edit_collection_settings(world.user(), "zoo", rename="beasts")

    version = resolve(world.user(), "model/animals:production")
    assert version.ref == "model/Animals:v0"
    assert resolve(world.user(), "beasts:best").ref == "local/default/beasts:v0"
    assert [link.ref for link in links_of(world.user(), version.record["id"])] == ["model/Animals:v0"]
    assert world.log("beasts").ref == "local/default/beasts:v2"
    assert world.link("beasts:v2", "model/Animals").version.ref == "model/Animals:v1"
    for old, new in (("model/zoo", "'Animals'"), ("zoo", "'beasts'")):
        with pytest.raises(RenamedError, match=f"was renamed to {new}"):
            find_collection(world.user(), parse_collection(old, world.user().project))
    with pytest.raises(RenamedError):
        world.log("zoo")
    assert [row["ref"] for row in collection_rows(world.user(), find_place(world.user(), "local/default/"))] == [  # type: ignore[arg-type]
        "local/default/beasts"
    ]
    assert verify_root(world.user()).ok


def test_renaming_back_and_forth_works_and_the_last_name_counts(world: World) -> None:
    world.log()
    for new in ("b", "c", "zoo", "b"):
        name = resolve(world.user(), find_collection_name(world)).collection.name
        settings.edit_collection_settings(world.user(), name, rename=new)
        assert resolve(world.user(), new).ref == f"local/default/{new}:v0"
    for old in ("zoo", "c"):
        with pytest.raises(RenamedError, match="was renamed to 'b'"):
            resolve(world.user(), old)


def find_collection_name(world: World) -> str:
    rows = collection_rows(world.user(), find_place(world.user(), "local/default/"))  # type: ignore[arg-type]
    assert len(rows) == 1
    return str(rows[0]["name"])


def test_only_the_case_may_change(world: World) -> None:
    world.log()
    settings.edit_collection_settings(world.user(), "zoo", rename="ZOO")
    assert resolve(world.user(), "zoo").ref == "local/default/ZOO:v0"
    assert settings.collection_details(world.user(), "zoo")["former_names"] == []


def test_a_taken_name_or_an_old_name_of_another_is_a_conflict_and_changes_nothing(world: World) -> None:
    world.log("one")
    world.log("two")
    settings.edit_collection_settings(world.user(), "two", rename="three")
    with pytest.raises(ConflictError, match="collection 'three' exists already"):
        settings.edit_collection_settings(world.user(), "one", rename="three")
    with pytest.raises(ConflictError, match="collection 'two' was renamed to 'three'"):
        settings.edit_collection_settings(world.user(), "one", rename="two")
    assert resolve(world.user(), "one").ref == "local/default/one:v0"


def test_the_name_of_a_deleted_collection_is_free_for_a_rename_and_for_a_new_one(world: World) -> None:
    world.log("one")
    world.log("two")
    settings.edit_collection_settings(world.user(), "two", rename="three")
    removal.remove_collection(world.user(), "three")
    with pytest.raises(NotFoundError):
        resolve(world.user(), "three")
    settings.edit_collection_settings(world.user(), "one", rename="three")
    assert resolve(world.user(), "three").ref == "local/default/three:v0"
    assert world.log("two").ref == "local/default/two:v1"


@pytest.mark.parametrize("name", ["a/b", "x:y", "..", ""])
def test_a_bad_new_name_is_refused(world: World, name: str) -> None:
    world.log()
    with pytest.raises((InvalidNameError, UsageError)):
        settings.edit_collection_settings(world.user(), "zoo", rename=name)
    assert resolve(world.user(), "zoo").ref == "local/default/zoo:v0"


def test_a_full_reference_in_the_same_place_is_a_name_and_another_place_is_refused(world: World) -> None:
    world.log()
    world.link()
    settings.edit_collection_settings(world.user(), "model/zoo", rename="model/animals")
    assert resolve(world.user(), "model/animals").ref == "model/animals:v0"
    with pytest.raises(UsageError, match="renamed, not moved"):
        settings.edit_collection_settings(world.user(), "model/animals", rename="dataset/animals")


def test_a_rename_cut_short_leaves_both_names_and_is_finished_by_doing_it_again(world: World) -> None:
    world.log()
    collection = find_collection(world.user(), parse_collection("zoo", world.user().project))
    settings._reserve(world.user(), collection, "animals")
    assert resolve(world.user(), "animals").ref == resolve(world.user(), "zoo").ref == "local/default/zoo:v0"
    assert world.log("animals").ref == "local/default/zoo:v1"
    settings.edit_collection_settings(world.user(), "zoo", rename="animals")
    assert resolve(world.user(), "animals").ref == "local/default/animals:v1"
    with pytest.raises(RenamedError):
        resolve(world.user(), "zoo")
    assert verify_root(world.user()).ok


def test_a_collection_made_under_the_name_while_it_is_given_away_loses(world: World) -> None:
    world.log("one")
    one = find_collection(world.user(), parse_collection("one", world.user().project))
    base = one.base.replace("/one", "/two")
    before = chain_of(world.user(), base, None).read()
    settings.edit_collection_settings(world.user(), "one", rename="two")
    creation = {"op": "create", "id": "0" * 32, "kind": "source", "name": "two", "type": "model", "description": "", "tags": []}
    assert chain_of(world.user(), base, None).append(before, world.user().envelope(), [creation]) is None
    assert resolve(world.user(), "two").ref == "local/default/two:v0"


def _race(path: Path, action: str, number: int, queue: multiprocessing.Queue[str]) -> None:
    world = World(path)
    world._files = 1000 * (number + 1)
    try:
        if action == "rename":
            settings.edit_collection_settings(world.user(), "one", rename="new")
        else:
            world.log("new")
    except (ConflictError, NotFoundError) as error:
        queue.put(f"{action} {type(error).__name__}")
    else:
        queue.put(f"{action} done")


def test_of_a_rename_and_a_log_to_one_name_at_once_nothing_is_lost(world: World) -> None:
    context = multiprocessing.get_context("fork")
    for round_number in range(4):
        path = world.path / f"round-{round_number}"
        path.mkdir()
        inner = World(path)
        inner.log("one")
        queue: multiprocessing.Queue[str] = context.Queue()
        workers = [
            context.Process(target=_race, args=(path, action, number, queue)) for number, action in enumerate(["rename", "log"])
        ]
        for worker in workers:
            worker.start()
        answers = {queue.get(timeout=60) for _ in workers}
        for worker in workers:
            worker.join()
        new = resolve(inner.user(), "new").collection
        if "rename done" in answers:
            # Whoever logged came after the rename, into the renamed collection, or lost.
            assert new.ref == "local/default/new"
            assert new.state["count"] == (2 if "log done" in answers else 1)
            with pytest.raises(RenamedError):
                resolve(inner.user(), "one")
        else:
            assert answers == {"rename ConflictError", "log done"}
            assert resolve(inner.user(), "one").ref == "local/default/one:v0"
        assert verify_root(inner.user()).ok


def test_deleting_a_registrys_collection_leaves_the_sources(world: World) -> None:
    world.log()
    world.link()
    removed = removal.remove_collection(world.user(), "model/zoo")
    assert removed.versions == 1
    assert list(links_of(world.user(), resolve(world.user(), "zoo").record["id"])) == []
    with pytest.raises(NotFoundError):
        resolve(world.user(), "model/zoo")
    assert world.link().version.ref == "model/zoo:v1"
    assert [index for index, _ in resolve(world.user(), "model/zoo").collection.versions()] == [1]


def test_deleting_a_projects_collection_asks_for_its_aliases_and_links(world: World) -> None:
    world.log(aliases=["best"])
    world.link()
    with pytest.raises(RefusedError, match="'local/default/zoo' is linked as 'model/zoo:v0'"):
        removal.remove_collection(world.user(), "zoo", delete_aliases=True)
    with pytest.raises(RefusedError, match="has aliases: best"):
        removal.remove_collection(world.user(), "zoo", force=True)
    assert resolve(world.user(), "model/zoo").ref == "model/zoo:v0"
    removed = removal.remove_collection(world.user(), "zoo", delete_aliases=True, force=True)
    assert removed.unlinked == ["model/zoo:v0"]
    with pytest.raises(NotFoundError):
        resolve(world.user(), "zoo")


def test_versions_of_a_deleted_collection_do_not_come_back_with_its_name_and_numbers_go_on(world: World) -> None:
    world.log()
    world.log()
    removal.remove_collection(world.user(), "zoo")
    assert world.log(type="dataset").ref == "local/default/zoo:v2"
    collection = resolve(world.user(), "zoo").collection
    assert [index for index, _ in collection.versions()] == [2]
    assert collection.state["count"] == 1
    assert collection.state["type"] == "dataset"


def test_a_protected_alias_keeps_a_collection_from_members(world: World) -> None:
    world.log()
    world.link("zoo", "model/zoo", "production")
    world.protect("production")
    with pytest.raises(ProtectedError, match="cannot be deleted: 'model/zoo:v0' is protected by alias 'production'"):
        removal.remove_collection(world.user("bob"), "model/zoo")
    with pytest.raises(ProtectedError, match="cannot be renamed"):
        settings.edit_collection_settings(world.user("bob"), "model/zoo", rename="mine")
    with pytest.raises(ProtectedError, match="cannot be deleted: 'model/zoo:v0' is protected"):
        removal.remove_collection(world.user(), "zoo", force=True, delete_aliases=True)
    assert settings.edit_collection_settings(world.user(), "model/zoo", rename="ours").collection.ref == "model/ours"
    assert removal.remove_collection(world.user(), "model/ours").versions == 1


def test_the_type_of_links_stays_and_that_of_unlinked_versions_may_change(world: World) -> None:
    world.log()
    world.link()
    with pytest.raises(RefusedError, match="has type 'model' for good"):
        settings.edit_collection_settings(world.user(), "model/zoo", type=DATASET)
    with pytest.raises(RefusedError, match="a version of it is linked"):
        settings.edit_collection_settings(world.user(), "zoo", type=DATASET)
    world.log("other")
    changed = settings.edit_collection_settings(world.user(), "other", type=DATASET, description="x", ttl=60)
    assert (changed.collection.state["type"], changed.collection.state["ttl"]) == ("dataset", 60)
    assert len({event["seq"] for event in history(world.user(), "other") if event["action"].endswith("-changed")}) == 1


def test_viewers_change_nothing(world: World) -> None:
    from regcli.domain.members import set_member

    world.log()
    world.link()
    set_member(world.user(), RegistryName.parse("model"), "bob", "viewer")
    for work in (
        lambda: settings.create_collection(world.user("bob"), "model/new", type=MODEL),
        lambda: settings.edit_collection_settings(world.user("bob"), "model/zoo", description="x"),
        lambda: settings.edit_collection_settings(world.user("bob"), "model/zoo", rename="x"),
        lambda: removal.remove_collection(world.user("bob"), "model/zoo"),
    ):
        with pytest.raises(RoleError, match="user 'bob' is viewer and may not"):
            work()


def test_history_tells_of_the_rename_with_before_and_after(world: World) -> None:
    world.log()
    settings.edit_collection_settings(world.user(), "zoo", rename="animals", reason="clearer")
    event = history(world.user(), "animals")[-1]
    assert (event["action"], event["before"], event["after"], event["reason"]) == ("renamed", "zoo", "animals", "clearer")


def test_a_project_goes_as_a_whole_or_not_at_all(world: World) -> None:
    for name in ("one", "two"):
        world.log(f"team/drafts/{name}")
    world.log("elsewhere")
    world.link("team/drafts/one", "team/drafts/picked")
    world.link("team/drafts/two", "model/two")
    with pytest.raises(RefusedError, match="'team/drafts/two' is linked as 'model/two:v0'"):
        removal.remove_project(world.user(), "team/drafts/")
    assert resolve(world.user(), "team/drafts/one").ref == "team/drafts/one:v0"
    removed = removal.remove_project(world.user(), "team/drafts/", force=True)
    assert [item.ref for item in removed] == ["team/drafts/one", "team/drafts/picked", "team/drafts/two"]
    with pytest.raises(NotFoundError):
        find_place(world.user(), "team/drafts/")
    assert resolve(world.user(), "elsewhere").ref == "local/default/elsewhere:v0"
    with pytest.raises(UsageError, match="is a registry"):
        removal.remove_project(world.user(), "model/")
    assert verify_root(world.user()).ok


def test_the_numbers_of_a_removed_collection_are_not_given_again_under_the_name_it_got(world: World) -> None:
    world.log("first")
    world.log("first")
    settings.edit_collection_settings(world.user(), "first", rename="second")
    world.link("second", "model/first")
    settings.edit_collection_settings(world.user(), "model/first", rename="second")
    removal.remove_collection(world.user(), "model/second")
    removal.remove_collection(world.user(), "second")
    assert [event["action"] for event in history(world.user(), "second")][-1] == "collection-deleted"
    assert world.log("second").ref == "local/default/second:v2"
    assert world.link("second", "model/second").version.ref == "model/second:v1"
    assert not verify_root(world.user()).problems


def test_an_empty_collection_under_a_name_of_a_removed_one_counts_on_too(world: World) -> None:
    world.log("first")
    settings.edit_collection_settings(world.user(), "first", rename="second")
    removal.remove_collection(world.user(), "second")
    settings.create_collection(world.user(), "second", type=MODEL)
    assert world.log("second").ref == "local/default/second:v1"
