"""Clocks that are wrong (T14), and signals and pipes that end a command early (T16)."""

from __future__ import annotations

import random
import signal
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from tests.reliability import model
from tests.reliability.harness import command, environment, inside, run, scaled, until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

LOG = "projects/local/default/collections/zoo/log"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A directory with `root` (one version of `zoo`), and files to log."""
    (tmp_path / "first.txt").write_text("first")
    (tmp_path / "second.txt").write_text("second")
    inside("log", "first.txt", "-n", "zoo", "-t", "dataset", root=tmp_path / "root", cwd=tmp_path).ok()
    return tmp_path


def env_of(place: Path, when: str | None = None) -> dict[str, str]:
    return environment(place / "root", place / "home", when)


CLOCKS = ("ten_years_ago", "in_ten_years")


def wrong_order(place: Path, when: str, broken: str = "") -> list[str]:
    """Change things with clocks that differ; returns where the order is not that of the changes."""

    def env(clock: str = "") -> dict[str, str]:
        return env_of(place, ",".join(filter(None, (clock, broken))) or None)

    found = []
    for arguments, clock in (
        (["alias", "add", "zoo:v0", "x"], when),
        (["log", "second.txt", "-n", "zoo", "-t", "dataset"], ""),
        (["alias", "add", "zoo:v1", "x"], when),
    ):
        done = run(*arguments, env=env(clock), cwd=place)
        found += [str(done)] if done.code else []
    times = [commit["time"] for commit in model.read_log(place / "root" / LOG)]
    assert times != sorted(times), "the clock must be wrong"
    for reference, clock in (("zoo:x", ""), ("zoo:x", when), ("zoo", ""), ("zoo", when)):
        done = run("resolve", reference, env=env(clock), cwd=place)
        found += [str(done)] if done.code or not done.stdout.strip().endswith(":v1") else []
    done = run("history", "zoo", "--json", env=env(), cwd=place)
    seqs = [event["seq"] for event in done.json["events"]] if done.code == 0 else []
    found += [str(done)] if not seqs or seqs != sorted(seqs) or seqs[-1] != len(times) else []
    done = run("verify", env=env(when), cwd=place)
    return found + ([str(done)] if done.code else [])


@pytest.mark.parametrize("when", CLOCKS)
def test_order_is_by_number_whatever_the_clock_says(place: Path, when: str) -> None:
    assert wrong_order(place, when) == []


@pytest.mark.parametrize("when", CLOCKS)
def test_an_order_by_time_is_found_out(place: Path, when: str) -> None:
    assert wrong_order(place, when, "the_clock_decides")


def deleted_by_age(place: Path, broken: str | None = None) -> list[str]:
    """Let gc run on a clock that is behind the newest change; returns what it deleted."""
    run("log", "second.txt", "-n", "short", "-t", "dataset", "--ttl", "1h", env=env_of(place, "in_ten_years"), cwd=place).ok()
    run("log", "first.txt", "-n", "old", "-t", "dataset", "--ttl", "1h", env=env_of(place, "ten_years_ago"), cwd=place).ok()
    done = run("gc", "--json", env=env_of(place, broken), cwd=place).ok()
    gone = [name for name in ("short", "old") if run("resolve", name, env=env_of(place), cwd=place).code]
    assert len(gone) == len(done.json["deleted"])
    return gone


def test_nothing_is_deleted_by_age_on_a_clock_that_is_behind(place: Path) -> None:
    assert deleted_by_age(place) == []


def test_a_gc_that_believes_any_clock_is_found_out(place: Path) -> None:
    assert deleted_by_age(place, "believe_the_clock") == ["old"]


class Interrupted:
    """What a command left that got a signal."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code = code
        self.out = out
        self.err = err
        # Before the program's first line the interpreter answers to signals in its own way.
        self.began = "Traceback" not in err or "regcli/" in err

    def problems(self, log: Path, before: int, number: signal.Signals) -> list[str]:
        """Return what is neither the old nor the new state, or is not told."""
        try:
            after = len(model.read_log(log))
        except model.DamageError as damage:
            return [str(damage)]
        if after not in (before, before + 1):
            return [f"{after} commits after {before}"]
        if self.code == 0:
            return [] if '"seq"' in self.out and after == before + 1 else [f"success without a change: {self.out}"]
        if not self.began:
            return []
        if "Traceback" in self.err or self.code not in (130, 143, 129, -number):
            return [f"exit {self.code}: {self.err}"]
        told = "done before that: commit" in self.err or after == before or self.code == -number
        return [] if told else [f"it was done, but that is not told: {self.err}"]


