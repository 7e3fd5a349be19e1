"""Shared roots: what the file system lets other users do, with real user ids.

Needs root for taking other users' ids; without it, this says that it tested nothing.
"""

from __future__ import annotations

import json
import os
import shutil
import stat
import tempfile
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from regcli.domain import registries, sharing
from regcli.domain.aliasing import add_aliases
from regcli.domain.collection_settings import create_collection, edit_collection_settings
from regcli.domain.collections import find_collection
from regcli.domain.context import Context
from regcli.domain.expiry import Policy
from regcli.domain.history import history
from regcli.domain.linking import unlink
from regcli.domain.listing import overview
from regcli.domain.log import log_version
from regcli.domain.log_request import LogRequest
from regcli.domain.members import set_member
from regcli.domain.registries import create_registry, find_registry
from regcli.domain.registry_settings import edit_registry
from regcli.domain.resolving import resolve
from regcli.domain.retention import collect_garbage
from regcli.domain.verification import verify_root
from regcli.errors import ConflictError
from regcli.model import Alias, RegistryName, TypeName, parse_collection
from regcli.store import jsontext
from regcli.store.ingest import Source
from regcli.store.trust import sha256_hex
from tests.domain.world import Refused, World, is_root, memory, run_as

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.skipif(not is_root(), reason="NOT TESTED: shared roots with several user ids, which takes root")

ADMIN, MEMBER, OTHER = 64201, 64202, 64203
GROUP = 64210
STRANGERS = 64211
TEAM = RegistryName.parse("team")


