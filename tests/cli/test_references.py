"""References: every selector, digests, synonyms, and what happens when nothing answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.conftest import Result

    Invoke = Callable[..., Result]


@pytest.fixture
def three(invoke: Invoke, work: Path) -> Invoke:
    """A source with the contents A, B, A: three versions, v1 called `mid`, all linked into `model/x`."""
    for number, content in enumerate("ABA"):
        (work / "f.txt").write_text(content)
        invoke("log", "f.txt", "-n", "a", "-t", "model", *(["-a", "mid"] if number == 1 else [])).ok()
        invoke("link", "a", "model/x").ok()
    return invoke


@pytest.mark.parametrize(
    ("selector", "version"),
    [
        ("", 2),
        (":latest", 2),
        (":v0", 0),
        (":mid", 1),
        (":MID", 1),
        (":V0", 0),
        (":V2~1", 1),
        (":mid~1", 0),
        (":latest~2", 0),
        (":latest~", 1),
        (":v2~0", 2),
    ],
)
def test_selectors(three: Invoke, selector: str, version: int) -> None:
    assert three("resolve", f"a{selector}").ok().stdout == f"local/default/a:v{version}\n"


def test_same_content_again_after_other_content_is_a_new_version(three: Invoke) -> None:
    versions = three("ls", "a", "--json").ok().json["versions"]
    assert [row["version"] for row in versions] == ["v2", "v1", "v0"]
    assert versions[0]["digest"] == versions[2]["digest"]
    assert versions[0]["digest"] != versions[1]["digest"]


def test_digests_select_and_assert(three: Invoke) -> None:
    digest = three("resolve", "a:v1", "--digest").ok().stdout.strip()
    for reference in (f"a@xxh128:{digest}", f"a:@xxh128:{digest[:12]}", f"a:mid@xxh128:{digest}"):
        assert three("resolve", reference).ok().stdout == "local/default/a:v1\n"
    assert three("resolve", f"a:latest@xxh128:{digest}").code == 4
    assert three("resolve", f"a@xxh128:{'0' * 32}").code == 3


def test_full_names_of_the_original_are_understood(three: Invoke) -> None:
    for reference in ("wandb-registry-model/x:v1", "some-org/wandb-registry-Model/X:v1", "models/x:v1", "model/x:v1"):
        assert three("resolve", reference).ok().stdout == "model/x:v1\n"
    assert three("resolve", "model/x:v1", "--path").ok().stdout == "wandb-registry-model/x:v1\n"
    assert three("resolve", "model/x:v1", "--source").ok().stdout == "local/default/a:v1\n"


def test_printed_references_can_be_pasted_back(three: Invoke) -> None:
    for row in three("ls", "model/x", "--json").ok().json["versions"]:
        assert three("resolve", row["ref"]).ok().stdout == row["ref"] + "\n"
        assert three("resolve", row["source"]).ok().stdout == row["source"] + "\n"


def test_missing_things_exit_3_and_name_the_nearest(three: Invoke) -> None:
    for reference, hint in (
        ("model/y", None),
        ("modle/x", "'model'"),
        ("a:mdi", "'mid'"),
        ("b", None),
        ("a:v9", "v2"),
        ("local/defualt/a", None),
    ):
        result = three("resolve", reference)
        assert result.code == 3, reference
        if hint is not None:
            assert hint in result.stderr
    assert three("resolve", "a:latest~3").code == 3


def test_a_name_of_two_things_is_ambiguous_and_both_spellings_are_given(three: Invoke, work: Path) -> None:
    three("log", work / "f.txt", "-n", "model", "-t", "model").ok()
    result = three("ls", "model")
    assert result.code == 2
    assert "'model/'" in result.stderr
    assert "'local/default/model'" in result.stderr
    assert three("ls", "model/", "--json").ok().json["collections"][0]["ref"] == "model/x"
    assert three("ls", "dataset").ok().stdout == ""


def test_resolve_answers_alike_on_the_fast_lane_and_in_the_full_program(three: Invoke) -> None:
    fast = three("resolve", "model/x", "--json").ok()
    full = three("-v", "resolve", "model/x", "--json").ok()
    assert fast.json == full.json
    assert set(fast.json) == {"schema_version", "ref", "version", "digest", "source", "seq"}


def test_reading_a_root_that_is_not_there_exits_3(invoke: Invoke) -> None:
    for arguments in (["ls"], ["resolve", "a"], ["search", "x"], ["verify"], ["history"], ["registry", "ls"]):
        result = invoke(*arguments)
        assert result.code == 3, arguments
        assert "regcli init" in result.stderr
