"""Listing: what many versions have in common is read once."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from regcli.domain.collections import find_collection
from regcli.domain.listing import version_rows
from regcli.model import parse_collection
from tests.domain.world import World

if TYPE_CHECKING:
    from pathlib import Path


def test_links_of_many_versions_read_their_collection_once(tmp_path: Path) -> None:
    world = World(tmp_path)
    opened: list[str] = []
    sys.addaudithook(lambda event, values: opened.append(str(values[0])) if event == "open" else None)

    def openings() -> int:
        context = world.user()
        collection = find_collection(context, parse_collection("zoo", context.project))
        opened.clear()
        _, rows = version_rows(context, collection)
        assert [row["links"] for row in rows] == [[f"model/zoo:{row['version']}"] for row in rows]
        return sum("model/collections/zoo" in path for path in opened)

    for _ in range(2):
        world.log()
        world.link()
    few = openings()
    for _ in range(6):
        world.log()
        world.link()
    assert 0 < openings() == few
