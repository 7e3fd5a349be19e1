from __future__ import annotations

import errno
import os
import resource
from typing import TYPE_CHECKING, Any

import pytest

from regcli.errors import IntegrityError, StorageError
from regcli.store import packs
from regcli.store.content import Content
from regcli.store.packindex import LOCATION, Index, encode_index, index_size, open_index
from regcli.store.packset import PackSet
from regcli.store.sweep import pack_size
from tests.store.content_cases import digest_of, flip, pack_paths, store

if TYPE_CHECKING:
    from pathlib import Path


def rows(count: int) -> list[tuple[bytes, bytes]]:
    return [(bytes.fromhex(digest_of(b"%d" % n)), LOCATION.pack(n % 3, n, n * 7)) for n in range(count)]


@pytest.mark.parametrize("count", [0, 1, 63, 64, 65, 1000, 20_000])
def test_index_finds_every_row_and_nothing_else(count: int) -> None:
    made = rows(count)
    data = encode_index(made, [b"a" * 16, b"b" * 16, b"c" * 16])
    index = Index(data)
    assert index.count == count
    for digest, location in made:
        assert index.find(digest) == [LOCATION.unpack(location)]
    for n in range(200):
        assert index.find(bytes.fromhex(digest_of(b"absent %d" % n))) == []
    assert index.digests() == sorted(row[0] for row in made)
    assert len(encode_index([(d, LOCATION.pack(0, 1, 2)) for d, _ in made], [b"a" * 16])) == index_size(count)


def test_index_too_large_for_one_read_is_read_bucket_by_bucket(tmp_path: object) -> None:
    made = rows(50_000)
    path = f"{tmp_path}/index"
    with open(path, "wb") as file:
        file.write(b"before" + encode_index(made, [b"a" * 16]))
    descriptor = os.open(path, os.O_RDONLY)
    index = open_index(descriptor, 6, os.fstat(descriptor).st_size - 6)
    os.close(descriptor)
    assert all(index.find(digest) for digest, _ in made[:500])
    assert len(index.rows()) == 50_000
    index.close()


def test_every_flipped_byte_of_an_index_is_found() -> None:
    data = encode_index(rows(150), [b"a" * 16])
    for offset in range(0, len(data), 5):
        damaged = bytearray(data)
        damaged[offset] ^= 1
        with pytest.raises(IntegrityError):
            Index(bytes(damaged)).prove()
    for length in range(0, len(data), 37):
        with pytest.raises(IntegrityError):
            Index(data[:length])


def test_the_same_digest_in_two_packs_is_found_twice() -> None:
    digest = b"x" * 16
    index = Index(encode_index([(digest, LOCATION.pack(0, 1, 2)), (digest, LOCATION.pack(1, 1, 9))], [b"a" * 16, b"b" * 16]))
    assert index.find(digest) == [(0, 1, 2), (1, 1, 9)]


def test_scanning_finds_records_behind_damage(tmp_path: object) -> None:
    root = f"{tmp_path}/root"
    blobs = [b"%d" % n * 50 for n in range(20)]
    store(Content(root), *blobs)
    path = pack_paths(root)[0]
    flip(path, packs.HEADER.size + 24 + 3)
    flip(path, packs.HEADER.size + 2 * (24 + 50))
    descriptor = os.open(path, os.O_RDONLY)
    found = {digest.hex() for digest, _, _ in packs.scan(descriptor)}
    os.close(descriptor)
    lost = {digest_of(blobs[0]), digest_of(blobs[2])}
    assert found == {digest_of(blob) for blob in blobs} - lost


def test_a_pack_without_its_end_is_still_readable(tmp_path: object) -> None:
    root = f"{tmp_path}/root"
    digests = store(Content(root), b"one", b"two" * 1000, b"three")
    path = pack_paths(root)[0]
    os.chmod(path, 0o644)
    os.truncate(path, os.path.getsize(path) - 100)
    content = Content(root)
    assert [content.read(digest) for digest in digests] == [b"one", b"two" * 1000, b"three"]
    assert [problem[0] for problem in content.check()] == ["corrupt"]


def test_many_packs_are_merged_into_one_index_file(tmp_path: object) -> None:
    root = f"{tmp_path}/root"
    content = Content(root)
    digests = [store(content, b"blob %d" % n)[0] for n in range(60)]
    names = os.listdir(f"{root}/packs/index")
    assert 1 <= len(names) <= 4
    fresh = Content(root)
    assert fresh.have(digests) == set(digests)
    assert [fresh.read(digest) for digest in digests] == [b"blob %d" % n for n in range(60)]


