"""`regcli __complete`: the names that a shell offers, from a real root."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.conftest import Result

    Invoke = Callable[..., Result]


@pytest.fixture
def filled(invoke: Invoke, work: Path) -> Invoke:
    """A root with a project, two registries, aliases, tags and a directory."""
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
    return invoke


CASES = [
    (["ref", ""], ["zoo", "dataset/", "model/", "Zoo Models/", "local/default/"]),
    (["ref", "z"], ["zoo"]),
    (["ref", "Zoo"], ["Zoo Models/"]),
    (["ref", "Zoo Models/"], ["Zoo Models/동물원"]),
    (["ref", "Zoo Models/동물원:"], ["Zoo Models/동물원:latest", "Zoo Models/동물원:production", "Zoo Models/동물원:v0"]),
    (["ref", "zoo:"], ["zoo:latest", "zoo:raw", "zoo:v1", "zoo:v0"]),
    (["ref", "zoo:v"], ["zoo:v1", "zoo:v0"]),
    (["ref", "lo"], ["local/default/"]),
    (["ref", "local/default/"], ["local/default/zoo"]),
    (["ref", "local/default/zoo:r"], ["local/default/zoo:raw"]),
    (["registry", ""], ["dataset", "model", "Zoo Models"]),
    (["collection", "Zoo Models/"], ["Zoo Models/동물원"]),
    (["project", ""], ["local/default"]),
    (["alias", "", "--of", "zoo:v0"], ["raw"]),
    (["alias", "", "--of", "Zoo Models/동물원"], ["production", "gold"]),
    (["alias", "", "--of", "Zoo Models"], ["gold"]),
    (["tag", "", "--of", "zoo"], ["animals"]),
    (["entry", "", "--of", "zoo"], ["a.txt", "deep/"]),
    (["entry", "deep/", "--of", "zoo"], ["deep/b.txt", "deep/한.txt"]),
    (["ref", "z", "--project", "other/place"], []),
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
        ["alias", "", "--of", ":::"],
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
    assert filled("__complete", "ref", "Zoo Models/").ok().lines == ["Zoo Models/동물원"]
