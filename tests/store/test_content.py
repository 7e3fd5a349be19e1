from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
import time

import pytest

from regcli.errors import (
    DigestCollisionError,
    IntegrityError,
    MissingBlobError,
    MissingPathError,
    SourceChangedError,
    StorageError,
    UsageError,
)
from regcli.store import blobs, packs
from regcli.store.content import Content
from tests.store.content_cases import Failing, all_files, collision, digest_of, flip, litter, pack_paths, put_file, store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

LARGE = packs.SMALL + 1000


@pytest.fixture
def root(tmp_path: object) -> str:
    return f"{tmp_path}/root"


@pytest.fixture
def content(root: str) -> Iterator[Content]:
    with Content(root) as opened:
        yield opened


def test_making_content_creates_nothing(root: str) -> None:
    content = Content(root)
    assert content.have(["0" * 32]) == set()
    assert list(content.blobs()) == []
    assert list(content.check()) == []
    assert not os.path.exists(root)


@pytest.mark.parametrize("size", [0, 1, 100, packs.SMALL - 1, packs.SMALL, packs.SMALL + 1, 20 << 20])
def test_what_is_put_is_read(content: Content, size: int, tmp_path: object) -> None:
    data = os.urandom(size)
    source = f"{tmp_path}/source"
    with open(source, "wb") as file:
        file.write(data)
    with content.batch() as batch:
        assert put_file(batch, source) == (digest_of(data), size)
        assert batch.put_bytes(data) == digest_of(data)
        batch.publish()
    digest = digest_of(data)
    fresh = Content(content.root)
    assert fresh.read(digest) == data
    assert b"".join(fresh.stream(digest)) == data
    assert fresh.size(digest) == size
    assert list(fresh.blobs()) == [(digest, size)]
    assert list(fresh.check()) == []


def test_blobs_are_read_only_and_leave_no_litter(content: Content) -> None:
    store(content, b"small", b"x" * LARGE)
    for directory, _, names in os.walk(content.root):
        for name in names:
            assert stat.S_IMODE(os.stat(os.path.join(directory, name)).st_mode) == 0o444
    assert litter(content.root) == []


def test_a_batch_is_visible_only_when_published(content: Content) -> None:
    with content.batch() as batch:
        small, large = batch.put_bytes(b"small"), batch.put_bytes(b"y" * LARGE)
        assert Content(content.root).have([small, large]) == set()
        batch.publish()
    assert Content(content.root).have([small, large]) == {small, large}
    assert content.have([small, large]) == {small, large}


def test_a_batch_that_fails_leaves_nothing(content: Content) -> None:
    store(content, b"before")
    before = all_files(content.root)

    def fail() -> None:
        with content.batch() as batch:
            for n in range(3000):
                batch.put_bytes(b"%d" % n * 1000)
            batch.put_bytes(b"z" * LARGE)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert all_files(content.root) == before


def test_the_same_content_is_stored_once(content: Content) -> None:
    store(content, b"small", b"x" * LARGE)
    with content.batch() as batch:
        batch.put_bytes(b"small")
        batch.put_bytes(b"new")
        batch.put_bytes(b"new")
        batch.put_bytes(b"x" * LARGE)
        batch.put_bytes(b"y" * LARGE)
        batch.put_bytes(b"y" * LARGE)
        assert batch.added == 2
        batch.publish()
    assert len(list(content.blobs())) == 4
    assert len(pack_paths(content.root)) == 2


def test_many_known_blobs_add_nothing(content: Content) -> None:
    store(content, *[b"%d" % n for n in range(500)])
    with content.batch() as batch:
        for n in range(500):
            batch.put_bytes(b"%d" % n)
        assert batch.added == 0
        batch.publish()
    assert len(pack_paths(content.root)) == 1


def test_reading_what_is_not_there_says_so(content: Content) -> None:
    with pytest.raises(MissingBlobError):
        content.read("0" * 32)
    with pytest.raises(MissingBlobError):
        content.size("0" * 32)
    with pytest.raises(MissingBlobError):
        list(content.stream("0" * 32))


