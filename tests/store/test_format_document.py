"""FORMAT.md names everything that is stored: operations, fields and what lies in a root."""

from __future__ import annotations

import ast
import inspect
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import regcli
from regcli.domain import collections, distributed, registries, runs, settings, shapes
from regcli.store import layout

if TYPE_CHECKING:
    from collections.abc import Callable

TEXT = (Path(regcli.__file__).parent / "store" / "FORMAT.md").read_text()
SECTIONS = dict(re.findall(r"^## (\d+)\. .*?\n(.*?)(?=^## |\Z)", TEXT, re.MULTILINE | re.DOTALL))
REDUCERS: list[Callable[..., None]] = [
    collections.reduce_collection,
    registries.reduce_settings,
    settings.reduce_root,
    runs.reduce_run,
    distributed.reduce_parts,
]
FIELDS = {
    "version": [*shapes._RECORD, *shapes._SOURCE, *shapes._EDGE],
    "collection": list(shapes._COLLECTION),
    "settings": list(shapes._SETTINGS),
    "run": list(shapes._RUN),
}


def operations(reducer: Callable[..., None]) -> set[str]:
    """Return the names that a reducer compares an operation's with."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(inspect.getsource(reducer))):
        if isinstance(node, ast.Compare) and isinstance(node.left, ast.Name) and node.left.id == "name":
            found.update(str(item.value) for item in ast.walk(node.comparators[0]) if isinstance(item, ast.Constant))
    return found


def names(section: str) -> set[str]:
    return set(re.findall(r"\w+", SECTIONS[section]))


@pytest.mark.parametrize("reducer", REDUCERS, ids=lambda reducer: reducer.__name__)
def test_every_operation_is_described(reducer: Callable[..., None]) -> None:
    known = operations(reducer)
    assert len(known) >= 3
    assert known - names("4") == set()


@pytest.mark.parametrize("kind", FIELDS)
def test_every_field_of_a_state_is_described(kind: str) -> None:
    assert set(FIELDS[kind]) - names("4") - names("5") == set()


def test_everything_that_lies_in_a_root_is_in_its_tree() -> None:
    tree = SECTIONS["2"].partition("```\n")[2].partition("```")[0]
    assert {name for name in layout._PARTS if name not in tree} == set()


def test_modules_name_sections_that_exist() -> None:
    known = set(re.findall(r"^#{2,4} ([\d.]+?)\.? ", TEXT, re.MULTILINE))
    for path in Path(regcli.__file__).parent.rglob("*.py"):
        for section in re.findall(r"FORMAT\.md (\d[\d.]*\d|\d)", path.read_text()):
            assert section in known, path
