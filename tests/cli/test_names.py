"""Names: every one that is allowed goes through all commands, every other is refused with exit 2."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.conftest import Result

    Invoke = Callable[..., Result]

REGISTRIES = [
    "Golden Datasets",
    "a",
    "x" * 113,
    "日本語 モデル",
    "naïve & co (v2)!",
    "CON",
    "trailing.",
    ".hidden",
    "a@b~c",
    "--dash",
    "it's",
]
ARTIFACTS = ["a", "A.b-c_d", "x" * 128, "con", "nul.txt", "...", ".x", "x.", "-n", "v1", "latest"]
BAD_REGISTRIES = ["", "x" * 114, "a\\b", "a#b", "a?b", "a%b", "a\nb", "a\x1b[31mb", "..", ".", "   ", "a\u202eb", "a\x00b"]
BAD_ARTIFACTS = ["", "x" * 129, "a b", "é", "..", ".", "a\n", "a\\b", "a*b"]
BAD_ALIASES = ["", "x" * 129, "a/b", "a:b", "a@b", "a~b", "a b", "a\tb", "v1", "v0", "latest", "LATEST", "a\x1bb", "a\n"]
GOOD_ALIASES = ["production", "v1.2", "動物", "dataset_version_v0", "vv1", "v", "1", "x" * 128, "a.b", "é"]
BAD_TAGS = ["", " a", "a ", "a.b", "a\tb", "a\n", "x" * 129, "a!b"]
GOOD_TAGS = ["small", "hand checked", "日本", "_", "-x", "v1", "a  b"]


@pytest.fixture
def data(work: Path) -> Path:
    directory = work / "data"
    directory.mkdir()
    (directory / "spaces and ü 动物.txt").write_text("content")
    return directory


@pytest.mark.parametrize("name", REGISTRIES)
def test_registry_and_collection_names_round_trip(invoke: Invoke, data: Path, name: str) -> None:
    invoke("log", data, "-n", "src", "-t", "dataset").ok()
    made = invoke("registry", "create", "--json", "--", name).ok().json
    assert made["name"] == name
    collection = f"Collection of {name}"[:128].strip()
    ref = f"{name}/{collection}"
    linked = invoke("link", "--json", "-a", "good", "--", "src", ref).ok().json
    assert linked["ref"] == f"{ref}:v0"
    assert invoke("resolve", "--", f"{ref}:good").ok().stdout == f"{ref}:v0\n"
    assert invoke("resolve", "--", f"{ref}:good".upper() if name.isascii() else f"{ref}:good").ok().stdout == f"{ref}:v0\n"
    assert invoke("show", "--json", "--", linked["ref"]).ok().json["name"] == collection
    assert [row["ref"] for row in invoke("ls", "--json", "--", f"{name}/").ok().json["collections"]] == [ref]
    assert [row["ref"] for row in invoke("ls", "--json", "--", ref).ok().json["versions"]] == [f"{ref}:v0"]
    invoke("tag", "add", "--", ref, "tagged").ok()
    invoke("tag", "add", "--", f"{ref}:v0", "tagged").ok()
    invoke("protect", "--", name, "good").ok()
    assert invoke("protect", "--ls", "--", name).ok().stdout == "good\n"
    assert {row["ref"] for row in invoke("search", "tagged", "--json").ok().json["results"]} == {ref, f"{ref}:v0"} | {
        "local/default/src:v0"
    }
    assert invoke("download", "--json", "-o", "out", "--", f"{ref}:v0").ok().json["ref"] == f"{ref}:v0"
    assert any(event["ref"] == f"{ref}:v0" for event in invoke("history", "--json", "--", ref).ok().json["events"])
    assert invoke("files", "--json", "--", ref).ok().json["files"][0]["path"] == "spaces and ü 动物.txt"
    assert invoke("cat", "--", ref, "spaces and ü 动物.txt").ok().stdout == "content"
    assert invoke("verify", "--json").ok().json["ok"]
    invoke("unlink", "--", f"{ref}:v0").ok()


@pytest.mark.parametrize("name", ARTIFACTS)
def test_artifact_names_round_trip(invoke: Invoke, data: Path, name: str) -> None:
    logged = invoke("log", data, f"--name={name}", "-t", "dataset", "--json").ok().json
    assert logged["name"] == name
    ref = f"local/default/{name}"
    assert invoke("resolve", f"{ref}:latest").ok().stdout == f"{ref}:v0\n"
    assert invoke("download", ref, "--json").ok().json["files"] == 1
    assert invoke("verify", "--json").ok().json["ok"]


def test_names_that_differ_only_in_case_or_normalization_are_one(invoke: Invoke, data: Path) -> None:
    invoke("log", data, "-n", "Zoo", "-t", "dataset").ok()
    assert invoke("log", data, "-n", "zoo", "--new-version").ok().stdout == "local/default/Zoo:v1\n"
    invoke("registry", "create", "Modèle").ok()
    assert invoke("registry", "create", "mode\u0300le").code == 4
    assert invoke("registry", "show", "MODÈLE", "--json").ok().json["name"] == "Modèle"
    invoke("link", "zoo", "model/x", "-a", "Best").ok()
    assert invoke("alias", "add", "model/x:v0", "best", "--json").ok().json["aliases"] == ["latest", "Best"]


def _refused(result: Result, value: str) -> None:
    assert result.code == 2, (value, result)
    assert result.stdout == ""
    lines = result.stderr.splitlines()
    assert 1 <= len(lines) <= 2, lines
    assert lines[0].startswith("error: ")
    assert "Traceback" not in result.stderr
    assert "\x1b" not in result.stderr


@pytest.mark.parametrize("name", BAD_REGISTRIES)
def test_bad_registry_names_are_refused(invoke: Invoke, name: str) -> None:
    _refused(invoke("registry", "create", "--", name), name)


@pytest.mark.parametrize("name", BAD_ARTIFACTS)
def test_bad_artifact_names_and_types_are_refused(invoke: Invoke, data: Path, name: str, root: Path) -> None:
    _refused(invoke("log", data, f"--name={name}", "-t", "dataset"), name)
    _refused(invoke("log", data, "-n", "fine", f"--type={name}"), name)
    assert invoke("ls", "local/default/").code == 3


@pytest.mark.parametrize("name", ["job", "wandb-x"])
def test_reserved_types_are_refused(invoke: Invoke, data: Path, name: str) -> None:
    _refused(invoke("log", data, "-n", "fine", "-t", name), name)


@pytest.mark.parametrize("alias", BAD_ALIASES)
def test_bad_aliases_are_refused(invoke: Invoke, data: Path, alias: str) -> None:
    invoke("log", data, "-n", "src", "-t", "dataset").ok()
    _refused(invoke("alias", "add", "--", "src:v0", alias), alias)
    _refused(invoke("log", data, "-n", "src", f"--alias={alias}"), alias)
    _refused(invoke("link", "src", "model/x", f"--alias={alias}"), alias)
    assert invoke("ls", "model/x").code == 3


@pytest.mark.parametrize("alias", GOOD_ALIASES)
def test_good_aliases_round_trip(invoke: Invoke, data: Path, alias: str) -> None:
    invoke("log", data, "-n", "src", "-t", "dataset", f"--alias={alias}").ok()
    assert invoke("resolve", f"src:{alias}").ok().stdout == "local/default/src:v0\n"
    assert invoke("alias", "rm", "src", "--json", "--", alias).ok().json["aliases"] == []


@pytest.mark.parametrize("tag", BAD_TAGS)
def test_bad_tags_are_refused(invoke: Invoke, data: Path, tag: str) -> None:
    invoke("log", data, "-n", "src", "-t", "dataset").ok()
    _refused(invoke("tag", "add", "--", "src:v0", "good", tag), tag)
    assert invoke("tag", "ls", "src:v0").ok().stdout == ""


@pytest.mark.parametrize("tag", GOOD_TAGS)
def test_good_tags_round_trip(invoke: Invoke, data: Path, tag: str) -> None:
    invoke("log", data, "-n", "src", "-t", "dataset", f"--tag={tag}").ok()
    assert invoke("tag", "ls", "src:v0", "--json").ok().json["tags"] == [tag]
    invoke("tag", "rm", "--", "src:v0", tag).ok()


@pytest.mark.parametrize(
    "reference",
    [
        "a/b/c/d",
        "a:",
        "a:~1",
        "a:x/y",
        "a@xxh128:12",
        "a@xxh128:zzzzzzzzzzzz",
        "a:b~x",
        "a:b c",
        "/a",
        "a//b",
        "a:-x",
        "a:b:c",
        ":v0",
        "",
    ],
)
def test_malformed_references_are_refused(invoke: Invoke, data: Path, reference: str) -> None:
    invoke("log", data, "-n", "a", "-t", "dataset").ok()
    for command in ("resolve", "show", "download", "files"):
        _refused(invoke(command, "--", reference), reference)


@pytest.mark.parametrize("command", ["ls", "history", "du", "gc --dry-run", "export -o a.tar", "collection show", "lineage"])
def test_an_empty_name_is_refused_wherever_a_place_may_be_named(invoke: Invoke, data: Path, command: str) -> None:
    invoke("log", data, "-n", "a", "-t", "dataset").ok()
    _refused(invoke(*command.split(), ""), "")


def test_ls_of_a_version_says_what_to_write_instead(invoke: Invoke, data: Path) -> None:
    invoke("log", data, "-n", "a", "-t", "dataset").ok()
    invoke("link", "a", "model/a").ok()
    for reference in ("a:v0", "model/a:v0", "local/default/a:latest"):
        result = invoke("ls", reference)
        assert result.code == 2
        assert f"regcli show {reference}" in result.stderr


@pytest.mark.parametrize(
    "command", ["download a -o", "checkout a", "checkout a --force", "verify a", "lock a -o", "-C", "--root"]
)
def test_an_empty_directory_is_not_the_current_one(invoke: Invoke, data: Path, work: Path, command: str) -> None:
    """`regcli checkout a "$UNSET" --force` must not empty the working directory."""
    invoke("log", data, "-n", "a", "-t", "dataset").ok()
    before = sorted(work.rglob("*"))
    words = [*command.split(), ""]
    _refused(invoke(*words, "ls") if command.startswith("-") else invoke(*words), "")
    assert sorted(work.rglob("*")) == before


def test_each_spelling_that_is_suggested_for_two_things_works(invoke: Invoke, data: Path) -> None:
    invoke("log", data, "-n", "same", "-t", "dataset").ok()
    for name in ("same", "team"):
        invoke("registry", "create", name).ok()
    invoke("link", "same", "team/zoo").ok()
    invoke("log", data, "-n", "other", "-t", "dataset", "--project", "team/zoo").ok()
    for text, found in (("same", ["", "local/default/same:v0"]), ("team/zoo", ["team/zoo/other", "team/zoo:v0"])):
        both = invoke("ls", text, "--json")
        assert both.code == 2
        spellings = both.error["hint"].split("'")[1::2]
        assert len(set(spellings)) == 2
        assert [invoke("ls", spelling).ok().stdout.partition("\t")[0] for spelling in spellings] == found


def test_going_back_without_a_selector_says_how_it_is_written(invoke: Invoke, data: Path) -> None:
    invoke("log", data, "-n", "a", "-t", "dataset").ok()
    invoke("log", data, "-n", "a", "--new-version").ok()
    result = invoke("resolve", "a~1")
    assert result.code == 2
    assert "'a:latest~1'" in result.stderr
    assert invoke("resolve", "a:latest~1").ok().lines == ["local/default/a:v0"]


@pytest.mark.parametrize("name", ["", "a b", "é", "..", "a\x1bb"])
def test_a_bad_name_of_a_run_is_called_so(invoke: Invoke, data: Path, name: str) -> None:
    invoke("log", data, "-n", "a", "-t", "dataset").ok()
    for result in (invoke("log", data, "-n", "a", "--new-version", f"--run={name}"), invoke("use", "a", f"--run={name}")):
        _refused(result, name)
        assert "run name" in result.stderr
