"""Library and command line are two faces of one thing: what one does, the other shows."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

import regcli
from regcli import Api, Artifact

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Invoke = Callable[..., Any]


@pytest.fixture
def tree(work: Path) -> Path:
    (work / "in" / "sub").mkdir(parents=True)
    (work / "in" / "a").write_text("one")
    (work / "in" / "sub" / "b").write_text("two")
    (work / "in" / "tool").write_text("#!/bin/sh\n")
    (work / "in" / "tool").chmod(0o755)
    return work / "in"


def shown(invoke: Invoke, ref: str) -> dict[str, Any]:
    document: dict[str, Any] = invoke("show", ref, "--json").ok().json
    return document


def test_logged_by_the_library_shown_by_the_command_line(tree: Path, invoke: Invoke) -> None:
    with regcli.init(entity="team", project="zoo", name="trainer") as run:
        run.log({"acc": 0.9})
        artifact = Artifact("data", "dataset", description="words", metadata={"a": {"b": [1, None]}})
        artifact.add_dir(tree)
        artifact.ttl = timedelta(hours=12)
        run.log_artifact(artifact, aliases=["best"], tags=["red"])
    document = shown(invoke, "team/zoo/data:best")
    expected = {
        "ref": "team/zoo/data:v0", "name": "data", "version": "v0", "type": "dataset", "digest": artifact.digest,
        "digest_algorithm": "XXH128", "size": artifact.size, "file_count": 3, "aliases": ["latest", "best"], "tags": ["red"],
        "metadata": {"a": {"b": [1, None]}}, "metrics": {"acc": 0.9}, "description": "words", "ttl": "12h",
        "state": "COMMITTED", "id": artifact.id, "created_at": artifact.created_at, "is_link": False, "links": [],
        "logged_by": "team/zoo/trainer",
    }  # fmt: skip
    assert {key: document[key] for key in expected} == expected
    listed = invoke("files", "team/zoo/data:v0", "--json").ok().json["files"]
    assert [(row["path"], row["digest"], row["size"], row["executable"]) for row in listed] == [
        (entry.path, entry.xxh128, entry.size, entry.executable) for entry in artifact.manifest
    ]
    link = artifact.link("wandb-registry-model/Zoo", aliases=["staging"])
    assert shown(invoke, "model/Zoo:staging")["source"] == artifact.qualified_name == link.source_qualified_name
    actions = [event["action"] for event in invoke("history", "team/zoo/data", "--json").ok().json["events"]]
    assert actions[:3] == ["collection-created", "version-created", "alias-added"]
    assert invoke("verify").ok()


def test_logged_by_the_command_line_read_by_the_library(tree: Path, invoke: Invoke) -> None:
    invoke(
        "--project", "team/zoo", "log", tree, "-n", "data", "-t", "dataset", "-a", "best", "--tag", "red", "-d", "words",
        "--meta", "acc=0.5", "--metric", "loss=1", "--ttl", "2d", "--run", "script", "--link", "model/Zoo",
    ).ok()  # fmt: skip
    artifact = Api().artifact("team/zoo/data:best")
    document = shown(invoke, "team/zoo/data:v0")
    assert (artifact.digest, artifact.size, artifact.file_count) == (document["digest"], document["size"], 3)
    assert (artifact.description, artifact.metadata, artifact.metrics) == ("words", {"acc": 0.5}, {"loss": 1})
    assert (artifact.aliases, artifact.tags, artifact.ttl) == (["latest", "best"], ["red"], None)
    assert artifact.logged_by().id == "script"  # type: ignore[union-attr]
    assert [link.qualified_name for link in artifact.linked_artifacts] == ["local/wandb-registry-model/Zoo:v0"]
    assert artifact.manifest.entries["tool"].executable
    artifact.verify(artifact.download("out"))


@pytest.mark.parametrize("first", ["library", "command line"])
def test_the_same_tree_is_the_same_version_to_both(first: str, tree: Path, invoke: Invoke) -> None:
    def by_library() -> str:
        artifact = Artifact("data", "dataset")
        artifact.add_dir(tree)
        artifact.save()
        return artifact.version

    def by_command_line() -> str:
        version: str = invoke("log", tree, "-n", "data", "-t", "dataset", "--json").ok().json["version"]
        return version

    steps = [by_library, by_command_line]
    for step in steps if first == "library" else reversed(steps):
        assert step() == "v0"


def test_an_md5_version_says_so(tree: Path, invoke: Invoke) -> None:
    artifact = Artifact("data", "dataset", digest_algorithm="MD5")
    artifact.add_dir(tree)
    artifact.save()
    assert shown(invoke, "data:v0")["digest_algorithm"] == "MD5"
    assert invoke("verify").ok()
    assert invoke("verify", "data:v0", artifact.download("out")).ok()


def test_errors_have_the_exit_codes_of_the_command_line(invoke: Invoke, tree: Path) -> None:
    cases: list[tuple[list[str], Callable[[], object]]] = [
        (["show", "nope:v0"], lambda: Api().artifact("nope:v0")),
        (["show", "a/b/c/d"], lambda: Api().artifact("a/b/c/d")),
        (["log", str(tree), "-n", "x y", "-t", "dataset"], lambda: Artifact("x y", "dataset")),
        (["link", "data:v0", "nope/Zoo"], lambda: Api().artifact("data:v0").link("wandb-registry-nope/Zoo")),
        (["delete", "data:v0"], lambda: Api().artifact("data:v0").delete()),
    ]
    invoke("log", tree, "-n", "data", "-t", "dataset", "-a", "best").ok()
    for command, call in cases:
        result = invoke(*command, "--json")
        with pytest.raises(regcli.RegcliError) as caught:
            call()
        assert (caught.value.exit_code, caught.value.kind) == (result.code, result.error["kind"]), command


def test_project_and_root_come_from_the_environment(
    monkeypatch: pytest.MonkeyPatch, tree: Path, tmp_path: Path, invoke: Invoke
) -> None:
    monkeypatch.setenv("REGCLI_PROJECT", "team/env")
    artifact = Artifact("data", "dataset")
    artifact.add_dir(tree)
    artifact.save()
    assert artifact.qualified_name == "team/env/data:v0"
    run = regcli.init(name="left")
    monkeypatch.setenv("REGCLI_ROOT", str(tmp_path / "another"))
    assert not Api().artifact_exists("data")
    assert regcli.run is None
    run.log({"a": 1})
    run.finish()
    artifact.verify(artifact.download("out"))
    assert artifact.collection.artifacts()[0].id == artifact.id
    monkeypatch.delenv("REGCLI_PROJECT")
    assert not Api().artifact_exists("data")


def test_use_is_seen_by_lineage(tree: Path, invoke: Invoke) -> None:
    artifact = Artifact("data", "dataset")
    artifact.add_dir(tree)
    with regcli.init(name="maker") as run:
        run.log_artifact(artifact)
    with regcli.init(name="user") as run:
        run.use_artifact("data:v0")
        made = Artifact("result", "model")
        with made.new_file("w") as stream:
            stream.write("w")
        run.log_artifact(made)
    graph = invoke("lineage", "result:v0", "--json").ok().json
    assert {"local/default/data:v0", "local/default/result:v0"} <= {node["ref"] for node in graph["nodes"]}
    assert shown(invoke, "data:v0")["used_by"] == ["local/default/user"]
