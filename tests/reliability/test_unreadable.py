"""What cannot be read is not what is not there: an error of the disk or of permissions never looks like absence (T3, T9)."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.reliability import model, syscalls
from tests.reliability.harness import copy_root, environment, inside, inside_as_nobody, is_root, remove_tree

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.reliability.harness import Run

LOOKING = ("newfstatat", "stat", "lstat", "statx")
READING = ("openat", "read", "newfstatat", "getdents64")
# Commands that look whether the large blob is stored, and one that asks who has links to a version.
LOOKS = {
    "delete": ["delete", "zoo:v0", "--force"],
    "export": ["export", "zoo", "-o", "zoo.tar"],
    "du": ["du"],
    "undelete": ["undelete", "gone:v0"],
    "import": ["import", "gone.tar"],
    "log": ["log", "big.bin", "-n", "zoo", "-t", "dataset"],
}


class Place:
    """A root with `zoo` and the deleted `gone`, whose versions have one large blob, and `zoo`'s small file."""

    def __init__(self, base: Path) -> None:
        self.work = base / "work"
        self.work.mkdir()
        self.root = base / "root"
        (self.work / "big.bin").write_bytes(os.urandom(2 << 20))
        (self.work / "small.txt").write_text("small")
        self.run("log", "big.bin", "small.txt", "-n", "zoo", "-t", "dataset").ok()
        self.run("link", "zoo", "model/zoo").ok()
        self.run("log", "big.bin", "-n", "gone", "-t", "dataset").ok()
        self.run("export", "gone", "-o", "gone.tar").ok()
        self.run("delete", "gone:v0").ok()
        (self.blob,) = (path for path in (self.root / "blobs").rglob("*") if path.is_file())
        (self.marker,) = (path for path in (self.root / "backrefs").rglob("*") if path.is_file())
        for path in (base, self.root, *self.root.rglob("*")):
            path.chmod(0o755 if path.is_dir() else 0o644)

    def run(self, *arguments: str) -> Run:
        return inside(*arguments, root=self.root, cwd=self.work)

    def commits(self) -> int:
        return sum(len(model.read_log(place)) for place in model.all_logs(self.root))


# What a directory lets one do: nothing, only be listed, only be searched.
CLOSED = (0o000, 0o444, 0o311)


@pytest.mark.parametrize("mode", CLOSED, ids=oct)
@pytest.mark.parametrize("which", ["shard", "blobs"])
def test_verify_goes_on_and_names_what_it_cannot_read(open_path: Path, which: str, mode: int) -> None:
    place = Place(open_path)
    # Root may read everything: an ordinary user looks. The first time as ourselves: that imports what that user cannot.
    look = inside_as_nobody if is_root() else inside
    for arguments in (["verify", "--json"], ["verify", "zoo", "--json"], ["verify", "--quick", "--json"]):
        place.run(*arguments).ok()
        look(*arguments, root=place.root, cwd="/").ok()
    closed = place.blob.parent if which == "shard" else place.root / "blobs"
    damaged = place.root / "projects/local/default/collections/zoo/log/0000000001.json"
    text = damaged.read_text()
    closed.chmod(mode)
    try:
        for arguments in (["verify", "--json"], ["verify", "zoo", "--json"], ["verify", "--quick", "--json"]):
            done = look(*arguments, root=place.root, cwd="/")
            assert done.code == 1, done
            problems = done.json["problems"]
            assert {problem["kind"] for problem in problems} == {"corrupt"}, done
            assert all("permission denied" in problem["message"] for problem in problems), done
            assert any(problem["path"] in (str(closed), str(place.blob)) for problem in problems), done
        damaged.write_text("{")
        # What else is wrong is found all the same.
        done = look("verify", "--json", root=place.root, cwd="/")
        assert {"history", "corrupt"} <= {problem["kind"] for problem in done.json["problems"]}, done
    finally:
        closed.chmod(0o755)
        damaged.write_text(text)
    place.run("verify").ok()


