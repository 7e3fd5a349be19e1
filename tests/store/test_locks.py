"""Locks on files: shared and exclusive, waited for, and free when their holder dies."""

from __future__ import annotations

import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from regcli.errors import BusyError, StorageError
from regcli.store.locks import Lock

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the lock `tmp_path/x.lock` exclusively."""
    program = (
        "import sys, time; from regcli.store.locks import Lock\n"
        "lock = Lock(sys.argv[1])\n"
        "lock.acquire(exclusive=True, wait=5, clock=time.monotonic, sleep=time.sleep)\n"
        "print('held', flush=True); time.sleep(600)"
    )
    process = subprocess.Popen([sys.executable, "-c", program, str(tmp_path / "x.lock")], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


class Clock:
    """Time that passes only while one sleeps."""

    def __init__(self) -> None:
        self.moment = 0.0

    def now(self) -> float:
        return self.moment

    def sleep(self, seconds: float) -> None:
        self.moment += seconds


@pytest.mark.parametrize("exclusive", [True, False])
def test_a_lock_is_waited_for_no_longer_than_asked(tmp_path: Path, holder: subprocess.Popen[str], exclusive: bool) -> None:
    clock = Clock()
    lock = Lock(str(tmp_path / "x.lock"))
    with pytest.raises(BusyError, match="is locked by another process"):
        lock.acquire(exclusive=exclusive, wait=3.0, clock=clock.now, sleep=clock.sleep)
    assert 3.0 <= clock.moment < 3.3


def test_the_lock_of_a_killed_process_is_free(tmp_path: Path, holder: subprocess.Popen[str]) -> None:
    holder.kill()
    holder.wait()
    lock = Lock(str(tmp_path / "x.lock"))
    lock.acquire(exclusive=True, wait=0, clock=time.monotonic, sleep=time.sleep)
    lock.release()


def test_readers_share_a_lock_and_keep_a_writer_out(tmp_path: Path) -> None:
    path = str(tmp_path / "x.lock")
    clock = Clock()
    one, two, writer = Lock(path), Lock(path), Lock(path)
    one.acquire(exclusive=False, wait=0, clock=clock.now, sleep=clock.sleep)
    two.acquire(exclusive=False, wait=0, clock=clock.now, sleep=clock.sleep)
    with pytest.raises(BusyError):
        writer.acquire(exclusive=True, wait=0, clock=clock.now, sleep=clock.sleep)
    one.release()
    two.release()
    writer.acquire(exclusive=True, wait=0, clock=clock.now, sleep=clock.sleep)
    writer.release()
    assert (tmp_path / "x.lock").exists(), "the file of a lock is never deleted"


def test_a_lock_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "x.lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StorageError, match="cannot open the lock"):
        Lock(str(tmp_path / "x.lock")).acquire(exclusive=True, wait=0, clock=time.monotonic, sleep=time.sleep)
    assert not (tmp_path / "elsewhere").exists()
