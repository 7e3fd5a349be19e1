"""Every state that a power cut may leave of one command, replayed in a pessimistic model of the disk (T5)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.reliability import crashes, model
from tests.reliability.harness import LONG, has_command, inside, remove_tree, scaled
from tests.reliability.test_faults import COMMANDS, Place, strace

VERBS = tuple(COMMANDS) if LONG else ("log", "first", "link", "gc")

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

__all__ = ["strace"]


def broken_states(place: Place, verb: str, limit: int, *, enough: int = 10**6) -> tuple[int, list[str]]:
    """Try the crash states of one command; returns how many, and what is wrong in them."""
    arguments = [*COMMANDS[verb], "--json"]
    place.fresh()
    operations = crashes.record(arguments, env=place.env, cwd=place.work, root=place.root, trace=place.trace)
    assert ("answer",) in operations
    disk, states = crashes.crash_states(place.master, place.root, operations)
    wanted = place.commits(place.root)
    step = max(1, len(states) // limit)
    # The first and the last are the interesting ones; in between every so manieth in the short form.
    chosen = states if len(states) <= limit else [*states[::step], *states[-8:]]
    found = []
    for number, (state, answered) in enumerate(chosen):
        target = place.work.parent / "state"
        remove_tree(target)
        disk.build(state, target)
        found += [f"state {number} of {len(chosen)}: {words}" for words in judge(place, target, arguments, answered, wanted)]
        if len(found) >= enough:
            break
    return len(states), found


def judge(place: Place, root: Path, arguments: list[str], answered: bool, wanted: dict[str, int]) -> list[str]:
    try:
        after = place.commits(root)
    except model.DamageError as damage:
        return [f"damage: {damage}"]
    if answered and after != wanted:
        return [f"an acknowledged change is lost: {after} is not {wanted}"]
    if any(after.get(where, 0) < count for where, count in place.before.items()):
        return ["a commit that was there is gone"]
    found = []
    verified = inside("verify", root=root, cwd=place.work)
    if verified.code:
        found.append(f"verify: {verified}")
    again = inside(*arguments, root=root, cwd=place.work)
    if again.code not in ((0, 3, 4) if after != place.before else (0,)):
        found.append(f"afterwards: {again}")
    return found


@pytest.mark.parametrize("verb", VERBS)
def test_every_state_of_the_disk_is_whole(tmp_path: Path, verb: str, strace: bool, not_done: Callable[[str], None]) -> None:
    if not strace:
        return
    if not has_command(COMMANDS[verb][0]):
        not_done(f"there is no command `{verb}` yet")
        return
    count, found = broken_states(Place(tmp_path), verb, scaled(40, 2000))
    assert count >= 10, "the recording missed what the store does"
    assert not found, f"{len(found)} of {count} states:\n" + "\n".join(found)


@pytest.mark.parametrize("broken", ["no_directory_sync", "no_file_sync"])
def test_a_missing_sync_is_found_out(tmp_path: Path, broken: str, strace: bool) -> None:
    if strace:
        assert broken_states(Place(tmp_path, broken), "log", 2000, enough=1)[1]