class Shared:
    """A shared root with the registry `team`: its admin, two members of the group, and what each does."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.root = str(path / "root")

    def context(self, uid: int) -> Context:
        return Context(root_path=self.root, user=sharing.user_of(uid), uid=uid, host="lab", command="test", wait=5)

    def do(self, uid: int, work: Callable[[Context], Any], *, gid: int = GROUP, umask: int = 0o077) -> Any:
        """Do something as a user; only JSON comes back."""
        return run_as(uid, gid, lambda: work(self.context(uid)), umask=umask)

    def log(self, uid: int, name: str, text: str) -> str:
        def work(context: Context) -> str:
            directory = tempfile.mkdtemp()
            file = os.path.join(directory, "f")
            Path(file).write_text(text, encoding="utf-8")
            request = LogRequest(name, TypeName.parse("model"))
            request.sources = [Source(file)]
            logged = log_version(context, request)
            shutil.rmtree(directory)
            return logged.ref

        ref: str = self.do(uid, work)
        return ref

    def problems(self, uid: int = ADMIN) -> list[str]:
        found: list[str] = self.do(uid, lambda context: [item.message for item in verify_root(context).problems])
        return found


@pytest.fixture
def shared() -> Iterator[Shared]:
    path = Path(tempfile.mkdtemp(prefix="regcli-shared-", dir=memory()))
    path.chmod(0o755)
    os.chown(path, ADMIN, GROUP)
    world = Shared(path)

    def make(context: Context) -> None:
        sharing.require_shared_root(context, str(GROUP))
        create_registry(context, TEAM, group=str(GROUP))
        set_member(context, TEAM, sharing.user_of(ADMIN), "admin")
        create_collection(context, "team/zoo", type=TypeName.parse("model"))

    try:
        world.do(ADMIN, make)
        yield world
    finally:
        shutil.rmtree(path)


def link(source: str, target: str, *aliases: str) -> Callable[[Context], str]:
    from regcli.domain.linking import link_version

    return lambda context: link_version(context, source, target, aliases=[Alias.parse(a) for a in aliases]).version.ref


def publish(shared: Shared, uid: int = MEMBER, text: str = "one") -> str:
    source = shared.log(uid, "work", text)
    ref: str = shared.do(uid, link(source, "team/zoo"))
    return ref


def commit_paths(shared: Shared) -> list[str]:
    log = f"{shared.root}/registries/team/collections/zoo/log"
    return [f"{log}/{name}" for name in sorted(os.listdir(log))]


def test_members_with_a_private_umask_log_link_and_read_what_others_added(shared: Shared) -> None:
    assert publish(shared, MEMBER, "one") == "team/zoo:v0"
    assert publish(shared, OTHER, "two") == "team/zoo:v1"
    assert shared.do(ADMIN, lambda c: resolve(c, "team/zoo").ref) == "team/zoo:v1"
    assert shared.do(MEMBER, lambda c: resolve(c, "team/zoo:v1").record["linked_by"]) == sharing.user_of(OTHER)
    assert shared.problems() == []


def test_members_cannot_delete_overwrite_move_or_open_up_what_others_added(shared: Shared) -> None:
    publish(shared, MEMBER)
    commit = commit_paths(shared)[-1]
    pack = next(Path(shared.root, "packs").glob("*.pack"))
    log = os.path.dirname(commit)

    def attacks(context: Context) -> list[str]:
        done = []
        for path in (commit, str(pack)):
            attempts: tuple[tuple[str, Callable[[], object]], ...] = (
                ("unlink", partial(os.unlink, path)),
                ("rename over", partial(os.replace, _own_file(context), path)),
                ("rename away", partial(os.rename, path, f"{path}.gone")),
                ("write", partial(os.open, path, os.O_WRONLY)),
                ("chmod", partial(os.chmod, path, 0o666)),
            )
            for name, attack in attempts:
                try:
                    attack()
                except PermissionError:
                    continue
                done.append(f"{name} {path}")
        for path in (log, os.path.dirname(log), f"{shared.root}/packs", f"{shared.root}/registries/team/settings"):
            try:
                os.rename(path, f"{path}-moved")
            except PermissionError:
                continue
            done.append(f"move {path}")
        return done

    assert shared.do(OTHER, attacks) == []
    assert shared.problems() == []


def _own_file(context: Context) -> str:
    descriptor, path = tempfile.mkstemp(prefix=".tmp-", dir=f"{context.root.path}/packs")
    os.close(descriptor)
    return path


def forge(context: Context, ops: list[dict[str, Any]], **envelope: Any) -> str:
    """Write a commit past the program, as anybody in the group can."""
    collection = find_collection(context, parse_collection("team/zoo", context.project))
    chain, snapshot = collection.chain, collection.snapshot
    commit = {
        "format": 1,
        "root": chain.root_id,
        "place": chain.place,
        "seq": snapshot.seq + 1,
        "prev": snapshot.chain,
        "txn": "0" * 16,
        **context.envelope(settings_seq=chain.settings_seq),
        **envelope,
        "ops": ops,
    }
    path = chain.commit_path(snapshot.seq + 1)
    Path(path).write_bytes(jsontext.dumps(commit).encode() + b"\n")
    os.chmod(path, 0o444)
    return path


def protect_production(shared: Shared) -> None:
    shared.do(ADMIN, lambda c: bool(registries.protect(c, find_registry(c, TEAM), [Alias.parse("production")]).seq))


STEAL = {"op": "alias", "alias": "production", "before": 0, "after": 1}


def test_a_commit_that_its_maker_had_no_right_to_is_void_and_reported(shared: Shared) -> None:
    publish(shared, MEMBER, "one")
    publish(shared, MEMBER, "two")
    protect_production(shared)
    shared.do(ADMIN, lambda c: bool(add_aliases(c, "team/zoo:v0", [Alias.parse("production")])))
    path = shared.do(MEMBER, lambda c: forge(c, [STEAL]))
    for uid in (ADMIN, MEMBER, OTHER):
        assert shared.do(uid, lambda c: resolve(c, "team/zoo:production").ref) == "team/zoo:v0"
    problems = shared.problems()
    assert len(problems) == 1
    assert "is void" in problems[0]
    assert "add, move or remove protected aliases" in problems[0]
    assert path in problems[0]


def test_a_commit_in_the_name_of_another_user_is_void(shared: Shared) -> None:
    publish(shared, MEMBER, "one")
    publish(shared, MEMBER, "two")
    protect_production(shared)
    shared.do(MEMBER, lambda c: forge(c, [STEAL], user=sharing.user_of(ADMIN), uid=ADMIN))
    assert shared.problems()[0].endswith(
        f"it names user '{sharing.user_of(ADMIN)}', but its file belongs to '{sharing.user_of(MEMBER)}'"
    )
    with pytest.raises(Refused) as refused:
        shared.do(OTHER, lambda c: resolve(c, "team/zoo:production").ref)
    assert refused.value.exit_code == 3


def test_the_chain_goes_on_after_a_void_commit_and_history_leaves_it_out(shared: Shared) -> None:
    publish(shared, MEMBER, "one")
    publish(shared, MEMBER, "two")
    protect_production(shared)
    shared.do(MEMBER, lambda c: forge(c, [STEAL]))
    assert publish(shared, OTHER, "three") == "team/zoo:v2"
    actions = shared.do(ADMIN, lambda c: [event["action"] for event in history(c, "team/zoo")])
    assert actions == ["collection-created", "linked", "linked", "linked"]
    assert len(shared.problems()) == 1


def test_old_settings_cannot_be_claimed_after_newer_ones_were_used(shared: Shared) -> None:
    publish(shared, MEMBER, "one")
    before = shared.do(MEMBER, lambda c: find_registry(c, TEAM).snapshot.seq)
    protect_production(shared)
    publish(shared, OTHER, "two")
    shared.do(MEMBER, lambda c: forge(c, [{**STEAL, "before": None}], settings_seq=before))
    assert "older than those of the commit before it" in shared.problems()[0]


def test_a_member_cannot_make_themselves_admin_past_the_program(shared: Shared) -> None:
    def promote(context: Context) -> None:
        registry = find_registry(context, TEAM)
        chain, snapshot = registry.chain, registry.snapshot
        op = {"op": "member", "member": context.user, "before": None, "after": "admin"}
        commit = {
            "format": 1,
            "root": chain.root_id,
            "place": chain.place,
            "seq": snapshot.seq + 1,
            "prev": snapshot.chain,
            "txn": "0" * 16,
            **context.envelope(),
            "ops": [op],
        }
        Path(chain.commit_path(snapshot.seq + 1)).write_bytes(jsontext.dumps(commit).encode() + b"\n")
        os.chmod(chain.commit_path(snapshot.seq + 1), 0o444)

    shared.do(MEMBER, promote)
    members = shared.do(OTHER, lambda c: find_registry(c, TEAM).state["members"])
    assert members == {sharing.user_of(ADMIN): "admin"}
    assert "change the members of" in shared.problems()[0]
    # The admin's next change follows the void one.
    shared.do(ADMIN, lambda c: bool(set_member(c, TEAM, sharing.user_of(OTHER), "viewer")))
    assert shared.do(OTHER, lambda c: find_registry(c, TEAM).state["members"][sharing.user_of(OTHER)]) == "viewer"


def test_a_head_that_another_user_wrote_is_not_believed(shared: Shared) -> None:
    publish(shared, MEMBER, "one")
    publish(shared, MEMBER, "two")
    base = f"{shared.root}/registries/team/collections/zoo"

    def lie(context: Context) -> None:
        document = jsontext.unseal(Path(f"{base}/heads-{MEMBER}/head.json").read_bytes())
        assert document is not None
        document["state"]["latest"] = 0
        for directory in (base, f"{base}/heads-{OTHER}", f"{base}/heads-{ADMIN}"):
            try:
                os.makedirs(directory, exist_ok=True)
                Path(f"{directory}/head.json").write_bytes(jsontext.seal(document))
            except PermissionError:
                continue

    shared.do(MEMBER, lie)
    for uid in (ADMIN, OTHER):
        assert shared.do(uid, lambda c: resolve(c, "team/zoo:latest").ref) == "team/zoo:v1"


def test_members_make_no_collections_and_take_no_names_in_a_shared_registry(shared: Shared) -> None:
    source = shared.log(MEMBER, "work", "one")
    for work, words in (
        (link(source, "team/mine"), "create collections in"),
        (lambda c: create_collection(c, "team/mine", type=TypeName.parse("model")).seq, "create collections in"),
        (lambda c: edit_collection_settings(c, "team/zoo", rename="mine").seq, "create collections in"),
        (lambda c: edit_registry(c, TEAM, rename=RegistryName.parse("mine")).seq, "rename"),
    ):
        with pytest.raises(Refused) as refused:
            shared.do(MEMBER, work)
        assert refused.value.exit_code == 5
        assert f"may not {words} registry 'team': that takes admin" in refused.value.message
    assert "mine" not in os.listdir(f"{shared.root}/registries")
    assert (
        shared.do(ADMIN, lambda c: edit_collection_settings(c, "team/zoo", rename="animals").collection.ref) == "team/animals"
    )
    assert shared.do(MEMBER, link(source, "team/animals")) == "team/animals:v0"
    assert shared.problems() == []


def test_a_directory_that_a_member_made_beforehand_is_not_used(shared: Shared) -> None:
    shared.do(MEMBER, lambda c: os.makedirs(f"{c.root.path}/registries/team/collections/trap/log"), umask=0o002)
    with pytest.raises(Refused) as refused:
        shared.do(ADMIN, lambda c: create_collection(c, "team/trap", type=TypeName.parse("model")).seq)
    assert refused.value.exit_code == 4


def test_members_set_and_remove_what_they_may(shared: Shared) -> None:
    publish(shared, MEMBER, "one")
    shared.do(OTHER, lambda c: bool(add_aliases(c, "team/zoo:v0", [Alias.parse("candidate")])))
    shared.do(MEMBER, lambda c: bool(unlink(c, "team/zoo:v0")[1]))
    assert publish(shared, OTHER, "two") == "team/zoo:v1"
    assert shared.problems() == []


def test_a_restricted_registry_is_closed_to_strangers_and_its_name_is_not_heard(shared: Shared) -> None:
    publish(shared, MEMBER)

    def names(context: Context) -> list[str]:
        found = [row["name"] for row in overview(context)["registries"]]
        return [*found, *context.warnings]

    assert "team" in shared.do(OTHER, names, gid=STRANGERS)

    def restrict(context: Context) -> None:
        set_member(context, TEAM, sharing.user_of(MEMBER), "member")
        edit_registry(context, TEAM, visibility="restricted")

    shared.do(ADMIN, restrict)
    assert shared.do(OTHER, names, gid=STRANGERS) == ["dataset", "model"]
    assert shared.do(OTHER, names) == ["dataset", "model"]
    assert shared.do(MEMBER, names) == ["dataset", "model", "team"]
    with pytest.raises(Refused) as refused:
        shared.do(OTHER, lambda c: resolve(c, "team/zoo:v0").ref, gid=STRANGERS)
    assert refused.value.exit_code == 5
    mode = stat.S_IMODE(os.lstat(f"{shared.root}/registries/team").st_mode)
    assert mode & 0o007 == 0


def test_a_copy_that_lost_the_owners_still_works_and_can_be_shared_again(shared: Shared) -> None:
    publish(shared, MEMBER, "one")
    publish(shared, OTHER, "two")
    copy = Shared(shared.path / "moved")
    shutil.copytree(shared.root, copy.root)
    for directory, _, names in os.walk(shared.path / "moved"):
        for path in (directory, *(os.path.join(directory, name) for name in names)):
            os.chown(path, ADMIN, GROUP)
    assert copy.do(ADMIN, lambda c: resolve(c, "team/zoo").ref) == "team/zoo:v1"
    assert copy.problems() == []
    assert copy.do(ADMIN, lambda c: sharing.share_root(c, str(GROUP))) == ["dataset", "model", "team"]
    assert copy.do(MEMBER, lambda c: resolve(c, "team/zoo").ref) == "team/zoo:v1"
    protect_production(copy)
    copy.do(MEMBER, lambda c: forge(c, [{**STEAL, "before": None}]))
    assert len(copy.problems()) == 1
    assert publish(copy, OTHER, "three") == "team/zoo:v2"


def test_only_the_owner_shares_a_root(shared: Shared) -> None:
    with pytest.raises(Refused) as refused:
        shared.do(MEMBER, lambda c: sharing.share_root(c, str(GROUP)))
    assert refused.value.exit_code == 5
    assert refused.value.message.endswith("who alone can share it")


def test_the_owner_collects_garbage_that_members_made(shared: Shared) -> None:
    from regcli.domain.deletion import delete_version

    ref = shared.log(MEMBER, "work", "to be deleted " * 100)
    shared.log(MEMBER, "work", "to stay")
    shared.do(MEMBER, lambda c: bool(delete_version(c, ref)))
    freed = shared.do(ADMIN, lambda c: collect_garbage(c, None, Policy(grace=0)).document())
    assert freed["purged"] == [ref]
    assert freed["freed"] > 1000
    assert shared.problems(MEMBER) == []


def private(shared: Shared) -> Path:
    """Return a directory of the admin's own, beside the root."""
    path = shared.path / "private"
    for name in (path, path / "log", path / ".ssh"):
        name.mkdir(mode=0o700)
        os.chown(name, ADMIN, STRANGERS)
    (path / ".ssh/id").write_text("secret")
    os.chown(path / ".ssh/id", ADMIN, STRANGERS)
    return path


