from __future__ import annotations

import errno
import os
import shutil
import time
from typing import Any

import pytest

from regcli.errors import MissingBlobError, StorageError
from regcli.store import blobs, packs
from regcli.store.content import Content
from regcli.store.sweep import pack_size, purge, remove_litter, sweep, trash_names
from tests.store.content_cases import Failing, all_files, digest_of, flip, pack_paths, store

LARGE = packs.SMALL + 1000
NOW = time.time()
DAY = 86400.0


def blob(n: int) -> bytes:
    return b"%d" % n * 100


@pytest.fixture
def content(tmp_path: object) -> Content:
    content = Content(f"{tmp_path}/root")
    store(content, *[blob(n) for n in range(10)])
    store(content, *[blob(n) for n in range(10, 20)], b"x" * LARGE, b"y" * LARGE)
    age(content)
    return content


def age(content: Content, seconds: float = 2 * DAY) -> None:
    for directory, _, names in os.walk(content.root):
        for name in names:
            os.utime(os.path.join(directory, name), (NOW - seconds, NOW - seconds))


def digests(*numbers: int) -> set[str]:
    return {digest_of(blob(n)) for n in numbers}


def disk(content: Content) -> int:
    return sum(len(data) for path, data in all_files(content.root).items() if not path.startswith(("trash", "packs/index")))


EVERYTHING = digests(*range(20)) | {digest_of(b"x" * LARGE), digest_of(b"y" * LARGE)}


def test_nothing_dead_nothing_done(content: Content) -> None:
    before = all_files(content.root)
    swept = sweep(content, EVERYTHING, now=NOW)
    assert (swept.blobs, swept.bytes, swept.trash) == (0, 0, None)
    assert all_files(content.root) == before


@pytest.mark.parametrize(
    ("live", "gone"),
    [
        (EVERYTHING - digests(3), 0),
        (EVERYTHING - digests(*range(8)), 8),
        (EVERYTHING - digests(*range(10)), 10),
        (EVERYTHING - {digest_of(b"x" * LARGE)}, 1),
        (digests(0, 1, 10, 11), 18),
        (set(), 22),
    ],
)
def test_what_is_dead_goes_and_what_is_alive_stays(content: Content, live: set[str], gone: int) -> None:
    before = disk(content)
    planned = sweep(content, live, now=NOW, dry_run=True)
    assert disk(content) == before
    assert planned.trash is None
    swept = sweep(content, live, now=NOW)
    assert (swept.blobs, swept.bytes, swept.packs) == (planned.blobs, planned.bytes, planned.packs)
    assert swept.blobs == gone
    assert before - disk(content) == swept.bytes
    fresh = Content(content.root)
    assert live <= {digest for digest, _ in fresh.blobs()}
    assert list(fresh.check()) == []
    if gone:
        freed = purge(content, now=NOW + DAY, older_than=DAY - 60)
        assert freed >= swept.bytes
        assert trash_names(content.root) == []
    assert all(fresh.read(digest) for digest in live)
    assert sweep(content, live, now=NOW).blobs == 0


def test_a_mostly_living_pack_stays_and_its_dead_bytes_are_told(content: Content) -> None:
    swept = sweep(content, EVERYTHING - digests(3), now=NOW)
    assert swept.kept_bytes == 24 + len(blob(3))


def test_young_blobs_are_never_touched(content: Content) -> None:
    age(content, 3000)
    before = all_files(content.root)
    swept = sweep(content, set(), now=NOW)
    assert (swept.blobs, swept.young) == (0, 22)
    assert all_files(content.root) == before
    age(content, 5000)
    assert sweep(content, set(), now=NOW, grace=DAY, dry_run=True).blobs == 0
    assert sweep(content, set(), now=NOW, dry_run=True).blobs == 22


def test_a_blob_that_was_logged_again_is_young(content: Content) -> None:
    store(content, blob(3), b"x" * LARGE)
    swept = sweep(content, set(), now=NOW)
    assert swept.blobs == 11
    assert Content(content.root).have(digests(3)) == digests(3)


def test_reading_brings_a_blob_back_from_the_trash(content: Content) -> None:
    sweep(content, set(), now=NOW)
    assert pack_paths(content.root) == []
    reader = Content(content.root)
    assert reader.read(digest_of(blob(3))) == blob(3)
    assert reader.size(digest_of(b"x" * LARGE)) == LARGE
    assert b"".join(Content(content.root).stream(digest_of(b"y" * LARGE))) == b"y" * LARGE
    assert len(pack_paths(content.root)) == 1
    assert reader.have(EVERYTHING) == EVERYTHING
    assert len(pack_paths(content.root)) == 2
    assert list(Content(content.root).check()) == []
    assert sweep(content, set(), now=time.time()).blobs == 0


