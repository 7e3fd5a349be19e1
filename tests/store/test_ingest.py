from __future__ import annotations

import hashlib
import os
import re
import socket
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest

from regcli.errors import MissingPathError, SourceChangedError, StorageError, UsageError
from regcli.store import packs, statcache, walk
from regcli.store.content import Content
from regcli.store.ingest import Source, ingest
from regcli.store.manifest import EXECUTABLE, InvalidPathError, manifest_digest
from regcli.store.statcache import KEY, StatCache, is_settled
from regcli.store.walk import Walk
from tests.store.content_cases import all_files, collision, digest_of, litter, log, make_tree, settle, store

LARGE = packs.SMALL + 1000
TREE = {
    "config.json": b"{}",
    "empty": b"",
    "a/one": b"one",
    "a/b/two": b"two" * 1000,
    "a-b/three": b"three",
    "large.bin": b"x" * LARGE,
    "line\nbreak": b"newline",
    "\x1b[31mred": b"escape",
    "모델": b"korean",
    "back\\slash": b"backslash",
    ".hidden": b"hidden",
}


@pytest.fixture
def content(tmp_path: object) -> Content:
    return Content(f"{tmp_path}/root")


@pytest.fixture
def tree(tmp_path: object) -> str:
    return make_tree(f"{tmp_path}/tree", TREE)


@pytest.fixture
def cache(tmp_path: object) -> StatCache:
    return StatCache(f"{tmp_path}/cache")


def contents(content: Content, entries: list[tuple[str, str, int, int, object]]) -> dict[str, bytes]:
    return {entry[0]: content.read(entry[1]) for entry in entries}


def test_a_tree_is_taken_whole(content: Content, tree: str) -> None:
    result = log(content, tree)
    assert contents(content, result.entries) == TREE  # type: ignore[arg-type]
    assert result.entries == sorted(result.entries)
    assert (result.files, result.bytes, result.bytes_read) == (len(TREE), sum(map(len, TREE.values())), result.bytes)
    assert all(entry[2] == len(TREE[entry[0]]) and entry[3] == 0 and entry[4] is None for entry in result.entries)


def test_a_prefix_and_single_files(content: Content, tree: str) -> None:
    with content.batch() as batch:
        result = ingest(batch, [Source(f"{tree}/a", "in/side"), Source(f"{tree}/config.json"), Source(f"{tree}/empty", "x")])
        batch.publish()
    assert [entry[0] for entry in result.entries] == ["config.json", "in/side/b/two", "in/side/one", "x/empty"]


def test_pairs_are_placed_as_asked(content: Content, tree: str) -> None:
    with content.batch() as batch:
        result = ingest(batch, [("./p//q", f"{tree}/config.json"), ("r", f"{tree}/large.bin")])
        batch.publish()
    assert contents(content, result.entries) == {"p/q": b"{}", "r": b"x" * LARGE}  # type: ignore[arg-type]
    with pytest.raises(InvalidPathError):
        ingest(None, [("../p", f"{tree}/config.json")])


def test_an_empty_directory_gives_no_entries(content: Content, tmp_path: object) -> None:
    os.makedirs(f"{tmp_path}/nothing/inside")
    assert log(content, f"{tmp_path}/nothing").entries == []


def test_a_dry_run_writes_nothing(content: Content, tree: str) -> None:
    result = ingest(None, [Source(tree)], store_root=content.root)
    assert not os.path.exists(content.root)
    assert result.entries == log(content, tree).entries


def test_the_executable_bit_is_kept(content: Content, tree: str) -> None:
    os.chmod(f"{tree}/a/one", 0o744)
    flags = {entry[0]: entry[3] for entry in log(content, tree).entries}
    assert flags["a/one"] == EXECUTABLE
    assert sum(flags.values()) == 1


def test_md5_is_added_for_md5_artifacts(content: Content, tree: str, cache: StatCache) -> None:
    for _ in range(2):
        entries = log(content, tree, algorithm="MD5", cache=cache).entries
        assert {entry[0]: entry[4]["md5"] for entry in entries if entry[4]} == {
            path: hashlib.md5(data).hexdigest() for path, data in TREE.items()
        }


# Links and special files


def test_links_to_files_are_followed_and_links_to_directories_are_not(content: Content, tree: str) -> None:
    os.symlink("config.json", f"{tree}/link")
    os.symlink("a", f"{tree}/directory-link")
    result = log(content, tree)
    assert contents(content, result.entries) == {**TREE, "link": b"{}"}  # type: ignore[arg-type]
    assert result.skipped_links == ["directory-link"]


