"""The README is run: its tour in a real shell, its Makefile with real make, its hook; its tables are checked."""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from regcli import errors
from regcli.cli.commands import COMMANDS
from regcli.cli.generate import with_table

REPOSITORY = Path(__file__).parent.parent
README = (REPOSITORY / "README.md").read_text()


def _section(title: str) -> str:
    found = re.search(rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", README, re.MULTILINE | re.DOTALL)
    assert found is not None, title
    return found.group(1)


def _blocks(section: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", section, re.MULTILINE | re.DOTALL)


@pytest.fixture
def shell(tmp_path: Path) -> dict[str, str]:
    """An environment with `regcli` on the path, an empty home, and the repository's test data in the working directory."""
    programs = tmp_path / "bin"
    programs.mkdir()
    script = programs / "regcli"
    script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m regcli "$@"\n')
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    (tmp_path / "home").mkdir()
    work = tmp_path / "work"
    (work / "tests").mkdir(parents=True)
    shutil.copytree(REPOSITORY / "tests" / "data", work / "tests" / "data")
    return {"PATH": f"{programs}:{os.environ['PATH']}", "HOME": str(tmp_path / "home"), "LANG": "C.UTF-8"}


def _run(command: list[str], environment: dict[str, str], work: Path, text: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, env=environment, cwd=work, input=text, capture_output=True, text=True, check=False)


def test_the_tour_and_what_rests_on_it(shell: dict[str, str], tmp_path: Path) -> None:
    work = tmp_path / "work"
    for block in _blocks(_section("Five minutes with the Zoo"), "sh"):
        done = _run(["sh", "-eux"], shell, work, block)
        assert done.returncode == 0, done.stderr
    assert (work / "data" / "zoo_labels.csv").read_bytes() == (work / "zoo" / "zoo_labels.csv").read_bytes()

    (work / "Makefile").write_text(_blocks(_section("In a Makefile"), "make")[0])
    first = _run(["make", "report.txt"], shell, work)
    assert first.returncode == 0, first.stderr
    again = _run(["make", "report.txt"], shell, work)
    assert "wc -l" in first.stdout
    assert "wc -l" not in again.stdout
    _run(["regcli", "alias", "add", "model/Zoo_Classifier_Models:v0", "production"], shell, work)
    assert "wc -l" in _run(["make", "report.txt"], shell, work).stdout

    (script,) = _blocks(_section("From Python"), "python")
    done = _run([sys.executable, "-c", script], {**shell, "PYTHONPATH": str(REPOSITORY)}, work)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("local") or "Zoo Classifier:" in done.stdout

    (hook,) = _blocks(_section("In a git hook"), "sh")
    assert _run(["sh", "-s"], shell, work, hook).returncode == 0
    (work / "data" / "zoo_labels.csv").write_text("changed")
    assert _run(["sh", "-s"], shell, work, hook).returncode == 1


def test_the_tables_of_commands_are_those_of_today() -> None:
    assert with_table(README) == README, "run: python -m regcli.cli.generate"
    assert all(f"| `{name}` |" in README for name, _, _ in COMMANDS)


def test_completion_is_installed_as_the_readme_says(shell: dict[str, str], tmp_path: Path) -> None:
    (block,) = _blocks(_section("Shell completion"), "sh")
    done = _run(["bash", "-eu"], {**shell, "SHELL": "/bin/bash"}, tmp_path / "work", block)
    assert done.returncode == 0, done.stderr
    assert list((tmp_path / "home").rglob("regcli"))


def test_every_exit_code_of_an_error_is_documented() -> None:
    documented = {int(code) for code in re.findall(r"^\| (\d+) \|", _section("Exit codes"), re.MULTILINE)}
    used = {
        value.exit_code for value in vars(errors).values() if isinstance(value, type) and issubclass(value, errors.RegcliError)
    }
    assert used <= documented
    assert {0, 1, 130} <= documented


def test_every_error_class_says_what_it_means() -> None:
    for value in vars(errors).values():
        if isinstance(value, type) and issubclass(value, errors.RegcliError):
            assert value.__doc__
            assert value.kind
