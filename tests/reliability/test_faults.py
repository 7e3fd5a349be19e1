"""Every system call of the store, killed before it (T2), failing, or doing only a part of what it was asked for (T3)."""

from __future__ import annotations

import errno
import itertools
import os
import signal
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from tests.reliability import model, syscalls
from tests.reliability.harness import LONG, Run, copy_root, environment, has_command, inside, remove_tree, run, tool

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.reliability.syscalls import Point

ERRORS = ("ENOSPC", "EIO", "EDQUOT", "EMFILE", "EACCES", "EROFS", "ENOLCK", "EMLINK")
# What each command is run on: a root with `zoo` (two versions), linked into `model/zoo` with the alias `prod`; `lone`; and
# `gone`, whose versions (one small, one large) were deleted.
COMMANDS = {
    "log": ["log", "new.txt", "-n", "zoo", "-t", "dataset", "-a", "x"],
    "alias": ["alias", "add", "zoo:v0", "x"],
    "first": ["log", "new.txt", "-n", "first", "-t", "dataset"],
    "link": ["link", "zoo", "model/other", "-a", "x"],
    "log-link": ["log", "new.txt", "-n", "zoo", "-t", "dataset", "--link", "model/zoo"],
    "protect": ["protect", "model", "x"],
    "unalias": ["alias", "rm", "model/zoo", "prod"],
    "tag": ["tag", "add", "zoo:v0", "x"],
    "edit": ["edit", "zoo:v0", "--description", "x"],
    "unlink": ["unlink", "model/zoo:prod"],
    "registry": ["registry", "create", "mine"],
    "lineage": ["log", "new.txt", "-n", "zoo", "-t", "dataset", "--input", "lone", "--run", "train"],
    "collection": ["collection", "create", "model/made", "--type", "dataset"],
    "rename": ["collection", "edit", "lone", "--rename", "alone"],
    "member": ["member", "add", "model", "nobody", "--role", "viewer"],
    "delete": ["delete", "lone:v0"],
    "undelete": ["undelete", "gone:v0"],
    "gc": ["gc", "--grace", "0"],
}
SHORT = ("log", "alias")
# Seconds after which the stat cache trusts a file on any file system.
SETTLED = 2.1
# What an error says that came after a commit.
HALF_DONE = "done before that: commit "


class Place:
    """A root that each run begins with, and where the runs leave what they leave."""

    def __init__(self, base: Path, broken: str | None = None) -> None:
        self.work = base / "work"
        self.work.mkdir()
        self.trace = base / "trace"
        self.master = base / "master"
        self.root = base / "root"
        self.broken = broken
        self.env = environment(self.root, base / "home", broken)
        for name in ("old", "new", "lone", "gone"):
            (self.work / f"{name}.txt").write_text(name)
        (self.work / "large.txt").write_bytes(os.urandom((1 << 20) + 1))
        self.written = time.monotonic()
        self.prepare("log", "old.txt", "-n", "zoo", "-t", "dataset")
        self.prepare("log", "old.txt", "-n", "zoo", "-t", "dataset", "--new-version")
        self.prepare("log", "lone.txt", "-n", "lone", "-t", "dataset")
        self.prepare("link", "zoo:v0", "model/zoo", "-a", "prod")
        if has_command("delete"):
            for version, name in enumerate(("gone.txt", "large.txt")):
                self.prepare("log", name, "-n", "gone", "-t", "dataset")
                self.prepare("delete", f"gone:v{version}")
        self.before = self.commits(self.master)

    def prepare(self, *arguments: str) -> None:
        inside(*arguments, root=self.master, cwd=self.work).ok()

    def fresh(self) -> None:
        remove_tree(self.work.parent / "home")
        copy_root(self.master, self.root)
        # What is older than some minutes needs no sync any more: a long run would come to other calls than were recorded.
        for path in (self.root, *self.root.rglob("*")):
            os.utime(path, follow_symlinks=False)

    @staticmethod
    def commits(root: Path) -> dict[str, int]:
        return {str(place.relative_to(root)): len(model.read_log(place)) for place in model.all_logs(root)}

    def record(self, arguments: list[str]) -> list[Point]:
        self.fresh()
        if arguments[0] == "log":
            # What a file is gets remembered once it is old enough, and that takes calls too.
            time.sleep(max(0.0, self.written + SETTLED - time.monotonic()))
        calls = syscalls.CHANGING + (syscalls.READING if LONG else ())
        done, points = syscalls.record(arguments, env=self.env, cwd=self.work, root=self.root, trace=self.trace, calls=calls)
        if self.broken is None:
            done.ok()
            assert len(points) >= 8, "the recording missed what the store does"
        return points

    def kill(self, point: Point, arguments: list[str]) -> list[str]:
        self.fresh()
        done = syscalls.signal_at(point, "SIGKILL", arguments, env=self.env, cwd=self.work, trace=self.trace)
        assert done.code == -signal.SIGKILL, f"{point} was not reached: {done}"
        return self.judge(done, arguments)

    def interrupt(self, point: Point, arguments: list[str]) -> list[str]:
        self.fresh()
        done = syscalls.signal_at(point, "SIGINT", arguments, env=self.env, cwd=self.work, trace=self.trace)
        if done.code == 130 and done.stdout:
            return [f"an answer, and yet interrupted: {done}"]
        return [f"exit {done.code}: {done}"] if done.code not in (0, 130) else self.judge(done, arguments)

    def fail(self, point: Point, error: str, arguments: list[str]) -> list[str]:
        self.fresh()
        done = syscalls.fail_at(point, error, arguments, env=self.env, cwd=self.work, trace=self.trace)
        assert syscalls.was_hit(self.trace, self.root), f"{point} was not reached: {done}"
        found = self.judge(done, arguments)
        if done.code > 0:
            found += unhelpful(done, error)
        return found

    def judge(self, done: Run, arguments: list[str]) -> list[str]:
        """Return everything that is wrong with what a run said and left."""
        found = [] if done.is_clean else [f"ended badly: {done}"]
        try:
            after = self.commits(self.root)
        except model.DamageError as damage:
            return [*found, f"damage: {damage}"]
        grown = sum(after.values()) - sum(self.before.values())
        if any(after.get(place, 0) < count for place, count in self.before.items()):
            found.append("a commit that was there is gone")
        if done.code == 0 and not grown:
            found.append(f"success without a commit: {done}")
        if done.code > 0 and grown and not admits(done):
            found.append(f"an error, though it was done: {done}")
        verified = inside("verify", root=self.root, cwd=self.work)
        if verified.code:
            found.append(f"verify: {verified}")
        again = inside(*arguments, root=self.root, cwd=self.work)
        # What was done already may be refused a second time, or be nothing to do.
        if again.code not in ((0, 3, 4) if grown else (0,)):
            found.append(f"afterwards: {again}")
        return found


