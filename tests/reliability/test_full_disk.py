"""Full disks, limits and read-only places: a clear error, nothing half done, and on it goes when there is room (T8)."""

from __future__ import annotations

import os
import resource
from typing import TYPE_CHECKING

import pytest

from tests.reliability import model
from tests.reliability.harness import Run, environment, has_command, inside_as_nobody, is_root, mounted, run
from tests.reliability.harness import inside as inside_here

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

KIBIBYTE = 1 << 10
# What each command that needs room is tried with.
CHANGES = {
    "log-small": ["log", "small.txt", "-n", "zoo", "-t", "dataset", "--new-version"],
    "log-large": ["log", "large.bin", "-n", "zoo", "-t", "dataset"],
    "log-first": ["log", "small.txt", "-n", "fresh", "-t", "dataset"],
    "link": ["link", "zoo:v0", "model/other", "-a", "x"],
    "alias": ["alias", "add", "zoo:v0", "y"],
    "tag": ["tag", "add", "zoo:v0", "t"],
    "protect": ["protect", "model", "q"],
    "delete": ["delete", "lone:v0"],
}


class Place:
    """A root at some place, and what to log."""

    def __init__(self, root: Path, base: Path) -> None:
        self.root = root
        self.work = base / "files"
        self.work.mkdir(exist_ok=True)
        self.env = environment(root, base / "home")
        (self.work / "small.txt").write_text("small")
        (self.work / "lone.txt").write_text("lone")
        (self.work / "large.bin").write_bytes(os.urandom(3 << 20))

    def run(self, *arguments: str, **more: object) -> Run:
        return run(*arguments, env=self.env, cwd=self.work, **more)  # type: ignore[arg-type]

    def fill(self) -> None:
        """Begin with something to read."""
        self.run("log", "small.txt", "-n", "zoo", "-t", "dataset", "-a", "first").ok()
        self.run("log", "lone.txt", "-n", "lone", "-t", "dataset").ok()
        self.run("link", "zoo", "model/zoo", "-a", "prod").ok()

    def commits(self) -> dict[str, int]:
        counts = {str(place): len(model.read_log(place)) for place in model.all_logs(self.root)}
        return {place: count for place, count in counts.items() if count}

    def check_reading(self, out: Path) -> None:
        """Everything that was there can be read."""
        assert self.run("resolve", "model/zoo:prod").ok().stdout.strip() == "model/zoo:v0"
        self.run("ls").ok()
        self.run("history").ok()
        self.run("download", "model/zoo:prod", "-o", str(out)).ok()
        assert (out / "small.txt").read_text() == "small"
        self.run("verify").ok()


def refuses(done: Run, cause: str) -> None:
    """The command failed with exit 8 and says where and why."""
    assert done.is_clean, done
    assert done.code == 8, done
    assert "/" in done.stderr, done
    assert cause in done.stderr.lower(), done


def occupy(place: Path, keep: int) -> list[Path]:
    """Fill a file system but for `keep` bytes."""
    made: list[Path] = []
    for size in (1 << 20, 1 << 16, 1 << 12):
        while True:
            status = os.statvfs(place)
            if status.f_bavail * status.f_frsize < keep + size:
                break
            made.append(place / f"filler-{len(made)}")
            made[-1].write_bytes(bytes(size))
    return made


@pytest.fixture
def full(tmp_path: Path, not_done: Callable[[str], None]) -> Iterator[Place | None]:
    """A root on a small file system that has some room yet."""
    with mounted(["-t", "tmpfs", "-o", "size=2m", "tmpfs"], tmp_path / "small") as done:
        if not done:
            not_done("a really full disk: nothing can be mounted (not root?)")
            yield None
            return
        place = Place(tmp_path / "small" / "root", tmp_path)
        place.fill()
        yield place


