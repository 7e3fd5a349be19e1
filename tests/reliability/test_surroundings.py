"""Clocks that are wrong (T14), and signals and pipes that end a command early (T16)."""

from __future__ import annotations

import random
import signal
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from tests.reliability import model
from tests.reliability.harness import command, environment, has_command, inside, run, scaled

if TYPE_CHECKING:
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


@pytest.mark.parametrize("when", ["ten_years_ago", "in_ten_years"])
def test_order_is_by_number_whatever_the_clock_says(place: Path, when: str) -> None:
    run("alias", "add", "zoo:v0", "x", env=env_of(place, when), cwd=place).ok()
    run("log", "second.txt", "-n", "zoo", "-t", "dataset", env=env_of(place), cwd=place).ok()
    run("alias", "add", "zoo:v1", "x", env=env_of(place, when), cwd=place).ok()
    commits = model.read_log(place / "root" / LOG)
    assert [commit["time"] for commit in commits] != sorted(commit["time"] for commit in commits), "the clock must be wrong"
    assert run("resolve", "zoo:x", env=env_of(place), cwd=place).ok().stdout.strip().endswith(":v1")
    assert run("resolve", "zoo", env=env_of(place, when), cwd=place).ok().stdout.strip().endswith(":v1")
    events = run("history", "zoo", "--json", env=env_of(place), cwd=place).ok().json["events"]
    assert [event["seq"] for event in events] == sorted(event["seq"] for event in events)
    run("verify", env=env_of(place, when), cwd=place).ok()


def test_nothing_is_deleted_by_age_on_a_clock_that_is_behind(place: Path) -> None:
    if not has_command("gc"):
        return
    run("log", "second.txt", "-n", "short", "-t", "dataset", "--ttl", "1h", env=env_of(place, "in_ten_years"), cwd=place).ok()
    run("log", "first.txt", "-n", "old", "-t", "dataset", "--ttl", "1h", env=env_of(place, "ten_years_ago"), cwd=place).ok()
    done = run("gc", "--json", env=env_of(place), cwd=place).ok()
    assert done.json["deleted"] == []
    for name in ("short", "old"):
        run("resolve", name, env=env_of(place), cwd=place).ok()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_leaves_the_old_or_the_new_state(place: Path, number: signal.Signals) -> None:
    many = place / "many"
    many.mkdir()
    for index in range(60):
        (many / f"{index}.bin").write_bytes(random.Random(index).randbytes(20_000))
    chance = random.Random(int(number))
    before = 1
    for attempt in range(scaled(5, 200)):
        (many / "change.txt").write_text(str(attempt))
        process = subprocess.Popen(
            command("log", "many", "-n", "zoo", "-t", "dataset", "--json"),
            env=env_of(place), cwd=place, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            # Whoever started the tests may have told them to ignore it.
            preexec_fn=lambda: signal.signal(number, signal.SIG_DFL),  # noqa: PLW1509 - no threads here
        )  # fmt: skip
        time.sleep(chance.uniform(0.01, 0.25))
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
        # Before the program's first line the interpreter answers to signals in its own way.
        started = "Traceback" not in err or "regcli/" in err
        assert "Traceback" not in err or not started, err
        after = len(model.read_log(place / "root" / LOG))
        assert after in (before, before + 1)
        if process.returncode == 0:
            assert '"seq"' in out
            assert after == before + 1
        elif started:
            assert process.returncode in (130, 143, 129, -number), (process.returncode, err)
        before = after
    inside("verify", root=place / "root", cwd=place).ok()
    inside("log", "second.txt", "-n", "zoo", "-t", "dataset", root=place / "root", cwd=place).ok()


def test_an_answer_that_cannot_be_delivered_does_not_hide_what_was_done(place: Path) -> None:
    for number, (shell, code) in enumerate(
        [('exec "$@" >/dev/full', 8), ('exec "$@" >&-', None), ('set -o pipefail; "$@" | true', None)]
    ):
        words = ["bash", "-c", shell, "bash", *command("alias", "add", "zoo:v0", f"x{number}", "--json")]
        done = subprocess.run(words, env=env_of(place), cwd=place, capture_output=True, text=True, check=False)
        assert "Traceback" not in done.stderr, done.stderr
        if code is not None:
            assert done.returncode == code, done
            assert "done before that: commit" in done.stderr, done.stderr
        commits = model.read_log(place / "root" / LOG)
        assert len(commits) == 2 + number, "a change that was made stays"
