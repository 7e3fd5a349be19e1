"""Progress: a bar on a terminal for work that lasts, nothing anywhere else."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.cli.terminal import on_terminal

WORK = """
import sys, time
from regcli.cli import progress as bar
from regcli.cli.context import Session
from regcli.cli.settings import Options
delay, steps, *flags = sys.argv[1:]
bar.DELAY = float(delay)
options = Options()
for flag in flags:
    setattr(options, flag, flag != "progress")
with bar.progress(Session(options), "hash[b]ing\\x1b", total_files=100, total_bytes=100_000_000) as update:
    for _ in range(int(steps)):
        time.sleep(0.15)
        update(1, 1_000_000)
print("done")
"""


def test_long_work_on_a_terminal_shows_files_bytes_rate_and_remaining_time() -> None:
    shown = on_terminal("-c", WORK, "0.1", "6", environment={"COLUMNS": "120"})
    assert "hash[b]ing\\x1b" in shown
    assert "of 100 files" in shown
    assert "/100.0 MB" in shown
    assert "MB/s" in shown
    assert "0:00:" in shown
    assert shown.rstrip().endswith("done")


@pytest.mark.parametrize(
    "arguments", [["10", "3"], ["0.1", "3", "quiet"], ["0.1", "3", "json"], ["0.1", "3", "progress"]], ids=str
)
def test_short_work_and_quiet_runs_show_nothing(arguments: list[str]) -> None:
    assert on_terminal("-c", WORK, *arguments) == "done\n"


def test_without_a_terminal_nothing_is_shown_and_rich_is_not_imported() -> None:
    code = WORK + "\nassert 'rich' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", code, "0.1", "3"], capture_output=True, encoding="utf-8", check=True)
    assert (done.stdout, done.stderr) == ("done\n", "")


def test_confirm_takes_a_clear_yes_only() -> None:
    ask = """
from regcli.cli.context import Session
from regcli.cli.settings import Options
print(Session(Options()).confirm("remove a\\x1bb?"))
"""
    assert "remove a\\x1bb? [y/N]" in on_terminal("-c", ask, keys="y\n")
    assert on_terminal("-c", ask, keys="y\n").endswith("True\n")
    for keys in ("\n", "n\n", "yolo\n", "\x04"):
        assert on_terminal("-c", ask, keys=keys).endswith("False\n")
