"""What gc takes away while others add the very same: nothing that anybody was told is there (T7)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.reliability import crowds, model
from tests.reliability.harness import environment, has_command, inside, run, scaled

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

COMMANDS = scaled(30, 1000)
MIX = {"again": 8, "log": 1, "delete": 6, "undelete": 1, "gc": 3, "link": 1, "unlink": 1}
# A verify that runs meanwhile must not call a busy root damaged.
READING = {"verify": 2, "download": 2, "resolve": 1}


def dangling(root: Path, base: Path, events: list[model.Event]) -> list[str]:
    """Return what is missing of the versions that are there."""
    found = model.lost(root, events) + crowds.unclean(events)
    verified = inside("verify", root=root, cwd=base)
    return [*found, str(verified)] if verified.code else found


def run_all(
    tmp_path: Path, broken: str | None = None, seed: int = 1, commands: int = COMMANDS
) -> tuple[Path, list[model.Event]]:
    root = tmp_path / "root"
    root.mkdir()
    more = {"writers": 5, "readers": 2, "commands": commands, "mix": MIX, "reading": READING, "seed": seed}
    return root, crowds.run_crowd(root, tmp_path, broken, **more)


def test_gc_takes_nothing_that_is_being_added(tmp_path: Path, not_done: Callable[[str], None]) -> None:
    if not has_command("gc"):
        not_done("there is no gc yet")
        return
    root, events = run_all(tmp_path)
    done = [event["argv"][0] for event in events if event["code"] == 0]
    assert done.count("gc") >= 5, "gc must have come to its turn"
    assert done.count("log") >= 20
    assert dangling(root, tmp_path, events) == []

    # And what nobody needs any more does go.
    for name in ("c0", "c1"):
        for version in inside("ls", name, "--json", root=root, cwd=tmp_path).json["versions"]:
            inside("delete", version["ref"], "--delete-aliases", "--force", root=root, cwd=tmp_path).ok()
    for _ in range(2):
        run("gc", "--grace", "0", env=environment(root, tmp_path / "home", "a_day_later"), cwd=tmp_path).ok()
    assert list((root / "packs").glob("*.pack")) == []
    assert [path for path in (root / "blobs").rglob("*") if path.is_file()] == []


def test_a_gc_without_its_lock_is_found_out(tmp_path: Path) -> None:
    if not has_command("gc"):
        return
    for attempt in range(10):
        base = tmp_path / str(attempt)
        base.mkdir()
        root, events = run_all(base, "gc_takes_no_lock", seed=attempt, commands=30)
        if dangling(root, base, events):
            return
    pytest.fail("a gc without its lock passed")
