"""`regcli __complete`: the names that a shell offers, from a real root."""

from __future__ import annotations

import os
import shutil
import tempfile
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regcli.domain.completing import complete
from regcli.domain.context import Context
from regcli.store import jsontext
from regcli.store.peek import peek_name

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.conftest import Result

    Invoke = Callable[..., Result]


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the root of `filled` is kept once it was made: a root may be copied."""
    return tmp_path_factory.mktemp("template") / "root"


@pytest.fixture
def filled(invoke: Invoke, work: Path, root: Path, template: Path) -> Invoke:
    """A root with a project, two registries, aliases, tags and a directory."""
    if template.exists():
        shutil.copytree(template, root)
        return invoke
    data = work / "data"
    (data / "deep").mkdir(parents=True)
    (data / "a.txt").write_text("a")
    (data / "deep" / "b.txt").write_text("b")
    (data / "deep" / "한.txt").write_text("c")
    invoke("log", "data", "-n", "zoo", "-t", "dataset", "-a", "raw", "--tag", "animals").ok()
    (data / "a.txt").write_text("changed")
    invoke("log", "data", "-n", "zoo", "-t", "dataset").ok()
    invoke("registry", "create", "Zoo Models").ok()
    invoke("link", "zoo:v0", "Zoo Models/동물원", "-a", "production").ok()
    invoke("protect", "Zoo Models", "gold").ok()
    invoke("use", "zoo:v0", "--run", "train-1").ok()
    shutil.copytree(root, template)
    return invoke


CASES = [
    (["ref", ""], ["zoo", "dataset/", "model/", "Zoo Models/", "local/default/"]),
    (["ref", "z"], ["zoo", "zoo:latest", "zoo:raw", "zoo:v1", "zoo:v0"]),
    (["ref", "Z"], ["Zoo Models/"]),
    (["ref", "ZO"], ["zoo", "Zoo Models/"]),
    (["ref", "Zoo"], ["Zoo Models/"]),
    (
        ["ref", "Zoo Models/"],
        ["Zoo Models/동물원", "Zoo Models/동물원:latest", "Zoo Models/동물원:production", "Zoo Models/동물원:v0"],
    ),
    (["ref", "models/"], []),
    (["ref", "wandb-registry-Zoo"], ["wandb-registry-Zoo Models/"]),
    (["ref", "wandb-registry-Zoo Models/동물원:p"], ["wandb-registry-Zoo Models/동물원:production"]),
    (["ref", "org/wandb-registry-Zoo Models/동물원:p"], ["org/wandb-registry-Zoo Models/동물원:production"]),
    (["ref", "ZOO:L"], ["ZOO:latest"]),
    (["ref", "Zoo Models/동물원:"], ["Zoo Models/동물원:latest", "Zoo Models/동물원:production", "Zoo Models/동물원:v0"]),
    (["ref", "zoo:"], ["zoo:latest", "zoo:raw", "zoo:v1", "zoo:v0"]),
    (["ref", "zoo:v"], ["zoo:v1", "zoo:v0"]),
    (["ref", "lo"], ["local/default/"]),
    (
        ["ref", "local/default/"],
        ["local/default/zoo", *(f"local/default/zoo:{name}" for name in ("latest", "raw", "v1", "v0"))],
    ),
    (["ref", "local/"], ["local/default/"]),
    (["ref", "local/default/zoo:r"], ["local/default/zoo:raw"]),
    (["registry", ""], ["dataset", "model", "Zoo Models"]),
    (["collection", "Zoo Models/"], ["Zoo Models/동물원"]),
    (["project", ""], ["local/default"]),
    (["alias", "", "--of", "zoo:v0"], ["raw"]),
    (["alias", "", "--of", "Zoo Models/동물원"], ["production", "gold"]),
    (["alias", "", "--of", "Zoo Models"], ["production", "gold"]),
    (["alias", "g", "--of", "Zoo Models"], ["gold"]),
    (["alias", ""], ["raw"]),
    (["tag", "a"], ["animals"]),
    (["source", ""], ["zoo"]),
    (["type", "d"], ["dataset"]),
    (["version", "", "--of", "zoo:raw"], ["none", "v1", "v0"]),
    (["run", ""], ["train-1"]),
    (["user", "root", "--of", "model"], ["root"]),
    (["tag", "", "--of", "zoo"], ["animals"]),
    (["entry", "", "--of", "zoo"], ["a.txt", "deep/"]),
    (["entry", "deep/", "--of", "zoo"], ["deep/b.txt", "deep/한.txt"]),
    (["ref", "zo", "--project", "other/place"], ["Zoo Models/"]),
    (["ref", "", "--root=/nonexistent"], []),
]


@pytest.mark.parametrize(("arguments", "expected"), CASES, ids=lambda value: " ".join(value) or "nothing")
def test_candidates(filled: Invoke, arguments: list[str], expected: list[str]) -> None:
    result = filled("__complete", *arguments).ok()
    assert result.lines == expected
    assert result.stderr == ""


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["ref"],
        ["nonsense", "x"],
        ["ref", "a/b/c/d/e"],
        ["ref", "a:b:c"],
        ["ref", "\x1b"],
        ["ref", "../../etc/"],
        ["ref", "x", "-C", "/nonexistent"],
        ["entry", "", "--of"],
        ["alias", "x", "--of", ":::"],
        ["ref", "x", "--root"],
    ],
    ids=" ".join,
)
def test_nonsense_is_answered_with_silence(filled: Invoke, arguments: list[str]) -> None:
    result = filled("__complete", *arguments)
    assert (result.code, result.stdout, result.stderr) == (0, "", "")


def test_a_damaged_collection_does_not_spoil_the_others(filled: Invoke, root: Path) -> None:
    for log in root.glob("projects/*/*/collections/zoo/log/*.json"):
        log.chmod(0o644)
        log.write_text("damaged")
    for head in root.glob("projects/*/*/collections/zoo/head.json"):
        head.unlink()
    assert filled("__complete", "collection", "Zoo Models/").ok().lines == ["Zoo Models/동물원"]


def common(names: list[str]) -> str:
    """Return what names have in common at the beginning, which a shell fills in."""
    return os.path.commonprefix(names)  # noqa: RUF071 - characters, not parts of a path


def test_restricted_registries_are_invisible(filled: Invoke, root: Path) -> None:
    filled("registry", "create", "Secret", "--visibility", "restricted").ok()
    filled("link", "zoo:v0", "Secret/plans", "-a", "hush").ok()
    assert filled("__complete", "registry", "Se").lines == ["Secret"]
    # The same root, as somebody who is no member sees it.
    somebody = Context(root_path=str(root), user="somebody", uid=4711, host="h")
    asked = [("registry", "Se"), ("ref", "Se"), ("ref", "Secret/"), ("ref", "Secret/plans:"), ("ref", "wandb-registry-Se")]
    asked += [("collection", "Secret/"), ("ref", "o/wandb-registry-Secret/")]
    for kind, word in asked:
        assert complete(somebody, kind, word) == [], (kind, word)
    for kind in ("alias", "tag", "type", "entry", "version", "user"):
        for of in ("Secret", "Secret/plans", "Secret/plans:v0"):
            names = complete(somebody, kind, "", of)
            assert not {"hush", "plans", "a.txt", "deep/", "v0"} & set(names), (kind, of)
    assert complete(somebody, "ref", "Zoo") == ["Zoo Models/"]


def test_a_renamed_collection_has_its_new_name_only(filled: Invoke) -> None:
    filled("collection", "edit", "Zoo Models/동물원", "--rename", "Animals").ok()
    assert filled("__complete", "collection", "Zoo Models/").lines == ["Zoo Models/Animals"]
    assert filled("__complete", "ref", "Zoo Models/Ani").lines[:2] == ["Zoo Models/Animals", "Zoo Models/Animals:latest"]
    assert filled("__complete", "collection", "Zoo Models/동").lines == []


def test_a_deleted_collection_is_gone(filled: Invoke) -> None:
    filled("collection", "rm", "Zoo Models/동물원", "-y").ok()
    assert filled("__complete", "ref", "Zoo Models/").lines == []


def test_odd_names_come_one_a_line(filled: Invoke) -> None:
    odd = ['It\'s "so"', "$HOME `id` $(id)", "a&b;c|d>e", "-rf *", "con", ".hidden", "end.", "x" * 128, "É", "100 ~ {a,b} !x"]
    for name in odd:
        filled("link", "zoo:v0", f"model/{name}").ok()
    lines = filled("__complete", "collection", "model/").lines
    assert sorted(lines) == sorted(f"model/{name}" for name in odd)
    for name in odd:
        assert f"model/{name}" in filled("__complete", "collection", f"model/{name[:3]}").lines


def test_a_name_that_steers_the_terminal_is_left_out(filled: Invoke, root: Path) -> None:
    # Only a hand that writes into the store can make one.
    for log in root.glob("projects/*/*/collections/zoo/log/*.json"):
        log.chmod(0o644)
    for head in root.glob("projects/*/*/collections/zoo/head.json"):
        head.write_bytes(head.read_bytes().replace(b'"name":"zoo"', b'"name":"zo\\u001b[2J\\nrm -rf"'))
    assert filled("__complete", "source", "").lines == []


def test_thousands_of_collections_are_listed_without_opening_one(filled: Invoke, root: Path) -> None:
    directory = root / "registries" / "dataset" / "collections"
    directory.mkdir(parents=True)
    for number in range(2_000):
        os.mkdir(directory / f"c{number:05d}")
    # None of them has a head or a commit: a look into one would leave it out.
    assert filled("__complete", "collection", "dataset/").lines == [f"dataset/c{number:05d}" for number in range(2_000)]
    assert filled("__complete", "collection", "dataset/c0123").lines == []


def fabricate(root: Path, versions: int, deleted: range) -> None:
    """Make the project's collection say that it has many versions."""
    for head in root.glob("projects/*/*/collections/zoo/head.json"):
        document = jsontext.unseal(head.read_bytes())
        assert document is not None
        state = document["state"]
        template = document["records"]["recent"]["0"]
        state.update(next=versions, latest=versions - 1, count=versions - len(deleted))
        document["records"]["recent"] = {
            str(index): {**template, "state": "DELETED" if index in deleted else "COMMITTED"} for index in range(versions)
        }
        head.write_bytes(jsontext.seal(document))