@pytest.mark.parametrize("verb", CHANGES)
def test_a_full_disk_refuses_and_keeps_everything(full: Place | None, tmp_path: Path, verb: str) -> None:
    if full is None or not has_command(CHANGES[verb][0]):
        return
    before = full.commits()
    filler = occupy(full.root.parent, 0)
    assert false_claims(full, verb) == []
    full.check_reading(tmp_path / "out")
    assert list(full.root.rglob(".tmp-*")) == []

    for path in filler:
        path.unlink()
    if verb == "log-large":
        (full.work / "large.bin").write_bytes(os.urandom(KIBIBYTE))
    if full.commits() == before:
        full.run(*CHANGES[verb]).ok()
    full.run("verify").ok()


def false_claims(full: Place, verb: str) -> list[str]:
    """Try a change on a full disk; returns what it says that is not so."""
    before = full.commits()
    done = full.run(*CHANGES[verb])
    if done.code == 0:
        # A page that is there already may have room for a few bytes; then it must have been done.
        return [] if full.commits() != before else [f"success, but nothing was done: {done}"]
    refuses(done, "space")
    return [] if full.commits() == before else [f"an error, but it was done: {done}"]


def test_a_store_that_hides_a_full_disk_is_found_out(full: Place | None) -> None:
    if full is None:
        return
    full.env = environment(full.root, full.work.parent / "home", "swallow_errors")
    occupy(full.root.parent, 0)
    assert false_claims(full, "alias")


def test_gc_works_on_a_full_disk(full: Place | None) -> None:
    if full is None or not has_command("gc"):
        return
    large = full.work / "large.bin"
    large.write_bytes(os.urandom((1 << 20) + 1))
    full.run("log", "large.bin", "-n", "big", "-t", "dataset").ok()
    full.run("delete", "big:v0").ok()
    occupy(full.root.parent, 0)
    large.write_bytes(os.urandom(600 << 10))
    refuses(full.run("log", "large.bin", "-n", "big", "-t", "dataset"), "space")

    full.run("gc", "--grace", "0").ok()

    full.run("log", "large.bin", "-n", "big", "-t", "dataset").ok()
    full.run("verify").ok()


def test_gc_that_is_refused_leaves_the_room_for_the_next(full: Place | None) -> None:
    if full is None:
        return
    occupy(full.root.parent, 0)
    assert full.run("gc", "nothing-of-that-name/").code == 3
    assert (full.root / "locks/reserve").stat().st_size == 256 << 10


def test_room_is_made_on_a_full_disk_where_nothing_was_deleted_yet(full: Place | None) -> None:
    if full is None:
        return
    large = full.work / "large.bin"
    large.write_bytes(os.urandom((1 << 20) + 1))
    full.run("log", "large.bin", "-n", "big", "-t", "dataset").ok()
    full.run("log", "lone.txt", "-n", "big").ok()
    occupy(full.root.parent, 0)
    refuses(full.run("alias", "add", "zoo:v0", "y"), "space")
    doctor = full.run("doctor", "--json").ok().json
    assert any("no space left on device" in finding["message"] for finding in doctor["findings"]), doctor

    full.run("delete", "big:v0").ok()
    full.run("delete", "big:v1").ok()
    full.run("gc", "--grace", "0").ok()

    full.run("alias", "add", "zoo:v0", "y").ok()
    assert (full.root / "locks/reserve").stat().st_size == 256 << 10
    full.run("verify").ok()


def test_no_inodes_left(tmp_path: Path, not_done: Callable[[str], None]) -> None:
    with mounted(["-t", "tmpfs", "-o", "size=8m,nr_inodes=80", "tmpfs"], tmp_path / "small") as done:
        if not done:
            not_done("a disk without inodes: nothing can be mounted (not root?)")
            return
        place = Place(tmp_path / "small" / "root", tmp_path)
        place.fill()
        number = 0
        while os.statvfs(place.root).f_favail:
            (place.root.parent / f"filler-{number}").touch()
            number += 1
        before = place.commits()
        refuses(place.run("alias", "add", "zoo:v0", "y"), "no space")
        refuses(place.run("log", "lone.txt", "-n", "fresh", "-t", "dataset"), "no space")
        assert place.commits() == before
        place.check_reading(tmp_path / "out")


