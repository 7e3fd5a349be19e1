"""Somebody changes files at the same moment: the source of a log, and the target of a download."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from typing import Self

    from tests.conftest import Result

    Run = Callable[..., Result]


SWAPPER = """\
import os, shutil, sys
target, outside = sys.argv[1:]
while True:
    for name in ('a', 'c'):
        path = f'{target}/{name}'
        try:
            if os.path.islink(path): os.unlink(path)
            else:
                os.rename(path, f'{target}/.gone')
                os.symlink(f'{outside}/{name}', path)
                shutil.rmtree(f'{target}/.gone', ignore_errors=True)
        except OSError: pass
"""


class Meanwhile:
    """Does something in a loop, in a thread, inside a `with` block."""

    def __init__(self, action: Callable[[], None]) -> None:
        self._action = action
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._loop)
        self.rounds = 0

    def _loop(self) -> None:
        while not self._stop.is_set():
            try:
                self._action()
            except OSError:
                continue
            self.rounds += 1

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


@pytest.mark.parametrize("size", [100, 300_000, 1_500_000])
@pytest.mark.parametrize("mode", ["copy", "hardlink", "move"])
def test_a_source_that_changes_is_stored_whole_or_refused(invoke: Run, work: Path, size: int, mode: str) -> None:
    """What a version has is what its digest says: a copy always, a file that is shared until somebody writes to it."""
    source = work / "source"

    def change() -> None:
        with source.open("r+b") as stream:
            for letter in b"abc":
                stream.seek(0)
                stream.write(bytes([letter]) * size)

    source.write_bytes(b"a" * size)
    logged = 0
    with Meanwhile(change) as meanwhile:
        for _ in range(6):
            if not source.exists():
                source.write_bytes(b"a" * size)
            done = invoke("log", "source", "-n", "zoo", "-t", "model", "--link-mode", mode)
            # 6: what was shared before has been written to meanwhile, so that it is no longer what its digest says.
            assert done.code in ((0, 8) if mode == "copy" else (0, 6, 8)), done
            logged += done.code == 0
    assert meanwhile.rounds
    if logged and mode != "copy":
        # The store shares the file with whoever still has it open: documented, and found.
        for row in invoke("ls", "zoo", "--json").ok().json["versions"]:
            done = invoke("download", row["ref"], "-o", "out")
            assert done.code in (0, 6), done
            assert (done.code == 0) or invoke("verify").code == 1
    elif logged:
        assert invoke("verify").code == 0
        for row in invoke("ls", "zoo", "--json").ok().json["versions"]:
            invoke("download", row["ref"], "-o", "out").ok()
            assert (work / "out/source").stat().st_size == size


def test_a_source_that_is_swapped_for_a_link_is_not_followed(invoke: Run, work: Path, tmp_path: Path) -> None:
    """A directory of the source becomes a link to a secret while it is read: followed links to directories are not logged."""
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "file").write_bytes(b"secret")
    data = work / "data"
    (data / "sub").mkdir(parents=True)
    (data / "sub/file").write_bytes(b"public")
    (data / "link").symlink_to(secret)
    invoke("log", "data", "-n", "zoo", "-t", "model").ok()
    listed = [row["path"] for row in invoke("files", "zoo", "--json").ok().json["files"]]
    assert listed == ["sub/file"]


def test_nothing_is_written_through_a_link_that_appears(
    invoke: Run, root: Path, work: Path, tmp_path: Path, home: Path
) -> None:
    """While downloads run, a directory of the target is swapped for a link that leads out, again and again."""
    data = work / "data"
    for directory in ("a", "a/b", "c"):
        (data / directory).mkdir(parents=True, exist_ok=True)
        for number in range(12):
            (data / directory / f"f{number}").write_bytes(f"{directory} {number}".encode() * 50)
    (data / "a/big").write_bytes(os.urandom(2 << 20))
    invoke("log", data, "-n", "zoo", "-t", "model").ok()
    outside = tmp_path / "outside"
    for directory in ("a", "c"):
        (outside / directory).mkdir(parents=True)
    target = work / "target"
    target.mkdir()
    # The other hand is a process of its own: a thread would only take turns with the download.
    swapper = subprocess.Popen(
        [
            sys.executable,
            "-c",
            SWAPPER,
            str(target),
            str(outside),
        ]
    )
    codes = []
    try:
        for number in range(24):
            command = ("checkout", "zoo", target, "--force") if number % 3 == 2 else ("download", "zoo", "-o", target)
            done = invoke(*command)
            codes.append(done.code)
            assert done.code in (0, 2, 4, 5, 6, 8), done
    finally:
        swapper.kill()
        swapper.wait()
    assert [str(path.relative_to(outside)) for path in sorted(outside.rglob("*"))] == ["a", "c"]
    # The store was not harmed, and the next download without an enemy is whole.
    assert invoke("verify").code == 0
    invoke("download", "zoo", "-o", "quiet").ok()
    assert (work / "quiet/a/big").read_bytes() == (data / "a/big").read_bytes()


@pytest.mark.parametrize("command", ["download", "checkout"])
def test_a_link_in_the_target_is_not_followed(invoke: Run, work: Path, tmp_path: Path, command: str) -> None:
    (work / "data/sub").mkdir(parents=True)
    (work / "data/sub/file").write_bytes(b"new")
    (work / "data/top").write_bytes(b"new")
    invoke("log", "data", "-n", "zoo", "-t", "model").ok()
    outside = tmp_path / "outside"
    (outside / "sub").mkdir(parents=True)
    (outside / "file").write_bytes(b"old")
    target = work / "target"
    target.mkdir()
    (target / "sub").symlink_to(outside / "sub")
    (target / "top").symlink_to(outside / "file")
    arguments = ("zoo", "-o", target) if command == "download" else ("zoo", target, "--force")
    done = invoke(command, *arguments)
    assert done.code != 0 or not (target / "sub").is_symlink()
    assert (outside / "file").read_bytes() == b"old"
    assert list((outside / "sub").iterdir()) == []


def test_a_root_of_another_user_is_read_as_any_other(invoke: Run, root: Path, work: Path) -> None:
    """A root cannot name a program, so whose it is decides nothing but what the file system lets one do."""
    (work / "file").write_bytes(b"content")
    invoke("log", "file", "-n", "zoo", "-t", "model").ok()
    if os.geteuid() == 0:
        for path in [root, *root.rglob("*")]:
            os.chown(path, 12345, 12345, follow_symlinks=False)
    assert invoke("resolve", "zoo").ok().lines == ["local/default/zoo:v0"]
    invoke("download", "zoo", "-o", "out").ok()
    assert invoke("verify").code == 0


ROOT_SWAPPER = """\
import itertools, os, sys
outside, *places = sys.argv[1:]
for number, place in zip(itertools.count(), itertools.cycle(places)):
    os.rename(place, f'{place}.real')
    try:
        os.symlink(f'{outside}/{os.path.basename(place)}', place)
        os.unlink(place)
    except FileExistsError: pass
    # The program may have made it anew.
    if os.path.lexists(place): os.rename(place, f'{place}.{number}')
    try: os.rename(f'{place}.real', place)
    except OSError: os.rename(place, f'{place}.{number}x'); os.rename(f'{place}.real', place)