@pytest.mark.parametrize("deleted", [range(0), range(1300, 1900), range(2000, 2500)], ids=str)
def test_many_versions_are_cut_without_misleading_the_shell(filled: Invoke, root: Path, deleted: range) -> None:
    fabricate(root, 2500, deleted)
    everything = [f"v{index}" for index in range(2500) if index not in deleted]
    for word in ("", "v", "v1", "v2", "v12", "v123", "v1234", "v4", "v49", "v0", "v00", "v5", "vx", "x"):
        names = [name.removeprefix("zoo:") for name in filled("__complete", "ref", f"zoo:{word}").lines if ":v" in name]
        matching = [name for name in everything if name.startswith(word)]
        assert set(names) <= set(matching), word
        assert common(names) == common(matching), word
        assert len(names) == len(set(names)) <= 520
        if len(matching) <= 100:
            assert sorted(names) == sorted(matching), word
    assert filled("__complete", "ref", "zoo:v").lines[0] == f"zoo:{everything[-1]}"


def test_many_files_are_cut_without_misleading_the_shell(invoke: Invoke, work: Path) -> None:
    data = work / "data"
    data.mkdir()
    for number in range(1200):
        (data / f"f{number:04d}").touch()
    (data / "zz").touch()
    invoke("log", "data", "-n", "many", "-t", "dataset").ok()
    lines = invoke("__complete", "entry", "", "--of", "many").lines
    assert lines[0] == "f0000"
    assert "zz" in lines
    assert len(lines) < 600
    assert common(invoke("__complete", "entry", "f", "--of", "many").lines) == "f"
    assert len(invoke("__complete", "entry", "f11", "--of", "many").lines) == 100


