"""Arrays and data frames: NumPy as NPY, polars as Parquet, pandas as Parquet where pyarrow is there, else as CSV."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from regcli.api.codecs import Info, NoCodecError, is_of, type_name
from regcli.errors import UsageError

if TYPE_CHECKING:
    from regcli.api.codecs import Codec

# The types of columns that CSV can bring back; what a manifest says of a type is believed no further.
_CSV_TYPES = (
    "int",
    "uint",
    "float",
    "bool",
    "object",
    "str",
    "string",
    "datetime64[",
    "category",
    "Int",
    "UInt",
    "Float",
    "boolean",
)
# Before this, reading Parquet could run code of whoever wrote it (CVE-2023-47248).
_SAFE_PYARROW = (14, 0, 1)
_INDEX = "__index_{}__"


# NumPy


def write_numpy(obj: Any, path: str) -> Info:
    """Write an array, or one of NumPy's numbers, as NPY."""
    import numpy as np

    if isinstance(obj, np.ma.MaskedArray):
        raise NoCodecError(
            "a masked array cannot be kept as NPY", hint="add its data and its mask, as in {'data': a.filled(), 'mask': a.mask}"
        )
    array = np.asarray(obj)
    if array.dtype.hasobject:
        raise NoCodecError("an array of Python objects cannot be kept as NPY", hint="convert it, as in a.astype(float)")
    with open(path, "wb") as file:
        np.save(file, array, allow_pickle=False)
    info: Info = {"format": "npy", "dtype": str(array.dtype), "shape": list(array.shape)}
    if isinstance(obj, np.generic):
        info["scalar"] = True
    return info


def read_numpy(info: Info, path: str) -> Any:
    """Read an array; objects are refused."""
    import numpy as np

    array = np.load(path, allow_pickle=False)
    return array[()] if info.get("scalar") is True else array


# polars


def write_polars(obj: Any, path: str) -> Info:
    """Write a data frame as Parquet."""
    try:
        obj.write_parquet(path)
    except Exception as error:
        raise NoCodecError(f"the polars data frame cannot be kept as Parquet: {_words(error)}") from error
    return {"format": "parquet", "rows": obj.height, "columns": obj.width}


def read_polars(_: Info, path: str) -> Any:
    """Read a data frame."""
    import polars as pl

    return pl.read_parquet(path, use_pyarrow=False)


def refuse_lazy(obj: Any, path: str) -> Info:
    """Refuse a plan of a data frame, which has no rows yet."""
    del path
    raise NoCodecError(f"a {type_name(obj)} has no rows yet", hint="add obj.collect()")


# pandas


def write_pandas(obj: Any, path: str) -> Info:
    """Write a data frame as Parquet where pyarrow is installed, else as CSV."""
    try:
        import pyarrow as pa  # noqa: F401 - only whether it is there
    except ImportError:
        return _write_csv(obj, path)
    try:
        obj.to_parquet(path, engine="pyarrow")
    except Exception as error:
        raise NoCodecError(
            f"the pandas data frame cannot be kept as Parquet: {_words(error)}",
            hint="columns need one type each, and names that are texts and differ",
        ) from error
    return {"format": "parquet", "ending": ".parquet", "rows": len(obj), "columns": len(obj.columns)}


def read_pandas(info: Info, path: str) -> Any:
    """Read a data frame."""
    import pandas as pd

    if info.get("format") == "csv":
        return _read_csv(info, path)
    import pyarrow as pa

    if tuple(int(part) for part in pa.__version__.split(".")[:3] if part.isdigit()) < _SAFE_PYARROW:
        raise UsageError("pyarrow is too old to read Parquet safely", hint="upgrade it: `pip install -U pyarrow`")
    return pd.read_parquet(path, engine="pyarrow")


def _write_csv(obj: Any, path: str) -> Info:
    import pandas as pd

    frame = obj
    index: list[str | None] | None = None
    if not (isinstance(obj.index, pd.RangeIndex) and (obj.index.start, obj.index.step, obj.index.name) == (0, 1, None)):
        index = list(obj.index.names)
        names = [_INDEX.format(number) for number in range(len(index))]
        columns = obj.index.to_frame(index=False, name=names if len(names) > 1 else names[0])
        frame = pd.concat([columns, obj.reset_index(drop=True)], axis=1)
    missing = _word_for_missing(frame)
    frame.to_csv(path, index=False, na_rep=missing, lineterminator="\n")
    info: Info = {
        "format": "csv", "ending": ".csv", "dtypes": [str(dtype) for dtype in frame.dtypes], "missing": missing,
        "rows": len(obj), "columns": len(obj.columns),
    }  # fmt: skip
    if index is not None:
        info["index"] = index
    try:
        pd.testing.assert_frame_equal(_read_csv(info, path), obj, check_exact=True)
    except Exception as error:
        raise NoCodecError(
            "the pandas data frame cannot be kept exactly as CSV", hint="install pyarrow to keep it as Parquet"
        ) from error
    return info


def _word_for_missing(frame: Any) -> str:
    """Return what stands for a missing value in CSV: nothing, or a word that no cell has."""
    columns = (frame.iloc[:, position] for position in range(frame.shape[1]))
    used = {value for column in columns if column.dtype.kind not in "iufbM" for value in column if isinstance(value, str)}
    word = ""
    while word in used:
        word = {"": "NA", "NA": "NULL"}.get(word, word + "_")
    return word


def _read_csv(info: Info, path: str) -> Any:
    import pandas as pd

    dtypes = [str(dtype) for dtype in info["dtypes"]]
    if not all(dtype.startswith(_CSV_TYPES) for dtype in dtypes):
        raise ValueError("a column has a type that CSV cannot have")
    names = pd.read_csv(path, nrows=0).columns
    if len(names) != len(dtypes):
        raise ValueError(f"it has {len(names)} columns instead of {len(dtypes)}")
    later = {name: dtype for name, dtype in zip(names, dtypes, strict=True) if dtype.startswith(("datetime64[", "category"))}
    frame = pd.read_csv(
        path,
        dtype={name: "str" if name in later else dtype for name, dtype in zip(names, dtypes, strict=True)},
        keep_default_na=False,
        na_values=[info["missing"]],
        # pandas 3 reads numbers exactly by default, and warns of this.
        **({} if int(pd.__version__.partition(".")[0]) > 2 else {"float_precision": "round_trip"}),
    )
    for name, dtype in later.items():
        column = frame[name]
        frame[name] = (pd.to_datetime(column, format="ISO8601") if dtype[0] == "d" else column).astype(dtype)
    if (index := info.get("index")) is not None:
        frame = frame.set_index([_INDEX.format(number) for number in range(len(index))])
        frame.index.names = index
    return frame


def _words(error: Exception) -> str:
    return " ".join(str(error).split())[:300]


CODECS: list[Codec] = [
    ("pandas", is_of("pandas", "DataFrame"), write_pandas, ".parquet"),
    ("polars", is_of("polars", "DataFrame"), write_polars, ".parquet"),
    ("polars", is_of("polars", "LazyFrame"), refuse_lazy, ".parquet"),
    ("numpy", is_of("numpy", "ndarray", "generic"), write_numpy, ".npy"),
]