def test_links_to_directories_are_followed_when_asked_and_cycles_are_cut(content: Content, tree: str, tmp_path: object) -> None:
    make_tree(f"{tmp_path}/outside", {"f": b"outside"})
    os.symlink(f"{tmp_path}/outside", f"{tree}/out")
    os.symlink("..", f"{tree}/a/up")
    os.symlink(".", f"{tree}/self")
    result = log(content, tree, follow_directory_links=True)
    assert contents(content, result.entries) == {**TREE, "out/f": b"outside"}  # type: ignore[arg-type]


def test_a_source_that_is_a_link_to_a_directory_is_followed(content: Content, tree: str, tmp_path: object) -> None:
    os.symlink(tree, f"{tmp_path}/link")
    assert log(content, f"{tmp_path}/link").files == len(TREE)


@pytest.mark.parametrize("kind", ["dangling", "loop", "fifo", "socket"])
def test_what_cannot_be_logged_is_refused_by_name(content: Content, tree: str, kind: str) -> None:
    path = f"{tree}/a/odd"
    if kind == "dangling":
        os.symlink("nowhere", path)
    elif kind == "loop":
        os.symlink("odd", path)
    elif kind == "fifo":
        os.mkfifo(path)
    else:
        # A socket's name may not be as long as a path.
        here = os.getcwd()
        os.chdir(f"{tree}/a")
        with socket.socket(socket.AF_UNIX) as bound:
            bound.bind("odd")
        os.chdir(here)
    for source in (tree, path):
        # A link that is named itself is a name for nothing; one in a directory makes the directory what cannot be logged.
        with pytest.raises(MissingPathError if kind == "dangling" and source == path else UsageError, match="odd"):
            log(content, source)
    assert log(content, f"{tree}/a/b").files == 1


def test_a_missing_source_is_named(content: Content, tmp_path: object) -> None:
    with pytest.raises(MissingPathError, match="no file or directory"):
        log(content, f"{tmp_path}/nowhere")


def test_names_that_are_not_utf8_are_refused(content: Content, tree: str) -> None:
    with open(os.fsencode(tree) + b"/caf\xe9", "wb"):
        pass
    with pytest.raises(InvalidPathError, match="not UTF-8"):
        log(content, tree)


@pytest.mark.parametrize("name", ["C:evil", "..\\evil", "\\evil"])
def test_names_that_windows_would_follow_out_are_refused(content: Content, tree: str, name: str) -> None:
    with open(f"{tree}/{name}", "wb"):
        pass
    with pytest.raises(InvalidPathError, match="leaves"):
        log(content, tree)


def test_the_store_is_never_logged_into_itself(tree: str) -> None:
    inside = Content(f"{tree}/a/.regcli")
    store(inside, b"something")
    assert log(inside, tree).files == len(TREE)


# Leaving out


def paths(content: Content, tree: str, *exclude: str) -> set[str]:
    with content.batch() as batch:
        return {entry[0] for entry in ingest(batch, [Source(tree, exclude=exclude)]).entries}


def test_exclude_takes_gitignore_patterns(content: Content, tree: str) -> None:
    every = set(TREE)
    assert paths(content, tree, "b/") == every - {"a/b/two"}
    assert paths(content, tree, "/a/*", "!/a/one") == every - {"a/b/two"}
    assert paths(content, tree, "*.bin", "*.json") == every - {"large.bin", "config.json"}
    assert paths(content, tree, "a") == every - {"a/one", "a/b/two"}
    assert paths(content, tree, "**/two") == every - {"a/b/two"}


def test_excluded_directories_are_not_entered(content: Content, tree: str) -> None:
    os.mkfifo(f"{tree}/a/fifo")
    os.chmod(f"{tree}/a/b", 0)
    assert paths(content, tree, "a/") == set(TREE) - {"a/one", "a/b/two"}
    os.chmod(f"{tree}/a/b", 0o755)


def test_ignore_files_hold_below_their_directory(content: Content, tree: str) -> None:
    make_tree(
        tree,
        {
            ".regcliignore": b"# comment\n\n*.tmp\n/top\n",
            "top": b"",
            "x.tmp": b"",
            "a/top": b"kept",
            "a/x.tmp": b"",
            "a/b/.regcliignore": b"!keep.tmp\nother\n",
            "a/b/keep.tmp": b"kept",
            "a/b/other": b"",
            "other": b"kept",
        },
    )
    found = paths(content, tree)
    assert found == set(TREE) | {".regcliignore", "a/top", "a/b/.regcliignore", "a/b/keep.tmp", "other"}
    assert "a/b/keep.tmp" not in paths(content, tree, "keep.tmp")


