"""What lies in the user's own directories, changed by many processes at once: nothing that was acknowledged is lost."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.reliability.harness import environment, run, scaled

if TYPE_CHECKING:
    from pathlib import Path

WRITERS = scaled(4, 8)
EACH = scaled(4, 8)
# Each writer says that it is ready, waits for the word, and then runs its commands one after the other.
WRITER = """
import io, json, os, sys
from regcli.__main__ import main

lines = json.loads(sys.argv[1])
answers = os.fdopen(os.dup(1), "w")
print("ready", file=answers, flush=True)
sys.stdin.readline()
for words in lines:
    sys.stdout = io.TextIOWrapper(io.BytesIO(), "utf-8")
    print(main(words), file=answers, flush=True)
"""
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIFUR6gLTrdvQnWjq8XMuGAvPxRVRXVVvWWvLvhPZW0pD"
ADD = ["automation", "add", "{}", "--on", "alias-added", "--scope", "."]
KINDS = {
    "released": ("config/regcli/released.json", [*ADD, "--webhook", "https://example.org/", "--token-env", "TOKEN"]),
    "own-automations": ("config/regcli/automations.json", [*ADD, "--command", "true"]),
    "signers": ("config/regcli/allowed_signers", ["trust", "add", "{}", "key.pub"]),
}


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    """The environment of a user with a root and a key file in the working directory, `tmp_path`."""
    (tmp_path / "key.pub").write_text(f"{KEY}\n")
    return {
        **environment(tmp_path / "root", tmp_path / "home"),
        "XDG_CONFIG_HOME": str(tmp_path / "config"),
        "XDG_STATE_HOME": str(tmp_path / "state"),
        "REGCLI_AUTOMATIONS": "manual",
    }


def run_at_once(lines: list[list[list[str]]], env: dict[str, str], work: Path, program: str = WRITER) -> list[list[str]]:
    """Run lists of commands, each in a process of its own, all at the same time; returns their exit codes."""
    started = [
        subprocess.Popen(
            [sys.executable, "-c", program, json.dumps(some)], env=env, cwd=work, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )
        for some in lines
    ]  # fmt: skip
    for process in started:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in started:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    return [process.communicate(timeout=300)[0].split() for process in started]


def add_all(words: list[str], env: dict[str, str], work: Path) -> list[str]:
    """Run one command for many names, by many writers; returns the names, all of which were acknowledged."""
    names = [[f"name-{writer}-{number}" for number in range(EACH)] for writer in range(WRITERS)]
    lines = [[[word.format(name) for word in words] for name in some] for some in names]
    assert run_at_once(lines, env, work) == [["0"] * EACH] * WRITERS
    return [name for some in names for name in some]


def entries(path: Path) -> list[str]:
    """Return what a file holds, one text for each entry."""
    if path.suffix == ".json":
        return list(json.loads(path.read_text())["automations"])
    return [line.split()[0] for line in path.read_text().splitlines()]


@pytest.mark.parametrize("kind", KINDS)
def test_what_many_processes_add_at_once_is_all_there(env: dict[str, str], tmp_path: Path, kind: str) -> None:
    run("init", env=env, cwd=tmp_path).ok()
    place, words = KINDS[kind]
    names = add_all(words, env, tmp_path)
    found = entries(tmp_path / place)
    assert len(found) == len(names), f"{len(names) - len(found)} of {len(names)} were lost"
    if kind != "released":
        assert sorted(found) == sorted(names)
    # And what one takes out while others add, too.
    gone = [["automation", "rm", name] if kind != "signers" else ["trust", "rm", name] for name in names[:EACH]]
    more = [[word.format(f"more-{number}") for word in words] for number in range(EACH)]
    assert run_at_once([gone, more], env, tmp_path) == [["0"] * EACH] * 2
    assert len(entries(tmp_path / place)) == len(names)
    assert (tmp_path / place).stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("kind", KINDS)
def test_without_working_locks_the_file_stays_whole(env: dict[str, str], tmp_path: Path, kind: str) -> None:
    env = {**env, **environment(tmp_path / "root", tmp_path / "home", "locks_do_nothing")}
    run("init", env=env, cwd=tmp_path).ok()
    place, words = KINDS[kind]
    add_all(words, env, tmp_path)
    assert entries(tmp_path / place)
    assert [path.name for path in (tmp_path / "config/regcli").iterdir() if ".tmp-" in path.name] == []


REMEMBERER = """
import json, os, sys
from regcli.domain.context import Context
from regcli.domain.trust import Trust

