"""The seeds' story on the Zoo data: log, link, promote, protect, find, fetch, verify."""

from __future__ import annotations

import csv
import filecmp
import os
import pwd
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.conftest import Result

    Run = Callable[..., Result]

COLLECTION = "model/Zoo_Classifier_Models"


@pytest.fixture
def split(zoo: Path, work: Path) -> Path:
    """The Zoo data split into data and labels, as the tutorial of the original does."""
    directory = work / "zoo"
    directory.mkdir()
    with zoo.open(newline="") as stream:
        rows = list(csv.reader(stream))
    with (directory / "zoo_dataset.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows(row[:-1] for row in rows)
    with (directory / "zoo_labels.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows(row[-1:] for row in rows)
    return directory


def _log_three(run: Run, split: Path) -> None:
    for number in range(3):
        (split / "zoo_labels.csv").write_text(f"edition {number}\n")
        run("log", split, "-n", "zoo_dataset", "-t", "dataset").ok()
        run("link", "zoo_dataset:latest", "wandb-registry-model/Zoo_Classifier_Models").ok()


def test_the_whole_story(run: Run, split: Path, work: Path) -> None:
    logged = run("log", split, "--name", "zoo_dataset", "--type", "dataset", "--json").ok().json
    assert logged["ref"] == "local/default/zoo_dataset:v0"
    assert logged["created"] is True
    assert logged["aliases"] == ["latest"]
    assert logged["file_count"] == 2

    linked = run(
        "link", "zoo_dataset", "wandb-registry-Model/Zoo_Classifier_Models", "-a", "production-us", "-a", "production-eu",
        "--json",
    ).ok().json  # fmt: skip
    assert linked["ref"] == f"{COLLECTION}:v0"
    assert linked["aliases"] == ["latest", "production-eu", "production-us"]
    assert linked["source"] == "local/default/zoo_dataset:v0"
    assert linked["digest"] == logged["digest"]
    assert run("show", "zoo_dataset", "--json").ok().json["links"] == [f"{COLLECTION}:v0"]

    found = run("search", "production-eu", "--json").ok().json["results"]
    assert found == [{"kind": "version", "ref": f"{COLLECTION}:v0", "field": "alias", "value": "production-eu"}]

    fetched = run("download", f"{COLLECTION}:production-us", "--json").ok().json
    assert fetched["path"] == str(work / "artifacts" / "Zoo_Classifier_Models:v0")
    assert (fetched["files"], fetched["written"], fetched["skipped"]) == (2, 2, 0)
    names = ["zoo_dataset.csv", "zoo_labels.csv"]
    assert filecmp.cmpfiles(split, fetched["path"], names, shallow=False) == (names, [], [])

    assert run("verify", f"{COLLECTION}:v0", fetched["path"], "--json").ok().json["ok"] is True
    assert run("verify", "--json").ok().json["problems"] == []


def test_three_links_give_three_versions_and_latest_is_the_last(run: Run, split: Path) -> None:
    _log_three(run, split)
    versions = run("ls", COLLECTION, "--json").ok().json["versions"]
    assert [(row["version"], row["aliases"]) for row in versions] == [("v2", ["latest"]), ("v1", []), ("v0", [])]
    assert run("resolve", COLLECTION).ok().stdout == f"{COLLECTION}:v2\n"


def test_promotion_moves_a_protected_alias_and_others_are_refused(run: Run, split: Path, root: Path) -> None:
    _log_three(run, split)
    run("protect", "model", "production").ok()
    run("alias", "add", f"{COLLECTION}:v0", "production").ok()
    moved = run("alias", "add", f"{COLLECTION}:v2", "production", "--expect", "v0", "--json").ok().json
    assert moved["moved"] == [{"alias": "production", "from": f"{COLLECTION}:v0"}]
    lost = run("alias", "add", f"{COLLECTION}:v1", "production", "--expect", "v0", "--json")
    assert lost.code == 4
    assert lost.error["kind"] == "conflict"
    assert run("show", f"{COLLECTION}:production", "--json").ok().json["protected_aliases"] == ["production"]

    for arguments in (
        ["alias", "add", f"{COLLECTION}:v1", "production"],
        ["alias", "rm", COLLECTION, "production"],
        ["unlink", f"{COLLECTION}:v2"],
        ["tag", "add", f"{COLLECTION}:v2", "mine"],
        ["tag", "add", "zoo_dataset:v2", "mine"],
        ["edit", "zoo_dataset:v2", "-d", "mine"],
        ["protect", "--rm", "model", "production"],
        ["link", "zoo_dataset:v1", "model/Another", "-a", "production"],
    ):
        code, message = _as_another_user(root, arguments)
        assert code == 5, (arguments, message)
        assert "production" in message or "admin" in message
    assert run("resolve", f"{COLLECTION}:production").ok().stdout == f"{COLLECTION}:v2\n"
    assert run("ls", "model/Another").code == 3
    code, message = _as_another_user(root, ["alias", "add", f"{COLLECTION}:v1", "candidate"])
    assert code == 0, message


def _as_another_user(root: Path, arguments: list[str]) -> tuple[int, str]:
    """Run a command as a user of another name on the same root.

    The user's name is what the operating system says of the effective uid. A member of the group that may write the root
    is any such user; here the answer of the user database is replaced in the child, so that the test needs no second account.
    """
    program = (
        "import pwd, sys, collections\n"
        f"entry = pwd.struct_passwd(('visitor', 'x', {os.geteuid()}, 0, '', '/', '/bin/sh'))\n"
        "pwd.getpwuid = lambda uid: entry\n"
        "from regcli.__main__ import main\n"
        "sys.exit(main(sys.argv[1:]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, "--root", str(root), *arguments], capture_output=True, text=True, check=False
    )
    return done.returncode, done.stderr


def test_the_other_user_of_these_tests_is_another_one(run: Run, split: Path, root: Path) -> None:
    run("log", split, "-n", "zoo_dataset", "-t", "dataset").ok()
    code, message = _as_another_user(root, ["tag", "add", "zoo_dataset:v0", "seen"])
    assert code == 0, message
    users = [event["user"] for event in run("history", "zoo_dataset", "--json").ok().json["events"]]
    assert users[-1] == "visitor"
    assert users[0] == pwd.getpwuid(os.geteuid()).pw_name


def test_registry_that_accepts_only_models_refuses_a_dataset_and_says_how(run: Run, split: Path) -> None:
    run("log", split, "-n", "zoo_dataset", "-t", "dataset").ok()
    run("registry", "create", "Vision Models", "--type", "model").ok()
    refused = run("link", "zoo_dataset", "Vision Models/zoo")
    assert refused.code == 5
    assert "'dataset'" in refused.stderr
    assert "regcli registry edit 'Vision Models' --type dataset" in refused.stderr
    assert run("ls", "Vision Models/", "--json").ok().json["collections"] == []


def test_a_link_into_a_missing_registry_makes_nothing(run: Run, split: Path) -> None:
    run("log", split, "-n", "zoo_dataset", "-t", "dataset").ok()
    refused = run("link", "zoo_dataset", "modle/zoo")
    assert refused.code == 3
    assert "did you mean 'model'?" in refused.stderr
    names = [row["name"] for row in run("registry", "ls", "--json").ok().json["registries"]]
    assert names == ["dataset", "model"]


def test_versions_of_a_person_cannot_be_linked(run: Run, split: Path) -> None:
    run("init", "--entity", "alice", "--personal").ok()
    run("log", split, "-n", "zoo_dataset", "-t", "dataset").ok()
    refused = run("link", "zoo_dataset", COLLECTION)
    assert refused.code == 5
    assert "personal entity 'alice'" in refused.stderr
    assert "--project TEAM/PROJECT" in refused.stderr
    run("log", split, "-n", "zoo_dataset", "-t", "dataset", "--project", "team/zoo").ok()
    run("link", "team/zoo/zoo_dataset", COLLECTION).ok()
