from __future__ import annotations

import errno
import os
import signal
import stat
import threading
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from regcli.errors import IntegrityError, RefusedError, StorageError, UsageError
from regcli.store import blobs, packs
from regcli.store import materialize as module
from regcli.store.beneath import LinkInTheWayError
from regcli.store.compare import compare_directory, remove_files, scan_directory
from regcli.store.content import Content
from regcli.store.manifest import EXECUTABLE, REFERENCE
from regcli.store.materialize import Materialized, materialize
from regcli.store.statcache import StatCache, blobs_section, make_key
from tests.store.content_cases import Failing, all_files, digest_of, flip, litter, log, make_tree, pack_paths, settle, store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

    from regcli.store.manifest import Entry

LARGE = packs.SMALL + 1000
TREE = {
    "config.json": b"{}",
    "empty": b"",
    "a/one": b"one",
    "a/b/two": b"two" * 1000,
    "a-b/three": b"three",
    "large.bin": b"x" * LARGE,
    "deep/er/large.bin": b"y" * LARGE,
    "line\nbreak": b"newline",
    "same": b"one",
    **{f"many/{n:03}": b"%d" % n for n in range(150)},
    **{f"flat{n:03}": b"%d" % n for n in range(150)},
}


@pytest.fixture
def content(tmp_path: object) -> Content:
    return Content(f"{tmp_path}/root")


@pytest.fixture
def entries(content: Content, tmp_path: object) -> list[Entry]:
    return log(content, make_tree(f"{tmp_path}/tree", TREE)).entries


@pytest.fixture
def target(tmp_path: object) -> str:
    return f"{tmp_path}/target"


@pytest.fixture
def cache(tmp_path: object) -> StatCache:
    return StatCache(f"{tmp_path}/cache")


def one(content: Content, path: str, data: bytes = b"data", flags: int = 0) -> list[Entry]:
    store(content, data)
    return [(path, digest_of(data), len(data), flags, None)]


@pytest.mark.parametrize("threads", [1, 2, 4, None])
@pytest.mark.parametrize("mode", ["auto", "copy", "reflink", "hardlink", "symlink"])
def test_a_version_becomes_files(content: Content, entries: list[Entry], target: str, threads: int | None, mode: str) -> None:
    done = materialize(content, entries, target, threads=threads, link_mode=mode)
    assert (done.files, done.written, done.skipped) == (len(TREE), len(TREE), 0)
    assert done.bytes == sum(map(len, TREE.values()))
    for path, data in TREE.items():
        with open(f"{target}/{path}", "rb") as file:
            assert file.read() == data
    assert litter(target) == []
    assert litter(content.root) == []
    assert compare_directory(content, entries, target) == []
    assert list(content.check()) == []


def test_entries_may_come_in_any_order(content: Content, entries: list[Entry], target: str) -> None:
    materialize(content, reversed(entries), target)
    assert all_files(target) == TREE


def test_a_second_time_nothing_is_written(content: Content, entries: list[Entry], target: str, cache: StatCache) -> None:
    materialize(content, entries, target, cache=cache)
    before = {path: os.stat(f"{target}/{path}").st_mtime_ns for path in TREE}
    for with_cache in (cache, None):
        done = materialize(content, entries, target, cache=with_cache)
        assert (done.files, done.written, done.skipped, done.bytes) == (len(TREE), 0, len(TREE), 0)
    assert {path: os.stat(f"{target}/{path}").st_mtime_ns for path in TREE} == before