def opens(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    seen: list[str] = []
    real = os.open

    def counted(path: str, *rest: object, **named: object) -> int:
        seen.append(path)
        return real(path, *rest, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "open", counted)
    return seen


def test_opening_many_packs_costs_few_opens(tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> None:
    root = f"{tmp_path}/root"
    content = Content(root)
    digests = [store(content, b"blob %d" % n)[0] for n in range(100)]
    seen = opens(monkeypatch)
    assert Content(root).have(digests[:1]) == set(digests[:1])
    assert len(seen) <= 15


@pytest.mark.parametrize("harm", ["delete", "truncate", "flip", "empty", "directory", "fifo"])
def test_index_files_heal(tmp_path: object, harm: str) -> None:
    root = f"{tmp_path}/root"
    content = Content(root)
    digests = [store(content, b"blob %d" % n)[0] for n in range(20)]
    for name in os.listdir(f"{root}/packs/index"):
        path = f"{root}/packs/index/{name}"
        if harm == "flip":
            for offset in range(0, os.path.getsize(path), 9):
                flip(path, offset)
        elif harm == "truncate":
            os.chmod(path, 0o644)
            os.truncate(path, 100)
        else:
            os.unlink(path)
            if harm == "empty":
                open(path, "wb").close()
            elif harm == "directory":
                os.mkdir(path)
            elif harm == "fifo":
                os.mkfifo(path)
    fresh = Content(root)
    assert fresh.have(digests) == set(digests)
    assert [fresh.read(digest) for digest in digests] == [b"blob %d" % n for n in range(20)]
    assert list(fresh.check()) == []
    store(fresh, b"one more")
    again = PackSet(f"{root}/packs")
    assert again.known({bytes.fromhex(digest) for digest in digests}) == {bytes.fromhex(digest) for digest in digests}


def test_a_damaged_bucket_is_noticed_when_it_is_used(tmp_path: object) -> None:
    root = f"{tmp_path}/root"
    content = Content(root)
    digests = [store(content, b"blob %d" % n)[0] for n in range(9)]
    names = os.listdir(f"{root}/packs/index")
    path = f"{root}/packs/index/{names[0]}"
    flip(path, os.path.getsize(path) - 3)
    fresh = Content(root)
    assert [fresh.read(digest) for digest in digests] == [b"blob %d" % n for n in range(9)]


def test_an_index_file_that_lies_about_a_place_gives_no_wrong_bytes(tmp_path: object) -> None:
    root = f"{tmp_path}/root"
    content = Content(root)
    one, two = store(content, b"one!", b"two!")
    (identity, length, offset) = content.index.find(bytes.fromhex(one))[0]
    lie = encode_index([(bytes.fromhex(two), LOCATION.pack(0, length, offset))], [identity])
    os.makedirs(f"{root}/packs/index", exist_ok=True)
    with open(f"{root}/packs/index/{'0' * 32}.idx", "wb") as file:
        file.write(lie)
    assert Content(root).read(two) == b"two!"
    fresh = Content(root)
    store(fresh, *[b"%d" % n for n in range(3)])
    assert fresh.size(two) == 4


def test_rows_of_a_pack_that_is_gone_are_ignored(tmp_path: object) -> None:
    root = f"{tmp_path}/root"
    content = Content(root)
    digests = [store(content, b"blob %d" % n)[0] for n in range(12)]
    place = content.index.find(bytes.fromhex(digests[0]))[0]
    os.unlink(content.index.pack_path(place[0]))
    assert Content(root).have(digests) == set(digests[1:])


def test_a_full_pack_is_followed_by_another(tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packs, "MAX_ROWS", 10)
    content = Content(f"{tmp_path}/root")
    blobs = [b"%d" % n for n in range(35)]
    with content.batch() as batch:
        for blob in blobs + blobs:
            batch.put_bytes(blob)
        assert batch.added == 35
        batch.publish()
    assert len(pack_paths(content.root)) == 4
    assert [content.read(digest_of(blob)) for blob in blobs] == blobs
    assert list(content.check()) == []


def test_each_pack_of_a_batch_takes_one_descriptor(tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packs, "MAX_ROWS", 2)
    content = Content(f"{tmp_path}/root")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest = os.dup(0)
    os.close(lowest)
    # In use are at least all below it.
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest + 60, hard))
    try:
        with content.batch() as batch:
            for n in range(80):
                batch.put_bytes(b"%d" % n)
            batch.publish()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert len(pack_paths(content.root)) == 40


def test_the_size_of_a_pack_is_known_before_it_is_written(tmp_path: object) -> None:
    root = f"{tmp_path}/root"
    content = Content(root)
    store(content, *[b"%d" % n * n for n in range(1, 300)])
    made = [(digest, length, offset) for digest, _, length, offset in content.index.rows()]
    assert pack_size(made) == os.path.getsize(pack_paths(root)[0])


def test_index_files_of_processes_that_merge_at_once_do_not_grow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = str(tmp_path / "root")
    blobs = 0
    for _ in range(6):
        for _ in range(10):
            # Without its own merge: those below happen at once.
            with monkeypatch.context() as patch, Content(root) as content, content.batch() as batch:
                patch.setattr(PackSet, "merge", lambda *_: None)
                batch.put_bytes(b"%d" % blobs)
                batch.publish()
                blobs += 1
        rivals = [PackSet(f"{root}/packs") for _ in range(3)]
        for rival in rivals:
            rival.refresh()
        for rival in rivals:
            rival.merge()
    fresh = PackSet(f"{root}/packs")
    assert fresh.count == blobs
    assert len(fresh.all_digests()) == blobs
    fresh.merge()
    assert PackSet(f"{root}/packs").count == blobs
    sizes = [path.stat().st_size for path in (tmp_path / "root/packs/index").iterdir()]
    assert sum(sizes) < 4 * 60 * (32 + 16) + 10_000


@pytest.mark.parametrize("number", [errno.EACCES, errno.EIO])
def test_a_pack_that_cannot_be_read_is_no_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    root = f"{tmp_path}/root"
    (digest,) = store(Content(root), b"one")
    opening = os.open

    def refuse(path: str, *arguments: Any, **named: Any) -> int:
        if str(path).endswith(packs.SUFFIX):
            raise OSError(number, os.strerror(number))
        return opening(path, *arguments, **named)

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(StorageError, match=f"cannot read .*: {os.strerror(number).lower()}"):
        Content(root).read(digest)
    monkeypatch.undo()
    assert Content(root).read(digest) == b"one"


def test_a_directory_in_the_place_of_a_pack_is_damage(tmp_path: Path) -> None:
    root = f"{tmp_path}/root"
    (digest,) = store(Content(root), b"one")
    path = pack_paths(root)[0]
    os.unlink(path)
    os.mkdir(path)
    with pytest.raises(IntegrityError):
        Content(root).read(digest)
