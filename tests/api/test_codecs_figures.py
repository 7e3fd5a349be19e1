"""Figures: of matplotlib as PNG, of plotly and bokeh as their own JSON."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import matplotlib.figure
import plotly.graph_objects
import pytest
from bokeh.document import Document
from bokeh.plotting import figure

from regcli.api import codecs
from regcli.api.media import Image
from regcli.errors import IntegrityError

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Temporary files go here, so that a test sees which are left."""
    directory = tmp_path / "temporary"
    directory.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(directory))
    return directory


def there_and_back(obj: Any) -> tuple[str, Any]:
    path, local, info = codecs.encode(obj, "x")
    return path, codecs.decode(json.loads(json.dumps(info)), local)


def test_a_figure_of_matplotlib_becomes_a_picture() -> None:
    drawing = matplotlib.figure.Figure(figsize=(2, 1), dpi=50)
    drawing.subplots().plot([1, 2])
    path, picture = there_and_back(drawing)
    assert path == "x.png"
    assert type(picture) is Image
    assert (picture.width, picture.height) == (100, 50)
    assert Image(drawing).image.size == (100, 50)


def test_a_figure_of_plotly_comes_back() -> None:
    drawing = plotly.graph_objects.Figure(plotly.graph_objects.Scatter(y=[1, 2.5, None], name="동물원"))
    path, again = there_and_back(drawing)
    assert path == "x.plotly.json"
    assert again == drawing


def test_a_figure_of_bokeh_comes_back() -> None:
    drawing = figure(title="동물원", width=200)
    drawing.line([1, 2], [3, 4])
    path, again = there_and_back(drawing)
    assert path == "x.bokeh.json"
    assert (again.title.text, again.width) == ("동물원", 200)
    assert again.renderers[0].data_source.data == {"x": [1, 2], "y": [3, 4]}
    # Both belong to nobody, and can be shown.
    assert (drawing.document, again.document) == (None, None)
    Document().add_root(again)


def test_a_figure_that_is_part_of_a_document_stays_there() -> None:
    document = Document()
    drawing = figure(width=300)
    document.add_root(figure())
    document.add_root(drawing)
    _, again = there_and_back(drawing)
    assert again.width == 300
    assert drawing.document is document


@pytest.mark.parametrize("library", ["plotly", "bokeh"])
@pytest.mark.parametrize("data", [b"", b"[]", b'{"data": 5}', b"\xff"])
def test_a_file_that_is_no_figure_is_said(library: str, data: bytes, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(data)
    with pytest.raises(IntegrityError, match="cannot be read as figure"):
        codecs.decode({"kind": "figure", "library": library}, str(tmp_path / "x"))
