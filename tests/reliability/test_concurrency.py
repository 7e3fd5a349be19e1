"""Any number of processes at once, each change as if done alone, with locks and without (T6)."""

from __future__ import annotations

import fcntl
import os
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from tests.reliability import crowds, model
from tests.reliability.harness import environment, has_command, inside, run, scaled

if TYPE_CHECKING:
    from pathlib import Path

COMMANDS = scaled(15, 250)
WAIT = 30


def run_all(tmp_path: Path, broken: str | None = None, **more: object) -> tuple[Path, list[model.Event]]:
    root = tmp_path / "root"
    root.mkdir()
    settings = {"writers": 8, "readers": 4, "commands": COMMANDS, "wait": WAIT, **more}
    return root, crowds.run_crowd(root, tmp_path, broken, **settings)


def contradictions(root: Path, events: list[model.Event]) -> list[str]:
    try:
        return model.not_linearizable(root, events) + model.lost(root, events)
    except model.DamageError as error:
        return [str(error)]


@pytest.mark.parametrize("collections", [1, 8], ids=["one-collection", "many-collections"])
@pytest.mark.parametrize("locks", [None, "locks_do_nothing"], ids=["locks-work", "locks-do-nothing"])
def test_commands_take_effect_one_after_the_other(tmp_path: Path, collections: int, locks: str | None) -> None:
    mix = crowds.EVERYTHING if has_command("gc") else crowds.CHANGES
    root, events = run_all(tmp_path, locks, collections=collections, seed=collections, mix=mix)

    assert crowds.unclean(events) == []
    assert contradictions(root, events) == []
    assert model.unacknowledged(root, events) == 0
    assert sum(event["changed"] for event in events) > COMMANDS, "too few changes to prove anything"
    assert [event for event in events if event["code"] == 7] == [], "somebody waited in vain"
    # A command may be slow on a busy machine, but nobody hangs on another beyond the wait.
    longest = max(event["returned"] - event["called"] for event in events) / 1e9
    assert longest < WAIT + 10
    inside("verify", root=root, cwd=tmp_path).ok()


@pytest.mark.parametrize("broken", ["commit_by_rename", "stale_reads"])
def test_a_store_that_is_not_linearizable_is_found_out(tmp_path: Path, broken: str) -> None:
    for attempt in range(10):
        base = tmp_path / str(attempt)
        base.mkdir()
        root, events = run_all(base, broken, collections=1, seed=attempt)
        if contradictions(root, events):
            return
    pytest.fail(f"a store with {broken} passed")


def hold(path: Path) -> int:
    """Take a lock of the store exclusively, as somebody does who is slow; returns a descriptor to close."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    return descriptor


BLOCKED = {
    "content": (["log", "file.txt", "-n", "zoo", "-t", "dataset"], ["link", "zoo", "model/zoo"], ["gc"]),
    "settings": (["alias", "add", "zoo", "x"], ["link", "zoo", "model/zoo"], ["protect", "model", "x"]),
}


@pytest.mark.parametrize("lock", BLOCKED)
def test_a_busy_store_is_waited_for_as_long_as_asked_and_no_longer(tmp_path: Path, lock: str) -> None:
    root = tmp_path / "root"
    (tmp_path / "file.txt").write_text("first")
    inside("log", "file.txt", "-n", "zoo", "-t", "dataset", root=root, cwd=tmp_path).ok()
    (tmp_path / "file.txt").write_text("second")
    env = environment(root, tmp_path / "home")
    descriptor = hold(root / "locks" / f"{lock}.lock")
    try:
        for arguments in BLOCKED[lock]:
            if not has_command(arguments[0]):
                continue
            begun = time.monotonic()
            done = run(*arguments, "--wait", "0.5", env=env, cwd=tmp_path)
            assert done.code == 7, done
            assert f"{lock}.lock" in done.stderr
            assert time.monotonic() - begun >= 0.5
        # Reading needs no lock.
        for arguments in (["resolve", "zoo"], ["ls"], ["download", "zoo", "-o", str(tmp_path / "out")]):
            run(*arguments, "--wait", "0", env=env, cwd=tmp_path).ok()
        # Whoever does not keep to the limit is found out.
        endless = environment(root, tmp_path / "home", "wait_for_ever")
        with pytest.raises(subprocess.TimeoutExpired):
            run(*BLOCKED[lock][0], "--wait", "0.5", env=endless, cwd=tmp_path, timeout=2)
    finally:
        os.close(descriptor)
    for arguments in BLOCKED[lock]:
        if has_command(arguments[0]):
            run(*arguments, env=env, cwd=tmp_path).ok()