def admits(done: Run) -> bool:
    """Tell whether an error says that something was, or may have been, done."""
    error = done.error
    return error["kind"] == "outcome-unknown" or HALF_DONE in error["message"]


def unhelpful(done: Run, error: str) -> list[str]:
    """Return what a user misses in the message of a failed call: which path, and why."""
    message = done.error["message"]
    cause = os.strerror(getattr(errno, error)).lower()
    found = []
    # 5: gc will not go on where locks cannot be proven, and what the file system keeps a user out of is not theirs to see.
    is_refusal = "flock" in message or (error == "EACCES" and "has no access to registry" in message)
    if done.code != 8 and not (done.code == 5 and is_refusal):
        found.append(f"exit {done.code} for {error}: {message}")
    if "/" not in message:
        found.append(f"no path in: {message}")
    if cause not in message.lower():
        found.append(f"no cause ({cause}) in: {message}")
    return found


def recorded(base: Path, verb: str, broken: str | None = None) -> tuple[Place, list[str], list[Point]]:
    """Return a place, a command's arguments, and the calls that it makes there."""
    place = Place(base, broken)
    arguments = [*COMMANDS[verb], "--json"]
    return place, arguments, place.record(arguments)


@pytest.fixture
def strace(not_done: Callable[[str], None]) -> bool:
    if not syscalls.is_available():
        not_done("strace is not installed (apt-get install strace)")
        return False
    return True


@pytest.mark.parametrize("verb", [verb for verb in COMMANDS if LONG or verb in SHORT])
def test_a_kill_before_any_call_leaves_the_old_or_the_new_state(
    tmp_path: Path, verb: str, strace: bool, not_done: Callable[[str], None]
) -> None:
    if not strace or not known(verb, not_done):
        return
    place, arguments, points = recorded(tmp_path, verb)
    found = {repr(point): place.kill(point, arguments) for point in syscalls.sampled(points, 10)}
    report(found)


@pytest.mark.parametrize("verb", [verb for verb in COMMANDS if LONG or verb in SHORT])
def test_ctrl_c_at_any_call_does_not_hide_what_was_done(
    tmp_path: Path, verb: str, strace: bool, not_done: Callable[[str], None]
) -> None:
    if not strace or not known(verb, not_done):
        return
    place, arguments, points = recorded(tmp_path, verb)
    # The calls around the commit are what it is about.
    chosen = (
        points if LONG else [*syscalls.sampled(points, 6), *(point for point in points if point.name in ("linkat", "link"))]
    )
    report({repr(point): place.interrupt(point, arguments) for point in chosen})


def test_what_ctrl_c_hides_is_found_out(tmp_path: Path, strace: bool) -> None:
    if not strace:
        return
    place, arguments, points = recorded(tmp_path, "alias", "forget_what_was_cut_short")
    commits = [point for point in points if point.name in ("linkat", "link")]
    assert any(place.interrupt(point, arguments) for point in commits)


