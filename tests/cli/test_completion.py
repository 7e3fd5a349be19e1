"""Completion: the scripts hold the commands, and real shells complete with them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from regcli.cli.command_tree import read_tree
from regcli.cli.completion import SCRIPTS
from tests.cli.shells import COMMANDS, Shell
from tests.conftest import clean_environment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.conftest import Result

    Invoke = Callable[..., Result]

PROJECT = Path(__file__).parent.parent.parent
COMPLETIONS = PROJECT / "completions"
BASH_COMPLETION = "/usr/share/bash-completion/bash_completion"
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
    "regcli completion install f": "regcli completion install fish ",
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
        pytest.skip(f"NOT TESTED: completion in {shell}, which is not installed")


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


# Installing


@pytest.mark.parametrize("shell", SHELLS)
def test_install_writes_one_file_where_the_shell_looks(shell: str, invoke: Invoke, home: Path) -> None:
    rc = home / f".{shell}rc"
    rc.write_text("mine\n")
    first = invoke("completion", "install", "--shell", shell, "--json").ok().json
    again = invoke("completion", "install", "--shell", shell, "--json").ok().json
    assert (first["written"], again["written"]) == (True, False)
    path = Path(first["path"])
    assert path.read_text() == (COMPLETIONS / SCRIPTS[shell]).read_text()
    assert sorted(item for item in home.rglob("*") if item.is_file()) == sorted([rc, path])
    assert rc.read_text() == "mine\n"
    # An older script of ours is replaced, anything else is not.
    path.write_text(path.read_text().replace("log", "gol"))
    assert invoke("completion", "install", "--shell", shell, "--json").ok().json["written"] is True
    path.write_text("by hand")
    assert invoke("completion", "install", "--shell", shell).code == 4
    assert path.read_text() == "by hand"


def test_install_takes_the_shell_as_a_word_too(invoke: Invoke) -> None:
    first = invoke("completion", "install", "fish", "--json").ok().json
    assert first == {**invoke("completion", "install", "--shell", "fish", "--json").ok().json, "written": True}
    assert invoke("completion", "install", "fish", "--shell", "fish").code == 0
    for wrong in (("install", "tcsh"), ("install", "bash", "--shell", "zsh"), ("bash", "zsh"), ("bash", "--shell", "zsh")):
        assert invoke("completion", *wrong).code == 2, wrong


def test_install_takes_the_shell_of_the_user(invoke: Invoke, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHELL", "/usr/bin/zsh")
    result = invoke("completion", "install").ok()
    assert result.lines == [f"fpath=({home}/.local/share/zsh/site-functions $fpath)"]
    assert "~/.zshrc" in result.stderr
    monkeypatch.setenv("SHELL", "/bin/tcsh")
    assert invoke("completion", "install").code == 2
    monkeypatch.delenv("SHELL")
    assert invoke("completion", "install").code == 2


def test_install_follows_the_variables_of_the_shells(invoke: Invoke, work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(work / "data"))
    assert invoke("completion", "install", "--shell", "fish", "--json").json["path"].startswith(str(work / "data" / "fish"))
    monkeypatch.setenv("BASH_COMPLETION_USER_DIR", str(work / "own"))
    assert invoke("completion", "install", "--shell", "bash", "--json").json["path"] == str(work / "own/completions/regcli")


# The whole way: a real root, the real program, the script where it was installed


@pytest.fixture
def real(request: pytest.FixtureRequest, invoke: Invoke, home: Path, work: Path, root: Path) -> Iterator[Shell]:
    """An interactive shell (indirect parameter) that finds the installed script by itself, and a root with odd names."""
    name = request.param
    need(name)
    if name == "bash" and not os.path.exists(BASH_COMPLETION):
        pytest.skip("NOT TESTED: completion with the package bash-completion, which is not installed")
    (work / "a b.txt").write_text("x")
    invoke("log", "a b.txt", "-n", "zoo", "-t", "dataset", "-a", "raw", "--tag", "animals").ok()
    invoke("registry", "create", "Zoo Models").ok()
    invoke("link", "zoo", "Zoo Models/동물원", "-a", "production").ok()
    invoke("link", "zoo", "model/$(touch pwned)`id`", "-a", "staging").ok()
    line = invoke("completion", "install", "--shell", name, "--json").ok().json["line"]
    program = home / "bin" / "regcli"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m regcli "$@"\n')
    program.chmod(0o755)
    load = {"bash": f"source {BASH_COMPLETION}", "zsh": line, "fish": ""}[name]
    environment = {
        **clean_environment(home, root),
        "PATH": f"{program.parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(PROJECT),
    }
    shell = Shell(name, COMPLETIONS, work, environment, load)
    yield shell
    shell.close()


@pytest.mark.parametrize("real", SHELLS, indirect=True)
def test_the_installed_script_completes_from_a_real_root(real: Shell, work: Path) -> None:
    for typed, expected in {
        "regcli resolve zo": "regcli resolve zoo",
        "regcli resolve zoo:r": "regcli resolve zoo:raw ",
        "regcli resolve Zo": "regcli resolve Zoo\\ Models/",
        "regcli show Zoo\\ Models/동물원:p": "regcli show Zoo\\ Models/동물원:production ",
        "regcli cat zoo a": "regcli cat zoo a\\ b.txt ",
        "regcli alias rm zoo:v0 r": "regcli alias rm zoo:v0 raw ",
        "regcli tag rm 'Zoo Models/동물원:v0' ani": "regcli tag rm 'Zoo Models/동물원:v0' animals ",
        "regcli alias add Zoo\\ Models/동물원:v0 x --expect no": "regcli alias add Zoo\\ Models/동물원:v0 x --expect none ",
        "regcli member add Zoo\\ Models roo": "regcli member add Zoo\\ Models root ",
        "regcli log a --name zo": "regcli log a --name zoo ",
        "regcli show local/default/zoo:v": "regcli show local/default/zoo:v0 ",
    }.items():
        for attempt in (1, 2, 3):
            line, shown = real.complete(typed)
            if line == expected:
                break
            assert attempt < 3, f"{typed!r} became {line!r}, not {expected!r}; shown: {shown!r}"
    line, _ = real.complete("regcli resolve model/\\$\\(touch\\ pwned")
    real.complete(f"{line}:stag")
    assert not (work / "pwned").exists()
