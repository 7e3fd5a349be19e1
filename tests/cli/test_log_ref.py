"""`regcli log --ref` and what the other commands make of it: options, JSON, exit codes, and the help topics' own examples."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import regcli
from tests.domain.origins import Page, WebServer, tree

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.conftest import Result

    Invoke = Callable[..., Result]


@pytest.fixture
def server() -> Iterator[WebServer]:
    with WebServer() as running:
        running.pages["/a.csv"] = Page(b"a,b\n", '"one"')
        yield running


@pytest.fixture
def lake(tmp_path: Path) -> Path:
    path = tmp_path / "lake"
    (path / "images").mkdir(parents=True)
    (path / "labels.csv").write_text("labels")
    (path / "images" / "x.png").write_text("pixels")
    return path


def test_references_and_files_in_one_version(invoke: Invoke, server: WebServer, lake: Path, work: Path) -> None:
    (work / "notes.txt").write_text("notes")
    arguments = ("--ref", f"{server.url}/a.csv", "--ref", f"copy.csv={server.url}/a.csv", "--ref", f"lake=file://{lake}")
    logged = invoke("log", "notes.txt", *arguments, "--at", "in", "-n", "mixed", "-t", "dataset", "--json").ok().json
    assert (logged["file_count"], logged["reference_count"], logged["size"]) == (5, 4, 4 + 4 + 6 + 6 + 5)
    rows = {row["path"]: row for row in invoke("files", "mixed", "--json").ok().json["files"]}
    assert set(rows) == {"in/a.csv", "in/copy.csv", "in/lake/images/x.png", "in/lake/labels.csv", "in/notes.txt"}
    assert rows["in/a.csv"]["ref"] == f"{server.url}/a.csv"
    assert (rows["in/a.csv"]["digest"], rows["in/a.csv"]["etag"]) == ("one", '"one"')
    assert "ref" not in rows["in/notes.txt"]
    assert f"\t{server.url}/a.csv" in invoke("files", "mixed").ok().stdout
    assert "References\t4" in invoke("show", "mixed").ok().stdout
    done = invoke("download", "mixed", "-o", "out", "--json").ok().json
    assert (done["files"], done["written"], done["missing_references"]) == (5, 5, [])
    assert tree(work / "out" / "in" / "lake") == tree(lake)
    assert invoke("verify", "mixed", "out").ok().code == 0
    assert invoke("verify").ok().code == 0


def test_a_link_says_how_many_references_its_source_has(invoke: Invoke, lake: Path) -> None:
    invoke("log", "-n", "lake", "-t", "dataset", "--ref", f"file://{lake}", "--link", "dataset/lake").ok()
    assert invoke("show", "dataset/lake:v0", "--json").ok().json["reference_count"] == 2
    found = invoke("search", "--where", "reference_count = 2", "--json").ok().json["results"]
    assert sorted(row["ref"] for row in found) == ["dataset/lake:v0", "local/default/lake:v0"]


def test_a_dry_run_makes_nothing(invoke: Invoke, lake: Path, root: Path) -> None:
    planned = invoke("log", "--ref", f"file://{lake}", "-n", "a", "-t", "dataset", "--dry-run", "--json").ok().json
    assert (planned["file_count"], planned["created"]) == (2, True)
    assert not root.exists()


def test_what_a_reference_leads_to_is_deleted_by_force_only(invoke: Invoke, lake: Path) -> None:
    invoke("log", str(lake / "labels.csv"), "-n", "a", "-t", "dataset").ok()
    invoke("log", "-n", "b", "-t", "dataset", "--ref", "regcli-artifact://a:v0/labels.csv").ok()
    for command in (("delete", "a:v0"), ("collection", "rm", "a", "-y")):
        refused = invoke(*command)
        assert refused.code == 5
        assert "'local/default/b:v0' refers to its files" in refused.stderr
        assert "regcli delete local/default/b:v0" in refused.stderr
    deleted = invoke("delete", "a:v0", "--force", "--json").ok()
    assert deleted.json["referred_by"] == ["local/default/b:v0"]
    assert invoke("download", "b").code == 3
    invoke("undelete", "a:v0").ok()
    invoke("download", "b").ok()
    gone = invoke("collection", "rm", "a", "-y", "--force", "--json").ok()
    assert gone.json["referred_by"] == ["local/default/b:v0"]
    assert gone.json["warnings"] == ["references to local/default/a lead nowhere now: local/default/b:v0"]


def test_what_was_logged_last_decides_whether_a_version_is_new(invoke: Invoke, server: WebServer) -> None:
    arguments = ("log", "--ref", f"{server.url}/a.csv", "-n", "a", "-t", "dataset", "--json")
    assert invoke(*arguments).ok().json["created"]
    assert not invoke(*arguments).ok().json["created"]
    server.pages["/a.csv"].etag = '"two"'
    assert invoke(*arguments).ok().json["version"] == "v1"


def test_no_checksum_asks_nobody(invoke: Invoke, server: WebServer) -> None:
    invoke("log", "--ref", f"{server.url}/a.csv", "--ref", "s3://b/prefix", "--no-checksum", "-n", "a", "-t", "dataset").ok()
    assert server.requests == []
    rows = invoke("files", "a", "--json").ok().json["files"]
    assert [(row["path"], row["check"]) for row in rows] == [("a.csv", "none"), ("prefix", "none")]


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--ref", "labels.csv"], 2, "references must be URIs"),
        (["--ref", "foo://bar"], 2, "--ref weights.bin=foo://bar"),
        (["--ref", "file:///no/such"], 3, "must be a valid file or directory path"),
        (["--ref", "{url}/nope"], 3, "unable to find"),
        (["--ref", "{url}/a.csv", "--ref", "a.csv=file://{lake}/labels.csv"], 2, "--ref NAME=URI"),
        (["--ref", "file://{lake}", "--max-objects", "1"], 2, "exceeded 1 objects tracked"),
        (["--ref", "http://127.0.0.1:1/x"], 8, "cannot fetch"),
        (["--ref", "http://me:secret@127.0.0.1/x"], 2, "would be stored readable"),
        (["--no-checksum", "{lake}"], 2, "need --ref"),
        (["--max-objects", "5", "{lake}"], 2, "need --ref"),
    ],
)
def test_what_cannot_be_recorded_changes_nothing(
    invoke: Invoke, server: WebServer, lake: Path, root: Path, arguments: list[str], code: int, words: str
) -> None:
    filled = [argument.format(url=server.url, lake=lake) for argument in arguments]
    failed = invoke("log", *filled, "-n", "a", "-t", "dataset")
    assert (failed.code, failed.stdout) == (code, "")
    assert words in failed.stderr
    assert "secret" not in failed.stderr
    assert not root.exists()


def test_what_is_gone_or_changed_has_its_exit_code(invoke: Invoke, server: WebServer, work: Path) -> None:
    invoke("log", "--ref", f"{server.url}/a.csv", "-n", "a", "-t", "dataset").ok()
    page = server.pages.pop("/a.csv")
    for command in (("download", "a", "-o", "out"), ("checkout", "a", "out")):
        assert invoke(*command).code == 3
        left = invoke(*command, "--allow-missing-references", "--json").ok().json
        assert left["missing_references"] == ["a.csv"]
        assert "left out" in left["warnings"][0]
    server.pages["/a.csv"] = Page(page.body, '"two"')
    changed = invoke("download", "a", "-o", "out", "--json")
    assert (changed.code, changed.error["kind"]) == (6, "reference-changed")
    assert tree(work / "out") == {}


def test_checkout_takes_away_what_is_not_in_the_version_but_no_reference(
    invoke: Invoke, server: WebServer, lake: Path, work: Path
) -> None:
    invoke("log", "--ref", f"{server.url}/a.csv", "-n", "a", "-t", "dataset").ok()
    invoke("log", lake / "labels.csv", "-n", "b", "-t", "dataset").ok()
    invoke("checkout", "a", "out").ok()
    (work / "out" / "labels.csv").write_text("labels")
    done = invoke("checkout", "a", "out", "--json").ok().json
    assert (done["removed"], done["skipped"]) == (1, 1)
    assert tree(work / "out") == {"a.csv": b"a,b\n"}


def test_cat_prints_what_a_reference_leads_to(invoke: Invoke, server: WebServer, lake: Path) -> None:
    invoke("log", "--ref", f"{server.url}/a.csv", "--ref", f"file://{lake}/labels.csv", "-n", "a", "-t", "dataset").ok()
    assert invoke("cat", "a", "a.csv").ok().stdout == "a,b\n"
    invoke("log", "--ref", "regcli-artifact://a:v0/labels.csv", "-n", "b", "-t", "dataset").ok()
    assert invoke("cat", "b", "labels.csv").ok().stdout == "labels"
    (lake / "labels.csv").write_text("l\u0101bel")
    assert invoke("cat", "a", "labels.csv").code == 6
    server.pages["/a.csv"] = Page(b"a,b\n", '"two"')
    assert (invoke("cat", "a", "a.csv").code, invoke("cat", "a", "a.csv").stdout) == (6, "")
    del server.pages["/a.csv"]
    assert invoke("cat", "a", "a.csv").code == 3


def test_base_keeps_references(invoke: Invoke, lake: Path, work: Path) -> None:
    invoke("log", "--ref", f"file://{lake}", "-n", "a", "-t", "dataset").ok()
    (work / "more.txt").write_text("more")
    invoke("log", "more.txt", "--base", "a:v0", "--remove", "images", "-n", "a").ok()
    rows = invoke("files", "a:v1", "--json").ok().json["files"]
    assert [(row["path"], "ref" in row) for row in rows] == [("labels.csv", True), ("more.txt", False)]


# The help topics


def topic_blocks(topic: str, language: str) -> list[str]:
    text = (Path(regcli.__file__).parent / "docs" / f"{topic}.md").read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def test_the_examples_about_references_work(tmp_path: Path, work: Path, home: Path, root: Path) -> None:
    program = tmp_path / "bin" / "regcli"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m regcli "$@"\n')
    program.chmod(0o755)
    environment = {"PATH": f"{program.parent}:/usr/bin:/bin", "HOME": str(home), "REGCLI_ROOT": str(root), "LANG": "C.UTF-8"}
    blocks = topic_blocks("external-data", "sh")
    assert len(blocks) == 2
    script = "\n".join(blocks)
    done = subprocess.run(["sh", "-eux"], input=script, env=environment, cwd=work, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert tree(work / "fetched") == {"images/aardvark.png": b"pixels", "labels.csv": b"animal,legs\n"}
    assert "extra/labels/zoo.csv" in done.stdout


def test_the_example_about_objects_works(work: Path, home: Path, root: Path) -> None:
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(home), "REGCLI_ROOT": str(root), "LANG": "C.UTF-8"}
    blocks = topic_blocks("objects", "python")
    assert len(blocks) == 1
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", blocks[0]], env=environment, cwd=work, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("topic", ["external-data", "objects"])
def test_the_topics_are_shown(invoke: Invoke, topic: str) -> None:
    assert topic in invoke("help", topic).ok().stdout + invoke("help").ok().stdout


def test_the_digest_of_a_referenced_file_is_shown_like_that_of_a_stored_one(invoke: Invoke, work: Path) -> None:
    (work / "a.txt").write_text("content")
    invoke("log", "a.txt", "-n", "stored", "-t", "dataset").ok()
    invoke("log", "--ref", f"file://{work}/a.txt", "-n", "kept", "-t", "dataset").ok()
    stored, kept = (invoke("files", name, "--json").ok().json["files"][0] for name in ("stored", "kept"))
    assert kept["digest"] == stored["digest"]
    assert invoke("files", "kept").ok().lines[0].split("\t")[2] == stored["digest"]