def write_protect(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    for call in ("mkdir", "unlink", "rename", "link", "utime"):
        monkeypatch.setattr(os, call, refuse)


def test_a_read_only_root_is_read_from_its_trash(content: Content, monkeypatch: pytest.MonkeyPatch) -> None:
    sweep(content, set(), now=NOW)

    write_protect(monkeypatch)
    assert Content(content.root).read(digest_of(blob(3))) == blob(3)
    assert Content(content.root).read(digest_of(b"x" * LARGE)) == b"x" * LARGE


def test_trash_that_cannot_be_read_does_not_hide_other_trash(content: Content, monkeypatch: pytest.MonkeyPatch) -> None:
    sweep(content, set(), now=NOW)
    (older,) = trash_names(content.root)
    newer = f"{content.root}/trash/{older.replace('2', '3', 1)}"
    os.makedirs(f"{newer}/packs")
    barred = f"{newer}/packs/{'0' * 32}{packs.SUFFIX}"
    shutil.copyfile(pack_paths(f"{content.root}/trash/{older}")[0], barred)
    opening = os.open

    def refuse(path: str, *arguments: Any, **named: Any) -> int:
        if path == barred:
            raise OSError(errno.EACCES, os.strerror(errno.EACCES))
        return opening(path, *arguments, **named)

    monkeypatch.setattr(os, "open", refuse)
    write_protect(monkeypatch)
    assert trash_names(content.root)[0] == os.path.basename(newer)
    assert Content(content.root).read(digest_of(blob(3))) == blob(3)
    with pytest.raises(StorageError, match="permission denied"):
        Content(content.root).read(digest_of(b"never stored"))


def test_asking_for_all_that_was_swept_undoes_the_sweep(content: Content) -> None:
    before = all_files(content.root)
    sweep(content, set(), now=NOW)
    assert content.have(EVERYTHING) == EVERYTHING
    after = {path: data for path, data in all_files(content.root).items() if not path.startswith("packs/index")}
    assert after == before
    assert list(content.check()) == []


def test_the_trash_is_purged_by_age(content: Content) -> None:
    sweep(content, set(), now=NOW)
    assert purge(content, now=NOW + 6 * DAY, older_than=7 * DAY) == 0
    assert purge(content, now=NOW + 8 * DAY, older_than=7 * DAY) > 0
    with pytest.raises(MissingBlobError):
        Content(content.root).read(digest_of(blob(3)))


def test_the_trash_follows_no_links(content: Content, tmp_path: object) -> None:
    os.makedirs(f"{tmp_path}/outside")
    with open(f"{tmp_path}/outside/kept", "wb"):
        pass
    sweep(content, set(), now=NOW)
    (name,) = trash_names(content.root)
    os.symlink(f"{tmp_path}/outside", f"{content.root}/trash/{name}/link")
    purge(content, now=NOW + 8 * DAY, older_than=DAY)
    assert os.listdir(f"{tmp_path}/outside") == ["kept"]


def test_old_litter_is_removed_and_new_litter_is_not(content: Content) -> None:
    for place in ("packs", "blobs", "packs/index"):
        os.makedirs(f"{content.root}/{place}", exist_ok=True)
        with open(f"{content.root}/{place}/.tmp-1-aa", "wb"):
            pass
    assert remove_litter(content, now=time.time()) == 0
    assert remove_litter(content, now=time.time() + 3700) == 3


def test_damaged_packs_are_left_for_verify(content: Content) -> None:
    path = pack_paths(content.root)[0]
    flip(path, os.path.getsize(path) - 5)
    os.utime(path, (1, 1))
    sweep(content, set(), now=NOW)
    assert pack_paths(content.root) == [path]


@pytest.mark.parametrize("call", ["rename", "open", "fsync", "mkdir", "write", "writev"])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
def test_a_sweep_that_fails_loses_nothing(content: Content, monkeypatch: pytest.MonkeyPatch, call: str, number: int) -> None:
    live = digests(0, 1, 10, 11)
    failed = 0
    for at in range(12):
        failing = Failing(call, at, number)
        with monkeypatch.context() as patch:
            patch.setattr(os, call, failing)
            try:
                sweep(Content(content.root), live, now=NOW)
            except StorageError:
                failed += 1
        fresh = Content(content.root)
        assert all(fresh.read(digest) for digest in live)
        assert fresh.have(EVERYTHING) == EVERYTHING
        age(content)
    assert failed


def test_index_files_of_swept_packs_are_replaced(tmp_path: object) -> None:
    content = Content(f"{tmp_path}/root")
    for n in range(30):
        store(content, blob(n))
    age(content)
    live = digests(*range(20, 30))
    sweep(content, live, now=NOW)
    fresh = Content(content.root)
    assert fresh.have(live) == live
    assert {digest for digest, _ in fresh.blobs()} == live
    assert pack_size([]) > 0
    assert blobs.is_digest(next(iter(live)))