def test_pathspec_is_imported_only_when_there_are_patterns(tree: str) -> None:
    heavy = "('pathspec','re','json','typing','dataclasses','hashlib','threading','ctypes','pathlib')"
    script = (
        "import sys; sys.path[:0] = sys.argv[2:]\n"
        "from regcli.store.ingest import *\n"
        "ingest(None, [Source(sys.argv[1])])\n"
        f"print([m for m in {heavy} if m in sys.modules])"
    )
    # Without the site module, which imports what it likes.
    command = [sys.executable, "-S", "-c", script, tree, *sys.path]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip() == "[]"


# Several sources


def test_two_sources_may_give_the_same_but_not_different_content(content: Content, tmp_path: object) -> None:
    one = make_tree(f"{tmp_path}/one", {"same": b"same", "x": b"1"})
    two = make_tree(f"{tmp_path}/two", {"same": b"same", "y": b"2"})
    three = make_tree(f"{tmp_path}/three", {"same": b"other"})
    four = make_tree(f"{tmp_path}/four", {"same/x": b"1"})
    with content.batch() as batch:
        assert [entry[0] for entry in ingest(batch, [Source(one), Source(two)]).entries] == ["same", "x", "y"]
        with pytest.raises(UsageError, match="different content for 'same'"):
            ingest(batch, [Source(one), Source(three)])
        with pytest.raises(UsageError, match="both a file and a directory"):
            ingest(batch, [Source(one), Source(four)])


def test_a_collision_inside_one_tree_is_found(content: Content, tmp_path: object) -> None:
    from regcli.errors import DigestCollisionError

    first, second = collision()
    tree = make_tree(f"{tmp_path}/tree", {"a": first, "b": second})
    with pytest.raises(DigestCollisionError):
        log(content, tree)


# The stat cache


def test_unchanged_files_are_not_read_again(content: Content, tree: str, cache: StatCache) -> None:
    settle(tree)
    first = log(content, tree, cache=cache)
    second = log(content, tree, cache=cache)
    assert second.entries == first.entries
    assert (first.bytes_read, second.bytes_read) == (first.bytes, 0)
    assert log(content, tree, cache=cache, rehash=True).bytes_read == first.bytes


def test_a_tree_that_is_as_before_needs_no_entries(content: Content, tree: str, cache: StatCache) -> None:
    settle(tree)
    first = log(content, tree, cache=cache)
    assert first.digest == manifest_digest(first.entries)
    again = log(content, tree, cache=cache, unless=first.digest)
    assert (again.is_as_before, again.entries, again.digest) == (True, [], first.digest)
    assert (again.files, again.bytes, again.bytes_read) == (first.files, first.bytes, 0)
    # Who has something else, or wants to be sure, gets the entries.
    assert log(content, tree, cache=cache, unless="0" * 32).entries == first.entries
    assert log(content, tree, cache=cache, unless=first.digest, rehash=True).entries == first.entries
    assert log(content, tree, cache=cache, unless=first.digest, link_mode="move").entries == first.entries
    assert log(content, tree, unless=first.digest).entries == first.entries


CHANGES = {
    "content": lambda top: rewrite(f"{top}/a/one", b"eno"),
    "size": lambda top: rewrite(f"{top}/a/one", b"longer"),
    "new file": lambda top: rewrite(f"{top}/a/new", b""),
    "removed": lambda top: os.unlink(f"{top}/a/one"),
    "renamed": lambda top: os.rename(f"{top}/a/one", f"{top}/a/eno"),
    "moved": lambda top: os.rename(f"{top}/a/one", f"{top}/a/b/one"),
    "swapped": lambda top: swap(f"{top}/a/one", f"{top}/empty"),
    "executable": lambda top: os.chmod(f"{top}/a/one", 0o755),
    "directory renamed": lambda top: os.rename(f"{top}/a", f"{top}/z"),
    "ignored": lambda top: rewrite(f"{top}/.regcliignore", b"one\n"),
}


def swap(one: str, other: str) -> None:
    """Let two files change their names."""
    os.rename(one, f"{one}.swap")
    os.rename(other, one)
    os.rename(f"{one}.swap", other)