def test_a_second_time_nothing_is_read_where_the_cache_knows(
    content: Content, entries: list[Entry], target: str, cache: StatCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    materialize(content, entries, target, cache=cache)
    settle(target)
    # What was written just before the end is read once more, then it is known.
    materialize(content, entries, target, cache=cache)
    monkeypatch.setattr(blobs, "hash_file", lambda *_: pytest.fail("read"))
    assert materialize(content, entries, target, cache=cache).skipped == len(TREE)


def test_changed_files_are_replaced_and_others_stay(
    content: Content, entries: list[Entry], target: str, cache: StatCache
) -> None:
    materialize(content, entries, target, cache=cache)
    make_tree(target, {"a/one": b"eno", "config.json": b"{...}", "mine": b"mine"})
    os.unlink(f"{target}/empty")
    done = materialize(content, entries, target, cache=cache)
    assert done.written == 3
    assert all_files(target) == {**TREE, "mine": b"mine"}


def test_a_change_that_keeps_size_and_mtime_is_noticed(
    content: Content, entries: list[Entry], target: str, cache: StatCache
) -> None:
    materialize(content, entries, target, cache=cache)
    settle(target)
    materialize(content, entries, target, cache=cache)
    status = os.stat(f"{target}/a/one")
    with open(f"{target}/a/one", "r+b") as file:
        file.write(b"eno")
    os.utime(f"{target}/a/one", ns=(status.st_atime_ns, status.st_mtime_ns))
    assert materialize(content, entries, target, cache=cache).written == 1
    assert all_files(target) == TREE


def test_modes_follow_the_umask(content: Content, target: str) -> None:
    entries = one(content, "plain") + one(content, "tool", b"#!", EXECUTABLE) + one(content, "big", b"z" * LARGE, EXECUTABLE)
    old = os.umask(0o027)
    try:
        materialize(content, entries, target)
    finally:
        os.umask(old)
    modes = {name: stat.S_IMODE(os.stat(f"{target}/{name}").st_mode) for name in ("plain", "tool", "big")}
    assert modes == {"plain": 0o640, "tool": 0o750, "big": 0o750}


def test_the_executable_bit_is_put_right(content: Content, target: str) -> None:
    materialize(content, one(content, "x"), target)
    before = os.stat(f"{target}/x").st_mtime_ns
    done = materialize(content, one(content, "x", flags=EXECUTABLE), target)
    assert done.skipped == 1
    assert stat.S_IMODE(os.stat(f"{target}/x").st_mode) & 0o111 == 0o111
    assert os.stat(f"{target}/x").st_mtime_ns == before
    materialize(content, one(content, "x"), target)
    assert stat.S_IMODE(os.stat(f"{target}/x").st_mode) & 0o111 == 0


@pytest.mark.parametrize("mode", ["hardlink", "symlink"])
def test_linked_files_are_the_stores_own_and_read_only(content: Content, target: str, mode: str) -> None:
    entries = one(content, "big", b"z" * LARGE) + one(content, "small") + one(content, "tool", b"#!", EXECUTABLE)
    materialize(content, entries, target, link_mode=mode)
    for name in ("big", "small"):
        status = os.lstat(f"{target}/{name}")
        assert stat.S_ISLNK(status.st_mode) if mode == "symlink" else status.st_nlink == 2
        assert os.stat(f"{target}/{name}").st_mode & 0o222 == 0
    assert stat.S_IMODE(os.stat(f"{target}/tool").st_mode) & 0o333 == 0o111
    assert compare_directory(content, entries, target) == []
    assert materialize(content, entries, target, link_mode=mode).written == 0
    assert materialize(content, entries, target, link_mode="copy").written == (2 if mode == "symlink" else 0)


@pytest.mark.parametrize("call", ["link", "symlink"])
@pytest.mark.parametrize("number", [errno.EXDEV, errno.EPERM, errno.EMLINK, errno.EOPNOTSUPP])
def test_where_links_are_impossible_copies_are_made(
    content: Content, target: str, monkeypatch: pytest.MonkeyPatch, call: str, number: int
) -> None:
    entries = one(content, "big", b"z" * LARGE)

    def refuse(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, call, refuse)
    materialize(content, entries, target, link_mode="hardlink" if call == "link" else "symlink")
    assert all_files(target) == {"big": b"z" * LARGE}
    assert stat.S_IMODE(os.stat(f"{target}/big").st_mode) & 0o222 == 0


def test_reflink_where_the_file_system_can(content: Content, target: str, monkeypatch: pytest.MonkeyPatch) -> None:
    entries = one(content, "big", b"z" * LARGE)
    calls = []

    def fake(source: int, destination: int) -> bool:
        calls.append((source, destination))
        os.sendfile(destination, source, 0, LARGE)
        return True

    monkeypatch.setattr(blobs, "clone", fake)
    monkeypatch.setattr(blobs, "copy_hashing", lambda *_, **__: pytest.fail("copied"))
    materialize(content, entries, target)
    assert all_files(target) == {"big": b"z" * LARGE}
    assert len(calls) == 1
    flip(blobs.blob_path(content.root, entries[0][1]), 5)
    with pytest.raises(IntegrityError):
        materialize(content, entries, f"{target}2")
    assert all_files(f"{target}2") == {}


@pytest.mark.parametrize("size", [LARGE, 9 << 20])
@pytest.mark.parametrize("number", [None, errno.EXDEV, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL, errno.EIO, errno.ENOSPC])
def test_large_files_are_copied_in_the_kernel_or_without(
    content: Content, target: str, monkeypatch: pytest.MonkeyPatch, size: int, number: int | None
) -> None:
    entries = one(content, "big", os.urandom(size))
    real = os.copy_file_range
    if number is not None:

        def refuse(*arguments: int) -> int:
            if number == errno.ENOSPC and arguments[3] < 2 << 20:
                return real(*arguments)
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr(os, "copy_file_range", refuse)
    if number == errno.EIO or (number == errno.ENOSPC and size > 2 << 20):
        with pytest.raises(StorageError):
            materialize(content, entries, target)
        assert os.listdir(target) == []
    else:
        materialize(content, entries, target)
        assert digest_of(all_files(target)["big"]) == entries[0][1]


def test_a_blob_is_not_hashed_for_every_link_to_it(
    content: Content, target: str, cache: StatCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    entries = one(content, "big", b"z" * LARGE)
    settle(content.root)
    materialize(content, entries, target, link_mode="hardlink", cache=cache)
    with monkeypatch.context() as patch:
        patch.setattr(blobs, "hash_file", lambda *_: pytest.fail("hashed"))
        for number in range(3):
            materialize(content, entries, f"{target}{number}", link_mode="hardlink", cache=cache)
    flip(blobs.blob_path(content.root, entries[0][1]), 5)
    with pytest.raises(IntegrityError):
        materialize(content, entries, f"{target}-other", link_mode="hardlink", cache=cache)


def test_what_was_hashed_while_it_was_logged_is_not_hashed_for_the_first_link(
    content: Content, target: str, cache: StatCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    with content.batch() as batch:
        digest = batch.put_bytes(b"z" * LARGE)
        batch.put_bytes(b"small")
        batch.publish()
    path = blobs.blob_path(content.root, digest)
    assert bytes(batch.learned) == make_key(os.stat(path)) + bytes.fromhex(digest)
    settle(content.root)
    section = blobs_section(cache, content.root)
    section.fresh = batch.learned
    section.save()
    entries: list[Entry] = [("big", digest, LARGE, 0, None)]
    with monkeypatch.context() as patch:
        patch.setattr(blobs, "hash_file", lambda *_: pytest.fail("hashed"))
        materialize(content, entries, target, link_mode="hardlink", cache=cache)
        assert os.path.samefile(f"{target}/big", path)
    assert blobs_section(cache, content.root).known == {make_key(os.stat(path)): bytes.fromhex(digest)}
    flip(path, 5)
    with pytest.raises(IntegrityError):
        materialize(content, entries, f"{target}-other", link_mode="hardlink", cache=cache)


@pytest.mark.parametrize("call", ["copy_file_range", "sendfile"])
def test_what_is_interrupted_stops_in_the_midst_of_a_file_and_leaves_nothing_half_done(
    content: Content, target: str, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    entries = one(content, "a", b"a" * (24 << 20)) + one(content, "b", b"b" * (24 << 20))
    real = getattr(os, call)

    def slow(*arguments: int) -> int:
        # The main thread soon waits for the other one, which would need five seconds.
        time.sleep(0 if threading.current_thread() is threading.main_thread() else 0.2)
        copied: int = real(*arguments)
        return copied

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, call, slow)
    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, 1)
    began = time.monotonic()
    try:
        with pytest.raises(KeyboardInterrupt):
            materialize(content, entries, target, link_mode="copy" if call == "sendfile" else "auto", threads=2)
    finally:
        signal.signal(signal.SIGALRM, before)
    assert time.monotonic() - began < 3
    # The main thread's file was done.
    assert len(os.listdir(target)) == 1
    assert litter(target) == []


def test_a_blob_that_is_a_users_file_too_is_not_remembered_as_it_was_logged(
    content: Content, target: str, cache: StatCache, tmp_path: Path
) -> None:
    source = str(tmp_path / "source")
    with open(source, "wb") as writer, content.batch() as batch:
        writer.write(b"z" * LARGE)
        writer.flush()
        descriptor = os.open(source, os.O_RDONLY)
        digest = batch.put_descriptor(descriptor, source, link_from=source)[0].hex()
        os.close(descriptor)
        # Somebody who has it open since before it became read-only.
        os.pwrite(writer.fileno(), b"other", 0)
        batch.publish()
    section = blobs_section(cache, content.root)
    section.fresh = batch.learned
    settle(content.root)
    section.save()
    assert blobs_section(cache, content.root).known == {}
    with pytest.raises(IntegrityError):
        materialize(content, [("big", digest, LARGE, 0, None)], target, link_mode="hardlink", cache=cache)
    assert os.listdir(target) == []


def test_a_blob_that_is_written_to_while_it_is_hashed_is_not_remembered(
    content: Content, target: str, cache: StatCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = store(content, b"z" * LARGE)[0]
    path = blobs.blob_path(content.root, digest)
    real = blobs.hash_file

    def hash_file(descriptor: int, *others: Any, **named: Any) -> tuple[bytes, int]:
        found = real(descriptor, *others, **named)
        flip(path, 5)
        settle(content.root)
        return found

    monkeypatch.setattr(blobs, "hash_file", hash_file)
    entries: list[Entry] = [("big", digest, LARGE, 0, None)]
    materialize(content, entries, target, link_mode="hardlink", cache=cache)
    monkeypatch.undo()
    with pytest.raises(IntegrityError):
        materialize(content, entries, f"{target}-other", link_mode="hardlink", cache=cache)


def test_a_blob_that_is_too_young_is_not_remembered(content: Content, cache: StatCache) -> None:
    with content.batch() as batch:
        digest = batch.put_bytes(b"z" * LARGE)
        batch.publish()
    now = time.time_ns()
    os.utime(blobs.blob_path(content.root, digest), ns=(now, now + 3600_000_000_000))
    status = os.stat(blobs.blob_path(content.root, digest))
    section = blobs_section(cache, content.root)
    section.fresh = bytearray(make_key(status) + bytes.fromhex(digest))
    section.save()
    assert blobs_section(cache, content.root).known == {}


@pytest.mark.parametrize("number", [None, errno.EINVAL, errno.ENOTSOCK, errno.ENOSPC])
def test_copies_that_must_not_share_go_another_way(
    content: Content, target: str, monkeypatch: pytest.MonkeyPatch, number: int | None
) -> None:
    """`copy_file_range` shares extents where it can; link mode `copy` never uses it."""
    entries = one(content, "big", os.urandom(9 << 20))
    monkeypatch.setattr(os, "copy_file_range", lambda *_: pytest.fail("may share"))
    if number is not None:

        def refuse(*_: int) -> int:
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr(os, "sendfile", refuse)
    if number == errno.ENOSPC:
        with pytest.raises(StorageError):
            materialize(content, entries, target, link_mode="copy")
        assert os.listdir(target) == []
    else:
        materialize(content, entries, target, link_mode="copy")
        assert digest_of(all_files(target)["big"]) == entries[0][1]


def test_one_processor_is_enough(content: Content, target: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0})
    tree = {f"d{number % 3}/{number}": os.urandom(300_000) for number in range(30)}
    with content.batch() as batch:
        entries = sorted((path, batch.put_bytes(data), len(data), 0, None) for path, data in tree.items())
        batch.publish()
    assert materialize(content, entries, target).written == 30
    assert all_files(target) == tree
    assert list(content.check()) == []


def test_a_shared_blob_is_hashed_once_and_again_when_it_was_touched(
    content: Content, target: str, cache: StatCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    entries = one(content, "big", b"z" * LARGE)
    materialize(content, entries, target, link_mode="symlink", cache=cache)
    settle(target)
    materialize(content, entries, f"{target}2", link_mode="symlink", cache=cache)
    with monkeypatch.context() as patch:
        patch.setattr(blobs, "hash_file", lambda *_: pytest.fail("hashed"))
        materialize(content, entries, f"{target}3", link_mode="symlink", cache=cache)
    flip(blobs.blob_path(content.root, entries[0][1]), 5)
    with pytest.raises(IntegrityError):
        materialize(content, entries, f"{target}4", link_mode="symlink", cache=cache)


def test_references_are_left_to_the_caller(content: Content, target: str) -> None:
    entries: list[Entry] = [*one(content, "file"), ("raw", "etag", 5, REFERENCE, {"ref": "s3://x"})]
    assert materialize(content, entries, target).files == 1
    assert all_files(target) == {"file": b"data"}


def test_progress_is_told(content: Content, entries: list[Entry], target: str) -> None:
    calls: list[tuple[int, int]] = []
    materialize(content, entries, target, progress=lambda files, size: calls.append((files, size)), threads=1)
    assert calls[-1][0] == len(TREE)


# What stands in the way


def test_a_link_at_a_files_place_is_replaced_never_followed(content: Content, target: str, tmp_path: object) -> None:
    make_tree(str(tmp_path), {"outside/victim": b"precious", "target/x": b""})
    os.unlink(f"{target}/x")
    for data in (b"data", b"precious"):
        os.symlink(f"{tmp_path}/outside/victim", f"{target}/x")
        entries = one(content, "x", data)
        materialize(content, entries, target)
        assert not os.path.islink(f"{target}/x")
        assert all_files(target) == {"x": data}
        assert all_files(f"{tmp_path}/outside") == {"victim": b"precious"}
        os.unlink(f"{target}/x")


@pytest.mark.parametrize("path", ["d/x", "d/e/x"])
@pytest.mark.parametrize("number", [1, 100])
def test_a_linked_parent_is_an_error_that_names_it(
    content: Content, target: str, tmp_path: object, path: str, number: int
) -> None:
    os.makedirs(f"{tmp_path}/outside/e")
    os.makedirs(target)
    os.symlink(f"{tmp_path}/outside", f"{target}/d")
    entries = sorted(entry for n in range(number) for entry in one(content, f"{path}{n}"))
    with pytest.raises(LinkInTheWayError, match="d' is a symbolic link") as caught:
        materialize(content, entries, target)
    assert isinstance(caught.value, RefusedError)
    assert all_files(f"{tmp_path}/outside") == {}


def test_a_directory_that_becomes_a_link_meanwhile_is_not_followed(
    content: Content, target: str, tmp_path: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.makedirs(f"{tmp_path}/outside")
    os.makedirs(f"{target}/d")
    entries = one(content, "d/x")
    real = module._Run.write

    def swap(run: module._Run, threads: int | None) -> None:
        os.rmdir(f"{target}/d")
        os.symlink(f"{tmp_path}/outside", f"{target}/d")
        run._beneath.open("")
        real(run, threads)

    monkeypatch.setattr(module._Run, "write", swap)
    with pytest.raises(LinkInTheWayError):
        materialize(content, entries, target)
    assert os.listdir(f"{tmp_path}/outside") == []


def test_a_new_directory_that_somebody_else_makes_is_shared(
    content: Content, target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    entries = sorted(entry for n in range(10) for entry in one(content, f"d/{n}", b"%d" % n))
    real = os.rename

    def rename(source: str, name: str, **named: int) -> None:
        if name == "d":
            make_tree(target, {"d/mine": b"mine", "d/3": b"old"})
        real(source, name, **named)

    monkeypatch.setattr(os, "rename", rename)
    materialize(content, entries, target)
    assert all_files(target) == {"d/mine": b"mine", **{f"d/{n}": b"%d" % n for n in range(10)}}
    assert litter(target) == []


def test_a_directory_at_a_files_place_is_an_error(content: Content, target: str) -> None:
    make_tree(target, {"x/inside": b"kept"})
    with pytest.raises(LinkInTheWayError, match="x' is a directory"):
        materialize(content, one(content, "x"), target)
    assert all_files(target) == {"x/inside": b"kept"}


def test_a_file_at_a_directorys_place_is_an_error(content: Content, target: str) -> None:
    make_tree(target, {"x": b"kept"})
    with pytest.raises(LinkInTheWayError, match="x' is a file"):
        materialize(content, one(content, "x/y"), target)
    assert all_files(target) == {"x": b"kept"}


def test_a_fifo_is_replaced_and_does_not_block(content: Content, target: str) -> None:
    os.makedirs(target)
    os.mkfifo(f"{target}/x")
    materialize(content, one(content, "x"), target)
    assert all_files(target) == {"x": b"data"}


def test_a_target_that_is_a_file_is_refused(content: Content, target: str) -> None:
    make_tree(os.path.dirname(target), {"target": b"kept"})
    with pytest.raises(LinkInTheWayError):
        materialize(content, one(content, "x"), target)


def test_a_target_that_is_a_link_to_a_directory_is_the_users_choice(content: Content, target: str, tmp_path: object) -> None:
    os.makedirs(f"{tmp_path}/real")
    os.symlink(f"{tmp_path}/real", target)
    materialize(content, one(content, "x"), target)
    assert all_files(f"{tmp_path}/real") == {"x": b"data"}


def test_a_file_that_shares_its_bytes_is_replaced_not_written_through(content: Content, target: str, tmp_path: object) -> None:
    make_tree(target, {"x": b"old!"})
    os.link(f"{target}/x", f"{tmp_path}/other-name")
    materialize(content, one(content, "x"), target)
    with open(f"{tmp_path}/other-name", "rb") as file:
        assert file.read() == b"old!"


@pytest.mark.parametrize("path", ["/abs", "../up", "a/../../up", "", ".", "a//b", "C:x", "..\\up", "a\0b"])
def test_hostile_entries_are_refused_before_anything_is_written(content: Content, target: str, path: str) -> None:
    with pytest.raises(IntegrityError):
        materialize(content, one(content, "fine") + one(content, path), target)
    assert not os.path.exists(target) or os.listdir(target) == []


# Damage and failures


@pytest.mark.parametrize("threads", [1, 2])
def test_damaged_blobs_are_never_written(content: Content, entries: list[Entry], target: str, threads: int) -> None:
    victims = {"a/b/two", "many/003", "large.bin"}
    for entry in entries:
        if entry[0] in victims:
            for identity, _, offset in content.index.find(bytes.fromhex(entry[1])):
                flip(content.index.pack_path(identity), offset)
            if os.path.exists(blobs.blob_path(content.root, entry[1])):
                flip(blobs.blob_path(content.root, entry[1]), 1000)
    with pytest.raises(IntegrityError):
        materialize(content, entries, target, threads=threads)
    for path, data in all_files(target).items():
        assert TREE[path] == data
    assert not victims & set(all_files(target)) - {"flat003"}
    assert litter(target) == []


def test_missing_blobs_are_named(content: Content, target: str) -> None:
    entries: list[Entry] = [*one(content, "fine"), ("gone", "0" * 32, 5, 0, None)]
    with pytest.raises(IntegrityError, match="gone' is missing"):
        materialize(content, entries, target)


@pytest.mark.parametrize("size", [4, LARGE])
@pytest.mark.parametrize("claimed", [0, 1, 1 << 40])
def test_a_manifest_that_lies_about_a_size_is_refused(content: Content, target: str, size: int, claimed: int) -> None:
    path, digest, _, flags, extra = one(content, "x", b"d" * size)[0]
    with pytest.raises(IntegrityError):
        materialize(content, [(path, digest, claimed, flags, extra)], target)
    assert all_files(target) == {}
    assert litter(target) == []


@pytest.mark.parametrize("call", ["write", "open", "rename", "mkdir", "scandir"])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES, errno.EIO])
def test_failing_calls_leave_no_litter_and_no_half_files(
    content: Content, entries: list[Entry], target: str, monkeypatch: pytest.MonkeyPatch, call: str, number: int
) -> None:
    wanted = [entry for entry in entries if not entry[0].startswith(("many/1", "flat"))]
    failed = 0
    for at in (0, 1, 2, 3, 5, 8, 13, 21, 34, 55, 89):
        failing = Failing(call, at, number)
        with monkeypatch.context() as patch:
            patch.setattr(os, call, failing)
            try:
                materialize(Content(content.root), wanted, f"{target}{at}", threads=1)
            except StorageError as error:
                failed += 1
                assert os.strerror(number).lower() in error.message  # noqa: PT017
            except IntegrityError:
                # A pack that cannot be opened is damage as far as anybody can tell.
                failed += 1
        found = all_files(f"{target}{at}") if os.path.isdir(f"{target}{at}") else {}
        assert all(TREE[path] == data for path, data in found.items())
        assert not os.path.isdir(f"{target}{at}") or litter(f"{target}{at}") == []
    assert failed >= 1


def test_short_writes_are_finished(
    content: Content, entries: list[Entry], target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: real(fd, memoryview(data)[:1000]))
    materialize(content, entries, target)
    monkeypatch.undo()
    assert all_files(target) == TREE


def test_an_interrupt_leaves_no_litter(
    content: Content, entries: list[Entry], target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, count = os.write, [0]

    def interrupt(descriptor: int, data: bytes) -> int:
        count[0] += 1
        if count[0] == 90:
            raise KeyboardInterrupt
        return real(descriptor, data)

    monkeypatch.setattr(os, "write", interrupt)
    with pytest.raises(KeyboardInterrupt):
        materialize(content, entries, target, threads=1)
    assert litter(target) == []


def test_a_pack_rewritten_by_a_sweep_meanwhile_is_found(content: Content, entries: list[Entry], target: str) -> None:
    from regcli.store.sweep import sweep

    reader = Content(content.root)
    assert reader.have([entry[1] for entry in entries])
    for path in pack_paths(content.root):
        os.utime(path, (1, 1))
    live = {entry[1] for entry in entries if entry[0].startswith(("a", "deep", "large"))}
    sweep(content, live, now=time.time())
    materialize(reader, entries, target)
    assert all_files(target) == TREE


# Pruning


def change(content: Content, entries: list[Entry], target: str, *extra: str) -> list[tuple[str, str, bool]]:
    seen: list[tuple[str, str, bool]] = []
    materialize(content, entries, target, prune=seen.extend)
    return seen


def test_pruning_makes_the_directory_exactly_the_version(content: Content, entries: list[Entry], target: str) -> None:
    old = make_tree(target, {"old/deep/file": b"one", "a/one": b"local", "mine": b"mine", "config.json": b"{}"})
    os.makedirs(f"{target}/hollow/inside")
    os.symlink("mine", f"{target}/link")
    os.mkfifo(f"{target}/fifo")
    seen = change(content, entries, target)
    assert seen == [
        ("a/one", "modified", False),
        ("fifo", "extra", False),
        ("link", "extra", False),
        ("mine", "extra", False),
        ("old/deep/file", "extra", True),
    ]
    assert all_files(old) == TREE
    assert compare_directory(content, entries, target) == []
    assert sorted(os.listdir(target)) == sorted({path.split("/")[0] for path in TREE})


def test_a_refusal_changes_nothing(content: Content, entries: list[Entry], target: str) -> None:
    make_tree(target, {"mine": b"mine", "config.json": b"changed"})

    def refuse(changes: list[tuple[str, str, bool]]) -> None:
        raise RefusedError("no")

    with pytest.raises(RefusedError):
        materialize(content, entries, target, prune=refuse)
    assert all_files(target) == {"mine": b"mine", "config.json": b"changed"}


def test_pruning_clears_what_stands_in_the_way(content: Content, target: str, tmp_path: object) -> None:
    make_tree(str(tmp_path), {"outside/kept": b"kept", "target/x/in/side": b"1", "target/y": b"2"})
    os.symlink(f"{tmp_path}/outside", f"{target}/z")
    entries = one(content, "x") + one(content, "y/new") + one(content, "z/new")
    change(content, entries, target)
    assert all_files(target) == {"x": b"data", "y/new": b"data", "z/new": b"data"}
    assert all_files(f"{tmp_path}/outside") == {"kept": b"kept"}


def test_pruning_leaves_references_and_takes_litter(content: Content, target: str) -> None:
    entries: list[Entry] = [*one(content, "file"), ("raw", "etag", 5, REFERENCE, {"ref": "s3://x"})]
    make_tree(target, {"raw": b"fetched", f".tmp-123-{'ab' * 8}-1": b"", f"d/.tmp-123-{'ab' * 8}-1/x": b""})
    assert all(known for _, _, known in change(content, entries, target))
    assert all_files(target) == {"file": b"data", "raw": b"fetched"}


def test_pruned_links_to_the_store_are_known(content: Content, entries: list[Entry], target: str) -> None:
    materialize(content, entries, target, link_mode="symlink")
    assert {known for _, _, known in change(content, [], target)} == {True}
    assert os.listdir(target) == []


def test_remove_files_removes_emptied_directories_only(target: str) -> None:
    make_tree(target, {"a/b/c": b"", "a/d": b"", "e/f": b""})
    remove_files(target, ["a/b/c", "e/f", "gone"])
    assert all_files(target) == {"a/d": b""}
    assert os.listdir(target) == ["a"]


# Comparing


def test_every_difference_is_reported(content: Content, entries: list[Entry], target: str) -> None:
    materialize(content, entries, target)
    make_tree(target, {"a/one": b"eno", "config.json": b"longer", "new/file": b""})
    os.unlink(f"{target}/empty")
    os.chmod(f"{target}/same", 0o755)
    os.unlink(f"{target}/many/003")
    os.symlink("004", f"{target}/many/003")
    os.unlink(f"{target}/flat001")
    os.mkfifo(f"{target}/flat001")
    os.unlink(f"{target}/flat002")
    os.mkdir(f"{target}/flat002")
    found = compare_directory(content, entries, target, threads=2)
    assert [(kind, path) for kind, path, _ in found] == [
        ("modified", "a/one"),
        ("modified", "config.json"),
        ("missing", "empty"),
        ("modified", "flat001"),
        ("missing", "flat002"),
        ("modified", "many/003"),
        ("extra", "new/file"),
        ("modified", "same"),
    ]


def test_comparing_needs_no_store(content: Content, entries: list[Entry], target: str) -> None:
    materialize(content, entries, target)
    assert compare_directory(None, entries, target) == []
    assert set(scan_directory(target).files) == set(TREE)


def test_a_result_counts_from_zero() -> None:
    assert (Materialized().files, Materialized().removed) == (0, [])


def test_unknown_link_modes_are_refused(content: Content, target: str) -> None:
    with pytest.raises(UsageError):
        materialize(content, [], target, link_mode="teleport")


names = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="/\0\\:"), min_size=1, max_size=8).filter(
    lambda name: name not in (".", "..")
)


@settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.dictionaries(st.lists(names, min_size=1, max_size=3).map("/".join), st.binary(max_size=100), max_size=12),
    st.dictionaries(st.lists(names, min_size=1, max_size=3).map("/".join), st.binary(max_size=100), max_size=12),
)
def test_any_tree_round_trips_over_any_other(tmp_path: object, first: dict[str, bytes], second: dict[str, bytes]) -> None:
    import shutil

    shutil.rmtree(str(tmp_path))
    content = Content(f"{tmp_path}/root")
    trees = []
    for number, tree in enumerate((first, second)):
        kept = {path: data for path, data in tree.items() if not any(other.startswith(f"{path}/") for other in tree)}
        os.makedirs(f"{tmp_path}/{number}")
        trees.append((kept, log(content, make_tree(f"{tmp_path}/{number}", kept)).entries))
    for kept, entries in trees + trees[:1]:
        materialize(content, entries, f"{tmp_path}/target", prune=lambda _: None)
        assert all_files(f"{tmp_path}/target") == kept
        assert compare_directory(content, entries, f"{tmp_path}/target") == []
