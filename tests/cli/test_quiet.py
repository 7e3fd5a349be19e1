"""`-q` takes the remarks away and nothing else: every changing command prints the same result with it as without."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from tests.security.conftest import make_key

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.conftest import Result

# What is changed, in an order that works; after the colon what standard output says of it, tabs as spaces. `{}` is the
# working directory. A command that is given twice has nothing to change the second time.
STORY = """
init: {}/root
init: {}/root
registry create gold: gold
registry edit gold -d words: gold
registry edit gold -d words: gold
registry edit gold --rename silver: silver
collection create silver/zoo --type dataset: silver/zoo
collection edit silver/zoo -d words: silver/zoo
collection edit silver/zoo -d words: silver/zoo
collection edit silver/zoo --rename animals: silver/animals
log data -n zoo -t dataset: local/default/zoo:v0
log data -n zoo: local/default/zoo:v0
log data -n zoo --new-version --link silver/other: local/default/zoo:v1
log data -n zoo --new-version --dry-run: local/default/zoo
link zoo:v0 silver/animals -a prod: silver/animals:v0
link zoo:v0 silver/animals -a prod: silver/animals:v0
link zoo:v1 silver/animals -a prod: silver/animals:v1
alias add silver/animals:v0 prod: silver/animals:v0 prod
alias add silver/animals:v0 prod: silver/animals:v0 prod
alias rm silver/animals:v0 prod: silver/animals:v0
protect silver prod: silver prod (protected)
protect silver prod: silver prod (protected)
protect silver prod --require-signature: silver prod (signed)
protect --rm silver prod: silver
tag add zoo:v0 small: local/default/zoo:v0 small
tag add zoo:v0 small: local/default/zoo:v0 small
tag rm zoo:v0 small: local/default/zoo:v0
edit zoo:v0 --meta rows=1: local/default/zoo:v0
edit zoo:v0 --meta rows=1: local/default/zoo:v0
use zoo:v0 --run morning: local/default/zoo:v0
member add silver root --role admin: root admin
member rm silver nobody: nobody
automation add tell --on linked --scope silver --command true: Automation tell
automation rm tell: tell
download zoo:v0 -o out: {}/out
download zoo:v0 -o out: {}/out
checkout zoo:v0 exact: {}/exact
checkout zoo:v0 exact: {}/exact
lock zoo:v0 -o locked: local/default/zoo:v0 v0 4 locked
lock --update:
sync: {}/locked
lock --rm zoo:v0: local/default/zoo:v0 v0 4 locked
export zoo -o zoo.tar: zoo.tar
import zoo.tar: local/default/zoo
trust add alice alice.pub: alice SHA256
trust add alice alice.pub: alice SHA256
trust forget silver:
trust rm alice: alice SHA256
unlink silver/animals:v1: silver/animals:v1
delete zoo:v1 --force: local/default/zoo:v1
undelete zoo:v1: local/default/zoo:v1
undelete zoo:v1: local/default/zoo:v1
gc: Freed
verify --repair:
registry apply root/registries/gold/registry.toml:
collection rm silver/animals -y: silver/animals
collection rm zoo -y --force --delete-aliases: local/default/zoo
registry rm silver -y: silver
"""


@pytest.mark.parametrize("option", ["-q", None])
def test_every_changing_command_prints_its_result_with_and_without_quiet(
    invoke: Callable[..., Result], tmp_path: Path, work: Path, home: Path, option: str | None
) -> None:
    del home
    (work / "data").mkdir()
    (work / "data/a").write_text("one\n")
    make_key(work / "alice")
    shutil.copy(work / "alice.pub", tmp_path)
    invoke("init", work / "root").ok()
    for line in STORY.strip().splitlines():
        command, _, expected = line.partition(": ") if ": " in line else line.partition(":\n")
        words = command.removesuffix(":").split()
        if words[:2] == ["member", "rm"]:
            invoke("--root", "root", "member", "add", "silver", "nobody", "--role", "viewer").ok()
        done = invoke("--root", "root", *([option] if option else []), *words).ok()
        first = (done.lines or [""])[0].replace("\t", " ").replace(str(work), "{}").rstrip()
        assert first.partition(":/")[0].startswith(expected.strip()), line
        assert expected.strip() or not first, (line, first)
        if option and not done.stderr.startswith("warning: "):
            assert done.stderr == "", line
