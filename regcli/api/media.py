"""Objects that `Artifact.add` takes and `Artifact.get` gives back: tables, and media that are files.

The names and the first arguments are the original's, so that its scripts run; an object here is plain data or a file, without
a server's view of it.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    StrPath = str | os.PathLike[str]


class Table:
    """Rows under named columns.

    Cells are what JSON can say (None, bool, int, float with NaN and infinities, str, lists, dicts with str keys), dates and
    times; NumPy's numbers and arrays become plain ones when the table is stored.

    Attributes:
        columns: names, in order.
        data: rows, each a list as long as `columns`.
    """

    def __init__(
        self,
        columns: Sequence[Any] | None = None,
        data: Sequence[Sequence[Any]] | None = None,
        rows: Sequence[Sequence[Any]] | None = None,
        dataframe: Any = None,
    ) -> None:
        """Make a table.

        Args:
            columns: names; by default those of the data frame, or `0`, `1`, … as wide as the first row.
            data: rows.
            rows: another name for `data`.
            dataframe: a pandas data frame, whose index is left out.

        Raises:
            ValueError: a row is not as long as there are columns.
        """
        if dataframe is not None:
            columns = [str(column) for column in dataframe.columns] if columns is None else columns
            data = [list(row) for row in dataframe.itertuples(index=False, name=None)]
        given = data if data is not None else rows if rows is not None else ()
        self.data: list[list[Any]] = [list(row) for row in given]
        if columns is None:
            columns = [str(number) for number in range(len(self.data[0]))] if self.data else []
        self.columns: list[str] = [str(column) for column in columns]
        for number, row in enumerate(self.data):
            self._check(row, f"row {number}")

    def _check(self, row: Sequence[Any], what: str) -> None:
        if len(row) != len(self.columns):
            raise ValueError(f"{what} has {len(row)} values for {len(self.columns)} columns")

    def add_data(self, *data: Any) -> None:
        """Add one row.

        Raises:
            ValueError: it is not as long as there are columns.
        """
        self._check(data, "the row")
        self.data.append(list(data))

    def add_column(self, name: str, data: Sequence[Any]) -> None:
        """Add a column.

        Args:
            name: of the column, which must be new.
            data: as many values as there are rows; the first column of an empty table makes the rows.

        Raises:
            ValueError: the name is taken, or the number of values is wrong.
        """
        if name in self.columns:
            raise ValueError(f"there is a column {name!r} already")
        values = list(data)
        if not self.columns and not self.data:
            self.data = [[] for _ in values]
        if len(values) != len(self.data):
            raise ValueError(f"column {name!r} has {len(values)} values for {len(self.data)} rows")
        self.columns.append(name)
        for row, value in zip(self.data, values, strict=True):
            row.append(value)

    def get_column(self, name: str, convert_to: str | None = None) -> Any:
        """Return a column's values as a list, or as a NumPy array with `convert_to="numpy"`.

        Raises:
            KeyError: there is no such column. ValueError: `convert_to` is something else.
        """
        if name not in self.columns:
            raise KeyError(name)
        place = self.columns.index(name)
        values = [row[place] for row in self.data]
        if convert_to is None:
            return values
        if convert_to != "numpy":
            raise ValueError(f"convert_to={convert_to!r} is unknown; use 'numpy'")
        import numpy as np

        return np.array(values)

    def get_dataframe(self) -> Any:
        """Return a pandas data frame; pandas must be installed."""
        import pandas as pd

        return pd.DataFrame.from_records(self.data, columns=self.columns)

    def iterrows(self) -> Iterator[tuple[int, list[Any]]]:
        """Yield (number, row)."""
        yield from enumerate(self.data)

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.data)

    def __eq__(self, other: object) -> bool:
        """Tell whether columns and rows are equal; NaN is not equal to itself, as ever."""
        return isinstance(other, Table) and self.columns == other.columns and self.data == other.data

    __hash__ = None  # type: ignore[assignment] # it changes

    def __repr__(self) -> str:
        """Return columns and size."""
        return f"Table(columns={self.columns!r}, rows={len(self.data)})"


class Media:
    """A file of some kind.

    Attributes:
        path: of the file: as given, or where `get` wrote it.
        caption: a text to show with it, or None.
    """

    def __init__(self, path: StrPath, caption: str | None = None) -> None:
        """Name a file.

        Raises:
            FileNotFoundError: there is none.
        """
        text = os.fspath(path)
        if not os.path.isfile(text):
            raise FileNotFoundError(f"{type(self).__name__}: there is no file {text!r}")
        self.path: str = text
        self.caption = caption

    def read_bytes(self) -> bytes:
        """Return the file's bytes."""
        with open(self.path, "rb") as file:
            return file.read()

    def __repr__(self) -> str:
        """Return class and path."""
        return f"{type(self).__name__}({self.path!r})"