@pytest.mark.parametrize(
    "which", ["projects", "projects/local/default/collections/zoo/log", "registries/model/collections", "backrefs"]
)
def test_verify_goes_on_where_logs_cannot_be_listed(open_path: Path, which: str) -> None:
    place = Place(open_path)
    look = inside_as_nobody if is_root() else inside
    look("verify", "--json", root=place.root, cwd="/").ok()
    damaged = place.root / "registries/model/settings/0000000001.json"
    damaged.parent.mkdir(exist_ok=True)
    damaged.write_text("{")
    damaged.chmod(0o644)
    (place.root / which).chmod(0)
    try:
        done = look("verify", "--json", root=place.root, cwd="/")
    finally:
        (place.root / which).chmod(0o755)
    assert done.code == 1, done
    problems = done.json["problems"]
    assert any(problem["path"] == str(place.root / which) and "denied" in problem["message"] for problem in problems), done
    assert any(problem["path"] == str(damaged) for problem in problems), done


def false_absences(base: Path, verb: str, broken: str | None = None) -> list[str]:
    """Let each call fail by which a command looks for the blob, or reads the marker; returns what it says that is not so."""
    base.mkdir(exist_ok=True)
    place = Place(base)
    whole = copy_root(place.root, base / "whole")
    before, env, trace = place.commits(), environment(place.root, base / "home", broken), base / "trace"
    looked_for, calls = (place.marker.parent, READING) if verb == "delete" else (place.blob, LOOKING)
    done, points = syscalls.record(LOOKS[verb], env=env, cwd=place.work, root=looked_for, trace=trace, calls=calls)
    done.ok()
    assert points, f"the recording missed how {looked_for} is looked for"
    found = []
    for point in syscalls.sampled(points, 8):
        copy_root(whole, place.root)
        # What the run before remembered of the files would spare this one the calls.
        remove_tree(base / "home")
        done = syscalls.fail_at(point, "EIO", LOOKS[verb], env=env, cwd=place.work, trace=trace)
        assert syscalls.was_hit(trace, place.root), f"{point} was not reached: {done}"
        is_told = "input/output error" in done.stderr.lower() and str(place.root) in done.stderr
        # What the answer tells besides is looked up after the deletion, and may be missing with a word about it.
        is_done = verb == "delete" and (done.code == 0 or "done before that" in done.stderr)
        if not is_told or not (is_done or (done.code, place.commits()) == (8, before)):
            found.append(f"{point}: {done}")
    return found


@pytest.mark.parametrize("verb", LOOKS)
def test_an_error_is_told_and_not_taken_for_absence(tmp_path: Path, verb: str, not_done: Callable[[str], None]) -> None:
    if not syscalls.is_available():
        not_done("strace is not installed (apt-get install strace)")
        return
    assert false_absences(tmp_path, verb) == []


def test_verify_keeps_a_marker_that_it_cannot_read(tmp_path: Path, not_done: Callable[[str], None]) -> None:
    """It may be all that keeps a linked version from being deleted."""
    if not syscalls.is_available():
        not_done("strace is not installed (apt-get install strace)")
        return
    place = Place(tmp_path)
    env, trace = environment(place.root, tmp_path / "home"), tmp_path / "trace"
    done, points = syscalls.record(["verify"], env=env, cwd=place.work, root=place.marker, trace=trace, calls=READING)
    done.ok()
    assert len(points) > 3, "it reads each marker twice: for what points somewhere, and for what is damaged"
    data = place.marker.read_bytes()
    for point in points:
        done = syscalls.fail_at(point, "EIO", ["verify"], env=env, cwd=place.work, trace=trace)
        assert syscalls.was_hit(trace, place.root), f"{point} was not reached: {done}"
        assert place.marker.is_file(), f"{point}: {done}"
        assert place.marker.read_bytes() == data


def test_a_store_that_takes_errors_for_absence_is_found_out(tmp_path: Path) -> None:
    if syscalls.is_available():
        for verb in ("export", "undelete"):
            assert false_absences(tmp_path / verb, verb, "errors_are_absence")
