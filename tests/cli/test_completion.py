"""Completion: the scripts hold the commands, and real shells complete with them."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from regcli.cli.command_tree import read_tree
from regcli.cli.completion import SCRIPTS
from tests.cli.shells import COMMANDS, Shell

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.conftest import Result

    Invoke = Callable[..., Result]

COMPLETIONS = Path(__file__).parent.parent.parent / "completions"
SHELLS = list(COMMANDS)

# Stands in for the program: answers `__complete KIND WORD …` from a file of names and notes how it was called.
STAND_IN = """#!/bin/sh
printf '%s\\n' "$*" >> "$0.calls"
[ "$1" = __complete ] || exit 2
grep -F -- "$3" "$0.$2" 2>/dev/null
"""
NAMES = {
    "ref": [
        "model/zoo:production",
        "model/zoo:v10",
        "Zoo Models/한국:v1",
        "data$HOME/`id`:v0",
        'It\'s "so"/a&b;c:v1',
        "x@y=z/w:v1",
    ],
    "registry": ["model", "Zoo Models"],
    "alias": ["staging"],
    "project": ["team/vision"],
}
# What is typed -> the line after TAB. Everything is unambiguous, so the three shells agree.
COMPLETED = {
    "regcli ali": "regcli alias ",
    "regcli alias a": "regcli alias add ",
    "regcli alias add --expec": "regcli alias add --expect ",
    "regcli --color al": "regcli --color always ",
    "regcli --color=al": "regcli --color=always ",
    "regcli completion z": "regcli completion zsh ",
    "regcli -q --wait 3 alias l": "regcli -q --wait 3 alias ls ",
    "regcli show model/zoo:pro": "regcli show model/zoo:production ",
    "regcli show Zo": "regcli show Zoo\\ Models/한국:v1 ",
    'regcli show "Zo': 'regcli show "Zoo Models/한국:v1" ',
    "regcli show x@y=z/w": "regcli show x@y=z/w:v1 ",
    "regcli show x@": "regcli show x@y=z/w:v1 ",
    "regcli show x@y": "regcli show x@y=z/w:v1 ",
    "regcli show 'da": "regcli show 'data$HOME/`id`:v0' ",
    'regcli show "da': 'regcli show "data\\$HOME/\\`id\\`:v0" ',
    "regcli show da": "regcli show data\\$HOME/\\`id\\`:v0 ",
    "regcli show \"It's": 'regcli show "It\'s \\"so\\"/a&b;c:v1" ',
    "regcli show It\\'s\\ ": 'regcli show It\\\'s\\ \\"so\\"/a\\&b\\;c:v1 ',
    "regcli protect Zo": "regcli protect Zoo\\ Models ",
    "regcli alias add model/zoo:v10 stag": "regcli alias add model/zoo:v10 staging ",
    "regcli --project tea": "regcli --project team/vision ",
    "regcli -C /us": "regcli -C /usr/",
    "regcli log sub": "regcli log subdirectory/",
    "regcli show --root /x model/zoo:pro": "regcli show --root /x model/zoo:production ",
}


def need(shell: str) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")


@pytest.fixture
def stand_in(tmp_path: Path) -> Path:
    """A program called `regcli` that knows a few names, alone in a directory."""
    program = tmp_path / "bin" / "regcli"
    program.parent.mkdir()
    program.write_text(STAND_IN)
    program.chmod(0o755)
    for kind, names in NAMES.items():
        Path(f"{program}.{kind}").write_text("".join(f"{name}\n" for name in names))
    return program


@pytest.fixture
def interactive(request: pytest.FixtureRequest, stand_in: Path, work: Path, home: Path) -> Iterator[Shell]:
    """An interactive shell (indirect parameter) with the scripts loaded and the stand-in on its path."""
    need(request.param)
    (work / "subdirectory").mkdir()
    environment = {"PATH": f"{stand_in.parent}:{os.environ['PATH']}", "HOME": str(home)}
    shell = Shell(request.param, COMPLETIONS, work, environment)
    yield shell
    shell.close()


@pytest.mark.parametrize("shell", SHELLS)
def test_scripts_are_valid(shell: str) -> None:
    need(shell)
    subprocess.run([shell, "-n", COMPLETIONS / SCRIPTS[shell]], check=True)


@pytest.mark.parametrize("shell", SHELLS)
def test_scripts_hold_every_command_and_option(shell: str) -> None:
    text = (COMPLETIONS / SCRIPTS[shell]).read_text()
    for node in read_tree().walk():
        assert node.word in text
        for option in node.options:
            for spelling in option.spellings:
                assert spelling in text, f"{node.name} {spelling}"


@pytest.mark.parametrize("shell", SHELLS)
def test_completion_prints_the_script(shell: str, invoke: Invoke) -> None:
    text = (COMPLETIONS / SCRIPTS[shell]).read_text()
    assert invoke("completion", shell).ok().stdout == text
    assert invoke("completion", shell, "--json").ok().json["script"] == text


def test_completion_of_an_unknown_shell_is_wrong_usage(invoke: Invoke) -> None:
    assert invoke("completion", "tcsh").code == 2


@pytest.mark.parametrize("interactive", SHELLS, indirect=True)
def test_a_real_shell_completes(interactive: Shell) -> None:
    for typed, expected in COMPLETED.items():
        for attempt in (1, 2, 3):
            # A busy machine may be slower than the pauses between keys.
            line, shown = interactive.complete(typed)
            # zsh ends an option that takes a value with `=`.
            # A backtick means nothing to fish.
            if line in (expected, expected.rstrip() + "=", expected.replace("\\`", "`")):
                break
            assert attempt < 3, f"{typed!r} became {line!r}, not {expected!r}; shown: {shown!r}"


@pytest.mark.parametrize("interactive", SHELLS, indirect=True)
def test_the_root_and_the_reference_before_are_passed_on(interactive: Shell, stand_in: Path) -> None:
    interactive.complete("regcli --root /x alias add 'Zoo Models/z:v1' --project e/p stag")
    calls = Path(f"{stand_in}.calls").read_text().splitlines()
    words = calls[0].split(" ", 3)
    assert words[:3] == ["__complete", "alias", "stag"]
    assert "--root /x" in words[3]
    assert "--project e/p" in words[3]
    assert "--of Zoo Models/z:v1" in words[3]


@pytest.mark.parametrize("interactive", SHELLS, indirect=True)
def test_names_are_never_run(interactive: Shell, work: Path) -> None:
    line, _ = interactive.complete("regcli show data")
    assert "`id`" in line.replace("\\", "").replace("'", "")
    assert "uid=" not in line
    interactive.complete('regcli show "$(touch hacked)" --project "$(touch hacked)" ')
    assert not (work / "hacked").exists()


def test_bash_words_are_whole_around_colons_and_equal_signs() -> None:
    need("bash")
    script = f"""
    source {COMPLETIONS / "regcli.bash"}
    COMP_LINE='regcli show a:b: --x=c:d e=f : g'
    COMP_WORDS=(regcli show a : b : --x = c : d e = f : g) COMP_CWORD=15 COMP_POINT=${{#COMP_LINE}}
    _regcli_words; printf '%s|' "${{words[@]}}"
    COMP_POINT=13 COMP_CWORD=3
    _regcli_words; printf '%s|' "${{words[@]}}"
    """
    done = subprocess.run(["bash", "-c", script], capture_output=True, encoding="utf-8", check=True)
    assert done.stdout == "regcli|show|a:b:|--x=c:d|e=f|:|g|regcli|show|a|"