"""


def test_nothing_is_written_through_a_root_whose_directories_are_swapped(invoke: Run, tmp_path: Path, work: Path) -> None:
    (work / "small").write_text("small")
    (work / "large").write_bytes(os.urandom(1 << 21))
    for name in ("small", "large"):
        invoke("log", name, "-n", "zoo", "-t", "model").ok()
    invoke("use", "zoo:v0", "--run", "train").ok()
    root = tmp_path / "root"
    zoo = root / "projects/local/default/collections/zoo"
    places = [zoo / "log", zoo, root / "projects/local", root / "locks", root / "packs", root / "blobs", root / "backrefs"]
    outside = tmp_path / "outside"
    for place in places:
        # As deep as the place itself and with all that it has: only where it lies tells it from the real one.
        shutil.copytree(place, outside / place.name, dirs_exist_ok=True)
    before = {path: path.lstat().st_mtime_ns for path in outside.rglob("*")}
    swapper = subprocess.Popen([sys.executable, "-c", ROOT_SWAPPER, str(outside), *map(str, places)])
    done = 0
    try:
        for number in range(25):
            (work / "small").write_text(f"small {number}")
            (work / "large").write_bytes(os.urandom(1 << 20))
            for command in (
                ("alias", "add", "zoo:v0", f"a{number}"), ("log", "small", "-n", "zoo", "-t", "model"),
                ("log", "large", "-n", "zoo", "-t", "model"), ("use", "zoo:v0", "--run", f"r{number}"),
            ):  # fmt: skip
                result = invoke(*command)
                assert result.code in (0, 2, 3, 4, 6, 8), result
                done += result.code == 0
        assert swapper.poll() is None
    finally:
        swapper.kill()
        swapper.wait()
    assert {path: path.lstat().st_mtime_ns for path in outside.rglob("*")} == before
    assert done
