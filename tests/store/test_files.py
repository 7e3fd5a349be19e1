"""The file-system calls of the store: create-exclusive, replace, directories, and that nothing leads out of a root."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from regcli.errors import IntegrityError, OutcomeUnknownError, StorageError
from regcli.store import files


def leftovers(directory: Path) -> list[str]:
    return [path.name for path in directory.iterdir() if path.name.startswith(".tmp-")]


def test_create_exclusive_makes_a_file_once(tmp_path: Path) -> None:
    path = tmp_path / "f"
    assert files.create_exclusive(str(path), b"first") is True
    assert files.create_exclusive(str(path), b"second") is False
    assert path.read_bytes() == b"first"
    assert path.stat().st_mode & 0o777 == 0o444
    assert path.stat().st_nlink == 1
    assert leftovers(tmp_path) == []


def test_of_many_processes_one_makes_the_file(tmp_path: Path) -> None:
    program = (
        "import sys; from regcli.store import files\n"
        "won = [n for n in range(50) if files.create_exclusive(f'{sys.argv[1]}/{n}', sys.argv[2].encode())]\n"
        "print(*won)"
    )
    racers = [
        subprocess.Popen([sys.executable, "-c", program, str(tmp_path), name], stdout=subprocess.PIPE, text=True)
        for name in "abcd"
    ]
    won = {name: racer.communicate()[0].split() for name, racer in zip("abcd", racers, strict=True)}
    assert sorted(int(number) for numbers in won.values() for number in numbers) == list(range(50))
    for name, numbers in won.items():
        for number in numbers:
            assert (tmp_path / number).read_text() == name


def test_the_bytes_are_synced_before_the_name_and_the_name_before_the_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []

    def watch(name: str) -> None:
        real = getattr(os, name)

        def call(*arguments: Any, **more: Any) -> Any:
            kind = name
            if name == "fsync":
                kind = "fsync-directory" if os.path.isdir(f"/proc/self/fd/{arguments[0]}") else "fsync-file"
            done.append(kind)
            return real(*arguments, **more)

        monkeypatch.setattr(os, name, call)

    for name in ("write", "fsync", "link"):
        watch(name)
    monkeypatch.setattr(os, "supports_follow_symlinks", {os.link})
    files.create_exclusive(str(tmp_path / "f"), b"bytes")
    assert done == ["write", "fsync-file", "link", "fsync-directory"]


@pytest.mark.parametrize("call", ["open", "write", "fchmod", "fsync", "link"])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EDQUOT, errno.EROFS, errno.EACCES])
def test_a_failure_before_the_name_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, number: int
) -> None:
    def fail(*_: Any, **__: Any) -> Any:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, call, fail)
    monkeypatch.setattr(os, "supports_follow_symlinks", {os.link})
    with pytest.raises(StorageError, match=f"cannot write .*: {os.strerror(number).lower()}") as caught:
        files.create_exclusive(str(tmp_path / "f"), b"bytes")
    assert not isinstance(caught.value, OutcomeUnknownError)
    assert list(tmp_path.iterdir()) == []


def test_a_link_whose_answer_was_lost_is_recognized(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On NFS the server may have done what the client is told has failed."""
    link = os.link

    def lose_the_answer(*arguments: Any, **more: Any) -> None:
        link(*arguments, **more)
        raise FileExistsError(errno.EEXIST, "File exists")

    monkeypatch.setattr(os, "link", lose_the_answer)
    assert files.create_exclusive(str(tmp_path / "f"), b"ours") is True
    assert files.create_exclusive(str(tmp_path / "f"), b"theirs") is False
    assert (tmp_path / "f").read_bytes() == b"ours"


def test_without_hard_links_a_rename_that_does_not_replace_serves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    assert files.create_exclusive(str(tmp_path / "f"), b"first") is True
    assert files.create_exclusive(str(tmp_path / "f"), b"second") is False
    assert (tmp_path / "f").read_bytes() == b"first"
    assert leftovers(tmp_path) == []


def test_replace_file_replaces_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "f"
    files.replace_file(str(path), b"one")
    files.replace_file(str(path), b"two", durable=True)
    assert path.read_bytes() == b"two"

    def fail(*_: Any) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "write", fail)
    with pytest.raises(OSError, match="No space"):
        files.replace_file(str(path), b"three")
    assert path.read_bytes() == b"two"
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize("size", [0, 1, 4096, 100_000])
def test_read_document_reads_whole_files(tmp_path: Path, size: int) -> None:
    (tmp_path / "f").write_bytes(b"x" * size)
    assert files.read_document(str(tmp_path / "f")) == b"x" * size


def test_read_document_takes_what_the_kernel_gives_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = bytes(range(256)) * 100
    (tmp_path / "f").write_bytes(data)
    read = os.read
    monkeypatch.setattr(os, "read", lambda descriptor, count: read(descriptor, min(count, 1000)))
    assert files.read_document(str(tmp_path / "f")) == data


