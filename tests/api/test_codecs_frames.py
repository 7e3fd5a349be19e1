"""Data frames of pandas (Parquet, or CSV without pyarrow) and of polars (Parquet)."""

from __future__ import annotations

import json
import math
import sys
from typing import TYPE_CHECKING, Any

import pandas as pd
import polars as pl
import polars.testing
import pytest

from regcli.api import codecs
from regcli.api.media import Table
from regcli.errors import IntegrityError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Temporary files go here, so that a test sees which are left."""
    directory = tmp_path / "temporary"
    directory.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(directory))
    return directory


@pytest.fixture(params=["parquet", "csv"])
def frame_format(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The format: `csv` hides pyarrow while a frame is written."""
    chosen: str = request.param
    if chosen == "csv":
        monkeypatch.setitem(sys.modules, "pyarrow", None)
    return chosen


def there_and_back(obj: Any, name: str = "x") -> Any:
    _, path, info = codecs.encode(obj, name)
    return codecs.decode(json.loads(json.dumps(info)), path)


FRAMES: dict[str, Callable[[], pd.DataFrame]] = {
    "numbers": lambda: pd.DataFrame(
        {"i": [1, -2], "f": [0.1, math.nan], "g": [1e300, 5e-324], "u": pd.array([1, 255], "uint8")}
    ),
    "texts": lambda: pd.DataFrame({"t": ["a", None, 'q"u,o\nte', "동물원"], "v": ["1", "2", "3", "04"]}),
    "empty-texts": lambda: pd.DataFrame({"t": ["", None, "NA", "NULL"]}),
    "bools": lambda: pd.DataFrame({"b": [True, False]}),
    "nullable": lambda: pd.DataFrame({"i": pd.array([1, None], "Int64"), "b": pd.array([True, None], "boolean")}),
    "times": lambda: pd.DataFrame({"t": pd.to_datetime(["2026-11-30 08:15:00.123456", None])}),
    "zones": lambda: pd.DataFrame({"t": pd.to_datetime(["2026-11-30 08:15", "2026-06-30 00:00"]).tz_localize("UTC")}),
    "categories": lambda: pd.DataFrame({"c": pd.Categorical(["x", "y", "x"])}),
    "index": lambda: pd.DataFrame({"a": [1, 2]}, index=["r", "s"]),
    "named-index": lambda: pd.DataFrame({"a": [1, 2]}, index=pd.Index([5, 6], name="key")),
    "many-index": lambda: pd.DataFrame({"a": [1, 2]}, index=pd.MultiIndex.from_tuples([("x", 1), ("y", 2)], names=["l", None])),
    "no-rows": lambda: pd.DataFrame({"a": pd.array([], "int64"), "b": pd.array([], "float64")}),
}


@pytest.mark.parametrize("name", FRAMES)
def test_a_pandas_frame_comes_back_with_its_types(name: str, frame_format: str) -> None:
    frame = FRAMES[name]()
    path, local, info = codecs.encode(frame, "x")
    assert path == f"x.{frame_format}"
    assert info["format"] == frame_format
    again = codecs.decode(json.loads(json.dumps(info)), local)
    pd.testing.assert_frame_equal(again, frame, check_exact=True)


def test_csv_is_a_file_that_anybody_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    _, local, _ = codecs.encode(pd.DataFrame({"a": [1, 2], "b": ["x", None]}), "t")
    with open(local, encoding="utf-8") as file:
        assert file.read() == "a,b\n1,x\n2,\n"


@pytest.mark.parametrize(
    "frame",
    [
        pd.DataFrame({"a": pd.to_timedelta(["1s"])}),
        pd.DataFrame({"a": pd.Categorical(["x"], categories=["z", "x"], ordered=True)}),
        pd.DataFrame({"a": [[1, 2]]}),
        pd.DataFrame([[1, 2]], columns=["a", "a"]),
        pd.DataFrame({0: [1]}),
    ],
    ids=["timedelta", "ordered", "lists", "duplicate", "numbered"],
)
def test_what_csv_would_change_is_refused(frame: pd.DataFrame, monkeypatch: pytest.MonkeyPatch, temporary: Path) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(TypeError) as caught:
        codecs.encode(frame, "x")
    assert "install pyarrow" in str(caught.value.hint)  # type: ignore[attr-defined, unused-ignore]
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize(
    "frame", [pd.DataFrame([[1, 2]], columns=["a", "a"]), pd.DataFrame({"a": [1, "x"]}), pd.DataFrame({"a": [object()]})]
)
def test_what_parquet_cannot_say_is_refused(frame: pd.DataFrame, temporary: Path) -> None:
    with pytest.raises(TypeError, match="cannot be kept as Parquet"):
        codecs.encode(frame, "x")
    assert list(temporary.iterdir()) == []


def test_a_series_is_no_frame() -> None:
    with pytest.raises(TypeError, match="Series cannot be added"):
        codecs.encode(pd.Series([1]), "x")


def test_what_a_manifest_says_of_csv_is_checked(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("a\n1\n")
    for dtypes in (["timedelta64[ns]"], ["int64", "int64"], [], 5, [None]):
        info = {"kind": "pandas", "format": "csv", "dtypes": dtypes, "missing": ""}
        with pytest.raises(IntegrityError):
            codecs.decode(info, str(tmp_path / "x.csv"))


def test_a_table_and_a_frame_become_each_other() -> None:
    frame = pd.DataFrame({"a": [1, 2], "b": ["x", "y"]})
    table = Table(dataframe=frame)
    assert table.columns == ["a", "b"]
    assert table.data == [[1, "x"], [2, "y"]]
    pd.testing.assert_frame_equal(there_and_back(table).get_dataframe(), frame)


def test_a_polars_frame_comes_back_with_its_types() -> None:
    frame = pl.DataFrame(
        {
            "i": [1, None],
            "t": ["x", "동물원"],
            "l": [[1, 2], []],
            "d": [None, 1.5],
            "c": pl.Series(["u", "v"], dtype=pl.Categorical),
            "s": [{"a": 1}, {"a": 2}],
        }
    )
    path, local, info = codecs.encode(frame, "x")
    assert (path, info["rows"], info["columns"]) == ("x.parquet", 2, 6)
    polars.testing.assert_frame_equal(codecs.decode(info, local), frame)


@pytest.mark.parametrize("frame", [pl.LazyFrame({"a": [1]}), pl.DataFrame({"a": pl.Series([object()], dtype=pl.Object)})])
def test_what_polars_cannot_write_is_refused(frame: Any, temporary: Path) -> None:
    with pytest.raises(TypeError):
        codecs.encode(frame, "x")
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize("kind", ["pandas", "polars"])
def test_a_file_that_is_no_frame_is_said(kind: str, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"PAR1nonsensePAR1")
    with pytest.raises(IntegrityError, match=f"cannot be read as {kind}"):
        codecs.decode({"kind": kind, "format": "parquet"}, str(tmp_path / "x"))