def limited(which: int, soft: int) -> Callable[[], None]:
    def limit() -> None:
        resource.setrlimit(which, (soft, soft))

    return limit


def test_a_limit_on_the_size_of_files(tmp_path: Path) -> None:
    place = Place(tmp_path / "root", tmp_path)
    place.fill()
    before = place.commits()
    done = place.run("log", "large.bin", "-n", "zoo", "-t", "dataset", preexec_fn=limited(resource.RLIMIT_FSIZE, 1 << 20))
    refuses(done, "file too large")
    assert place.commits() == before
    place.check_reading(tmp_path / "out")
    place.run("log", "large.bin", "-n", "zoo", "-t", "dataset").ok()


def test_few_open_files(tmp_path: Path) -> None:
    place = Place(tmp_path / "root", tmp_path)
    few = limited(resource.RLIMIT_NOFILE, 64)
    many = place.work / "many"
    many.mkdir()
    for number in range(200):
        (many / f"{number}.txt").write_text(str(number))
        if number % 10 == 0:
            (many / f"{number}.bin").write_bytes(os.urandom(1 << 20))
    place.run("log", "many", "-n", "zoo", "-t", "dataset", preexec_fn=few).ok()
    place.run("link", "zoo", "model/zoo", preexec_fn=few).ok()
    place.run("download", "zoo", "-o", str(tmp_path / "out"), preexec_fn=few).ok()
    assert {path.name for path in (tmp_path / "out").iterdir()} == {path.name for path in many.iterdir()}
    place.run("verify", preexec_fn=few).ok()
    # With hardly any left the error is one that helps, or it works.
    for limit in (3, 4, 5, 6, 8, 12):
        done = place.run("alias", "add", "zoo", f"a{limit}", preexec_fn=limited(resource.RLIMIT_NOFILE, limit))
        assert done.code in (0, 8) or "Traceback" not in done.stderr or "regcli" not in done.stderr, done


def test_a_read_only_mount_can_be_read(tmp_path: Path, not_done: Callable[[str], None]) -> None:
    place = Place(tmp_path / "root", tmp_path)
    place.fill()
    (tmp_path / "view").mkdir()
    with mounted(["--bind", "-o", "ro", str(place.root)], tmp_path / "view") as done:
        if not done:
            not_done("a read-only mount: nothing can be mounted (not root?)")
            return
        view = Place(tmp_path / "view", tmp_path)
        view.check_reading(tmp_path / "out")
        for verb, arguments in CHANGES.items():
            if has_command(arguments[0]):
                refuses(view.run(*arguments), "read-only file system")
                assert verb
        if has_command("gc"):
            refuses(view.run("gc", "--grace", "0"), "read-only file system")
        view.check_reading(tmp_path / "out2")


def test_a_user_without_write_permission_can_read(open_path: Path) -> None:
    place = Place(open_path / "root", open_path)
    place.fill()
    everything = [open_path, *open_path.rglob("*")]
    for path in everything:
        path.chmod(path.stat().st_mode & ~0o222 | (0o055 if path.is_dir() else 0o044))
    before = place.commits()
    as_reader = inside_as_nobody if is_root() else inside_here

    def look(*arguments: str) -> Run:
        # The first time as ourselves: what is not imported yet may not be readable for another user.
        return as_reader(*arguments, root=place.root, cwd="/")

    for arguments in (["resolve", "zoo"], ["ls"], ["cat", "model/zoo:prod", "small.txt"], ["verify"], ["history"]):
        inside_here(*arguments, root=place.root, cwd="/").ok()
        look(*arguments).ok()
    for arguments in (["alias", "add", "zoo", "q"], ["tag", "add", "zoo", "q"], ["link", "zoo", "model/new"]):
        refuses(look(*arguments), "permission denied")
    assert place.commits() == before
    for path in everything:
        path.chmod(path.stat().st_mode | 0o200)