def rewrite(path: str, data: bytes) -> None:
    """Write a file, and give it the times that it had."""
    status = os.stat(path) if os.path.exists(path) else None
    with open(path, "wb") as file:
        file.write(data)
    if status is not None:
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


@pytest.mark.parametrize("change", CHANGES)
def test_every_change_shows_in_the_listing(content: Content, tree: str, cache: StatCache, change: str) -> None:
    settle(tree)
    first = log(content, tree, cache=cache)
    CHANGES[change](tree)
    again = log(content, tree, cache=cache, unless=first.digest)
    assert not again.is_as_before
    assert again.entries == log(content, tree).entries != first.entries


def test_the_place_in_the_artifact_and_what_is_left_out_are_part_of_the_listing(
    content: Content, tree: str, cache: StatCache
) -> None:
    settle(tree)
    first = log(content, tree, cache=cache)
    for source in (Source(tree, "below"), Source(tree, exclude=["one"])):
        with content.batch() as batch:
            other = ingest(batch, [source], cache=cache, unless=first.digest)
        assert not other.is_as_before
        assert other.entries == ingest(None, [source]).entries != first.entries


def test_a_tree_with_young_files_is_looked_at_again(content: Content, tree: str, cache: StatCache, tmp_path: object) -> None:
    settle(tree)
    first = log(content, tree, cache=cache)
    with open(f"{tree}/young", "wb") as file:
        file.write(b"1")
    second = log(content, tree, cache=cache, unless=first.digest)
    third = log(content, tree, cache=cache, unless=second.digest or manifest_digest(second.entries))
    assert not third.is_as_before
    assert third.bytes_read == 1


def test_a_listing_is_the_same_however_inodes_are_numbered() -> None:
    statuses = [os.stat("/"), os.stat("/usr")]
    one_by_one = b"".join(statcache.ROW.pack(statcache.make_key(status), status.st_mode) for status in statuses)
    assert statcache.pack_rows(statuses) == one_by_one
    assert statcache.pack_rows([]) == b""
    huge = SimpleNamespace(st_dev=1, st_ino=1 << 63, st_size=5, st_mtime_ns=-1, st_ctime_ns=2, st_mode=0o100644)
    assert statcache.ROW.unpack(statcache.pack_rows([huge])) == (KEY.pack(1, 1 << 63, 5, -1, 2), 0o100644)  # type: ignore[list-item]


def test_changes_are_read(content: Content, tree: str, cache: StatCache) -> None:
    settle(tree)
    log(content, tree, cache=cache)
    status = os.stat(f"{tree}/a/one")
    with open(f"{tree}/a/one", "wb") as file:
        file.write(b"eno")
    os.utime(f"{tree}/a/one", ns=(status.st_atime_ns, status.st_mtime_ns))
    second = log(content, tree, cache=cache)
    assert second.bytes_read == 3
    assert contents(content, second.entries)["a/one"] == b"eno"  # type: ignore[arg-type]


def test_young_files_are_not_remembered(content: Content, tree: str, cache: StatCache) -> None:
    log(content, tree, cache=cache)
    later = int(time.time_ns())
    status = os.stat(f"{tree}/a/one")
    key = KEY.pack(status.st_dev, status.st_ino, 3, later - 1000, later - 1000)
    assert not is_settled(key, later)
    with open(f"{tree}/a/one", "wb") as file:
        file.write(b"1st")
    log(content, tree, cache=cache)
    with open(f"{tree}/a/one", "wb") as file:
        file.write(b"2nd")
    assert contents(content, log(content, tree, cache=cache).entries)["a/one"] == b"2nd"  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("device", "mtime", "ctime", "age", "expected"),
    [
        (os.makedev(8, 1), 123_456, 123_456, 50_000_000, False),
        (os.makedev(8, 1), 123_456, 123_456, 150_000_000, True),
        (os.makedev(0, 5), 123_456, 123_456, 150_000_000, False),
        (os.makedev(8, 1), 0, 123_456, 150_000_000, False),
        (os.makedev(8, 1), 0, 0, 1_999_000_000, False),
        (os.makedev(0, 5), 0, 0, 2_001_000_000, True),
        (os.makedev(8, 1), 123_456, 123_456, -5_000_000_000, False),
    ],
)
def test_the_grain_depends_on_the_file_system(device: int, mtime: int, ctime: int, age: int, expected: bool) -> None:
    base = 1_700_000_000_000_000_000
    key = KEY.pack(device, 1, 3, base + mtime, base + ctime)
    assert is_settled(key, base + max(mtime, ctime) + age) is expected