@pytest.mark.parametrize("kind", ["directory", "fifo", "link", "dangling", "large", "device"])
def test_read_document_refuses_what_is_no_small_file(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "f"
    if kind == "directory":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "large":
        with path.open("wb") as huge:
            huge.truncate(1 << 40)
    elif kind == "device":
        path = Path("/dev/zero")
    else:
        path.symlink_to("/etc/hostname" if kind == "link" else "/nowhere")
    with pytest.raises(IntegrityError, match=r"not a regular file|larger than"):
        files.read_document(str(path))


def test_a_missing_document_is_told_from_a_damaged_one(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        files.read_document(str(tmp_path / "f"))


def test_not_knowing_is_not_no(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "link").symlink_to("nowhere")
    assert files.is_there(f"{tmp_path}/file")
    assert files.is_there(f"{tmp_path}/link")
    assert not files.is_there(f"{tmp_path}/none")
    assert not files.is_there(f"{tmp_path}/file/none")

    def fail(path: str) -> None:
        raise OSError(errno.EIO, "Input/output error", path)

    monkeypatch.setattr(os, "lstat", fail)
    with pytest.raises(StorageError, match=r"cannot read .*: input/output error"):
        files.is_there(f"{tmp_path}/file")


def test_make_directories_makes_the_whole_path_durable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[str] = []
    monkeypatch.setattr(files, "fsync_directory", synced.append)
    files.make_directories(f"{tmp_path}/a/b/c")
    assert synced == [str(tmp_path), f"{tmp_path}/a", f"{tmp_path}/a/b"]


def test_a_directory_made_by_somebody_who_was_killed_is_synced_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a").mkdir()
    synced: list[str] = []
    monkeypatch.setattr(files, "fsync_directory", synced.append)
    files.make_directories(f"{tmp_path}/a")
    assert synced == [str(tmp_path)]
    # Old names have reached the disk by themselves; a clock that was set back does not make them so.
    for age, expected in ((3600, []), (-3600, [str(tmp_path)])):
        synced.clear()
        os.utime(tmp_path, (time.time() - age, time.time() - age))
        files.make_directories(f"{tmp_path}/a")
        assert synced == expected


def test_a_file_in_the_way_of_a_directory_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("")
    with pytest.raises(OSError, match="Not a directory"):
        files.make_directories(f"{tmp_path}/a/b")


def test_what_stands_in_the_way_of_a_derived_file_is_moved_not_deleted(tmp_path: Path) -> None:
    for name in ("empty", "full"):
        (tmp_path / name).mkdir()
    (tmp_path / "full" / "treasure").write_text("not ours")
    for name in ("empty", "full", "nothing"):
        files.remove_obstacle(str(tmp_path / name), str(tmp_path))
        assert not (tmp_path / name).exists()
    (moved,) = tmp_path.iterdir()
    assert (moved / "treasure").read_text() == "not ours"


def test_a_directory_of_a_root_is_told_from_one_behind_a_link(tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "a/b/c").mkdir(parents=True)
    (tmp_path / "elsewhere/a/b/c").mkdir(parents=True)
    (tmp_path / "way").symlink_to(tmp_path)
    for top in (root, tmp_path / "way/root"):
        for place in ("", "/.", "/a", "/a/b/c"):
            os.close(files.open_within(str(top), f"{top}{place}"))
    (root / "link").symlink_to(tmp_path / "elsewhere/a")
    (root / "a/up").symlink_to("..")
    for place, link in (("link", "link"), ("link/b", "link"), ("link/b/c", "link"), ("a/up/a", "a/up")):
        with pytest.raises(IntegrityError, match=f"{root}/{link} is a symbolic link, which is not followed in a root"):
            files.open_within(str(root), f"{root}/{place}")
    for name in ("new", "b/new", "b/c/new/er"):
        with pytest.raises(IntegrityError, match="symbolic link"):
            files.make_within(str(root), f"{root}/link/{name}")
    with pytest.raises(FileNotFoundError):
        files.open_within(str(root), f"{root}/a/none")


def test_a_directory_that_is_swapped_after_the_look_is_written_to_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    opening = os.open

    def swap(path: str, flags: int, *arguments: Any, **named: Any) -> int:
        if flags & os.O_CREAT and (root / "a").is_dir() and not (root / "a").is_symlink():
            (root / "a").rename(root / "real")
            (root / "a").symlink_to(outside)
        return opening(path, flags, *arguments, **named)

    def write(path: str) -> None:
        if number:
            files.create_exclusive(path, b"bytes", root=str(root))
        else:
            files.replace_file(path, b"bytes", root=str(root))

    for number in range(2):
        (root / "a/b").mkdir(parents=True)
        (outside / "b").mkdir(parents=True, exist_ok=True)
        with monkeypatch.context() as patch:
            patch.setattr(os, "open", swap)
            write(f"{root}/a/b/f")
        assert (root / "real/b/f").read_bytes() == b"bytes"
        assert os.listdir(outside / "b") == []
        root.rename(tmp_path / f"done{number}")


def test_in_a_set_gid_directory_of_a_root_permissions_go_on(tmp_path: Path) -> None:
    tmp_path.chmod(0o3775)
    before = os.umask(0o077)
    try:
        files.make_within(str(tmp_path), f"{tmp_path}/a/b")
        files.make_within(str(tmp_path), f"{tmp_path}/own", 0o755)
    finally:
        os.umask(before)
    assert [(tmp_path / name).stat().st_mode & 0o7777 for name in ("a", "a/b")] == [0o3775, 0o3775]
    assert (tmp_path / "own").stat().st_mode & 0o077 == 0
