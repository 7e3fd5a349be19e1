"""The table of roles: every action is tried with every role."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from regcli.domain import registries, roles
from regcli.domain.aliasing import add_aliases, list_aliases, remove_aliases
from regcli.domain.collection_settings import (
    collection_details,
    create_collection,
    edit_collection_settings,
    list_all_collections,
)
from regcli.domain.download import DownloadOptions, checkout, download
from regcli.domain.editing import add_tags, edit, list_tags, remove_tags
from regcli.domain.files import list_files, read_file
from regcli.domain.history import history
from regcli.domain.linking import unlink
from regcli.domain.listing import collection_rows, find_place, overview, registry_row, version_rows
from regcli.domain.members import list_members, remove_member, set_member
from regcli.domain.registries import create_registry, find_registry
from regcli.domain.registry_settings import edit_registry, remove_registry
from regcli.domain.removal import remove_collection
from regcli.domain.resolving import resolve
from regcli.domain.search import Query, search
from regcli.domain.usage import disk_usage
from regcli.domain.verification import verify_version
from regcli.errors import ProtectedError, RefusedError, RoleError
from regcli.model import Alias, RegistryName, Tag, TypeName
from tests.domain.world import World, memory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from regcli.domain.context import Context

    Action = Callable[[Context, World], Any]

TEAM = RegistryName.parse("team")
NONE = "no access"
RANKS = [NONE, roles.RESTRICTED_VIEWER, roles.VIEWER, roles.MEMBER, roles.ADMIN]


def alias(*names: str) -> list[Alias]:
    return [Alias.parse(name) for name in names]


# What is done, in the words of the W&B table -> (least role, how it is done). `team/zoo` holds v0 (alias `production`,
# protected), v1 (alias `candidate`) and v2; `team/plain` holds one version without an alias.
TABLE: dict[str, tuple[str, Action]] = {
    "view the registry's settings": (roles.RESTRICTED_VIEWER, lambda c, _: registry_row(c, "team")),
    "view the user list": (roles.RESTRICTED_VIEWER, lambda c, _: list_members(c, TEAM)),
    "list its collections": (roles.RESTRICTED_VIEWER, lambda c, _: list_all_collections(c, "team")),
    "view a collection": (roles.RESTRICTED_VIEWER, lambda c, _: collection_details(c, "team/zoo")),
    "list a collection's versions": (
        roles.RESTRICTED_VIEWER,
        lambda c, _: version_rows(c, find_place(c, "team/zoo")),  # type: ignore[arg-type]
    ),
    "view a version": (roles.RESTRICTED_VIEWER, lambda c, _: resolve(c, "team/zoo:v0")),
    "list a version's files": (roles.RESTRICTED_VIEWER, lambda c, _: list_files(c, "team/zoo:v0")),
    "list aliases": (roles.RESTRICTED_VIEWER, lambda c, _: list_aliases(c, "team/zoo")),
    "list tags": (roles.RESTRICTED_VIEWER, lambda c, _: list_tags(c, "team/zoo")),
    "read its history": (roles.RESTRICTED_VIEWER, lambda c, _: history(c, "team/zoo")),
    "search in it": (roles.RESTRICTED_VIEWER, lambda c, _: search(c, Query("zoo", registry="team"))),
    "see what it costs": (roles.RESTRICTED_VIEWER, lambda c, _: disk_usage(c, "team/")),
    "verify a version": (roles.RESTRICTED_VIEWER, lambda c, _: verify_version(c, "team/zoo:v0")),
    "download": (roles.VIEWER, lambda c, w: download(c, "team/zoo:v0", str(w.path / "out"), DownloadOptions())),
    "check out": (roles.VIEWER, lambda c, w: checkout(c, "team/zoo:v0", str(w.path / "exact"), DownloadOptions())),
    "read a file of a version": (roles.VIEWER, lambda c, _: b"".join(read_file(c, "team/zoo:v0", "data.bin"))),
    "use as input": (roles.VIEWER, lambda c, w: w.log("derived", user=c.user, inputs=["team/zoo:v0"])),
    "start a draft from": (roles.VIEWER, lambda c, w: w.log("draft", user=c.user, base="team/zoo:v0")),
    "link on from here": (roles.VIEWER, lambda c, w: w.link("team/zoo:v1", "model/zoo", user=c.user)),
    "create a collection": (roles.MEMBER, lambda c, _: create_collection(c, "team/new", type=TypeName.parse("model"))),
    "create a collection by linking": (roles.MEMBER, lambda c, w: w.link("zoo:v3", "team/fresh", user=c.user)),
    "edit a collection's description": (
        roles.MEMBER,
        lambda c, _: edit_collection_settings(c, "team/zoo", description="x"),
    ),
    "tag a collection": (roles.MEMBER, lambda c, _: add_tags(c, "team/zoo", [Tag.parse("t")])),
    "untag a collection": (roles.MEMBER, lambda c, _: remove_tags(c, "team/zoo", ["old"])),
    "rename a collection": (roles.MEMBER, lambda c, _: edit_collection_settings(c, "team/plain", rename="other")),
    "edit a linked version's description": (roles.MEMBER, lambda c, _: edit(c, "team/zoo:v1", description="x")),
    "tag a linked version": (roles.MEMBER, lambda c, _: add_tags(c, "team/zoo:v1", [Tag.parse("t")])),
    "add a custom alias": (roles.MEMBER, lambda c, _: add_aliases(c, "team/zoo:v2", alias("mine"))),
    "move a custom alias": (roles.MEMBER, lambda c, _: add_aliases(c, "team/zoo:v2", alias("candidate"))),
    "remove a custom alias": (roles.MEMBER, lambda c, _: remove_aliases(c, "team/zoo:v1", ["candidate"])),
    "link a version": (roles.MEMBER, lambda c, w: w.link("zoo:v3", "team/zoo", user=c.user)),
    "link into a protected collection with a custom alias": (
        roles.MEMBER,
        lambda c, w: w.link("zoo:v3", "team/zoo", "mine", user=c.user),
    ),
    "unlink an unprotected version": (roles.MEMBER, lambda c, _: unlink(c, "team/zoo:v1")),
    "delete a collection without protected alias": (roles.MEMBER, lambda c, _: remove_collection(c, "team/plain")),
    "edit the registry's name": (roles.MEMBER, lambda c, _: edit_registry(c, TEAM, rename=RegistryName.parse("squad"))),
    "edit the registry's description": (roles.MEMBER, lambda c, _: edit_registry(c, TEAM, description="x")),
    "add a protected alias to a version": (roles.ADMIN, lambda c, _: add_aliases(c, "team/zoo:v2", alias("staging"))),
    "move a protected alias": (roles.ADMIN, lambda c, _: add_aliases(c, "team/zoo:v2", alias("production"))),
    "remove a protected alias from a version": (roles.ADMIN, lambda c, _: remove_aliases(c, "team/zoo", ["production"])),
    "link with a protected alias": (roles.ADMIN, lambda c, w: w.link("zoo:v3", "team/zoo", "production", user=c.user)),
    "create a protected alias": (roles.ADMIN, lambda c, _: registries.protect(c, find_registry(c, "team"), alias("new"))),
    "delete a protected alias": (roles.ADMIN, lambda c, _: registries.unprotect(c, find_registry(c, "team"), alias("staging"))),
    "unlink a protected version": (roles.ADMIN, lambda c, _: unlink(c, "team/zoo:v0")),
    "edit a protected version": (roles.ADMIN, lambda c, _: edit(c, "team/zoo:v0", description="x")),
    "tag a protected version": (roles.ADMIN, lambda c, _: add_tags(c, "team/zoo:v0", [Tag.parse("t")])),
    "rename a collection with a protected alias": (
        roles.ADMIN,
        lambda c, _: edit_collection_settings(c, "team/zoo", rename="other"),
    ),
    "delete a collection with a protected alias": (roles.ADMIN, lambda c, _: remove_collection(c, "team/zoo")),
    "delete the registry": (roles.ADMIN, lambda c, _: remove_registry(c, TEAM)),
    "edit the accepted types": (roles.ADMIN, lambda c, _: edit_registry(c, TEAM, types=[TypeName.parse("model")])),
    "edit the visibility": (roles.ADMIN, lambda c, _: edit_registry(c, TEAM, visibility="restricted")),
    "edit the default TTL": (roles.ADMIN, lambda c, _: edit_registry(c, TEAM, ttl=60)),
    "add users": (roles.ADMIN, lambda c, _: set_member(c, TEAM, "carol", "viewer")),
    "change roles": (roles.ADMIN, lambda c, _: set_member(c, TEAM, "dave", "admin")),
    "remove users": (roles.ADMIN, lambda c, _: remove_member(c, TEAM, "dave")),
}


@pytest.fixture
def world() -> Iterator[World]:
    """A root in memory, since there are so many of them."""
    path = tempfile.mkdtemp(prefix="regcli-roles-", dir=memory())
    world = World(Path(path))
    context = world.user()
    for _ in range(4):
        world.log()
    create_registry(context, TEAM, visibility="organization")
    world.link("zoo:v0", "team/zoo", "production")
    world.link("zoo:v1", "team/zoo", "candidate")
    world.link("zoo:v2", "team/zoo")
    world.link("zoo:v2", "team/plain")
    add_tags(context, "team/zoo", [Tag.parse("old")])
    world.protect("production", "staging", registry="team")
    set_member(context, TEAM, "dave", roles.VIEWER)
    yield world
    shutil.rmtree(path)


@pytest.mark.parametrize("action", TABLE)
def test_every_role_may_do_exactly_what_the_table_says(world: World, action: str) -> None:
    least, work = TABLE[action]
    before = find_registry(world.user(), "team").snapshot.seq
    for role in (roles.RESTRICTED_VIEWER, roles.VIEWER, roles.MEMBER):
        if RANKS.index(role) >= RANKS.index(least):
            continue
        set_member(world.user(), TEAM, "bob", role)
        before += 1
        with pytest.raises((RoleError, ProtectedError)) as refused:
            work(world.user("bob"), world)
        assert refused.value.exit_code == 5
        assert "alice" in str(refused.value.hint)
    assert find_registry(world.user(), "team").snapshot.seq == before
    set_member(world.user(), TEAM, "bob", least)
    work(world.user("bob"), world)


@pytest.mark.parametrize("action", TABLE)
def test_who_has_no_access_may_do_nothing(world: World, action: str) -> None:
    edit_registry(world.user(), TEAM, visibility="restricted")
    with pytest.raises((RoleError, ProtectedError)) as refused:
        TABLE[action][1](world.user("stranger"), world)
    assert refused.value.exit_code == 5


def test_the_code_knows_no_action_that_no_row_tries() -> None:
    """Each key of the table in the code is the right that some row above needs; automations have their own tests."""
    tried = {
        "view", "download", "use", "create-collection", "edit-collection", "delete-collection", "edit-version", "alias", "link",
        "unlink", "edit-registry", "rename-registry", "set-protected", "protect", "types", "visibility", "ttl", "members",
        "delete-protected", "delete-registry",
    }  # fmt: skip
    assert set(roles.ACTIONS) == tried | {"collection-automation", "registry-automation"}
    assert {least for least, _ in roles.ACTIONS.values()} <= set(roles.ROLES)


def test_an_explicit_role_decides_over_what_everybody_has(world: World) -> None:
    assert roles.effective_role(find_registry(world.user(), "team").state, "anybody") == roles.MEMBER
    set_member(world.user(), TEAM, "bob", roles.RESTRICTED_VIEWER)
    with pytest.raises(RoleError, match="user 'bob' is restricted_viewer and may not download from registry 'team'"):
        resolve(world.user("bob"), "team/zoo", action="download")
    remove_member(world.user(), TEAM, "bob")
    assert resolve(world.user("bob"), "team/zoo", action="download").ref == "team/zoo:v2"


def test_the_same_version_may_be_open_here_and_closed_there(world: World) -> None:
    world.link("zoo:v0", "model/zoo")
    edit_registry(world.user(), TEAM, visibility="restricted")
    assert resolve(world.user("bob"), "model/zoo:v0", action="download").ref == "model/zoo:v0"
    with pytest.raises(RefusedError):
        resolve(world.user("bob"), "team/zoo:v0", action="download")


def test_names_of_a_closed_registry_are_heard_nowhere(world: World) -> None:
    from regcli.domain.documents import version_document
    from regcli.errors import NotFoundError

    edit_registry(world.user(), TEAM, visibility="restricted")
    stranger = world.user("stranger")
    assert [row["name"] for row in overview(stranger)["registries"]] == ["dataset", "model"]
    assert all("team" not in result.ref for result in search(stranger, Query(None)))
    assert all(not event["ref"].startswith("team") for event in history(stranger, None))
    assert version_document(stranger, resolve(stranger, "zoo:v0"))["links"] == []
    assert version_document(world.user(), resolve(world.user(), "zoo:v0"))["links"] == ["team/zoo:v0"]
    with pytest.raises(NotFoundError) as missing:
        find_registry(stranger, "tea")
    assert "team" not in str(missing.value.hint)
    with pytest.raises(RoleError) as refused:
        collection_rows(stranger, find_place(stranger, "team/"))  # type: ignore[arg-type]
    assert "zoo" not in str(refused.value)
    with pytest.raises(RoleError) as nearest:
        resolve(stranger, "team/zo")
    assert "zoo" not in str(nearest.value.hint)


def test_a_protected_version_is_not_named_to_who_may_not_see_it(world: World) -> None:
    edit_registry(world.user(), TEAM, visibility="restricted")
    with pytest.raises(ProtectedError) as refused:
        edit(world.user("stranger"), "zoo:v0", description="x")
    assert "team/zoo" not in str(refused.value)