class Image(Media):
    """An image: a file of any format, a PIL image, an array or a matplotlib figure.

    Attributes:
        path: of the file; "" for an image that is no file yet.
        caption: a text, or None.
    """

    def __init__(self, data_or_path: Any, mode: str | None = None, caption: str | None = None) -> None:
        """Make an image.

        Args:
            data_or_path: a path; a PIL image; a matplotlib figure; an array of shape (height, width), (height, width, 1),
                (height, width, 3) or (height, width, 4), of uint8 0 to 255, of bool, or of floats 0 to 1.
            mode: PIL's mode to convert to, such as `RGB` or `L`.
            caption: a text to show with it.

        Raises:
            FileNotFoundError: there is no such file. ValueError: an array has another shape or range.
        """
        self._image: Any = None
        self._mode = mode
        if isinstance(data_or_path, (str, os.PathLike)):
            super().__init__(data_or_path, caption)
            return
        from regcli.api import pictures

        self.path = ""
        self.caption = caption
        self._image = pictures.to_pil(data_or_path, mode)

    @property
    def image(self) -> Any:
        """The image as PIL's; Pillow must be installed."""
        if self._image is None:
            from regcli.api import pictures

            self._image = pictures.open_image(self.path)
            if self._mode is not None and self._image.mode != self._mode:
                self._image = self._image.convert(self._mode)
        return self._image

    @property
    def width(self) -> int:
        """Pixels from left to right."""
        width: int = self.image.width
        return width

    @property
    def height(self) -> int:
        """Pixels from top to bottom."""
        height: int = self.image.height
        return height

    def __repr__(self) -> str:
        """Return path or size."""
        return f"Image({self.path!r})" if self.path else f"Image({self.width}x{self.height})"


class Html:
    """A page of HTML.

    Attributes:
        html: the text.
    """

    def __init__(self, data: Any, inject: bool = False, data_is_not_path: bool = False) -> None:
        """Make a page.

        Args:
            data: the text, an open file, or a path to a file.
            inject: accepted for the original's scripts; nothing is added to the page.
            data_is_not_path: take a text as the page even where a file has that name.

        Raises:
            TypeError: it is nothing of the kind.
        """
        del inject
        if hasattr(data, "read"):
            data = data.read()
        elif isinstance(data, os.PathLike) or (isinstance(data, str) and not data_is_not_path and _is_file(data)):
            with open(data, encoding="utf-8") as file:
                data = file.read()
        if not isinstance(data, str):
            raise TypeError("Html takes a text, a path or an open text file")
        self.html: str = data

    def __eq__(self, other: object) -> bool:
        """Tell whether the text is equal."""
        return isinstance(other, Html) and self.html == other.html

    def __hash__(self) -> int:
        """Return a hash of the text."""
        return hash(self.html)

    def __repr__(self) -> str:
        """Return the size."""
        return f"Html({len(self.html)} characters)"


class Audio(Media):
    """A sound, given as a file.

    Attributes:
        sample_rate: samples per second, as given, or None.
    """

    def __init__(self, data_or_path: StrPath, sample_rate: int | None = None, caption: str | None = None) -> None:
        """Name a file of any format.

        Raises:
            TypeError: it is no path. FileNotFoundError: there is no such file.
        """
        _need_path(data_or_path, "Audio")
        super().__init__(data_or_path, caption)
        self.sample_rate = sample_rate


class Video(Media):
    """A film, given as a file.

    Attributes:
        fps: pictures per second, as given, or None.
    """

    def __init__(self, data_or_path: StrPath, caption: str | None = None, fps: int | None = None) -> None:
        """Name a file of any format.

        Raises:
            TypeError: it is no path. FileNotFoundError: there is no such file.
        """
        _need_path(data_or_path, "Video")
        super().__init__(data_or_path, caption)
        self.fps = fps


def _need_path(value: object, what: str) -> None:
    if not isinstance(value, (str, os.PathLike)):
        raise TypeError(f"{what} takes a path; write the samples to a file first")


def _is_file(text: str) -> bool:
    # A page is no path: too long, or with characters that no path has.
    return len(text) < 4096 and "<" not in text and "\0" not in text and os.path.isfile(text)
