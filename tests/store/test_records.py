"""Version records: pages, merging, damaged pages, and changes to what is in pages."""

from __future__ import annotations

import itertools
import json
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from regcli.store.records import LARGE, MAX_CHANGED, RECENT, SMALL, Records
from tests.store.chain_cases import add, add_versions, make_chain


def no_replay() -> Records:
    raise AssertionError("the log must not be needed")


def fill(records: Records, first: int, last: int) -> None:
    for index in range(first, last + 1):
        records.put(index, {"value": index})


def reopened(records: Records, directory: Path, replay: Any = no_replay) -> Records:
    """Return what a head that is read again gives."""
    return Records(str(directory), str(directory.parent), replay, json.loads(json.dumps(records.document())))


def contents(records: Records) -> dict[int, Any]:
    return {index: record["value"] for index, record in records.ascending()}


def test_few_records_need_no_page(tmp_path: Path) -> None:
    records = Records(str(tmp_path / "pages"), str(tmp_path), no_replay)
    fill(records, 0, RECENT + SMALL - 1)
    assert records.settle() == []
    assert records.pages == []
    assert not (tmp_path / "pages").exists()


def test_old_records_go_into_pages_and_stay_readable(tmp_path: Path) -> None:
    records = Records(str(tmp_path), str(tmp_path), no_replay)
    fill(records, 0, 999)
    records.settle()
    assert RECENT <= len(records.recent) <= RECENT + SMALL
    again = reopened(records, tmp_path)
    assert contents(again) == {index: index for index in range(1000)}
    assert [index for index, _ in again.descending()] == list(range(999, -1, -1))
    assert again.get(0) == {"value": 0}
    assert again.get(999) == {"value": 999}
    assert again.get(1000) is None


def test_small_pages_become_large_ones(tmp_path: Path) -> None:
    records = Records(str(tmp_path), str(tmp_path), no_replay)
    gone: list[str] = []
    for step in range(50):
        fill(records, step * 100, step * 100 + 99)
        gone += records.settle()
        records.remove_pages(gone)
    assert len(records.pages) <= 5000 // LARGE + LARGE // SMALL
    assert max(last - first + 1 for first, last, _ in records.pages) == LARGE
    assert contents(reopened(records, tmp_path)) == {index: index for index in range(5000)}
    assert {path.name for path in tmp_path.iterdir()} == {page[2] for page in records.pages}, "no file is left behind"


def test_pages_lie_side_by_side(tmp_path: Path) -> None:
    records = Records(str(tmp_path), str(tmp_path), no_replay)
    for step in range(30):
        fill(records, step * 77, step * 77 + 76)
        records.settle()
    ends = [(first, last) for first, last, _ in records.pages]
    assert ends[0][0] == 0
    assert all(left[1] + 1 == right[0] for left, right in itertools.pairwise(ends))
    assert ends[-1][1] + 1 == min(map(int, records.recent))


def test_thousands_of_changes_are_folded_into_the_pages(tmp_path: Path) -> None:
    records = Records(str(tmp_path), str(tmp_path), no_replay)
    fill(records, 0, 2999)
    records.settle()
    truth = {index: index for index in range(3000)}
    chance = random.Random(1)
    for _ in range(2000):
        index = chance.randrange(3000)
        truth[index] = chance.randrange(10**6)
        records.put(index, {"value": truth[index]})
        if chance.random() < 0.2:
            records.remove_pages(records.settle())
        assert len(records.changed) <= MAX_CHANGED + 100
    records.settle()
    assert len(records.changed) <= MAX_CHANGED
    again = reopened(records, tmp_path)
    assert contents(again) == truth
    assert {index: record["value"] for index, record in again.descending()} == truth


def test_descending_can_begin_below_a_version(tmp_path: Path) -> None:
    records = Records(str(tmp_path), str(tmp_path), no_replay)
    fill(records, 0, 499)
    records.settle()
    for below in (0, 1, 63, 64, 65, 300, 499, 500, 501):
        assert [index for index, _ in records.descending(below)] == list(range(min(below, 500) - 1, -1, -1))


@pytest.mark.parametrize("damage", ["flip", "empty", "missing", "another", "directory", "fifo"])
def test_a_damaged_page_is_read_from_the_log_and_written_again(tmp_path: Path, damage: str) -> None:
    import os

    chain = make_chain(tmp_path)
    add_versions(chain, 330)
    pages = sorted(Path(f"{chain.base}/pages").iterdir())
    assert len(pages) >= 2
    data = pages[0].read_bytes()
    if damage == "another":
        # Intact, sealed, of the same log even: but not the page that the head lists.
        pages[0].write_bytes(pages[1].read_bytes())
    elif damage == "flip":
        pages[0].write_bytes(data.replace(b'"value":7', b'"value":8'))
    elif damage == "empty":
        pages[0].write_bytes(b"")
    else:
        pages[0].unlink()
        if damage == "directory":
            pages[0].mkdir()
        elif damage == "fifo":
            os.mkfifo(pages[0])
    expected = {index: index for index in range(330)}
    snapshot = chain.read()
    assert contents(snapshot.records) == expected
    assert snapshot.records.damaged
    add(chain, {"op": "change", "version": 5, "value": 5})
    fresh = chain.read()
    contents(fresh.records)
    if damage not in ("directory", "fifo"):
        # A change that looked at the page lists a good one again.
        assert not fresh.records.damaged
    assert contents(fresh.records) == expected


def test_a_page_of_another_collection_is_not_believed(tmp_path: Path) -> None:
    mine = make_chain(tmp_path, "projects/local/default/collections/mine")
    theirs = make_chain(tmp_path, "projects/local/default/collections/theirs")
    add_versions(mine, 200)
    for index in range(200):
        add(theirs, {"op": "version", "version": index, "value": -index})
    page = next(iter(Path(f"{mine.base}/pages").iterdir()))
    other = next(iter(Path(f"{theirs.base}/pages").iterdir()))
    assert page.name != other.name, "a page's name says which content it must have"
    page.write_bytes(other.read_bytes())
    assert contents(mine.read().records) == {index: index for index in range(200)}


def test_pages_that_another_writer_removed_are_replayed(tmp_path: Path) -> None:
    chain = make_chain(tmp_path)
    add_versions(chain, 400)
    stale = chain.read()
    for page in Path(f"{chain.base}/pages").iterdir():
        page.unlink()
    assert contents(stale.records) == {index: index for index in range(400)}


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["add", "change", "settle", "reopen"]), st.integers(0, 400)), max_size=60))
def test_any_order_of_changes_gives_the_same_as_a_dictionary(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, int]]
) -> None:
    directory = tmp_path_factory.mktemp("pages")
    records = Records(str(directory), str(directory), no_replay)
    truth: dict[int, int] = {}
    for step, number in steps:
        if step == "add":
            for index in range(len(truth), len(truth) + number):
                truth[index] = index
                records.put(index, {"value": index})
        elif step == "change" and truth:
            index = number % len(truth)
            truth[index] = -number
            records.put(index, {"value": -number})
        elif step == "settle":
            records.remove_pages(records.settle())
        elif step == "reopen":
            records.remove_pages(records.settle())
            records = reopened(records, directory)
        assert records.get(len(truth)) is None
    assert contents(records) == truth
