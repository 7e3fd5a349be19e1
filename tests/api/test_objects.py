"""Objects and remote references through `Artifact`: added, logged, fetched, and shown by the command line as they are."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import regcli
from tests.domain.origins import Page, WebServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.conftest import Result


@pytest.fixture
def server() -> Iterator[WebServer]:
    with WebServer() as running:
        yield running


def logged_again(artifact: regcli.Artifact) -> regcli.Artifact:
    artifact.save()
    return regcli.Api().artifact(f"{artifact.name.partition(':')[0]}:latest")


def test_objects_come_back_under_the_names_they_were_added_as(work: Path) -> None:
    (work / "in").mkdir()
    (work / "in" / "take.wav").write_bytes(b"RIFF")
    artifact = regcli.Artifact("objects", "dataset")
    table = regcli.Table(columns=["animal", "legs"], data=[["aardvark", 4], ["bass", 0]])
    artifact.add(table, "animals")
    artifact["config"] = {"lr": 1e-3, "layers": [1, 2]}
    artifact.add(regcli.Html("<p>hello</p>"), "page")
    artifact.add(regcli.Audio(work / "in" / "take.wav", caption="one"), "takes/first")
    again = logged_again(artifact)
    assert sorted(again.manifest.entries) == ["animals.table.json", "config.json", "page.html", "takes/first.wav"]
    assert again.get("animals") == table
    assert again["animals.table.json"] == table
    assert again["config"] == {"lr": 1e-3, "layers": [1, 2]}
    assert again["page"].html == "<p>hello</p>"
    sound = again["takes/first"]
    assert (sound.read_bytes(), sound.caption) == (b"RIFF", "one")
    assert again.get("nothing") is None


def test_the_same_objects_are_the_same_version(work: Path) -> None:
    versions = []
    for _ in range(2):
        artifact = regcli.Artifact("objects", "dataset")
        artifact.add(regcli.Table(["a"], [[1.5], [None]]), "t")
        versions.append(logged_again(artifact).version)
    assert versions == ["v0", "v0"]


def test_an_object_that_has_no_form_changes_nothing(work: Path) -> None:
    artifact = regcli.Artifact("objects", "dataset")
    with pytest.raises(TypeError, match=r"cannot be added; what works: regcli\.Table") as caught:
        artifact.add(object(), "x")
    assert isinstance(caught.value, regcli.RegcliError)
    assert list(artifact.manifest.entries) == []


def test_the_command_line_shows_objects_as_the_files_they_are(work: Path, invoke: Callable[..., Result]) -> None:
    artifact = regcli.Artifact("objects", "dataset")
    artifact.add({"a": 1}, "config")
    artifact.save()
    row = invoke("files", "objects", "--json").ok().json["files"][0]
    assert (row["path"], row["object"]["kind"]) == ("config.json", "json")
    assert invoke("cat", "objects", "config.json").ok().stdout == '{"a": 1}'


def test_a_url_is_recorded_and_fetched(work: Path, server: WebServer, invoke: Callable[..., Result]) -> None:
    server.pages["/file1.txt"] = Page(b"hello", '"abc"')
    artifact = regcli.Artifact("refs", "dataset", digest_algorithm="MD5")
    entry = artifact.add_reference(f"{server.url}/file1.txt")[0]
    assert (entry.path, entry.digest, entry.size, entry.ref) == ("file1.txt", "abc", 5, f"{server.url}/file1.txt")
    assert entry.extra["etag"] == '"abc"'
    assert artifact.digest == "48237ccc050a88af9dcd869dd5a7e9f4"
    again = logged_again(artifact)
    assert Path(again.get_entry("file1.txt").download("out")).read_bytes() == b"hello"
    again.verify("out")
    assert invoke("verify", "refs", "out").ok().code == 0
    server.pages["/file1.txt"] = Page(b"other", '"new"')
    with pytest.raises(ValueError, match="changed since it was logged"):
        again.download("second")
    del server.pages["/file1.txt"]
    with pytest.raises(FileNotFoundError, match="unable to find"):
        again.download("second")
    again.download("second", allow_missing_references=True)


def test_verify_finds_a_changed_reference(work: Path) -> None:
    (work / "data.txt").write_text("data")
    artifact = regcli.Artifact("refs", "dataset")
    artifact.add_reference(f"file://{work}/data.txt")
    again = logged_again(artifact)
    again.download("out")
    again.verify("out")
    (work / "out" / "data.txt").write_text("datx")
    with pytest.raises(ValueError, match=r"data\.txt"):
        again.verify("out")
