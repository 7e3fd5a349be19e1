"""Whatever dies whenever: what was acknowledged is there, and nobody has to mend anything (T1)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.reliability import crowds, model
from tests.reliability.harness import environment, has_command, inside, run, scaled

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

KILLS = scaled(60, 5000)
# A `link` may clear the TTL of its source in a second log, `log --link` and `log --run` are several transactions; none of
# the crowd's commands is one of these, so each victim leaves at most the one commit that it was about to report.
PER_VICTIM = 1


def kill_crowd(tmp_path: Path, kills: int, broken: str | None = None, seed: int = 1) -> tuple[Path, list[model.Event]]:
    root = tmp_path / "root"
    root.mkdir(exist_ok=True)
    mix = crowds.EVERYTHING if has_command("gc") else crowds.CHANGES
    return root, crowds.run_crowd(root, tmp_path, broken, kills=kills, writers=3, seed=seed, mix=mix)


def problems_after(root: Path, events: list[model.Event], victims: int) -> list[str]:
    """Return everything that a crash must not leave behind."""
    try:
        found = model.lost(root, events) + crowds.unclean(events)
        extra = model.unacknowledged(root, events)
    except model.DamageError as error:
        return [str(error)]
    if extra > victims * PER_VICTIM:
        found.append(f"{extra} commits that nobody was told of, after {victims} kills")
    return found


def test_no_acknowledged_change_is_lost_and_nothing_needs_a_hand(tmp_path: Path, not_done: Callable[[str], None]) -> None:
    root, events = kill_crowd(tmp_path, KILLS)

    assert len(model.acknowledged(events)) > KILLS // 2, "the crowd must have got something done between the kills"
    assert problems_after(root, events, KILLS + 3) == []

    # The next commands work as if nothing had happened, on every collection.
    work = tmp_path / "work"
    (work / "after.txt").write_text("after")
    for name in ("c0", "c1"):
        inside("log", "after.txt", "-n", name, "-t", "dataset", "--new-version", root=root, cwd=work).ok()
        inside("link", name, f"model/after-{name}", "-a", "fine", root=root, cwd=work).ok()
        inside("download", f"model/after-{name}:fine", "-o", f"got-{name}", root=root, cwd=work).ok()
        assert (work / f"got-{name}" / "after.txt").read_text() == "after"
    inside("verify", root=root, cwd=work).ok()
    if not has_command("gc"):
        not_done("that gc removes the litter of the killed (there is no gc yet)")
        return
    later = environment(root, tmp_path / "home", "a_day_later")
    run("gc", "--grace", "0", env=later, cwd=work).ok()
    assert litter(root) == []
    inside("verify", root=root, cwd=work).ok()


def litter(root: Path) -> list[Path]:
    return [path for path in root.rglob("*") if path.name.startswith(".tmp-") or "staging" in path.parts]


@pytest.mark.parametrize("broken", ["commit_by_rename", "commit_in_place"])
def test_a_broken_commit_point_is_found_out(tmp_path: Path, broken: str) -> None:
    for attempt in range(20):
        base = tmp_path / str(attempt)
        base.mkdir()
        root, events = kill_crowd(base, 15, broken, seed=attempt)
        if problems_after(root, events, 18):
            return
    pytest.fail(f"a store with {broken} passed")