def exchange(path: Path, victim: Path) -> Callable[[Context], bool]:
    """Return what puts a link in the place of a directory."""

    def attack(_: Context) -> bool:
        if not path.parent.exists():
            path.parent.mkdir()
            path.parent.chmod(0o777)
        path.symlink_to(victim)
        return True

    return attack


@pytest.mark.parametrize(
    "place", ["registries/team/collections/evil", "registries/team/collections/evil/log", "blobs/00", "outbox"]
)
def test_a_link_of_a_members_opens_nothing_of_the_admins(shared: Shared, place: str) -> None:
    victim = private(shared)
    path = Path(shared.root, place)
    if path.exists():
        # Only the owner of the root could exchange it.
        path.rmdir()
    shared.do(MEMBER if not place.startswith("blobs") else ADMIN, exchange(path, victim))
    with pytest.raises(Refused, match=r"symbolic link|operation not permitted"):
        shared.do(ADMIN, lambda c: bool(sharing.share_root(c, str(GROUP))))
    for name in (victim, victim / "log", victim / ".ssh"):
        status = name.stat()
        assert (status.st_mode & 0o7777, status.st_gid) == (0o700, STRANGERS)


@pytest.mark.parametrize("place", ["trash", "trash/20200101T000000Z-aaaaaaaa", "packs/index", "backrefs/00"])
def test_a_link_of_a_members_has_nothing_of_the_admins_deleted(shared: Shared, place: str) -> None:
    victim = private(shared)
    path = Path(shared.root, place)
    if path.exists():
        path.rmdir()
    shared.do(MEMBER if place.startswith("trash") else ADMIN, exchange(path, victim))
    with suppress(Refused):
        shared.do(ADMIN, lambda c: bool(collect_garbage(c, None, Policy(grace=0))))
    with suppress(Refused):
        shared.problems()
    assert (victim / ".ssh/id").read_text() == "secret"


