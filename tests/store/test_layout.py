"""How names become names of directories: safe everywhere, and never two for one, nor one for two."""

from __future__ import annotations

import os
import unicodedata
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from regcli.model import fold
from regcli.store import layout

if TYPE_CHECKING:
    from pathlib import Path

SAFE = set("abcdefghijklmnopqrstuvwxyz0123456789_-.%~ABCDEF")
DEVICES = {"con", "prn", "aux", "nul", *(f"com{n}" for n in range(10)), *(f"lpt{n}" for n in range(10))}
NAMES = st.text(min_size=1, max_size=200)


@given(NAMES)
@example("..")
@example(".")
@example("...")
@example("con")
@example("NUL.txt")
@example("com¹")
@example("a/b")
@example("a\\b")
@example("a:b")
@example("a\x00b")
@example("a\nb")
@example("trailing.")
@example("trailing ")
@example("%2E")
@example("x" * 121)
@example("ß" * 100)
def test_a_directory_name_is_safe_on_every_system(name: str) -> None:
    encoded = layout.encode_name(name)
    assert set(encoded) <= SAFE
    assert 1 <= len(encoded) <= 120
    assert encoded[0] != "."
    assert encoded[-1] != "."
    assert encoded.split(".")[0] not in DEVICES
    assert os.path.basename(os.path.normpath(f"/x/{encoded}")) == encoded


@given(NAMES, NAMES)
@example("a", "A")
@example("a.", "a%2E")
@example("con", "%63on")
@example("K", "\u212a")
@example("ss", "ß")
@example("fi", "ﬁ")
def test_two_names_have_one_directory_exactly_when_they_are_the_same_name(left: str, right: str) -> None:
    assert (layout.encode_name(left) == layout.encode_name(right)) == (fold(left) == fold(right))


@given(NAMES)
def test_case_and_normalization_do_not_matter(name: str) -> None:
    for form in ("NFC", "NFD"):
        assert layout.encode_name(unicodedata.normalize(form, name)) == layout.encode_name(name)


@given(st.text(min_size=1, max_size=20))
def test_folding_is_done_once_and_for_all(name: str) -> None:
    assert fold(fold(name)) == fold(name)


def test_long_names_that_begin_alike_stay_apart(tmp_path: Path) -> None:
    names = [f"{'n' * 125}{number}" for number in range(100)]
    for name in names:
        (tmp_path / layout.encode_name(name)).mkdir()
    assert len(list(tmp_path.iterdir())) == 100


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (layout.project_path("/r", "Team", "Zoo"), "/r/projects/team/zoo"),
        (layout.project_path("/r", "Model", "../x"), "/r/projects/model/%2E.%2Fx"),
        (layout.collection_path("/r/registries/model", "Big Cats"), "/r/registries/model/collections/big%20cats"),
    ],
)
def test_where_things_lie(path: str, expected: str) -> None:
    assert path == expected