@pytest.mark.parametrize("verb", [verb for verb in COMMANDS if LONG or verb in SHORT])
def test_a_call_that_fails_is_told_and_leaves_nothing_half_done(
    tmp_path: Path, verb: str, strace: bool, not_done: Callable[[str], None]
) -> None:
    if not strace or not known(verb, not_done):
        return
    place, arguments, points = recorded(tmp_path, verb)
    if LONG:
        cases = list(itertools.product(points, ERRORS))
    else:
        cases = list(zip(syscalls.sampled(points, 12), itertools.cycle(ERRORS), strict=False))
    found = {f"{error} {point}": place.fail(point, error, arguments) for point, error in cases}
    report(found)


def report(found: dict[str, list[str]]) -> None:
    wrong = [f"{case}\n  " + "\n  ".join(words) for case, words in found.items() if words]
    assert not wrong, f"{len(wrong)} of {len(found)}:\n" + "\n".join(wrong)


def known(verb: str, not_done: Callable[[str], None]) -> bool:
    if has_command(COMMANDS[verb][0]):
        return True
    not_done(f"there is no command `{verb}` yet")
    return False


def test_false_success_is_found_out(tmp_path: Path, strace: bool) -> None:
    if not strace:
        return
    place, arguments, points = recorded(tmp_path, "alias", "swallow_errors")
    writes = [point for point in points if point.name in ("write", "linkat", "fsync")]
    assert any(place.fail(point, "ENOSPC", arguments) for point in writes)


def test_torn_commits_are_found_out(tmp_path: Path, strace: bool) -> None:
    if not strace:
        return
    place, arguments, points = recorded(tmp_path, "alias", "commit_in_place")
    writes = [point for point in points if point.name == "write"]
    assert any(place.kill(point, arguments) for point in writes)


SHIM = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <sys/types.h>
#include <unistd.h>
static size_t some(int descriptor, size_t count) { return descriptor > 2 && count > 7 ? count / 2 + 1 : count; }
#define PART(NAME, TYPE, ...) \
    static ssize_t (*real)(int, TYPE, size_t __VA_OPT__(, off_t)); \
    if (!real) real = dlsym(RTLD_NEXT, #NAME); \
    return real(descriptor, data, some(descriptor, count) __VA_OPT__(,) __VA_ARGS__);
ssize_t write(int descriptor, const void *data, size_t count) { PART(write, const void *) }
ssize_t pwrite(int descriptor, const void *data, size_t count, off_t at) { PART(pwrite, const void *, at) }
ssize_t pwrite64(int descriptor, const void *data, size_t count, off_t at) { PART(pwrite64, const void *, at) }
ssize_t read(int descriptor, void *data, size_t count) { PART(read, void *) }
ssize_t pread(int descriptor, void *data, size_t count, off_t at) { PART(pread, void *, at) }
ssize_t pread64(int descriptor, void *data, size_t count, off_t at) { PART(pread64, void *, at) }
"""


def short_calls(base: Path) -> str | None:
    """Build a library that makes every read and write do only half of what it is asked for; None without a compiler."""
    compiler = tool("gcc") or tool("cc")
    if compiler is None:
        return None
    source, library = base / "short.c", base / "short.so"
    source.write_text(SHIM)
    subprocess.run([compiler, "-shared", "-fPIC", "-o", str(library), str(source), "-ldl"], check=True, capture_output=True)
    return str(library)


def round_trip(base: Path, library: str, broken: str | None = None) -> list[str]:
    """Log, link and fetch with calls that are cut short; returns what went wrong."""
    work = base / (broken or "whole")
    work.mkdir()
    env = environment(work / "root", work, broken, LD_PRELOAD=library)
    content = {"small.txt": b"small" * 100, "large.bin": os.urandom(3 << 20)}
    (work / "in").mkdir()
    for name, data in content.items():
        (work / "in" / name).write_bytes(data)
    found = []
    for arguments in (
        ["log", "in", "-n", "zoo", "-t", "dataset"],
        ["link", "zoo", "model/zoo", "-a", "prod"],
        ["download", "model/zoo:prod", "-o", "out"],
        ["verify"],
    ):
        done = run(*arguments, env=env, cwd=work)
        if done.code:
            found.append(str(done))
    for name, data in content.items():
        got = work / "out" / name
        if not got.is_file() or got.read_bytes() != data:
            found.append(f"{name} came back otherwise")
    return found


def test_reads_and_writes_that_do_only_a_part_change_nothing(tmp_path: Path, not_done: Callable[[str], None]) -> None:
    library = short_calls(tmp_path)
    if library is None:
        not_done("no C compiler: calls that do only a part were not tried")
        return
    assert round_trip(tmp_path, library) == []
    assert round_trip(tmp_path, library, "trust_one_write"), "a store that believes one write is enough must be found out"
