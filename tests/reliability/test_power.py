"""Power cuts, rehearsed on real file systems: the shutdown ioctl drops whatever was not synced (T4)."""

from __future__ import annotations

import fcntl
import os
import random
import signal
import struct
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from tests.reliability import crowds, model
from tests.reliability.harness import environment, is_root, run, scaled, tool, until
from tests.reliability.test_kill import problems_after

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

CUTS = scaled(6, 500)
# Then another one: on a full disk nothing more is acknowledged.
CUTS_A_DISK = 40
FS_IOC_SHUTDOWN = 0x8004587D
# Without even writing the journal out, as when the power fails.
NO_LOG_FLUSH = 2
MEBIBYTE = 1 << 20
SIZES = {"ext4": 64 * MEBIBYTE, "xfs": 320 * MEBIBYTE}
WRITERS = 2


class Disk:
    """A file system in a file, whose power can be cut."""

    def __init__(self, base: Path, kind: str) -> None:
        self.image = base / f"{kind}.img"
        self.place = base / "mounted"
        self.place.mkdir()
        with self.image.open("wb") as image:
            image.truncate(SIZES[kind])
        quiet = ["-q", "-F"] if kind == "ext4" else ["-q", "-f"]
        subprocess.run([str(tool(f"mkfs.{kind}")), *quiet, str(self.image)], check=True, capture_output=True)

    def mount(self) -> bool:
        done = subprocess.run(["mount", "-o", "loop", str(self.image), str(self.place)], capture_output=True, check=False)
        return done.returncode == 0

    def unmount(self) -> None:
        def is_free() -> bool:
            return subprocess.run(["umount", str(self.place)], capture_output=True, check=False).returncode == 0

        until(is_free, f"unmounting {self.place}", patience=20)

    def cut(self) -> None:
        descriptor = os.open(self.place, os.O_RDONLY)
        try:
            fcntl.ioctl(descriptor, FS_IOC_SHUTDOWN, struct.pack("I", NO_LOG_FLUSH))
        finally:
            os.close(descriptor)


def missing(kind: str, disk_base: Path) -> str | None:
    """Return why power cuts cannot be rehearsed here, or None."""
    if not is_root():
        return "not root: nothing can be mounted"
    if tool(f"mkfs.{kind}") is None:
        return f"mkfs.{kind} is not installed (apt-get install {'xfsprogs' if kind == 'xfs' else 'e2fsprogs'})"
    disk = Disk(disk_base, kind)
    if not disk.mount():
        return f"a {kind} image cannot be mounted (no loop devices?)"
    try:
        disk.cut()
    except OSError as error:
        return f"{kind} has no shutdown ioctl here: {error}"
    finally:
        disk.unmount()
        disk.place.rmdir()
    return None


def cut_power(disk: Disk, base: Path, number: int, broken: str | None = None, seed: int = 0) -> tuple[int, list[str]]:
    """Let a crowd work, cut the power, mount again; returns the acknowledged changes so far, and what is wrong.

    `number` counts the cuts of this disk, `seed` makes those of another one differ.
    """
    assert disk.mount()
    root = disk.place / "root"
    root.mkdir(exist_ok=True)
    (base / "journals").mkdir(exist_ok=True)
    before = journal_size(base)
    plan = crowds.plan_crowd(root, base, writers=WRITERS, forever=True, seed=seed + number * 1000, collections=2)
    process = crowds.start_crowd(plan, root, base, broken)
    until(lambda: journal_size(base) > before + 2000, "the crowd's first answers")
    time.sleep(random.Random(seed + number).uniform(0, 0.15))
    sizes = {path: path.stat().st_size for path in (base / "journals").iterdir()}
    disk.cut()
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    forget_what_came_later(base, sizes)
    disk.unmount()
    assert disk.mount()
    events = [event for event in crowds.read_journals(base) if event["code"] != 8]
    acknowledged = len(model.acknowledged(events))
    found = problems_after(root, events, (number + 1) * WRITERS)
    if not found:
        verified = run("verify", env=environment(root, base / "home"), cwd=base)
        # Cut off before the first answer there may be no root at all.
        is_right = verified.code == 0 or (verified.code == 3 and not acknowledged)
        found = [] if is_right else [str(verified)]
    disk.unmount()
    return acknowledged, found


def forget_what_came_later(base: Path, sizes: dict[Path, int]) -> None:
    """Cut the journals off where they ended when the power went.

    Without power nobody answers. Here processes live on for a moment, on a file system that has thrown away what it had not
    written: a sync then may find nothing to wait for and succeed, and a file may be read as empty.
    """
    for path in (base / "journals").iterdir():
        with path.open("r+b") as stream:
            whole = stream.read(sizes.get(path, 0))
            stream.truncate(whole.rfind(b"\n") + 1)


def journal_size(base: Path) -> int:
    return sum(path.stat().st_size for path in (base / "journals").iterdir())


@pytest.mark.parametrize("kind", SIZES)
def test_no_acknowledged_change_is_lost_to_a_power_cut(
    tmp_path: Path, kind: str, not_done: Callable[[str], None], record_property: Callable[[str, object], None]
) -> None:
    reason = missing(kind, tmp_path)
    if reason is not None:
        not_done(f"no power cuts on {kind}: {reason}")
        return
    acknowledged = answered = 0
    for first in range(0, CUTS, CUTS_A_DISK):
        base = tmp_path / f"from-{first}"
        base.mkdir()
        disk = Disk(base, kind)
        cuts = min(CUTS_A_DISK, CUTS - first)
        for number in range(cuts):
            answered, found = cut_power(disk, base, number, seed=first * 1000)
            assert found == [], f"after cut {first + number}"
        assert answered > cuts, f"hardly anything was acknowledged before cut {first + cuts}"
        acknowledged += answered
        disk.image.unlink()
    record_property("power cuts", CUTS)
    record_property("acknowledged changes", acknowledged)


@pytest.mark.parametrize("broken", ["no_directory_sync", "no_directory_sync,no_file_sync"])
def test_a_missing_sync_loses_something(tmp_path: Path, broken: str, not_done: Callable[[str], None]) -> None:
    reason = missing("ext4", tmp_path)
    if reason is not None:
        not_done(f"the negative control: {reason}")
        return
    disk = Disk(tmp_path, "ext4")
    for number in range(40):
        if cut_power(disk, tmp_path, number, broken)[1]:
            return
    pytest.fail(f"{broken} survived every power cut")
