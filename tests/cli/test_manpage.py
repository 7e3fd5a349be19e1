"""The manual page: all commands are in it, and roff has no complaint."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from regcli import errors
from regcli.cli.command_tree import read_tree
from regcli.cli.manpage import escape, exit_codes

PAGE = Path(__file__).parent.parent.parent / "regcli" / "docs" / "regcli.1"


def test_page_holds_every_command_and_option() -> None:
    text = PAGE.read_text()
    for node in read_tree().walk():
        if node.name and not node.children:
            assert f'.SS "regcli {escape(node.name)} ' in text
        for option in node.options:
            for spelling in option.spellings:
                assert f"\\fB{escape(spelling)}\\fR" in text


def test_page_holds_every_exit_code() -> None:
    assert set(exit_codes()) == {0, 1, 2, 3, 4, 5, 6, 7, 8, 70, 130}
    assert exit_codes()[errors.BusyError.exit_code] == errors.BusyError.__doc__


def test_no_line_of_text_is_taken_for_a_request() -> None:
    requests = ('.\\"', ".TH", ".SH", ".SS", ".PP", ".TP", ".RS", ".RE", ".nf", ".fi", ".B ", ".RI")
    for line in PAGE.read_text().splitlines():
        assert not line.startswith("'")
        assert not line.startswith(".") or line.startswith(requests), line


@pytest.mark.parametrize("program", [["groff", "-man", "-Tutf8", "-ww", "-z"], ["mandoc", "-T", "lint", "-W", "error"]])
def test_roff_reads_it_without_complaint(program: list[str]) -> None:
    if shutil.which(program[0]) is None:
        pytest.skip(f"NOT TESTED: the manual page with {program[0]}, which is not installed")
    done = subprocess.run([*program, PAGE], capture_output=True, encoding="utf-8", check=False)
    assert (done.returncode, done.stderr) == (0, "")