def test_names_that_the_shell_cannot_show_are_left_out(run: Invoke, filled: Invoke) -> None:
    environment = {"PYTHONIOENCODING": "latin-1", "LC_ALL": "C.UTF-8"}
    result = run("__complete", "ref", "Zoo Models/", environment=environment)
    assert (result.code, result.stdout, result.stderr) == (0, "", "")
    assert run("__complete", "registry", "Zoo", environment=environment).lines == ["Zoo Models"]


def test_without_a_root_there_is_silence(invoke: Invoke, root: Path) -> None:
    for kind in ("ref", "collection", "registry", "project", "source", "alias", "tag", "version", "entry", "run"):
        result = invoke("__complete", kind, "z")
        assert (result.code, result.stdout, result.stderr) == (0, "", "")
    assert not root.exists()


@given(st.binary(max_size=300))
def test_a_damaged_head_gives_no_wrong_name(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as directory:
        with open(f"{directory}/head.json", "wb") as file:
            file.write(b'{"checksum":"x","state":{"id":"y"' + data)
        name = peek_name(directory)
        assert name is None or isinstance(name, str)


@pytest.mark.parametrize("name", ["zoo", 'a"b', "a\\", '\\"', "동물원", '","name":"evil', "x" * 128])
def test_a_glance_reads_the_name_that_the_head_says(name: str, tmp_path: Path) -> None:
    state = {"id": "1", "kind": "link", "name": name, "aliases": {"removed": ["removed", 3]}, "removed": False}
    (tmp_path / "head.json").write_bytes(jsontext.seal({"format": 1, "state": state, "records": {"name": "wrong"}}))
    assert peek_name(str(tmp_path)) == name
    (tmp_path / "head.json").write_bytes(jsontext.seal({"format": 1, "state": {**state, "removed": True}, "records": {}}))
    assert peek_name(str(tmp_path)) is None
