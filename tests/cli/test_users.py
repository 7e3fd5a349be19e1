"""The program as different users of the operating system: roles by who one is, and what the file system adds.

Needs root for taking other users' ids; without it, this says that it tested nothing.
"""

from __future__ import annotations

import importlib
import io
import json
import os
import pkgutil
import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import regcli.cli
import regcli.cli.commands
from regcli.__main__ import main
from tests.conftest import Result, clean_environment
from tests.domain.world import is_root, memory, run_as

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    As = Callable[..., Result]

pytestmark = pytest.mark.skipif(not is_root(), reason="NOT TESTED: commands as several users, which takes root")

ALICE, BOB, CAROL = 64301, 64302, 64303
GROUP = 64310


@pytest.fixture
def run() -> Iterator[As]:
    """Run the program as a user: `run(uid, *arguments)`, in a home of their own, on one root that alice shared."""
    for package in (regcli.cli, regcli.cli.commands):
        for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
            if not module.name.endswith("generate"):
                importlib.import_module(module.name)
    path = Path(tempfile.mkdtemp(prefix="regcli-users-", dir=memory()))
    path.chmod(0o755)
    os.chown(path, ALICE, GROUP)
    for uid in (ALICE, BOB, CAROL):
        home = path / str(uid)
        home.mkdir()
        (home / "f.txt").write_text(str(uid))
        os.chown(home, uid, GROUP)

    def as_user(uid: int, *arguments: str) -> Result:
        def work() -> tuple[int, str, str]:
            environment = clean_environment(path / str(uid), path / "root")
            os.environ.clear()
            os.environ.update(environment)
            os.chdir(path / str(uid))
            stdout, stderr = io.BytesIO(), io.BytesIO()
            sys.stdin = io.StringIO()
            sys.stdout = io.TextIOWrapper(stdout, encoding="utf-8", write_through=True)
            sys.stderr = io.TextIOWrapper(stderr, encoding="utf-8", write_through=True)
            code = main(list(arguments))
            return code, stdout.getvalue().decode(), stderr.getvalue().decode()

        code, stdout, stderr = run_as(uid, GROUP, work)
        return Result(code, stdout, stderr)

    try:
        as_user(ALICE, "init", "--shared", "--group", str(GROUP)).ok()
        as_user(ALICE, "log", "f.txt", "-n", "zoo", "-t", "model", "--link", "model/zoo").ok()
        yield as_user
    finally:
        shutil.rmtree(path)


def test_a_variable_does_not_change_who_one_is(run: As) -> None:
    members = run(ALICE, "member", "ls", "model", "--json").ok().json
    assert members["members"] == [{"user": f"uid-{ALICE}", "role": "admin"}]
    assert members["everybody"] == "member"
    run(BOB, "alias", "add", "model/zoo:v0", "candidate").ok()
    events = run(CAROL, "history", "model/zoo", "--json").ok().json["events"]
    assert [event["user"] for event in events][-1] == f"uid-{BOB}"


def test_what_a_role_does_not_allow_exits_5_with_its_sentence_and_changes_nothing(run: As) -> None:
    run(ALICE, "member", "add", "model", f"uid-{CAROL}", "--role", "viewer").ok()
    run(ALICE, "protect", "model", "production").ok()
    for uid, arguments, sentence in (
        (BOB, ("alias", "add", "model/zoo:v0", "production"), "alias 'production' is protected in registry 'model'"),
        (BOB, ("link", "zoo", "model/zoo", "-a", "production"), "alias 'production' is protected in registry 'model'"),
        (BOB, ("protect", "--rm", "model", "production"), "is member and may not change the protected aliases of"),
        (BOB, ("member", "add", "model", f"uid-{BOB}", "--role", "admin"), "is member and may not change the members of"),
        (BOB, ("registry", "rm", "model", "-y"), "is member and may not delete registry 'model': that takes admin"),
        (CAROL, ("alias", "add", "model/zoo:v0", "x"), "is viewer and may not set aliases in registry 'model'"),
        (CAROL, ("link", "zoo", "model/zoo"), "is viewer and may not link versions into registry 'model'"),
        (CAROL, ("unlink", "model/zoo:v0"), "is viewer and may not unlink versions from registry 'model'"),
        (CAROL, ("collection", "rm", "model/zoo", "-y"), "is viewer and may not delete collections of registry 'model'"),
    ):
        refused = run(uid, *arguments, "--json")
        assert refused.code == 5, (arguments, refused)
        assert sentence in refused.error["message"]
        assert f"uid-{ALICE}" in refused.error["hint"]
    run(CAROL, "download", "model/zoo:v0").ok()
    assert run(CAROL, "show", "model/zoo:v0", "--json").ok().json["aliases"] == ["latest"]
    assert run(ALICE, "verify", "--json").ok().json["ok"]


def test_a_restricted_registry_is_closed_to_who_has_no_role(run: As) -> None:
    run(ALICE, "registry", "create", "secret", "--visibility", "restricted").ok()
    run(ALICE, "link", "zoo", "secret/zoo").ok()
    run(ALICE, "member", "add", "secret", f"uid-{BOB}", "--role", "restricted_viewer").ok()
    assert run(BOB, "show", "secret/zoo:v0").code == 0
    assert run(BOB, "download", "secret/zoo:v0").code == 5
    assert run(BOB, "cat", "secret/zoo:v0", "f.txt").code == 5
    for arguments in (("ls",), ("search", "zoo"), ("history",), ("show", "zoo:v0"), ("registry", "ls"), ("du",)):
        shown = run(CAROL, *arguments, "--json").ok()
        assert "secret" not in json.dumps(shown.json), arguments
    assert run(CAROL, "ls", "secret/").code == 5
    assert run(CAROL, "resolve", "secret/zoo").code == 5


def test_members_delete_their_versions_and_only_the_owner_collects(run: As) -> None:
    run(BOB, "log", "f.txt", "-n", "mine", "-t", "model").ok()
    run(BOB, "delete", "mine:v0").ok()
    refused = run(BOB, "gc", "--grace", "0")
    assert refused.code == 5
    assert f"belongs to 'uid-{ALICE}', who alone can free its space" in refused.stderr
    assert run(BOB, "gc", "--grace", "0", "--dry-run", "--json").ok().json["purged"] == ["local/default/mine:v0"]
    assert run(ALICE, "gc", "--grace", "0", "--json").ok().json["purged"] == ["local/default/mine:v0"]
    assert run(CAROL, "verify", "--json").ok().json["ok"]
