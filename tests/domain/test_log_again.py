"""Logging what did not change: answered by the stat cache alone, and still right when others log meanwhile."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest

from regcli.domain import manifests
from regcli.domain.log import log_version
from regcli.domain.log_request import LogRequest
from regcli.domain.verification import verify_root
from regcli.model import Alias, Tag, TypeName
from regcli.store import manifest
from regcli.store.statcache import StatCache
from tests.domain.world import World
from tests.store.content_cases import settle

if TYPE_CHECKING:
    from pathlib import Path

    from regcli.domain.context import Context
    from regcli.domain.log_request import Logged


class Tree:
    """A directory that is logged with a stat cache."""

    def __init__(self, world: World, path: Path) -> None:
        self.world = world
        self.path = path / "tree"
        self.path.mkdir()
        for name in ("a", "b", "c"):
            (self.path / name).write_text(name * 1000)
        self.cache = str(path / "cache")
        settle(self.path)

    def request(self) -> LogRequest:
        request = LogRequest("zoo", TypeName.parse("dataset"))
        request.add_path(str(self.path))
        request.cache = StatCache(self.cache)
        return request

    def log(self, request: LogRequest | None = None, user: str = "alice") -> Logged:
        return log_version(self.world.user(user), request or self.request())


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(World(tmp_path), tmp_path)


def test_the_second_answer_is_the_first(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    first = tree.log()

    def refuse(*_: object) -> None:
        raise AssertionError("entries were made of a tree that did not change")

    monkeypatch.setattr(manifest, "sort_entries", refuse)
    monkeypatch.setattr("regcli.store.ingest.sort_entries", refuse)
    request = tree.request()
    request.aliases, request.tags, request.description = [Alias.parse("best")], [Tag.parse("good")], "something else"
    again = tree.log(request)
    assert again.version is not None
    assert first.version is not None
    assert (again.created, again.version.ref) == (False, first.version.ref)
    assert (again.digest, again.size, again.file_count) == (first.digest, first.size, first.file_count)
    assert again.version.record["tags"] == ["good"]
    assert again.ignored == ["description"]
    dry = tree.request()
    dry.dry_run = True
    assert not tree.log(dry).created


def test_a_change_makes_a_version_and_going_back_makes_another(tree: Tree) -> None:
    tree.log()
    (tree.path / "b").write_text("new")
    assert tree.log().created
    (tree.path / "b").write_text("b" * 1000)
    settle(tree.path)
    third = tree.log()
    assert third.version is not None
    assert (third.created, third.version.version) == (True, "v2")
    assert not tree.log().created


def test_a_new_version_is_made_when_it_is_asked_for(tree: Tree) -> None:
    first = tree.log()
    request = tree.request()
    request.new_version = True
    again = tree.log(request)
    assert again.created
    assert again.digest == first.digest


def test_whoever_logs_something_else_meanwhile_is_noticed(tree: Tree) -> None:
    first = tree.log()
    request = tree.request()
    overtaken: list[Logged] = []

    def meanwhile(files: int, size: int) -> None:
        # The walk is done, the transaction has not begun: another user logs other content.
        if not overtaken:
            other = LogRequest("zoo", TypeName.parse("dataset"))
            other.add_path(__file__)
            overtaken.append(log_version(tree.world.user("bob"), other))

    request.progress = meanwhile
    again = tree.log(request)
    assert overtaken[0].created
    assert again.created
    assert again.version is not None
    assert again.version.version == "v2"
    assert again.digest == first.digest


def blobs_of(tree: Tree) -> tuple[list[Path], list[Path]]:
    root = tree.path.parent / "root"
    return sorted((root / "packs").glob("*.pack")), sorted((root / "blobs").glob("*/*"))


@pytest.mark.parametrize("lost", ["packs", "large"])
def test_content_that_was_taken_out_of_the_store_is_stored_again(tree: Tree, lost: str) -> None:
    (tree.path / "large").write_bytes(b"large" * 500_000)
    settle(tree.path)
    first = tree.log()
    assert first.created
    before = [path.name for path in blobs_of(tree)[1]]
    for path in blobs_of(tree)[0 if lost == "packs" else 1]:
        path.unlink()
    context = tree.world.user("alice")
    again = log_version(context, tree.request())
    assert not again.created
    assert context.warnings == ["content of 'local/default/zoo:v0' was missing from the store, and is stored again"]
    assert [path.name for path in blobs_of(tree)[1]] == before
    assert verify_root(context).problems == []
    context.warnings.clear()
    assert not log_version(context, tree.request()).created
    assert context.warnings == []


def dry_run_without_content(tree: Tree) -> LogRequest:
    """Log, take the content out of the store, and return a request to look at all files again, but to store nothing."""
    tree.log()
    for path in blobs_of(tree)[0]:
        path.unlink()
    (tree.path / "a").touch()
    settle(tree.path)
    dry = tree.request()
    dry.dry_run = True
    return dry


def test_a_dry_run_proves_nothing_about_the_store(tree: Tree) -> None:
    assert not tree.log(dry_run_without_content(tree)).created
    assert not tree.log().created
    assert verify_root(tree.world.user("alice")).problems == []


def test_whoever_is_killed_has_not_said_that_all_is_stored(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    class Killed(BaseException):
        pass

    def killed(path: str | int, *arguments: Any, **named: Any) -> None:
        if isinstance(path, str) and path.startswith(tree.cache):
            raise Killed
        setting(path, *arguments, **named)

    dry = dry_run_without_content(tree)
    setting = os.utime
    monkeypatch.setattr(os, "utime", killed)
    with suppress(Killed):
        tree.log(dry)
    monkeypatch.undo()
    assert not tree.log().created
    assert verify_root(tree.world.user("alice")).problems == []


def test_a_damaged_manifest_is_stored_again(tree: Tree) -> None:
    first = tree.log()
    assert first.version is not None
    (pack,) = blobs_of(tree)[0]
    data = pack.read_bytes()
    at = data.index(b'{"format":1,"algorithm"')
    pack.chmod(0o644)
    pack.write_bytes(data[: at + 30] + b"?" + data[at + 31 :])
    (pack.parent / "touched").touch()
    (pack.parent / "touched").unlink()
    assert not tree.log().created
    assert manifests.has_manifest(tree.world.user("alice"), first.version.record)


def test_content_of_a_single_file_is_stored_again_too(tree: Tree) -> None:
    request = LogRequest("one", TypeName.parse("dataset"))
    request.add_path(str(tree.path / "a"))
    request.cache = StatCache(tree.cache)
    tree.log(request)
    for path in blobs_of(tree)[0]:
        path.unlink()
    assert not tree.log(request).created
    assert verify_root(tree.world.user("alice")).problems == []


def test_content_is_looked_for_only_where_the_store_has_changed(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    tree.log()
    looked: list[str] = []
    real = manifests.is_stored

    def is_stored(context: Context, record: dict[str, Any]) -> bool:
        looked.append(record["digest"])
        return real(context, record)

    monkeypatch.setattr(manifests, "is_stored", is_stored)
    # What was published within the same tick of the clock may be looked for once.
    tree.log()
    looked.clear()
    settle(tree.path)
    for _ in range(3):
        tree.log()
    assert looked == []
    other = LogRequest("other", TypeName.parse("dataset"))
    other.add_path(str(tree.path / "b"))
    tree.log(other)
    settle(tree.path)
    for _ in range(3):
        tree.log()
    assert len(looked) == 1


@pytest.mark.parametrize("name", ["zoo", "other"])
def test_a_file_whose_bytes_others_store_meanwhile_is_not_shared(tmp_path: Path, name: str) -> None:
    world = World(tmp_path)
    ours, theirs = (tmp_path / who / "file" for who in ("ours", "theirs"))
    for file in (ours, theirs):
        file.parent.mkdir()
        file.write_bytes(b"same" * 1_000_000)
        file.chmod(0o640)
    first, second = LogRequest(name, TypeName.parse("dataset")), LogRequest("zoo", TypeName.parse("dataset"))
    first.link_mode = "hardlink"
    first.add_path(str(ours.parent))
    second.add_path(str(theirs.parent))
    logged: list[Logged] = []

    def meanwhile(*_: int) -> None:
        if not logged:
            logged.append(log_version(world.user(), second))

    first.progress = meanwhile
    assert log_version(world.user(), first).created is (name == "other")
    status = ours.stat()
    assert (status.st_nlink, status.st_mode & 0o777) == (1, 0o640)
    assert not verify_root(world.user()).problems
