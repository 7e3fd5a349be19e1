"""`regcli log`: what is kept, what is refused, what makes a version."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.conftest import Result

    Invoke = Callable[..., Result]


@pytest.fixture
def data(work: Path) -> Path:
    directory = work / "data"
    (directory / "sub").mkdir(parents=True)
    (directory / "a.txt").write_text("hello")
    (directory / "sub" / "b.txt").write_text("b")
    return directory


def _paths(invoke: Invoke, reference: str) -> list[str]:
    return [row["path"] for row in invoke("files", reference, "--json").ok().json["files"]]


def test_digests_are_those_of_the_original(invoke: Invoke, work: Path) -> None:
    (work / "file1.txt").write_text("hello")
    logged = invoke("log", "file1.txt", "-n", "one", "-t", "dataset", "--json").ok().json
    assert logged["digest"] == "fe0d6c1a25b6d98451da9b04ebf6d80c"
    (work / "empty").mkdir()
    logged = invoke("log", "empty", "-n", "none", "-t", "dataset", "--json").ok().json
    assert logged["digest"] == "f13c5dd8602ab5d18a0c87ce730a735e"
    assert (logged["file_count"], logged["size"]) == (0, 0)
    assert invoke("download", "none", "--json").ok().json["files"] == 0


def test_a_version_record_has_the_promised_fields(invoke: Invoke, data: Path) -> None:
    logged = invoke(
        "log", data, "-n", "a", "-t", "dataset", "-a", "best", "--tag", "small", "-d", "About it", "--meta", "rows=3",
        "--meta", 'nested={"k": [1, "x"]}', "--meta", "text=plain words", "--metric", "accuracy=0.5", "--ttl", "30d", "--json",
    ).ok().json  # fmt: skip
    shown = invoke("show", "a", "--json").ok().json
    promised = {
        "ref", "name", "version", "type", "digest", "size", "file_count", "aliases", "protected_aliases", "signed_aliases",
        "tags", "metadata", "description", "ttl", "state", "created_at", "updated_at", "linked_at", "is_link", "source",
        "links", "inputs", "logged_by", "used_by", "metrics",
    }  # fmt: skip
    assert promised <= set(shown)
    assert promised | {"created", "seq", "linked"} <= set(logged)
    assert shown["metadata"] == {"rows": 3, "nested": {"k": [1, "x"]}, "text": "plain words"}
    assert (shown["metrics"], shown["tags"], shown["ttl"]) == ({"accuracy": 0.5}, ["small"], "30d")
    assert (shown["description"], shown["state"], shown["version"]) == ("About it", "COMMITTED", "v0")
    assert shown["aliases"] == ["latest", "best"]
    assert (shown["is_link"], shown["source"], shown["links"]) == (False, shown["ref"], [])


def test_same_content_says_that_ttl_and_inputs_are_ignored_too(invoke: Invoke, data: Path, work: Path) -> None:
    (work / "raw.txt").write_text("raw")
    invoke("log", "raw.txt", "-n", "raw", "-t", "dataset").ok()
    invoke("log", data, "-n", "a", "-t", "dataset").ok()
    again = invoke("log", data, "-n", "a", "--ttl", "3d", "--input", "raw", "--metric", "m=1")
    assert "ignored, since the version exists: metrics, TTL, inputs (`regcli edit` changes TTL)" in again.stderr
    assert invoke("log", data, "-n", "a", "--input", "raw", "--json").ok().json["ignored"] == ["inputs"]
    assert invoke("log", data, "-n", "a", "--input", "raw", "--run", "r", "--json").ok().json["ignored"] == []
    assert invoke("lineage", "raw", "--json").ok().stdout.count("local/default/r") > 0


def test_same_content_applies_aliases_and_tags_and_says_what_it_ignores(invoke: Invoke, data: Path) -> None:
    invoke("log", data, "-n", "a", "-t", "dataset", "-d", "first").ok()
    again = invoke("log", data, "-n", "a", "-a", "best", "--tag", "t", "-d", "second", "--meta", "k=1")
    assert "ignored" in again.stderr
    assert "description, metadata" in again.stderr
    shown = invoke("show", "a", "--json").ok().json
    assert (shown["version"], shown["aliases"], shown["tags"], shown["description"]) == (
        "v0",
        ["latest", "best"],
        ["t"],
        "first",
    )
    assert invoke("log", data, "-n", "a", "--new-version", "--json").ok().json["version"] == "v1"


def test_numbers_are_never_used_again(invoke: Invoke, data: Path) -> None:
    for number in range(3):
        (data / "a.txt").write_text(str(number))
        invoke("log", data, "-n", "a", "-t", "dataset").ok()
        invoke("link", "a", "model/x").ok()
    invoke("unlink", "model/x:v2").ok()
    assert invoke("resolve", "model/x").ok().stdout == "model/x:v1\n"
    assert invoke("link", "a:v2", "model/x").ok().stdout == "model/x:v3\n"
    assert invoke("resolve", "model/x:v2").code == 3


def test_where_paths_go_in_the_artifact(invoke: Invoke, data: Path) -> None:
    invoke("log", data, "-n", "a", "-t", "dataset").ok()
    assert _paths(invoke, "a") == ["a.txt", "sub/b.txt"]
    invoke("log", data / "a.txt", data / "sub", "-n", "b", "-t", "dataset", "--at", "in/here").ok()
    assert _paths(invoke, "b") == ["in/here/a.txt", "in/here/b.txt"]
    clash = invoke("log", data, data / "sub", "-n", "c", "-t", "dataset")
    assert clash.code == 0
    (data / "b.txt").write_text("another b")
    clash = invoke("log", data, data / "sub", "-n", "c", "-t", "dataset")
    assert clash.code == 2
    assert "b.txt" in clash.stderr
    for prefix in ("../x", "/x", "a/../../b"):
        assert invoke("log", data, "-n", "d", "-t", "dataset", "--at", prefix).code == 2


def test_incremental_versions_without_downloading(invoke: Invoke, data: Path, work: Path) -> None:
    invoke("log", data, "-n", "a", "-t", "dataset").ok()
    (work / "c.txt").write_text("c")
    invoke("log", work / "c.txt", "-n", "a", "--base", "a:latest", "--remove", "sub").ok()
    assert _paths(invoke, "a:v1") == ["a.txt", "c.txt"]
    assert invoke("log", "-n", "a", "--base", "a:v1", "--remove", "nothing").code == 3
    assert invoke("log", work / "c.txt", "-n", "a", "--remove", "a.txt").code == 2
    assert invoke("log", "-n", "a", "--base", "a:v0", "--json").ok().json["version"] == "v2"


def test_ignore_files_and_exclude(invoke: Invoke, data: Path) -> None:
    (data / ".regcliignore").write_text("*.tmp\n!keep.tmp\n")
    (data / "x.tmp").write_text("x")
    (data / "keep.tmp").write_text("x")
    invoke("log", data, "-n", "a", "-t", "dataset", "--exclude", "sub/").ok()
    assert "x.tmp" not in _paths(invoke, "a")
    assert {"a.txt", "keep.tmp"} <= set(_paths(invoke, "a"))
    assert "sub/b.txt" not in _paths(invoke, "a")


def test_a_repository_that_is_taken_along_is_said_once(invoke: Invoke, data: Path) -> None:
    (data / ".git" / "objects").mkdir(parents=True)
    for name in ("HEAD", "objects/x"):
        (data / ".git" / name).write_text("x")
    said = "/.git is in the version; leave it out with --exclude .git, or with .git in a .regcliignore file"
    logged = invoke("log", data, "-n", "a", "-t", "dataset").ok()
    assert ".git/HEAD" in _paths(invoke, "a")
    assert logged.stderr.count(f"{data}{said}") == 1
    assert said in invoke("log", ".", "-n", "a", cwd=data).ok().stderr
    assert said in invoke("log", data, "-n", "a", "--dry-run").ok().stderr
    for silent in (("--exclude", ".git"), ("--exclude", ".git/*"), ("-q",), ("--json",)):
        assert ".git" not in invoke("log", data, "-n", "a", *silent).ok().stderr, silent
    (data / ".regcliignore").write_text(".git\n")
    assert ".git" not in invoke("log", data, "-n", "a").ok().stderr
    assert ".git/HEAD" not in _paths(invoke, "a")


def test_the_file_that_stands_for_a_repository_is_said_too_and_one_below_is_not(invoke: Invoke, data: Path) -> None:
    (data / "sub" / ".git").mkdir()
    (data / "sub" / ".git" / "HEAD").write_text("x")
    assert ".git" not in invoke("log", data, "-n", "a", "-t", "dataset").ok().stderr
    (data / ".git").write_text("gitdir: ../../.git/modules/data")
    assert "/.git is in the version" in invoke("log", data, "-n", "a").ok().stderr


def test_links_are_followed_to_files_only_and_special_files_refused(invoke: Invoke, data: Path, work: Path) -> None:
    (work / "outside.txt").write_text("outside")
    (data / "link.txt").symlink_to(work / "outside.txt")
    (data / "loop").symlink_to(data)
    noted = invoke("log", data, "-n", "a", "-t", "dataset").ok()
    assert "--follow-links" in noted.stderr
    assert invoke("cat", "a", "link.txt").ok().stdout == "outside"
    assert "loop/a.txt" not in _paths(invoke, "a")
    (data / "dangling").symlink_to(data / "nowhere")
    refused = invoke("log", data, "-n", "a")
    assert refused.code == 2
    assert "dangling" in refused.stderr
    (data / "dangling").unlink()
    os.mkfifo(data / "pipe")
    refused = invoke("log", data, "-n", "a")
    assert refused.code == 2
    assert "pipe" in refused.stderr
    assert invoke("resolve", "a").ok().stdout.endswith(":v0\n")


def test_dry_run_changes_nothing(invoke: Invoke, data: Path, root: Path) -> None:
    told = invoke("log", data, "-n", "a", "-t", "dataset", "--dry-run", "--json").ok().json
    assert (told["created"], told["dry_run"], told["file_count"]) == (True, True, 2)
    assert not root.exists()
    logged = invoke("log", data, "-n", "a", "-t", "dataset", "--json").ok().json
    assert logged["digest"] == told["digest"]
    before = sorted(str(path) for path in root.rglob("*"))
    assert invoke("log", data, "-n", "a", "--dry-run", "--json").ok().json["created"] is False
    assert sorted(str(path) for path in root.rglob("*")) == before


def test_another_type_is_a_conflict_and_a_new_name_needs_one(invoke: Invoke, data: Path) -> None:
    assert invoke("log", data, "-n", "a").code == 2
    invoke("log", data, "-n", "a", "-t", "dataset").ok()
    refused = invoke("log", data, "-n", "a", "-t", "model")
    assert refused.code == 4
    assert "already exists with type 'dataset'; cannot create another with type 'model'" in refused.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["--meta", "novalue"],
        ["--metric", "a=x"],
        ["--metric", "a=nan"],
        ["--metric", "a=inf"],
        ["--ttl", "soon"],
        ["--ttl", "0.5s"],
        ["--meta-file", "missing.json"],
        ["--input", "nothing:v0"],
        ["--base", "nothing"],
        ["--link", "nowhere/x"],
        ["--link-mode", "x"],
        ["-n", "model/x"],
        ["-n", "a:v1"],
        ["missing-path"],
        ["--exclude"],
    ],
)
def test_bad_input_is_refused_and_logs_nothing(invoke: Invoke, data: Path, arguments: list[str]) -> None:
    result = invoke("log", data, "-n", "a", "-t", "dataset", *arguments)
    assert result.code in (2, 3), result
    assert "Traceback" not in result.stderr
    assert invoke("ls", "a").code == 3


@pytest.mark.parametrize(
    "arguments",
    [
        ["log", "missing", "-n", "a", "-t", "dataset"],
        ["log", "file/below", "-n", "a", "-t", "dataset"],
        ["log", "dangling", "-n", "a", "-t", "dataset"],
        ["log", "file", "-n", "a", "-t", "dataset", "--meta-file", "missing.json"],
        ["log", "-n", "a", "-t", "dataset", "--ref", "file:///no/such"],
        ["import", "missing.tar"],
        ["registry", "apply", "missing.toml"],
        ["trust", "add", "me@example.org", "missing.pub"],
        ["automation", "add", "a", "--on", "linked", "--scope", ".", "--webhook", "http://a/", "--template", "b"],
        ["-C", "missing", "ls"],
    ],
)
def test_a_path_that_is_not_there_is_not_found(invoke: Invoke, work: Path, arguments: list[str]) -> None:
    (work / "file").write_text("x")
    (work / "dangling").symlink_to("missing")
    result = invoke(*arguments, "--json")
    assert result.code == 3, result
    assert json.loads(result.stderr)["error"]["kind"] == "missing-path"
    assert invoke("ls", "a").code == 3


def test_metadata_limits(invoke: Invoke, data: Path, work: Path) -> None:
    (work / "meta.json").write_text(json.dumps({str(number): number for number in range(101)}))
    assert invoke("log", data, "-n", "a", "-t", "dataset", "--meta-file", "meta.json").code == 2
    (work / "meta.json").write_text("[1]")
    assert invoke("log", data, "-n", "a", "-t", "dataset", "--meta-file", "meta.json").code == 2
    (work / "meta.json").write_text('{"a": NaN}')
    assert invoke("log", data, "-n", "a", "-t", "dataset", "--meta-file", "meta.json").code == 2
    (work / "meta.json").write_text(json.dumps({str(number): number for number in range(100)}))
    invoke("log", data, "-n", "a", "-t", "dataset", "--meta-file", "meta.json").ok()
    assert len(invoke("show", "a", "--json").ok().json["metadata"]) == 100


def test_log_and_link_in_one_command_is_refused_as_a_whole(invoke: Invoke, data: Path) -> None:
    invoke("registry", "create", "only models", "--type", "model").ok()
    assert invoke("log", data, "-n", "a", "-t", "dataset", "--link", "only models/a").code == 5
    assert invoke("ls", "a").code == 3
    done = invoke("log", data, "-n", "a", "-t", "dataset", "--link", "dataset/a", "--link", "model/a", "--json").ok().json
    assert done["linked"] == ["dataset/a:v0", "model/a:v0"]


def test_inputs_and_runs_are_recorded(invoke: Invoke, data: Path) -> None:
    invoke("log", data, "-n", "raw", "-t", "dataset").ok()
    invoke("log", data / "a.txt", "-n", "clean", "-t", "dataset", "--input", "raw:v0", "--run", "prepare").ok()
    shown = invoke("show", "clean", "--json").ok().json
    assert shown["inputs"] == ["local/default/raw:v0"]
    assert shown["logged_by"] == "local/default/prepare"
    assert invoke("show", "raw", "--json").ok().json["used_by"] == ["local/default/prepare"]


def test_move_does_not_take_a_repository_away(invoke: Invoke, data: Path) -> None:
    (data / ".git").mkdir()
    (data / ".git" / "HEAD").write_text("x")
    refused = invoke("log", data, "-n", "a", "-t", "dataset", "--link-mode", "move")
    assert refused.code == 2
    assert "its .git would be moved away" in refused.stderr
    assert (data / "a.txt").is_file()
    assert invoke("ls", "a").code == 3
    invoke("log", data, "-n", "a", "-t", "dataset", "--link-mode", "move", "--exclude", ".git").ok()
    assert (data / ".git" / "HEAD").is_file()
    assert not (data / "a.txt").exists()


def test_move_takes_the_files_away_only_after_the_version_is_there(invoke: Invoke, data: Path) -> None:
    invoke("log", data, "-n", "a", "-t", "dataset", "--link-mode", "move").ok()
    assert not (data / "a.txt").exists()
    assert invoke("cat", "a", "a.txt").ok().stdout == "hello"
    assert invoke("verify").code == 0


def test_a_large_file_is_never_held_in_memory(work: Path, root: Path, home: Path) -> None:
    with (work / "large.bin").open("wb") as stream:
        for number in range(5):
            stream.seek(number * 64 * 1024 * 1024)
            stream.write(os.urandom(1024))
        stream.truncate(320 * 1024 * 1024)
    # The high-water mark of this program's own memory; `ru_maxrss` would count that of the process that started it.
    program = (
        "import sys\nfrom regcli.__main__ import main\ncode = main(sys.argv[1:])\n"
        "peak = next(line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM'))\n"
        "print(peak, file=sys.stderr)\nsys.exit(code)\n"
    )
    environment = {"HOME": str(home), "REGCLI_ROOT": str(root), "PATH": os.environ["PATH"]}
    for arguments in (
        ["log", "large.bin", "-n", "a", "-t", "model", "-q"],
        ["download", "a", "-o", "out", "-q"],
        ["verify", "-q"],
    ):
        done = subprocess.run(
            [sys.executable, "-c", program, *arguments], cwd=work, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        assert int(done.stderr.split()[-1]) < 150 * 1024


def test_what_is_suggested_for_two_sources_of_one_path_works(invoke: Invoke, work: Path) -> None:
    for name in ("one", "two"):
        (work / name).mkdir()
        (work / name / "x").write_text(name)
    clash = invoke("log", "one", "two", "-n", "a", "-t", "dataset")
    assert clash.code == 2
    assert "--base and --at" in clash.stderr
    invoke("log", "one", "-n", "a", "-t", "dataset").ok()
    invoke("log", "two", "-n", "a", "--base", "a", "--at", "two").ok()
    assert [row["path"] for row in invoke("files", "a", "--json").ok().json["files"]] == ["two/x", "x"]


def test_a_collection_that_is_named_twice_is_linked_once(invoke: Invoke, data: Path) -> None:
    logged = invoke("log", data, "-n", "a", "-t", "dataset", "--link", "dataset/a", "--link", "Datasets/A", "--json").ok().json
    assert logged["linked"] == ["dataset/a:v0"]