numbers = json.loads(sys.argv[1])
context = Context(root_path=os.environ["REGCLI_ROOT"], user="u", uid=0, host="h", trust=Trust(state_path=os.environ["STATE"]))
print("ready", flush=True)
sys.stdin.readline()
for name in numbers:
    mark = {"counter": 1, "sha256": "0", "action": "set", "proof": "0"}
    context.trust.witness(context.root).remember(context, "registries/model/collections/zoo", "model/zoo", name, mark)
    print(len(context.warnings), flush=True)
"""


def test_what_many_processes_have_seen_signed_is_all_remembered(env: dict[str, str], tmp_path: Path) -> None:
    run("init", env=env, cwd=tmp_path).ok()
    names = [[f"name-{writer}-{number}" for number in range(EACH)] for writer in range(WRITERS)]
    done = run_at_once(names, {**env, "STATE": str(tmp_path / "state")}, tmp_path, REMEMBERER)  # type: ignore[arg-type]
    assert done == [["0"] * EACH] * WRITERS
    wanted = sorted(name for some in names for name in some)
    for path in (tmp_path / "state/seen").glob("*.json"):
        assert sorted(json.loads(path.read_text())["required"]["model"]) == wanted


def test_a_command_of_ones_own_is_not_written_over_others_that_cannot_be_read(env: dict[str, str], tmp_path: Path) -> None:
    run("init", env=env, cwd=tmp_path).ok()
    words = KINDS["own-automations"][1]
    path = tmp_path / KINDS["own-automations"][0]
    run(*[word.format("first") for word in words], env=env, cwd=tmp_path).ok()
    before = path.read_bytes()
    path.chmod(0o666)
    refused = run(*[word.format("second") for word in words], env=env, cwd=tmp_path)
    assert refused.code == 5
    assert "not believed" in refused.stderr
    assert path.read_bytes() == before
    path.chmod(0o600)
    run(*[word.format("second") for word in words], env=env, cwd=tmp_path).ok()
    assert entries(path) == ["first", "second"]


def test_a_list_of_signers_never_becomes_larger_than_what_is_read(env: dict[str, str], tmp_path: Path) -> None:
    run("trust", "add", "first@example.org", "key.pub", env=env, cwd=tmp_path).ok()
    path = tmp_path / KINDS["signers"][0]
    path.write_bytes(path.read_bytes() + b"#" * ((4 << 20) - path.stat().st_size - 9) + b"\n")
    before = path.read_bytes()
    refused = run("trust", "add", "second@example.org", "key.pub", env=env, cwd=tmp_path)
    assert refused.code == 2
    assert "larger than" in refused.stderr
    assert path.read_bytes() == before
    run("trust", "ls", env=env, cwd=tmp_path).ok()


def test_a_list_that_is_a_link_keeps_its_place_and_gets_no_company(env: dict[str, str], tmp_path: Path) -> None:
    elsewhere = tmp_path / "dotfiles"
    elsewhere.mkdir()
    (elsewhere / "signers").write_text("")
    (tmp_path / "config/regcli").mkdir(parents=True)
    (tmp_path / "config/regcli/allowed_signers").symlink_to(elsewhere / "signers")
    run("trust", "add", "first@example.org", "key.pub", env=env, cwd=tmp_path).ok()
    assert os.listdir(elsewhere) == ["signers"]
    assert (elsewhere / "signers").read_text().startswith("first@example.org ")
