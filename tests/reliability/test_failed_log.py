"""A `log` that comes to nothing leaves the files as they were: their mode, bytes and place, and not shared with the store."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import pytest

from tests.reliability import syscalls
from tests.reliability.harness import Run, environment, inside, mounted, run, scaled

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

MODES = ["hardlink", "move"]
LARGE = 2 << 20
LOG = ["log", "data", "-n", "zoo", "-t", "dataset", "--new-version"]
# With it the commit is larger than one may be: the version is refused when its content has been published.
TOO_LARGE = ["-d", "x" * 17_000_000]


class Sources:
    """A directory of files to log, with what they are.

    Attributes:
        before: path -> inode, number of links, mode, mtime and bytes.
    """

    def __init__(self, work: Path) -> None:
        self.work = work
        data = work / "data"
        data.mkdir(parents=True)
        for number, mode in enumerate((0o644, 0o600, 0o755, 0o664, 0o444)):
            file = data / f"file-{number}"
            file.write_bytes(bytes([number]) * LARGE)
            file.chmod(mode)
        (data / "small").write_text("small")
        (work / "other-name").hardlink_to(data / "file-0")
        self.before = self.now()

    def now(self) -> dict[str, tuple[object, ...]]:
        found: dict[str, tuple[object, ...]] = {}
        for file in sorted((self.work / "data").iterdir()):
            status = file.lstat()
            found[file.name] = (status.st_ino, status.st_nlink, oct(status.st_mode), status.st_mtime_ns, file.read_bytes()[:9])
        return found

    def are_as_before(self) -> bool:
        assert {name: row[:4] for name, row in self.now().items()} == {name: row[:4] for name, row in self.before.items()}
        return self.now() == self.before


@pytest.fixture
def sources(tmp_path: Path) -> Sources:
    return Sources(tmp_path)


@pytest.fixture
def regcli(tmp_path: Path) -> Callable[..., Run]:
    env = environment(tmp_path / "root", tmp_path / "home")

    def regcli(*arguments: str) -> Run:
        return run(*arguments, env=env, cwd=tmp_path)

    regcli("init").ok()
    return regcli


@pytest.mark.parametrize("mode", MODES)
def test_a_later_source_that_is_missing(sources: Sources, regcli: Callable[..., Run], mode: str) -> None:
    refused = regcli(*LOG, "missing", "--link-mode", mode)
    assert refused.code == 3
    assert sources.are_as_before()


@pytest.mark.parametrize("mode", MODES)
def test_a_commit_that_is_refused_when_the_content_is_published(
    sources: Sources, regcli: Callable[..., Run], tmp_path: Path, mode: str
) -> None:
    refused = inside(*LOG, "--link-mode", mode, *TOO_LARGE, root=tmp_path / "root", cwd=tmp_path)
    assert refused.code == 2
    assert list((tmp_path / "root/blobs").glob("*/*"))
    assert sources.are_as_before()
    assert list((tmp_path / "root").rglob(".tmp-*")) == []
    # What the user writes to them now changes nothing in the store.
    regcli("log", "data", "-n", "copied", "-t", "dataset").ok()
    with (tmp_path / "data/file-0").open("r+b") as stream:
        stream.write(b"changed")
    regcli("verify").ok()
    # And what failed can be done again.
    regcli(*LOG, "--link-mode", mode).ok()
    regcli("verify").ok()


@pytest.mark.parametrize("mode", MODES)
def test_content_that_is_stored_already_is_not_shared(sources: Sources, regcli: Callable[..., Run], mode: str) -> None:
    regcli("log", "data", "-n", "zoo", "-t", "dataset").ok()
    if mode == "hardlink":
        regcli(*LOG, "--link-mode", mode).ok()
    else:
        assert regcli(*LOG, "missing", "--link-mode", mode).code == 3
    assert sources.are_as_before()


@pytest.mark.parametrize("what", ["SIGINT", "ENOSPC"])
def test_whatever_call_is_interrupted_or_fails(tmp_path: Path, not_done: Callable[[str], None], what: str) -> None:
    if not syscalls.is_available():
        not_done("Ctrl-C and a full disk at every call of log: there is no strace")
        return
    arguments = [*LOG, "--link-mode", "hardlink"]
    trace = tmp_path / "trace"
    points: list[syscalls.Point] = []
    failed = 0
    for number in range(scaled(5, 1000) + 1):
        base = tmp_path / str(number)
        sources, env = Sources(base / "work"), environment(tmp_path / "root", tmp_path / "home")
        shutil.rmtree(tmp_path / "root", ignore_errors=True)
        run("init", env=env, cwd=sources.work).ok()
        if not number:
            done, points = syscalls.record(arguments, env=env, cwd=sources.work, root=tmp_path / "root", trace=trace)
            done.ok()
            step = max(1, len(points) // scaled(5, 1000))
            points = points[::step]
            continue
        if number > len(points):
            break
        hit = syscalls.signal_at if what == "SIGINT" else syscalls.fail_at
        done = hit(points[number - 1], what, arguments, env=env, cwd=sources.work, trace=trace)
        assert done.code in (0, 8, 130), done
        if run("resolve", "zoo", env=env, cwd=sources.work).code:
            failed += 1
            assert done.code, done
            assert sources.are_as_before(), points[number - 1]
        run("verify", env=env, cwd=sources.work).ok()
        shutil.rmtree(base)
    assert failed > 2


@pytest.mark.parametrize("mode", MODES)
def test_a_full_disk(tmp_path: Path, not_done: Callable[[str], None], mode: str) -> None:
    """The sources lie on it too: only there can they be shared."""
    with mounted(["-t", "tmpfs", "-o", "size=24m", "tmpfs"], tmp_path / "small") as done:
        if not done:
            not_done("a really full disk: nothing can be mounted (not root?)")
            return
        sources = Sources(tmp_path / "small" / "work")
        env = environment(tmp_path / "small" / "root", tmp_path / "home")
        run("init", env=env, cwd=sources.work).ok()
        with (tmp_path / "small" / "filler").open("wb", buffering=0) as filler:
            try:
                while True:
                    filler.write(bytes(4096))
            except OSError:
                pass
        failed = run(*LOG, "--link-mode", mode, env=env, cwd=sources.work)
        assert failed.code == 8, failed
        assert "space" in failed.stderr
        assert sources.are_as_before()
        os.unlink(tmp_path / "small" / "filler")
        run(*LOG, "--link-mode", mode, env=env, cwd=sources.work).ok()
        run("verify", env=env, cwd=sources.work).ok()
