"""`regcli doctor` and `regcli config`: which root, why, what it can do, what is wrong."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.conftest import Result

    Invoke = Callable[..., Result]


def test_doctor_without_a_root_says_how_to_make_one(invoke: Invoke, root: Path) -> None:
    found = invoke("doctor", "--json").ok().json
    assert found["exists"] is False
    assert (found["root"], found["origin"]) == (str(root), "REGCLI_ROOT")
    assert "regcli init" in found["findings"][0]["help"]
    assert not root.exists()


def test_doctor_tries_out_the_file_system_and_leaves_nothing(invoke: Invoke, zoo: Path, root: Path) -> None:
    invoke("log", zoo, "-n", "zoo", "-t", "dataset").ok()
    before = sorted(path.name for path in root.rglob("*"))
    found = invoke("doctor", "--json").ok().json
    assert sorted(path.name for path in root.rglob("*")) == before
    assert found["ok"] is True
    assert found["file_system"]["link"] is True
    assert found["file_system"]["fsync"] is True
    assert isinstance(found["file_system"]["reflink"], bool)
    assert found["file_system"]["free"] > 0
    assert (found["counts"]["registries"], found["counts"]["collections"], found["counts"]["versions"]) == (2, 1, 1)
    assert found["versions"]["regcli"]


def test_doctor_shows_what_was_edited_by_hand_and_what_litters(invoke: Invoke, root: Path, zoo: Path) -> None:
    invoke("init").ok()
    path = root / "registries" / "model" / "registry.toml"
    path.write_text(path.read_text() + 'owner = "me"\n')
    (root / ".tmp-1-00").write_text("litter")
    found = invoke("doctor", "--json").ok().json
    texts = [finding["message"] for finding in found["findings"]]
    assert any(str(path) in text for text in texts)
    assert any("1 temporary file" in text for text in texts)
    assert found["ok"] is False
    assert invoke("doctor", "--strict").code == 1


def test_doctor_names_a_damaged_log(invoke: Invoke, root: Path, zoo: Path) -> None:
    invoke("log", zoo, "-n", "zoo", "-t", "dataset").ok()
    collection = root / "projects" / "local" / "default" / "collections" / "zoo"
    (collection / "head.json").unlink()
    commit = collection / "log" / "0000000001.json"
    commit.chmod(0o644)
    commit.write_bytes(commit.read_bytes()[:-10])
    found = invoke("doctor", "--json").ok().json
    assert any(commit.name in finding["message"] for finding in found["findings"])


def test_settings_come_from_options_variables_and_files(invoke: Invoke, work: Path, home: Path, root: Path) -> None:
    (work / ".regcli.toml").write_text('root = "here"\nproject = "team/zoo"\nwait = 2\n')
    (home / ".config" / "regcli").mkdir(parents=True)
    (home / ".config" / "regcli" / "config.toml").write_text('project = "mine"\nwait = 7\n')
    found = invoke("config", "show", "--json").ok().json["settings"]
    assert (found["root"]["value"], found["root"]["origin"]) == (str(root), "REGCLI_ROOT")
    assert (found["project"]["value"], found["project"]["origin"]) == ("team/zoo", str(work / ".regcli.toml"))
    assert found["wait"]["value"] == "2.0"
    found = invoke("--project", "x/y", "config", "show", "--json", "--root", "elsewhere").ok().json["settings"]
    assert (found["root"]["value"], found["project"]["value"]) == (str(work / "elsewhere"), "x/y")
    (work / ".regcli.toml").unlink()
    found = invoke("config", "show", "--json").ok().json["settings"]
    assert (found["project"]["value"], found["wait"]["value"]) == ("local/mine", "7.0")
    assert invoke("config", "show", "--origin").ok().lines[0].split("\t")[2] == "REGCLI_ROOT"


def test_the_root_of_a_project_is_where_its_file_says(invoke: Invoke, work: Path, zoo: Path, monkeypatch: object) -> None:
    (work / ".regcli.toml").write_text('root = "sub/registry"\n')
    (work / "deep").mkdir()
    os.environ.pop("REGCLI_ROOT")
    invoke("log", zoo, "-n", "zoo", "-t", "dataset", cwd=work / "deep").ok()
    assert (work / "sub" / "registry" / "regcli.toml").is_file()


def test_bad_settings_files_are_refused_by_name(invoke: Invoke, work: Path) -> None:
    texts = (
        "nonsense",
        "unknown = 1",
        "wait = true",
        "wait = -1",
        "root = 5",
        'root = ""',
        'root = "a\\u0000b"',
        'project = "\\u0000"',
    )
    for text in texts:
        (work / ".regcli.toml").write_text(text)
        result = invoke("ls")
        assert result.code == 2, text
        assert ".regcli.toml" in result.stderr


def test_doctor_names_a_directory_of_locks_that_takes_none(invoke: Invoke, root: Path) -> None:
    invoke("init").ok()
    shutil.rmtree(root / "locks")
    (root / "locks").write_text("")
    found = invoke("doctor", "--json").ok().json
    assert found["ok"] is False
    assert any(str(root / "locks") in finding["message"] for finding in found["findings"]), found


@pytest.mark.parametrize("name", ["blobs", "locks", "packs", "projects", "registries", "trash"])
def test_doctor_names_a_link_in_the_place_of_a_directory(
    invoke: Invoke, root: Path, zoo: Path, tmp_path: Path, name: str
) -> None:
    invoke("log", zoo, "-n", "zoo", "-t", "dataset").ok()
    (root / name).mkdir(exist_ok=True)
    (root / name).rename(tmp_path / "elsewhere")
    (root / name).symlink_to(tmp_path / "elsewhere")
    (root / ".tmp-1-00").write_text("litter")
    found = invoke("doctor", "--json").ok().json
    assert found["ok"] is False
    assert any(f"{root / name} is a symbolic link" in finding["message"] for finding in found["findings"]), found