@pytest.mark.parametrize("file", ["rows", "summary"])
@pytest.mark.parametrize("harm", ["flip", "truncate", "empty", "delete", "fifo", "directory", "link", "other"])
def test_a_damaged_cache_is_an_empty_cache(
    content: Content, tree: str, cache: StatCache, tmp_path: object, harm: str, file: str
) -> None:
    settle(tree)
    first = log(content, tree, cache=cache)
    name = sorted(os.listdir(f"{tmp_path}/cache"))[file == "summary"]
    path = f"{tmp_path}/cache/{name}"
    data = all_files(f"{tmp_path}/cache")[name]
    os.unlink(path)
    if harm == "fifo":
        os.mkfifo(path)
    elif harm == "directory":
        os.mkdir(path)
    elif harm == "link":
        os.symlink("/dev/zero", path)
    elif harm != "delete":
        changed = {
            "flip": data[:70] + bytes([data[70] ^ 1]) + data[71:],
            "truncate": data[:-1],
            "empty": b"",
            "other": b"something else entirely, and long enough",
        }
        with open(path, "wb") as stream:
            stream.write(changed[harm])
    again = log(content, tree, cache=cache, unless=first.digest if file == "summary" else None)
    assert again.entries == first.entries
    assert again.bytes_read == (first.bytes if file == "rows" else 0)


def test_a_cache_that_cannot_be_written_is_no_error(content: Content, tree: str, tmp_path: object) -> None:
    with open(f"{tmp_path}/file", "wb"):
        pass
    assert log(content, tree, cache=StatCache(f"{tmp_path}/file/cache")).files == len(TREE)


def test_the_cache_is_believed_only_as_far_as_the_store_has_the_blobs(tree: str, cache: StatCache, tmp_path: object) -> None:
    settle(tree)
    log(Content(f"{tmp_path}/one"), tree, cache=cache)
    other = Content(f"{tmp_path}/two")
    store(other, b"one")
    result = log(other, tree, cache=cache)
    assert result.bytes_read == result.bytes - 3
    assert contents(other, result.entries) == TREE  # type: ignore[arg-type]


def test_rows_of_files_that_are_gone_are_dropped(tmp_path: object) -> None:
    section = StatCache(f"{tmp_path}/cache").section("x")
    section.known.update({KEY.pack(1, n, 0, 0, 0): b"d" * 16 for n in range(1000)})
    section.fresh += KEY.pack(1, 5000, 0, 0, 0) + b"e" * 16
    section.save(10)
    assert len(StatCache(f"{tmp_path}/cache").section("x").known) == 1


# Changing sources


