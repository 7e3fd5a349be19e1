"""Typed objects that need no library: tables, JSON values, HTML and files; and what all codecs share."""

from __future__ import annotations

import datetime as dt
import json
import math
import os
import pickle
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regcli.api import jsonvalues
from regcli.api.codecs import NoCodecError, UnreadableObjectError, can_encode, decode, encode
from regcli.api.media import Audio, Html, Image, Table, Video
from regcli.errors import MissingLibraryError, RegcliError, UsageError

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Temporary files go here, so that a test sees which are left."""
    directory = tmp_path / "temporary"
    directory.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(directory))
    return directory


def there_and_back(obj: Any, name: str = "x") -> Any:
    _, path, info = encode(obj, name)
    # As the manifest keeps it.
    return decode(json.loads(json.dumps(info)), path)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.dates() | st.datetimes(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(VALUES)
def test_json_values_come_back_as_they_were(value: Any) -> None:
    data = jsonvalues.dump(jsonvalues.to_plain(value))
    again = jsonvalues.from_plain(jsonvalues.load(data))
    assert again == value
    assert type(again) is type(value)
    # Any other reader takes it too.
    json.loads(data, parse_constant=pytest.fail)


@pytest.mark.parametrize(
    "value",
    [{"$float": "NaN"}, {"$dict": {}}, {"$x": [1]}, {"$datetime": "x", "b": 1}, [], {}, "", -0.0, math.inf, "\ud800", "동물원"],
)
def test_what_looks_like_a_mark_is_kept_too(value: Any) -> None:
    assert there_and_back(value) == value


def test_nan_comes_back() -> None:
    assert math.isnan(there_and_back({"loss": math.nan})["loss"])


def test_tuples_become_lists() -> None:
    assert there_and_back((1, (2, "x"))) == [1, [2, "x"]]


def test_the_same_value_gives_the_same_bytes() -> None:
    contents = []
    for _ in range(2):
        _, path, _ = encode({"b": [1, 2.5], "a": "동물원"}, "x")
        with open(path, "rb") as file:
            contents.append(file.read())
    assert contents[0] == contents[1] == '{"b": [1, 2.5], "a": "동물원"}'.encode()


@pytest.mark.parametrize(
    ("obj", "name", "path"),
    [
        ([1], "numbers", "numbers.json"),
        ([1], "numbers.json", "numbers.json"),
        ([1], "dir/numbers.JSON", "dir/numbers.JSON"),
        (Table(["a"], [[1]]), "t", "t.table.json"),
        (Table(["a"], [[1]]), "t.table.json", "t.table.json"),
        (Html("<p>"), "page", "page.html"),
    ],
)
def test_the_path_gets_the_ending_of_the_format(obj: Any, name: str, path: str) -> None:
    assert encode(obj, name)[0] == path


# Tables


def test_a_table_comes_back_with_its_types() -> None:
    rows = [[1, "x", None], [2.5, "", [1, {"k": True}]], [math.inf, "동물원", dt.datetime(2026, 11, 30, 8, 15, tzinfo=dt.UTC)]]
    table = Table(columns=["a", "b c", "d"], data=rows)
    again = there_and_back(table)
    assert again == table
    assert type(again.data[0][0]) is int
    assert type(again.data[1][0]) is float


def test_a_table_is_stored_in_the_form_of_the_original() -> None:
    _, path, info = encode(Table(["a", "b"], [[1, 2]]), "t")
    with open(path, encoding="utf-8") as file:
        assert json.load(file) == {"_type": "table", "columns": ["a", "b"], "data": [[1, 2]], "ncols": 2, "nrows": 1}
    assert info == {"kind": "table", "format": "json", "rows": 1, "columns": 2}


def test_tables_are_built_by_rows_and_columns() -> None:
    table = Table(columns=["a", "b"])
    table.add_data(1, 2)
    table.add_data(3, 4)
    table.add_column("c", ["x", "y"])
    assert table.data == [[1, 2, "x"], [3, 4, "y"]]
    assert table.get_column("b") == [2, 4]
    assert list(table.iterrows()) == [(0, [1, 2, "x"]), (1, [3, 4, "y"])]
    assert len(table) == 2
    fresh = Table()
    fresh.add_column("only", [1, 2])
    assert fresh == Table(["only"], [[1], [2]])
    assert Table(data=[[1, 2]]).columns == ["0", "1"]
    assert Table(columns=["a"], rows=[[1]]).data == [[1]]


def test_a_table_shares_nothing_with_the_rows_it_was_given() -> None:
    row = [1]
    table = Table(["a"], [row])
    row[0] = 2
    assert table.data == [[1]]


@pytest.mark.parametrize("make", [lambda: Table(["a"], [[1, 2]]), lambda: Table(["a"]).add_data(1, 2)])
def test_a_row_of_another_length_is_refused(make: Any) -> None:
    with pytest.raises(ValueError, match="2 values for 1 columns"):
        make()


def test_a_column_that_does_not_fit_is_refused() -> None:
    table = Table(["a"], [[1]])
    with pytest.raises(ValueError, match="already"):
        table.add_column("a", [1])
    with pytest.raises(ValueError, match="2 values for 1 rows"):
        table.add_column("b", [1, 2])
    assert table == Table(["a"], [[1]])
    with pytest.raises(KeyError):
        table.get_column("b")


# Files


def test_html_is_a_text_a_path_or_an_open_file(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text("<h1>동물원</h1>", encoding="utf-8")
    with page.open(encoding="utf-8") as file:
        for given_as in (page, str(page), file, "<h1>동물원</h1>"):
            assert there_and_back(Html(given_as)) == Html("<h1>동물원</h1>")
    assert Html(str(page), data_is_not_path=True).html == str(page)
    with pytest.raises(TypeError):
        Html(5)


@pytest.mark.parametrize("kind", [Audio, Video, Image])
def test_a_file_keeps_its_bytes_and_its_ending(kind: Any, tmp_path: Path) -> None:
    source = tmp_path / "take 1.WAV"
    source.write_bytes(b"RIFF\0\1")
    path, local, info = encode(kind(str(source), caption="한 번"), "clip")
    assert path == "clip.WAV"
    assert info["format"] == "wav"
    assert local != str(source)
    again = decode(info, local)
    assert type(again) is kind
    assert (again.read_bytes(), again.caption) == (b"RIFF\0\1", "한 번")


def test_what_is_known_of_a_file_comes_back(tmp_path: Path) -> None:
    source = tmp_path / "plain"
    source.write_bytes(b"x")
    assert there_and_back(Audio(source, sample_rate=16000)).sample_rate == 16000
    assert there_and_back(Video(source, fps=24)).fps == 24
    assert encode(Video(source), "v")[0] == "v.bin"
    assert source.read_bytes() == b"x"


@pytest.mark.parametrize("kind", [Audio, Video, Image])
def test_a_file_that_is_not_there_is_said_at_once(kind: Any, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"nope\.wav"):
        kind(str(tmp_path / "nope.wav"))


@pytest.mark.parametrize("kind", [Audio, Video])
def test_samples_are_no_file(kind: Any) -> None:
    with pytest.raises(TypeError, match="takes a path"):
        kind([0.5])


# What has no codec


class Stranger:
    pass


CYCLE: list[Any] = []
CYCLE.append(CYCLE)


@pytest.mark.parametrize(
    "obj",
    [
        Stranger(), Stranger, {1, 2}, b"bytes", 1j, {1: "x"}, {"a": Stranger()}, [b"x"], CYCLE, lambda: 1,
        Table(["a"], [[Stranger()]]),
    ],
)  # fmt: skip
def test_what_cannot_be_kept_is_a_type_error_that_lists_what_works(obj: Any, temporary: Path) -> None:
    with pytest.raises(TypeError, match=r"what works: .*(pandas|NumPy)") as caught:
        encode(obj, "x")
    assert isinstance(caught.value, NoCodecError)
    assert list(temporary.iterdir()) == []


def test_it_can_be_asked_before() -> None:
    assert can_encode({"a": 1})
    assert can_encode(None)
    assert not can_encode(Stranger())
    assert not can_encode({1, 2})


# What a manifest may say


@pytest.mark.parametrize("info", [{}, {"kind": None}, {"kind": "nope"}, {"kind": ["json"]}, {"kind": "__class__"}])
def test_an_unknown_kind_is_said(info: Any) -> None:
    with pytest.raises(UsageError, match="unknown to this version"):
        decode(info, "/tmp/x")


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        ("json", b"{"), ("json", b"\xff"), ("json", b"NaN"), ("json", b'{"$float": "x"}'), ("json", b'{"$import": "os"}'),
        ("table", b"[]"), ("table", b'{"_type": "table"}'),
        ("table", b'{"_type": "table", "columns": ["a"], "data": [[1, 2]]}'),
        ("html", b"\xff"), ("figure", b"{}"),
    ],
)  # fmt: skip
def test_a_file_that_is_something_else_is_said(kind: str, data: bytes, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(data)
    with pytest.raises(UnreadableObjectError) as caught:
        decode({"kind": kind, "format": "json"}, str(tmp_path / "x"))
    assert caught.value.exit_code == 6
    assert str(tmp_path / "x") in caught.value.message


@pytest.mark.parametrize(
    ("info", "library", "package"),
    [
        ({"kind": "numpy"}, "numpy", "numpy"),
        ({"kind": "pandas", "format": "parquet"}, "pandas", "pandas"),
        ({"kind": "polars"}, "polars", "polars"),
        ({"kind": "image", "as": "pil"}, "PIL", "pillow"),
        ({"kind": "figure", "library": "plotly"}, "plotly", "plotly"),
        ({"kind": "figure", "library": "bokeh"}, "bokeh", "bokeh"),
    ],
)
def test_without_the_library_the_message_says_what_to_install(
    info: dict[str, Any], library: str, package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in list(sys.modules):
        if name.partition(".")[0] == library:
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, library, None)
    (tmp_path / "x").write_bytes(b"{}")
    with pytest.raises(MissingLibraryError, match=f"needs {package}, which is not installed") as caught:
        decode(info, str(tmp_path / "x"))
    assert f"pip install {package}" in str(caught.value.hint)
    assert str(tmp_path / "x") in str(caught.value.hint)


@pytest.mark.parametrize("kind", ["json", "table", "html", "numpy", "pandas", "polars", "image", "figure"])
@pytest.mark.parametrize("library", ["plotly", "bokeh", "matplotlib", None])
def test_a_pickle_is_never_loaded(kind: str, library: str | None, tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> Any:
            return os.mkdir, (str(tmp_path / "sprung"),)

    (tmp_path / "x").write_bytes(pickle.dumps(Trap()))
    info = {"kind": kind, "format": "csv", "library": library, "as": "pil", "dtypes": ["object"], "missing": ""}
    if not (kind == "figure" and library == "matplotlib"):
        with pytest.raises(RegcliError):
            decode(info, str(tmp_path / "x"))
    else:
        decode(info, str(tmp_path / "x"))
    assert not (tmp_path / "sprung").exists()


def test_no_library_is_loaded_to_find_out_that_none_is_needed() -> None:
    code = (
        "import sys; from regcli.api import codecs; codecs.encode({'a': [1]}, 'x');"
        "print([name for name in ('numpy', 'pandas', 'polars', 'PIL', 'matplotlib', 'plotly', 'bokeh', 'pyarrow', 'pickle')"
        " if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