def interrupt(place: Path, number: signal.Signals, moment: Callable[[], None], broken: str | None = None) -> Interrupted:
    process = subprocess.Popen(
        command("log", "many", "-n", "zoo", "-t", "dataset", "--json"),
        env=env_of(place, broken), cwd=place, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        # Whoever started the tests may have told them to ignore it.
        preexec_fn=lambda: signal.signal(number, signal.SIG_DFL),  # noqa: PLW1509 - no threads here
    )  # fmt: skip
    moment()
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    return Interrupted(process.returncode, out, err)


def fill(many: Path) -> None:
    many.mkdir()
    for index in range(60):
        (many / f"{index}.bin").write_bytes(random.Random(index).randbytes(20_000))


SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_leaves_the_old_or_the_new_state(place: Path, number: signal.Signals) -> None:
    many, log = place / "many", place / "root" / LOG
    fill(many)
    chance = random.Random(int(number))
    for attempt in range(scaled(5, 200)):
        (many / "change.txt").write_text(str(attempt))
        before = len(model.read_log(log))
        left = interrupt(place, number, lambda: time.sleep(chance.uniform(0.01, 0.25)))
        assert left.problems(log, before, number) == []
    inside("verify", root=place / "root", cwd=place).ok()
    inside("log", "second.txt", "-n", "zoo", "-t", "dataset", root=place / "root", cwd=place).ok()


def as_it_is_committed(place: Path, number: signal.Signals, broken: str) -> list[str]:
    """Send the signal in the moment in which the commit has its name; returns what is wrong then."""
    fill(place / "many")
    log = place / "root" / LOG
    left = interrupt(place, number, lambda: until((log / "0000000002.json").exists, "the commit"), broken)
    return left.problems(log, 1, number)


@pytest.mark.parametrize("slowly", ["slow_writes", "slow_syncs"])
@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_at_the_moment_of_the_commit(place: Path, number: signal.Signals, slowly: str) -> None:
    assert as_it_is_committed(place, number, slowly) == []


def test_a_commit_that_is_forgotten_when_it_is_cut_short_is_found_out(place: Path) -> None:
    assert as_it_is_committed(place, signal.SIGINT, "slow_syncs,forget_what_was_cut_short")


@pytest.mark.parametrize("number", SIGNALS)
def test_a_commit_that_a_signal_cuts_off_is_found_out(place: Path, number: signal.Signals) -> None:
    assert as_it_is_committed(place, number, "slow_writes,commit_in_place")


def hidden_changes(place: Path, broken: str | None = None) -> list[str]:
    """Make changes whose answers cannot be delivered; returns what is not told of them, or was taken back."""
    found = []
    for number, (shell, code) in enumerate(
        [('exec "$@" >/dev/full', 8), ('exec "$@" >&-', None), ('set -o pipefail; "$@" | true', None)]
    ):
        words = ["bash", "-c", shell, "bash", *command("alias", "add", "zoo:v0", f"x{number}", "--json")]
        done = subprocess.run(words, env=env_of(place, broken), cwd=place, capture_output=True, text=True, check=False)
        if "Traceback" in done.stderr or (code is not None and done.returncode != code):
            found.append(str(done))
        if code is not None and "done before that: commit" not in done.stderr:
            found.append(f"not told: {done}")
        if len(model.read_log(place / "root" / LOG)) != 2 + number:
            found.append(f"a change that was made is gone: {done}")
    return found


def test_an_answer_that_cannot_be_delivered_does_not_hide_what_was_done(place: Path) -> None:
    assert hidden_changes(place) == []


def test_an_error_that_hides_what_was_done_is_found_out(place: Path) -> None:
    assert hidden_changes(place, "forget_what_was_done")