def test_a_file_that_changes_while_it_is_read_is_read_again(
    content: Content, tree: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.read
    done: list[bool] = []

    def read(descriptor: int, size: int) -> bytes:
        data = real(descriptor, size)
        if data == b"one" and not done:
            done.append(True)
            with open(f"{tree}/a/one", "wb") as file:
                file.write(b"ONE!")
        return data

    monkeypatch.setattr(os, "read", read)
    result = log(content, tree)
    assert contents(content, result.entries)["a/one"] == b"ONE!"  # type: ignore[arg-type]
    assert {entry[0]: entry[2] for entry in result.entries}["a/one"] == 4


def test_a_file_that_vanishes_is_named(content: Content, tree: str, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.open

    def vanish(path: str, *rest: object, **named: object) -> int:
        if path == "one":
            os.unlink(f"{tree}/a/one")
        return real(path, *rest, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "open", vanish)
    with pytest.raises(SourceChangedError, match="a/one vanished"):
        log(content, tree)
    assert litter(content.root) == []


def test_what_vanishes_during_the_walk_is_named(tree: str, monkeypatch: pytest.MonkeyPatch) -> None:
    going = Walk(tree).directories()
    next(going)
    os.rename(f"{tree}/a", f"{tree}/elsewhere")
    with pytest.raises(SourceChangedError, match=f"^{re.escape(tree)}/a vanished"):
        list(going)
    os.rename(f"{tree}/elsewhere", f"{tree}/a")
    monkeypatch.setattr(walk, "CHUNK", 1)
    going = Walk(tree).directories()
    next(going)
    for path in all_files(tree):
        os.unlink(os.path.join(tree, path))
    with pytest.raises(SourceChangedError, match=f"^{re.escape(tree)}/.+ vanished"):
        list(going)


@pytest.mark.parametrize("call", ["open", "read", "fstat", "scandir"])
def test_failing_reads_name_the_file(content: Content, tree: str, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    real = getattr(os, call)
    at = 0
    while True:
        seen = [0]

        def failing(*arguments: object, at: int = at, seen: list[int] = seen, **named: object) -> object:
            seen[0] += 1
            if seen[0] == at + 1:
                raise OSError(5, "Input/output error")
            return real(*arguments, **named)

        with monkeypatch.context() as patch:
            patch.setattr(os, call, failing)
            try:
                ingest(None, [Source(tree)])
            except StorageError as error:
                assert tree in error.message  # noqa: PT017
                assert "input/output error" in error.message  # noqa: PT017
            else:
                if seen[0] <= at:
                    break
        at += 1
    assert at >= 2


# Sharing instead of copying


def test_hardlinked_sources_share_their_bytes_and_become_read_only(content: Content, tree: str) -> None:
    os.chmod(f"{tree}/a/one", 0o755)
    result = log(content, tree, link_mode="hardlink")
    assert contents(content, result.entries) == TREE  # type: ignore[arg-type]
    assert {entry[0]: entry[3] for entry in result.entries}["a/one"] == EXECUTABLE
    for path in TREE:
        status = os.stat(f"{tree}/{path}")
        assert status.st_nlink == 2
        assert status.st_mode & 0o222 == 0
    assert list(content.check()) == []
    assert litter(content.root) == []


def test_a_shared_file_that_comes_under_two_names_becomes_read_only_too(content: Content, tmp_path: object) -> None:
    top = make_tree(f"{tmp_path}/twice", {"a": b"one" * 1000, "c": b"two" * 1000})
    os.symlink("a", f"{top}/b")
    os.symlink("c", f"{top}/0")
    result = log(content, top, link_mode="hardlink")
    assert len(result.entries) == 4
    for name in ("a", "c"):
        status = os.stat(f"{top}/{name}")
        assert (status.st_nlink, status.st_mode & 0o222) == (2, 0)


def test_hardlinking_across_file_systems_copies(content: Content, tree: str, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.link

    def refuse(source: str, *rest: object, **named: object) -> None:
        if source.startswith(tree):
            raise OSError(18, "Invalid cross-device link")
        real(source, *rest, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "link", refuse)
    result = log(content, tree, link_mode="hardlink")
    assert contents(content, result.entries) == TREE  # type: ignore[arg-type]


def test_moved_sources_go_when_the_caller_says_so(content: Content, tree: str) -> None:
    result = log(content, tree, link_mode="move")
    assert set(all_files(tree)) == set(TREE)
    with open(f"{tree}/config.json", "wb") as file:
        file.write(b"edited since")
    stayed = result.remove_sources()
    assert stayed == [f"{tree}/config.json"]
    assert set(all_files(tree)) == {"config.json"}
    assert contents(content, result.entries) == TREE  # type: ignore[arg-type]


def test_progress_is_told(content: Content, tree: str) -> None:
    calls: list[tuple[int, int]] = []
    result = log(content, tree, progress=lambda files, size: calls.append((files, size)))
    assert calls[-1] == (result.files, result.bytes)
    assert calls == sorted(calls)


def test_large_directories_come_in_parts(content: Content, tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> None:
    from regcli.store import walk

    monkeypatch.setattr(walk, "CHUNK", 10)
    tree = {f"f{n:03}": b"%d" % n for n in range(95)}
    assert contents(content, log(content, make_tree(f"{tmp_path}/t", tree)).entries) == tree  # type: ignore[arg-type]


def test_deep_trees_are_walked(content: Content, tmp_path: object) -> None:
    path = "/".join(["d"] * 1500) + "/f"
    top = f"{tmp_path}/deep"
    os.makedirs(top)
    descriptor = os.open(top, os.O_RDONLY)
    for _ in range(1500):
        os.mkdir("d", dir_fd=descriptor)
        below = os.open("d", os.O_RDONLY, dir_fd=descriptor)
        os.close(descriptor)
        descriptor = below
    os.close(os.open("f", os.O_CREAT | os.O_WRONLY, dir_fd=descriptor))
    os.close(descriptor)
    assert [entry[0] for entry in log(content, top).entries] == [path]
    # Too deep for Python's own removal.
    subprocess.run(["rm", "-rf", top], check=True)


def test_cache_constants_are_what_the_format_says() -> None:
    assert KEY.size == 40
    assert digest_of(b"") == "99aa06d3014798d86001c324468d497f"
    assert statcache.no_section("MD5").known == {}
