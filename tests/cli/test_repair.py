"""`regcli verify --repair`: exit codes, JSON and wrong usage; what it mends is tested in tests/domain/test_repairing.py."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.conftest import Result

    Run = Callable[..., Result]


@pytest.fixture
def copy(invoke: Run, root: Path, zoo: Path, tmp_path: Path) -> Path:
    """A root with one version whose content is gone, and an intact copy of it."""
    invoke("log", zoo, "-n", "zoo", "-t", "dataset").ok()
    copy = shutil.copytree(root, tmp_path / "copy")
    shutil.rmtree(root / "packs")
    return copy


def test_what_could_be_mended_exits_0(invoke: Run, copy: Path) -> None:
    assert invoke("verify").code == 1
    done = invoke("verify", "--repair", "--from", copy, "--json").ok().json
    assert done["ok"]
    assert done["problems"] == []
    assert all(what.startswith("blob ") for what in done["repaired"])
    assert len(done["repaired"]) == 2
    invoke("verify").ok()


def test_what_could_not_be_mended_exits_1_and_is_named(invoke: Run, copy: Path, zoo: Path, work: Path) -> None:
    (work / "empty").mkdir()
    done = invoke("verify", "--repair", "--from", "empty", "--json")
    assert done.code == 1
    assert not done.json["ok"]
    assert done.json["problems"]
    # The file is at hand, the list of files is not.
    half = invoke("verify", "--repair", "--from", zoo, "--json")
    assert half.code == 1
    assert [problem["kind"] for problem in half.json["problems"]] == ["missing"]


def test_whoever_finds_damage_is_told_what_mends_it(invoke: Run, copy: Path) -> None:
    for arguments in (("verify",), ("verify", "zoo"), ("verify", "--repair")):
        assert "verify --repair --from PLACE" in invoke(*arguments).stderr
    # Not who knows it, and not about what it does not mend.
    assert "PLACE" not in invoke("verify", "--repair", "--from", copy / "locks").stderr
    invoke("verify", "--repair", "--from", copy).ok()
    assert "PLACE" not in invoke("verify").ok().stderr
    assert "PLACE" not in invoke("verify", "zoo", ".").stderr


def test_only_the_content_of_one_version_is_mended(invoke: Run, copy: Path) -> None:
    invoke("verify", "zoo", "--repair", "--from", copy).ok()
    invoke("verify", "zoo").ok()


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("--from", "x"), 2),
        (("--repair", "--from", "nowhere"), 3),
        (("zoo", ".", "--repair"), 2),
    ],
)
def test_wrong_usage(invoke: Run, copy: Path, arguments: tuple[str, ...], code: int) -> None:
    assert invoke("verify", *arguments).code == code


@pytest.mark.usefixtures("copy")
@pytest.mark.parametrize("command", [["download", "-o", "out"], ["files"], ["cat", "zoo.csv"], ["export", "-o", "zoo.tar"]])
def test_content_that_is_gone_from_the_store_is_damage_not_a_wrong_name(invoke: Run, command: list[str]) -> None:
    failed = invoke(command[0], "zoo", *command[1:], "--json")
    assert failed.code == 6
    assert json.loads(failed.stderr)["error"]["kind"] == "missing-blob"