def test_a_reader_sees_what_another_process_adds(content: Content) -> None:
    store(content, b"first")
    other = Content(content.root)
    digest = store(other, b"second")[0]
    assert content.read(digest) == b"second"


def test_a_limit_is_kept(content: Content) -> None:
    small, large = store(content, b"x" * 100, b"y" * LARGE)
    for digest in (small, large):
        with pytest.raises(IntegrityError, match="larger"):
            content.read(digest, limit=99)


# Collisions


@pytest.mark.parametrize("size", [2048, LARGE])
@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
@pytest.mark.parametrize("how", ["stored", "staged", "stored among many", "rival"])
def test_two_contents_with_one_digest_are_refused(
    content: Content, tmp_path: object, size: int, order: tuple[int, int], how: str
) -> None:
    pair = collision(size)
    first, second = pair[order[0]], pair[order[1]]
    assert first != second
    assert digest_of(first) == digest_of(second)
    source = f"{tmp_path}/source"
    with open(source, "wb") as file:
        file.write(second)
    if how == "stored among many":
        store(content, first, *[b"%d" % n for n in range(300)])
    elif how == "stored":
        store(content, first)
    before = all_files(content.root)
    with content.batch() as batch:
        if how == "staged":
            batch.put_bytes(first)
        if how == "stored among many":
            for n in range(300):
                batch.put_bytes(b"%d" % n)
        if how == "rival":
            put_file(batch, source)
            store(Content(content.root), first, b"other")
            before = all_files(content.root)
            with pytest.raises(DigestCollisionError, match=digest_of(first)):
                batch.publish()
        else:
            with pytest.raises(DigestCollisionError, match=digest_of(first)):
                put_file(batch, source)
            with pytest.raises(DigestCollisionError):
                batch.put_bytes(second)
    if how != "rival":
        assert {k: v for k, v in all_files(content.root).items() if ".tmp-" not in k} == before
    if how != "staged":
        fresh = Content(content.root)
        assert fresh.read(digest_of(first)) == first
        assert how != "rival" or len(fresh.index.find(bytes.fromhex(digest_of(first)))) <= 1
    assert litter(content.root) == []


def test_an_existing_blob_becomes_young_again(content: Content) -> None:
    store(content, b"small", b"x" * LARGE)
    paths = [*pack_paths(content.root), blobs.blob_path(content.root, digest_of(b"x" * LARGE))]
    for path in paths:
        os.utime(path, (1, 1))
    store(content, b"small", b"x" * LARGE)
    assert all(os.stat(path).st_mtime > time.time() - 60 for path in paths)


# Sources


def test_a_source_that_keeps_changing_is_refused(content: Content, tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> None:
    source = f"{tmp_path}/source"
    for size in (100, LARGE):
        with open(source, "wb") as file:
            file.write(b"a" * size)
        real, calls = os.fstat, [0]

        def busy(descriptor: int, real: object = real, calls: list[int] = calls) -> os.stat_result:
            calls[0] += 1
            with open(source, "ab") as file:
                file.write(b"more")
            return real(descriptor)  # type: ignore[operator,no-any-return]

        with monkeypatch.context() as patch, content.batch() as batch:
            patch.setattr(os, "fstat", busy)
            with pytest.raises(SourceChangedError, match="source"):
                put_file(batch, source)
        assert calls[0] >= 4
    assert litter(content.root) == []


def test_only_regular_files_can_be_put(content: Content, tmp_path: object) -> None:
    os.mkfifo(f"{tmp_path}/fifo")
    with content.batch() as batch:
        for name in ("fifo", "."):
            with pytest.raises((UsageError, StorageError)):
                put_file(batch, f"{tmp_path}/{name}")
        with pytest.raises(MissingPathError, match="there is no file"):
            put_file(batch, f"{tmp_path}/missing")


# Failures of the disk


@pytest.mark.parametrize("call", ["writev", "write", "fsync", "rename", "link", "open", "fchmod", "mkdir"])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EDQUOT, errno.EROFS])
def test_failing_calls_are_storage_errors_and_leave_no_litter(
    content: Content, monkeypatch: pytest.MonkeyPatch, call: str, number: int
) -> None:
    store(content, b"before")
    before = all_files(content.root)

    def put() -> None:
        with content.batch() as batch:
            for n in range(700):
                batch.put_bytes(b"%d" % n * 300)
            batch.put_bytes(b"x" * LARGE)
            batch.publish()

    at = 0
    while True:
        failing = Failing(call, at, number)
        with monkeypatch.context() as patch:
            patch.setattr(os, call, failing)
            try:
                put()
            except StorageError as error:
                assert os.strerror(number).lower() in error.message  # noqa: PT017
            else:
                if failing.calls <= at:
                    break
        assert litter(content.root) == []
        assert list(Content(content.root).check()) == []
        at += 1
        assert at < 60
    assert at >= 1
    assert before.items() <= all_files(content.root).items()


