"""A registry's settings: edited, renamed, taken in from a file; members; the registry's end."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from regcli.domain.history import history
from regcli.domain.listing import registry_row
from regcli.domain.members import list_members, remove_member, set_member
from regcli.domain.registries import create_registry, find_registry
from regcli.domain.registry_settings import apply_settings, edit_registry, hand_edits, remove_registry
from regcli.domain.resolving import resolve
from regcli.domain.verification import verify_root
from regcli.errors import (
    ConflictError,
    InvalidNameError,
    NotFoundError,
    RefusedError,
    RegcliError,
    RenamedError,
    RoleError,
    TypeNotAcceptedError,
    UsageError,
)
from regcli.model import RegistryName, TypeName
from tests.domain.world import World, world_in_memory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MODEL = RegistryName.parse("model")
TEAM = RegistryName.parse("team")


@pytest.fixture
def world() -> Iterator[World]:
    with world_in_memory() as world:
        world.log()
        world.link()
        create_registry(world.user(), TEAM)
        world.link("zoo", "team/zoo")
        yield world


def types(*names: str) -> list[TypeName]:
    return [TypeName.parse(name) for name in names]


def test_several_settings_change_in_one_commit(world: World) -> None:
    change = edit_registry(world.user(), MODEL, description="ours", types=types("model"), ttl=3600, reason="audit")
    assert change.commit is not None
    assert len(change.commit["ops"]) == 4  # the first also records what the registry came with
    change = edit_registry(
        world.user(), TEAM, description="ours", types=types("model"), ttl=3600, visibility="restricted", reason="audit"
    )
    assert change.commit is not None
    assert len(change.commit["ops"]) == 4
    document = registry_row(world.user(), "team")
    assert (document["description"], document["types"], document["ttl"], document["visibility"]) == (
        "ours",
        ["model"],
        "1h",
        "restricted",
    )


def test_types_are_only_added(world: World) -> None:
    edit_registry(world.user(), MODEL, types=types("model"))
    edit_registry(world.user(), MODEL, types=types("checkpoint"))
    assert registry_row(world.user(), "model")["types"] == ["model", "checkpoint"]
    world.log("data", type="dataset")
    with pytest.raises(TypeNotAcceptedError, match="does not accept artifacts of type 'dataset', only model, checkpoint"):
        world.link("data", "model/data")


def test_the_first_types_may_not_leave_out_what_is_there(world: World) -> None:
    with pytest.raises(ConflictError, match="has collections of type model"):
        edit_registry(world.user(), MODEL, types=types("dataset"))
    assert registry_row(world.user(), "model")["types"] == []


def test_restricted_is_for_good(world: World) -> None:
    edit_registry(world.user(), TEAM, visibility="restricted")
    with pytest.raises(RefusedError, match="registry 'team' is restricted, which cannot be undone"):
        edit_registry(world.user(), TEAM, visibility="organization", description="not changed either")
    assert registry_row(world.user(), "team")["description"] != "not changed either"


def test_what_came_with_the_root_stays_as_it_is_known(world: World) -> None:
    for name in ("model", "datasets"):
        registry = RegistryName.parse(name)
        with pytest.raises(RefusedError, match="came with the root and keeps its name"):
            edit_registry(world.user(), registry, rename=RegistryName.parse("mine"), description="not changed either")
        with pytest.raises(RefusedError, match="came with the root and stays open to everybody"):
            edit_registry(world.user(), registry, visibility="restricted", description="not changed either")
        with pytest.raises(RefusedError, match="came with the root and cannot be deleted"):
            remove_registry(world.user(), registry)
        assert registry_row(world.user(), name)["description"] != "not changed either"
    with pytest.raises(RefusedError, match="stays open to everybody"):
        apply_settings(world.user(), edited(world, organization="restricted"))
    # A change, which is its first commit, does not make it one that was made by hand.
    edit_registry(world.user(), MODEL, description="ours", types=types("model"), visibility="organization")
    with pytest.raises(RefusedError, match="cannot be deleted"):
        remove_registry(world.user(), MODEL)
    create_registry(world.user(), RegistryName.parse("mine"))
    assert resolve(world.user(), "models/zoo").ref == "model/zoo:v0"


def test_a_change_that_is_partly_not_allowed_changes_nothing(world: World) -> None:
    with pytest.raises(RoleError, match="user 'bob' is member and may not change the accepted types of registry 'team'"):
        edit_registry(world.user("bob"), TEAM, description="mine", types=types("model"), rename=RegistryName.parse("mine"))
    assert registry_row(world.user(), "team")["description"] != "mine"
    with pytest.raises(NotFoundError):
        find_registry(world.user(), "mine")
    edit_registry(world.user("bob"), MODEL, description="a member may")


def test_a_renamed_registry_keeps_all_and_the_old_name_says_the_new(world: World) -> None:
    golden = RegistryName.parse("Golden Models")
    edit_registry(world.user("bob"), TEAM, rename=golden)
    assert resolve(world.user(), "golden models/zoo").ref == "Golden Models/zoo:v0"
    assert resolve(world.user(), "wandb-registry-Golden Models/zoo").ref == "Golden Models/zoo:v0"
    with pytest.raises(RenamedError, match="registry 'team' was renamed to 'Golden Models'"):
        resolve(world.user(), "team/zoo")
    with pytest.raises(ConflictError, match="'team' is the old name of registry 'Golden Models'"):
        create_registry(world.user(), TEAM)
    assert world.link("zoo", "Golden Models/zoo").version.ref == "Golden Models/zoo:v0"
    edit_registry(world.user(), golden, rename=TEAM)
    assert resolve(world.user(), "team/zoo").ref == "team/zoo:v0"
    assert verify_root(world.user()).ok


def test_a_taken_name_is_a_conflict(world: World) -> None:
    for taken in ("dataset", "datasets"):
        with pytest.raises(ConflictError):
            edit_registry(world.user(), TEAM, rename=RegistryName.parse(taken))
    assert resolve(world.user(), "team/zoo").ref == "team/zoo:v0"


def test_a_deleted_registry_takes_its_links_along_and_a_new_one_of_its_name_is_empty(world: World) -> None:
    with pytest.raises(RoleError, match="user 'bob' is member and may not delete registry 'team': that takes admin"):
        remove_registry(world.user("bob"), TEAM)
    remove_registry(world.user(), TEAM)
    with pytest.raises(NotFoundError):
        resolve(world.user(), "team/zoo")
    assert resolve(world.user(), "zoo").ref == "local/default/zoo:v0"
    create_registry(world.user("bob"), TEAM)
    with pytest.raises(NotFoundError):
        resolve(world.user("bob"), "team/zoo")
    assert world.link("zoo", "team/zoo", user="bob").version.ref == "team/zoo:v1"
    assert [index for index, _ in resolve(world.user(), "team/zoo").collection.versions()] == [1]
    assert verify_root(world.user()).ok


# Members


def test_roles_are_given_changed_and_taken_away(world: World) -> None:
    set_member(world.user(), MODEL, "bob", "viewer")
    assert list_members(world.user(), MODEL) == (
        "model",
        [{"user": "alice", "role": "admin"}, {"user": "bob", "role": "viewer"}],
        "member",
    )
    set_member(world.user(), MODEL, "bob", "admin")
    remove_member(world.user("bob"), MODEL, "alice")
    assert list_members(world.user(), MODEL)[1] == [{"user": "bob", "role": "admin"}]
    event = history(world.user(), "model/", action="role-changed")[-1]
    assert (event["member"], event["before"], event["after"]) == ("alice", "admin", None)


def test_the_last_admin_stays(world: World) -> None:
    attempts: tuple[Callable[[], object], ...] = (
        lambda: remove_member(world.user(), MODEL, "alice"),
        lambda: set_member(world.user(), MODEL, "alice", "member"),
    )
    for work in attempts:
        with pytest.raises(RefusedError, match="registry 'model' would have no admin left"):
            work()
    assert set_member(world.user(), MODEL, "alice", "admin").commit is None


def test_only_admins_change_members(world: World) -> None:
    with pytest.raises(RoleError, match="user 'bob' is member and may not change the members of registry 'model'"):
        set_member(world.user("bob"), MODEL, "bob", "admin")


@pytest.mark.parametrize("user", ["", "a b", "a\nb", "x\x1b[2J", "u" * 257])
def test_a_users_name_is_checked(world: World, user: str) -> None:
    with pytest.raises(InvalidNameError):
        set_member(world.user(), MODEL, user, "viewer")


def test_an_unknown_role_or_member_is_an_error(world: World) -> None:
    with pytest.raises(UsageError, match="role 'owner' is unknown"):
        set_member(world.user(), MODEL, "bob", "owner")
    with pytest.raises(NotFoundError, match="user 'bob' has no role in registry 'model'"):
        remove_member(world.user(), MODEL, "bob")


# registry.toml


def readable(world: World, registry: str = "model") -> Path:
    return Path(world.root, "registries", registry, "registry.toml")


def edited(world: World, **replace: str) -> str:
    edit_registry(world.user(), MODEL, description="as it was")
    text = readable(world).read_text()
    for before, after in replace.items():
        assert before in text
        text = text.replace(before, after)
    path = world.path / "edited.toml"
    path.write_text(text)
    return str(path)


def test_a_hand_edit_has_no_effect_is_shown_and_is_taken_in_as_one_commit(world: World) -> None:
    edit_registry(world.user(), TEAM, description="as it was")
    world.protect("staging", registry="team")
    path = readable(world, "team")
    text = path.read_text()
    text = text.replace('description = "as it was"', 'description = "By hand"')
    text = text.replace('"staging"', '"production"').replace('alice = "admin"', 'alice = "admin"\nbob = "viewer"')
    text = text.replace("types = []", 'types = ["model"]').replace(
        'visibility = "organization"', 'visibility = "restricted"\nttl = "30d"'
    )
    path.write_text(text)
    assert hand_edits(world.user()) == [("team", str(path))]
    before = find_registry(world.user(), "team")
    assert before.state["description"] == "as it was"

    with pytest.raises(RoleError):
        apply_settings(world.user("bob"), str(path))
    shown = apply_settings(world.user(), str(path), dry_run=True)
    assert find_registry(world.user(), "team").snapshot.seq == before.snapshot.seq == shown.seq
    applied = apply_settings(world.user(), str(path))
    assert applied.changes == shown.changes
    assert applied.seq == before.snapshot.seq + 1
    assert [change[0] for change in applied.changes] == [
        "description",
        "types",
        "visibility",
        "ttl",
        "alias production",
        "alias staging",
        "member bob",
    ]
    state = find_registry(world.user(), "team").state
    assert (state["description"], state["ttl"], state["members"]["bob"], sorted(state["protected"])) == (
        "By hand",
        30 * 86400,
        "viewer",
        ["production"],
    )
    assert hand_edits(world.user()) == []
    assert apply_settings(world.user(), str(path)).changes == []


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ('name = "model"', 'name = "model"\nexecute = "rm"', "unknown setting 'execute'"),
        ('description = "as it was"', "description = 7", "'description' must be a text"),
        ("types = []", 'types = "model"', "'types' must be a list of texts"),
        ("types = []", 'types = ["wandb-x"]', "reserved"),
        ('visibility = "organization"', 'visibility = "public"', "visibility 'public' is unknown"),
        ('alice = "admin"', 'alice = "king"', "role of 'alice' must be one of"),
        ('alice = "admin"', 'alice = "member"', "would have no admin left"),
        ("protected_aliases = []", 'protected_aliases = ["latest"]', "alias 'latest' is kept by regcli"),
        ("protected_aliases = []", 'protected_aliases = ["a"]\nsigned_aliases = ["b"]', "signed_aliases"),
        ("protected_aliases = []", 'protected_aliases = []\nttl = "soon"', "is not a duration"),
        ("[members]", "[automations.x]\ncommand = 'rm'\n[members]", "changes automations"),
        ('name = "model"', "name = model", "is not TOML"),
    ],
)
def test_a_file_that_is_not_valid_is_refused_as_a_whole(world: World, before: str, after: str, message: str) -> None:
    path = edited(world, **{before: after})
    seq = find_registry(world.user(), "model").snapshot.seq
    with pytest.raises(RegcliError, match=message) as refused:
        apply_settings(world.user(), path)
    assert refused.value.exit_code in (2, 5)
    assert find_registry(world.user(), "model").snapshot.seq == seq


def test_a_file_cannot_take_types_away_or_open_what_is_restricted(world: World) -> None:
    edit_registry(world.user(), MODEL, types=types("model", "dataset"))
    with pytest.raises(RefusedError, match="accepts dataset, which the file leaves out"):
        apply_settings(world.user(), edited(world, **{'    "dataset",\n': ""}))
    edit_registry(world.user(), TEAM, visibility="restricted")
    path = readable(world, "team")
    path.write_text(path.read_text().replace("restricted", "organization"))
    with pytest.raises(RefusedError, match="restricted, which cannot be undone"):
        apply_settings(world.user(), str(path))


def test_what_a_deleted_registry_held_is_found_nowhere(world: World) -> None:
    from regcli.domain.listing import collection_rows, find_container, registry_rows
    from regcli.domain.search import Query, search

    assert any(result.ref.startswith("team/zoo") for result in search(world.user(), Query("zoo")))
    remove_registry(world.user(), TEAM)
    assert not any(result.ref.startswith("team") for result in search(world.user(), Query(None)))
    create_registry(world.user(), TEAM)
    assert not any(result.ref.startswith("team/") for result in search(world.user(), Query(None)))
    assert collection_rows(world.user(), find_container(world.user(), "team")) == []
    assert {row["name"]: row["collections"] for row in registry_rows(world.user())} == {"dataset": 0, "model": 1, "team": 0}
