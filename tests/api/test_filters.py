"""Filters in the form of MongoDB's: every operator, on values, lists, nested values and what is missing."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from regcli.api.filters import VERSION_FIELDS, compile_filter, parse_order, sort_rows

RECORD = {
    "version": "v3",
    "tags": ["red", "good one"],
    "aliases": ["latest", "best"],
    "metadata": {"acc": 0.9, "n": 5, "deep": {"k": "v", "list": [1, 2]}, "flag": True, "none": None},
    "created_at": "2026-03-04T05:06:07.123456Z",
    "size": 100,
    "linked_at": None,
}


@pytest.mark.parametrize(
    "condition",
    [
        {},
        {"version": "v3"},
        {"version": {"$eq": "v3"}},
        {"version": {"$ne": "v4"}},
        {"size": {"$gt": 99, "$lt": 101}},
        {"size": {"$gte": 100, "$lte": 100.0}},
        {"tag": "red"},
        {"tag": ["red", "good one"]},
        {"tag": {"$in": ["blue", "red"]}},
        {"tag": {"$nin": ["blue"]}},
        {"tag": {"$all": ["red", "good one"]}},
        {"tag": {"$size": 2}},
        {"tag": {"$ne": "blue"}},
        {"tag": {"$regex": "^good"}},
        {"tag": {"$contains": "red"}},
        {"tag": {"$not": {"$eq": "blue"}}},
        {"version": {"$contains": "3"}},
        {"alias": {"$exists": True}},
        {"linked_at": {"$exists": False}},
        {"metadata.acc": {"$gt": 0.5}},
        {"metadata.deep.k": "v"},
        {"metadata.deep.list": 2},
        {"metadata.missing": {"$exists": False}},
        {"metadata.missing": None},
        {"metadata.none": None},
        {"metadata": {"$contains": "acc"}},
        {"metadata.flag": True},
        {"$and": [{"version": "v3"}, {"size": 100}]},
        {"$or": [{"version": "v4"}, {"size": 100}]},
        {"$nor": [{"version": "v4"}, {"size": 101}]},
        {"$not": {"version": "v4"}},
        {"created_at": {"$gte": "2026-03-04", "$lt": "2026-03-05"}},
        {"created_at": {"$gt": "2026-03-04 05:06:07", "$lt": "2026-03-04 05:06:08"}},
        {"created_at": {"$lt": datetime(2026, 3, 5, tzinfo=UTC)}},
        {"createdAt": "2026-03-04T05:06:07.123456Z"},
    ],
    ids=str,
)
def test_conditions_that_hold(condition: dict[str, Any]) -> None:
    assert compile_filter(condition, VERSION_FIELDS, "versions")(RECORD)
    assert not compile_filter({"$not": condition}, VERSION_FIELDS, "versions")(RECORD)


@pytest.mark.parametrize(
    "condition",
    [
        {"version": "v4"},
        {"version": "v3", "size": 1},
        {"size": {"$gt": "99"}},
        {"metadata.n": True},
        {"metadata.flag": 1},
        {"tag": "good"},
        {"tag": {"$all": ["red", "blue"]}},
        {"tag": {"$ne": "red"}},
        {"tag": {"$nin": ["red"]}},
        {"metadata.missing": {"$gt": 0}},
        {"metadata.acc.deeper": 1},
        {"linked_at": {"$gt": "2020-01-01"}},
    ],
    ids=str,
)
def test_conditions_that_do_not_hold(condition: dict[str, Any]) -> None:
    assert not compile_filter(condition, VERSION_FIELDS, "versions")(RECORD)


def test_no_filter_is_everything() -> None:
    assert compile_filter(None, VERSION_FIELDS, "versions")({})


def test_orders() -> None:
    keys = {"name": "name", "createdAt": "created_at"}
    assert parse_order(None, keys, "x") is None
    assert parse_order("name", keys, "x") == parse_order("+name", keys, "x") == ("name", False)
    assert parse_order("-createdAt", keys, "x") == ("created_at", True)
    rows: list[tuple[dict[str, Any], int]] = [({"name": "b"}, 1), ({"name": None}, 2), ({"name": "a"}, 3)]
    assert [thing for _, thing in sort_rows(rows, ("name", False))] == [3, 1, 2]
    assert [thing for _, thing in sort_rows(rows, ("name", True))] == [1, 3, 2]