def test_a_registry_of_a_member_is_shared_too_and_theirs(shared: Shared) -> None:
    lab = RegistryName.parse("lab")
    shared.do(MEMBER, lambda c: create_registry(c, lab).seq)
    shared.do(MEMBER, lambda c: create_collection(c, "lab/zoo", type=TypeName.parse("model")).seq)
    source = shared.log(OTHER, "work", "one")
    assert shared.do(OTHER, link(source, "lab/zoo")) == "lab/zoo:v0"
    with pytest.raises(Refused) as refused:
        shared.do(OTHER, lambda c: registries.protect(c, find_registry(c, lab), [Alias.parse("x")]).seq)
    assert refused.value.exit_code == 5
    assert shared.problems() == []


def test_the_settings_name_the_group_and_the_chain_is_whole(shared: Shared) -> None:
    state = shared.do(OTHER, lambda c: find_registry(c, TEAM).state["shared"])
    assert state["group"] == str(GROUP)
    assert state["uid"] == ADMIN
    first, second = (json.loads(Path(path).read_bytes()) for path in commit_paths(shared)[:1] * 2)
    assert first["prev"] == "0" * 64 == second["prev"]
    assert sha256_hex(Path(commit_paths(shared)[0]).read_bytes())


def test_a_world_of_one_user_is_not_shared(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.log()
    assert world.user().root.shared is None
    assert not list(Path(world.root).rglob("heads-*"))


def test_nothing_is_acknowledged_that_would_be_void(shared: Shared) -> None:
    protect_production(shared)
    publish(shared, MEMBER, "one")

    def late(context: Context) -> str:
        # The settings were read, and then an admin was faster.
        collection = find_collection(context, parse_collection("team/zoo", context.project))
        collection.chain.settings_seq = 1
        with pytest.raises(ConflictError, match="the change would not count: it was judged by settings that are older") as lost:
            context.transact(collection.chain, lambda _: [{"op": "tags", "version": None, "before": [], "after": ["x"]}])
        return lost.value.kind

    assert shared.do(MEMBER, late) == "conflict"
    assert shared.problems() == []


def test_garbage_in_a_log_is_named_and_the_owner_removes_it(shared: Shared) -> None:
    publish(shared, MEMBER, "one")
    path = commit_paths(shared)[-1].replace("0000000002", "0000000003")
    shared.do(OTHER, lambda _: Path(path).write_bytes(b"garbage"), umask=0o022)
    with pytest.raises(Refused) as refused:
        publish(shared, MEMBER, "two")
    assert refused.value.exit_code == 6
    assert path in refused.value.message
    shared.do(ADMIN, lambda _: os.unlink(path))
    assert publish(shared, MEMBER, "three") == "team/zoo:v1"
    assert shared.problems() == []