def test_short_writes_are_finished(content: Content, monkeypatch: pytest.MonkeyPatch) -> None:
    real_writev, real_write = os.writev, os.write
    monkeypatch.setattr(os, "writev", lambda fd, parts: real_writev(fd, [b"".join(parts)[:7]]))
    monkeypatch.setattr(os, "write", lambda fd, data: real_write(fd, memoryview(data)[:5000]))
    digests = store(content, b"abc" * 1000, b"d" * 10, b"x" * LARGE)
    monkeypatch.undo()
    assert [content.read(digest) for digest in digests] == [b"abc" * 1000, b"d" * 10, b"x" * LARGE]
    assert list(content.check()) == []


@pytest.mark.parametrize("number", [2, 40])
def test_many_large_blobs_are_synced(content: Content, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    synced: list[str] = []
    real = os.fsync

    def fsync(fd: int) -> None:
        synced.append(os.readlink(f"/proc/self/fd/{fd}"))
        real(fd)

    monkeypatch.setattr(os, "fsync", fsync)
    data = [bytes([n]) * LARGE for n in range(number)]
    digests = store(content, *data)
    files_synced = [path for path in synced if ".tmp-" in path]
    assert len(files_synced) == (number if number <= 16 else 0)
    assert content.have(digests) == set(digests)


def test_without_syncfs_each_file_is_synced(content: Content, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[str] = []
    real = os.fsync

    def fsync(fd: int) -> None:
        synced.append(os.readlink(f"/proc/self/fd/{fd}"))
        real(fd)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(blobs, "sync_file_system", lambda _: False)
    store(content, *[bytes([n]) * LARGE for n in range(20)])
    assert len([path for path in synced if ".tmp-" in path]) == 20
    shards = {os.path.dirname(blobs.blob_path(content.root, digest)) for digest, _ in content.blobs()}
    assert shards <= set(synced)


def test_a_pack_is_synced_before_it_has_its_name_and_the_directory_after(
    content: Content, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []
    real_fsync, real_rename = os.fsync, os.rename

    def fsync(fd: int) -> None:
        steps.append("sync " + os.readlink(f"/proc/self/fd/{fd}"))
        real_fsync(fd)

    def rename(source: str, name: str, **places: int) -> None:
        steps.append(f"rename {name}")
        real_rename(source, name, **places)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "rename", rename)
    os.makedirs(f"{content.root}/packs")
    store(content, b"x")
    assert len(steps) == 3
    assert ".tmp-" in steps[0]
    assert steps[1].endswith(".pack")
    assert steps[2] == f"sync {content.root}/packs"


def test_a_file_size_limit_is_a_storage_error(tmp_path: object) -> None:
    script = """
import resource, sys, os
sys.path.insert(0, sys.argv[2])
from regcli.store.content import Content
from regcli.errors import StorageError
resource.setrlimit(resource.RLIMIT_FSIZE, (3 << 20, 3 << 20))
for size in (900_000, 5 << 20):
    try:
        with Content(sys.argv[1]).batch() as batch:
            for n in range(8):
                batch.put_bytes(bytes([n]) * size)
            batch.publish()
    except StorageError as error:
        print(error.message)
"""
    here = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    done = subprocess.run([sys.executable, "-c", script, f"{tmp_path}/root", here], capture_output=True, text=True, check=True)
    assert done.stdout.count("file too large") == 2
    assert litter(str(tmp_path)) == []


def test_what_cannot_fit_is_refused_at_once(content: Content) -> None:
    with pytest.raises(StorageError, match="not enough space"):
        content.batch(reserve=1 << 62)


# Damage


@pytest.fixture
def damaged(content: Content) -> dict[str, bytes]:
    blobs_by_digest = {digest_of(data): data for data in [b"%d" % n * 40 for n in range(12)] + [b"x" * LARGE]}
    store(content, *blobs_by_digest.values())
    return blobs_by_digest


def never_wrong(root: str, expected: dict[str, bytes]) -> int:
    """Read everything; return how many could not be read. Wrong bytes fail the test."""
    lost = 0
    fresh = Content(root)
    for digest, data in expected.items():
        try:
            assert fresh.read(digest) == data
        except (IntegrityError, StorageError):
            lost += 1
    return lost


def test_every_flipped_byte_is_found_and_never_delivered(content: Content, damaged: dict[str, bytes]) -> None:
    path = pack_paths(content.root)[0]
    for offset in range(os.path.getsize(path)):
        flip(path, offset)
        assert list(Content(content.root).check(threads=1)), offset
        if offset % 7 == 0:
            assert never_wrong(content.root, damaged) <= 1
        flip(path, offset)
    assert list(Content(content.root).check()) == []


@pytest.mark.parametrize("harm", ["flip", "truncate", "empty", "extend", "delete", "fifo", "link", "directory", "swap"])
@pytest.mark.parametrize("which", ["pack", "large"])
def test_damage_to_any_file_is_found(content: Content, damaged: dict[str, bytes], harm: str, which: str) -> None:
    large = blobs.blob_path(content.root, digest_of(b"x" * LARGE))
    path = pack_paths(content.root)[0] if which == "pack" else large
    size = os.path.getsize(path)
    os.chmod(path, 0o644)
    if harm == "flip":
        flip(path, size // 2)
    elif harm in ("truncate", "empty", "extend"):
        os.truncate(path, {"truncate": size - 1, "empty": 0, "extend": size + 1}[harm])
    else:
        os.rename(path, f"{content.root}/moved")
        if harm == "fifo":
            os.mkfifo(path)
        elif harm == "link":
            os.symlink(f"{content.root}/moved", path)
        elif harm == "directory":
            os.mkdir(path)
        elif harm == "swap":
            with open(path, "wb") as file:
                file.write(b"something else" * 100)
    problems = list(Content(content.root).check(only=set(damaged)))
    assert problems
    kinds = {problem[0] for problem in problems}
    assert kinds <= {"corrupt", "missing"}
    lost = never_wrong(content.root, damaged)
    assert lost <= 12


def test_foreign_files_are_named(content: Content, damaged: dict[str, bytes]) -> None:
    for path in ("packs/notes.txt", "packs/zz.pack", "blobs/readme", "blobs/ab/cd", "packs/.tmp-1-ff", "blobs/.tmp-1-ff"):
        os.makedirs(os.path.dirname(f"{content.root}/{path}"), exist_ok=True)
        open(f"{content.root}/{path}", "wb").close()
    problems = list(content.check())
    assert {problem[0] for problem in problems} == {"extra"}
    assert {os.path.relpath(problem[1], content.root) for problem in problems} == {
        "packs/notes.txt",
        "packs/zz.pack",
        "blobs/readme",
        "blobs/ab/cd",
    }


def test_missing_blobs_are_named(content: Content, damaged: dict[str, bytes]) -> None:
    problems = list(content.check(only={"0" * 32, *damaged}))
    assert [(problem[0], problem[2]) for problem in problems] == [("missing", "0" * 32)]


def test_quick_check_hashes_what_has_other_names(content: Content, damaged: dict[str, bytes], tmp_path: object) -> None:
    large = blobs.blob_path(content.root, digest_of(b"x" * LARGE))
    flip(large, 5)
    assert list(content.check(quick=True)) == []
    os.link(large, f"{tmp_path}/name")
    assert [problem[0] for problem in content.check(quick=True)] == ["corrupt"]


def test_check_counts(content: Content, damaged: dict[str, bytes]) -> None:
    calls: list[tuple[int, int]] = []
    assert list(content.check(progress=lambda files, size: calls.append((files, size)), threads=2)) == []
    assert calls[-1] == (13, sum(map(len, damaged.values())))


def test_streams_of_damaged_blobs_raise(content: Content, damaged: dict[str, bytes]) -> None:
    large = digest_of(b"x" * LARGE)
    flip(blobs.blob_path(content.root, large), 77)
    with pytest.raises(IntegrityError):
        list(content.stream(large))
    small = next(iter(damaged))
    place = content.index.find(bytes.fromhex(small))[0]
    flip(content.index.pack_path(place[0]), place[2])
    with pytest.raises(IntegrityError):
        next(content.stream(small))


@pytest.mark.parametrize("which", ["small", "large"])
@pytest.mark.parametrize("harm", ["flip", "delete"])
def test_restore_puts_a_blob_back(content: Content, damaged: dict[str, bytes], which: str, harm: str, tmp_path: object) -> None:
    digest = digest_of(b"x" * LARGE) if which == "large" else next(iter(damaged))
    if which == "large":
        path, offset = blobs.blob_path(content.root, digest), 9
    else:
        place = content.index.find(bytes.fromhex(digest))[0]
        path, offset = content.index.pack_path(place[0]), place[2]
    if harm == "flip":
        flip(path, offset)
    else:
        os.unlink(path)
    for name, data in (("good", damaged[digest]), ("bad", b"other")):
        with open(f"{tmp_path}/{name}", "wb") as file:
            file.write(data)
    assert not content.restore(digest, f"{tmp_path}/bad")
    assert content.restore(digest, f"{tmp_path}/good")
    assert content.read(digest) == damaged[digest]
    assert list(Content(content.root).check()) == []
    if harm == "flip":
        assert never_wrong(content.root, damaged) == 0


def test_logging_good_content_again_heals_a_damaged_blob(content: Content, damaged: dict[str, bytes]) -> None:
    large = digest_of(b"x" * LARGE)
    flip(blobs.blob_path(content.root, large), 9)
    small = next(iter(damaged))
    place = content.index.find(bytes.fromhex(small))[0]
    flip(content.index.pack_path(place[0]), place[2])
    fresh = Content(content.root)
    store(fresh, damaged[small], damaged[large])
    assert never_wrong(content.root, damaged) == 0


def test_reading_needs_no_right_to_write(content: Content, damaged: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    for call in ("mkdir", "unlink", "rename", "replace", "link", "utime", "fchmod", "chmod"):
        monkeypatch.setattr(os, call, refuse)
    fresh = Content(content.root)
    assert never_wrong(content.root, damaged) == 0
    assert list(fresh.check()) == []


def test_a_root_can_be_moved(content: Content, damaged: dict[str, bytes], tmp_path: object) -> None:
    os.rename(content.root, f"{tmp_path}/moved")
    assert never_wrong(f"{tmp_path}/moved", damaged) == 0


def test_processes_add_at_once(tmp_path: object) -> None:
    script = """
import sys
sys.path.insert(0, sys.argv[2])
from regcli.store.content import Content
me = int(sys.argv[3])
content = Content(sys.argv[1])
for n in range(30):
    with content.batch() as batch:
        batch.put_bytes(b"shared %d" % n)
        batch.put_bytes(b"%d own %d" % (me, n))
        batch.put_bytes(b"large %d" % (n % 5) * 200_000)
        batch.publish()
"""
    here = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    root = f"{tmp_path}/root"
    workers = [subprocess.Popen([sys.executable, "-c", script, root, here, str(n)]) for n in range(4)]
    assert [worker.wait() for worker in workers] == [0, 0, 0, 0]
    content = Content(root)
    expected = {digest_of(b"shared %d" % n) for n in range(30)}
    expected |= {digest_of(b"%d own %d" % (me, n)) for n in range(30) for me in range(4)}
    expected |= {digest_of(b"large %d" % n * 200_000) for n in range(5)}
    assert content.have(expected) == expected
    assert list(content.check()) == []
    assert litter(root) == []
