"""From an object to an ordinary file of its field, written by the library that made it, and back.

Which codec an object has is found by its type among the modules that are loaded: no library is imported to find out, and
none is needed for objects that it did not make. Nothing is ever pickled or unpickled.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from typing import TYPE_CHECKING, Any

from regcli.api import jsonvalues
from regcli.api.media import Audio, Html, Image, Media, Table, Video
from regcli.domain.values import NotJsonError
from regcli.errors import IntegrityError, MissingLibraryError, UsageError

Info = dict[str, Any]

if TYPE_CHECKING:
    from collections.abc import Callable

    # (kind, is it one, write it to a path and return what is to be known of the file, the format's ending)
    Codec = tuple[str, Callable[[Any], bool], Callable[[Any, str], Info], str]

WORKS = (
    "regcli.Table, a pandas or polars data frame, a NumPy array, a PIL image, a matplotlib, plotly or bokeh figure,"
    " regcli.Image, Html, Audio and Video, and JSON values (dict, list, str, numbers, bool, None)"
)


class NoCodecError(NotJsonError):
    """There is no ordinary file for such an object, or it cannot be kept exactly."""

    kind = "no-codec"


class UnreadableObjectError(IntegrityError):
    """The file of an object is not what the library that should read it understands."""

    kind = "unreadable-object"


def encode(obj: Any, name: str) -> tuple[str, str, Info]:
    """Write an object to a temporary file.

    Args:
        obj: what is to be kept.
        name: the path inside the artifact that the user gave.

    Returns:
        The path inside the artifact, which is `name` with the format's ending where it has none; the temporary file, which the
        caller removes; and what `decode` has to know: `kind`, `format` and more, to be kept in the manifest entry.

    Raises:
        NoCodecError: a TypeError; nothing is left behind.
    """
    kind, ending, write = _find(obj)
    descriptor, path = tempfile.mkstemp(prefix="regcli-object-")
    os.close(descriptor)
    try:
        info = {"kind": kind, **write(obj, path)}
    except BaseException:
        os.unlink(path)
        raise
    ending = info.pop("ending", ending)
    return _with_ending(name, ending), path, info


def can_encode(obj: Any) -> bool:
    """Tell whether there is a codec for an object; one that finds something inside that it cannot keep may still refuse."""
    try:
        _find(obj)
    except NoCodecError:
        return False
    return True


def decode(info: Info, local_path: str) -> Any:
    """Return the object of a file.

    Args:
        info: what `encode` returned, from the manifest; it may say anything.
        local_path: the file.

    Raises:
        MissingLibraryError: the library that reads it is not installed. UsageError: the kind is unknown.
        UnreadableObjectError: the file is damaged, or no such file at all.
    """
    kind = info.get("kind")
    read = _READERS.get(kind) if isinstance(kind, str) else None
    if read is None:
        raise UsageError(f"an object of the kind {kind!r} is unknown to this version; its file is {local_path}")
    try:
        return read(info, os.fspath(local_path))
    except ImportError as error:
        raise missing_library(kind, error.name or str(error), local_path) from error
    except (MissingLibraryError, UsageError):
        raise
    except Exception as error:
        # Whatever a library raises for a file that it does not understand; each has classes of its own.
        text = " ".join(str(error).split())[:300]
        raise UnreadableObjectError(
            f"{local_path} cannot be read as {kind}: {text}", hint="the file itself is there; `regcli verify` checks its bytes"
        ) from error


def missing_library(kind: Any, library: str, path: str) -> MissingLibraryError:
    """Return the error of an object whose library is not installed."""
    library = library.partition(".")[0]
    package = {"PIL": "pillow"}.get(library, library)
    return MissingLibraryError(
        f"an object of the kind {kind!r} needs {package}, which is not installed",
        hint=f"install it with `pip install {package}`, or use the file {path} itself",
    )


def _with_ending(name: str, ending: str) -> str:
    return name if name.lower().endswith(ending.lower()) else name + ending


def _find(obj: Any) -> tuple[str, str, Callable[[Any, str], Info]]:
    for kind, is_one, write, ending in _codecs():
        if is_one(obj):
            return kind, ending, write
    raise NoCodecError(f"an object of type {type_name(obj)} cannot be added; what works: {WORKS}")


def type_name(obj: Any) -> str:
    """Return the name of an object's type, with its module."""
    kind = type(obj)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def is_of(module: str, *names: str) -> Callable[[Any], bool]:
    """Return a test for classes of a module that need not be installed: what is not loaded has made no object."""

    def test(obj: Any) -> bool:
        loaded = sys.modules.get(module)
        classes = tuple(found for name in names if isinstance(found := getattr(loaded, name, None), type))
        return isinstance(obj, classes)

    return test


def _codecs() -> list[Codec]:
    from regcli.api import frames, pictures

    return [
        ("table", is_table, write_table, ".table.json"),
        ("html", lambda obj: isinstance(obj, Html), write_html, ".html"),
        ("image", lambda obj: isinstance(obj, Image), pictures.write_media_image, ".png"),
        ("audio", lambda obj: isinstance(obj, Audio), write_media, ".bin"),
        ("video", lambda obj: isinstance(obj, Video), write_media, ".bin"),
        *frames.CODECS,
        *pictures.CODECS,
        # Last: subclasses of dict and list that a library made have their own codec before.
        ("json", is_json, write_json, ".json"),
    ]


# Tables and JSON


def is_table(obj: Any) -> bool:
    """Tell whether an object is a table of ours, or of the original's (`columns` and `data`)."""
    if isinstance(obj, Table):
        return True
    return type(obj).__module__.partition(".")[0] == "wandb" and type(obj).__name__ == "Table"


def write_table(obj: Any, path: str) -> Info:
    """Write a table as JSON in the original's form."""
    try:
        data = [jsonvalues.to_plain(list(row)) for row in obj.data]
    except TypeError as error:
        raise NoCodecError(f"a cell of the table cannot be kept: {error}; what works: {_CELLS}") from error
    columns = [str(column) for column in obj.columns]
    _write(
        path,
        jsonvalues.dump({"_type": "table", "columns": columns, "data": data, "ncols": len(columns), "nrows": len(data)}),
    )
    return {"format": "json", "rows": len(data), "columns": len(columns)}


_CELLS = "None, bool, int, float, str, dates, lists and dicts of them, NumPy's numbers and arrays of numbers"


def _read_table(_: Info, path: str) -> Table:
    document = jsonvalues.load(_read(path))
    if not isinstance(document, dict) or document.get("_type") != "table":
        raise ValueError("no table")
    return Table(columns=document["columns"], data=[jsonvalues.from_plain(row) for row in document["data"]])


def is_json(obj: Any) -> bool:
    """Tell whether an object is one that JSON has a word for, by its own type alone."""
    return obj is None or isinstance(obj, (bool, int, float, str, list, tuple, dict))


def write_json(obj: Any, path: str) -> Info:
    """Write a value as JSON; tuples become lists."""
    try:
        plain = jsonvalues.to_plain(obj)
    except TypeError as error:
        raise NoCodecError(f"the {type_name(obj)} cannot be kept as JSON: {error}; what works: {WORKS}") from error
    _write(path, jsonvalues.dump(plain))
    return {"format": "json"}


def _read_json(_: Info, path: str) -> Any:
    return jsonvalues.from_plain(jsonvalues.load(_read(path)))


# Files


def write_html(obj: Html, path: str) -> Info:
    """Write a page as it is."""
    _write(path, obj.html.encode())
    return {"format": "html"}


def _read_html(_: Info, path: str) -> Html:
    return Html(_read(path).decode(), data_is_not_path=True)


def write_media(obj: Media, path: str) -> Info:
    """Copy a file, whatever its format."""
    _, dot, ending = os.path.basename(obj.path).rpartition(".")
    try:
        shutil.copyfile(obj.path, path)
    except OSError as error:
        raise UsageError(f"cannot read {obj.path}: {(error.strerror or str(error)).lower()}") from error
    info: Info = {"format": ending.lower() if dot else "bin", "ending": f".{ending}" if dot else ".bin"}
    for key in ("caption", "sample_rate", "fps"):
        if getattr(obj, key, None) is not None:
            info[key] = getattr(obj, key)
    return info


def _caption(info: Info) -> str | None:
    return info["caption"] if isinstance(info.get("caption"), str) else None


def _number(info: Info, key: str) -> int | None:
    return info[key] if type(info.get(key)) is int else None


def _read_audio(info: Info, path: str) -> Audio:
    return Audio(path, sample_rate=_number(info, "sample_rate"), caption=_caption(info))


def _read_video(info: Info, path: str) -> Video:
    return Video(path, caption=_caption(info), fps=_number(info, "fps"))


def _read_image(info: Info, path: str) -> Any:
    if info.get("as") != "pil":
        return Image(path, caption=_caption(info))
    from regcli.api import pictures

    return pictures.open_image(path)


def _read_figure(info: Info, path: str) -> Any:
    from regcli.api import pictures

    return pictures.read_figure(info, path)


def _read_numpy(info: Info, path: str) -> Any:
    from regcli.api import frames

    return frames.read_numpy(info, path)


def _read_pandas(info: Info, path: str) -> Any:
    from regcli.api import frames

    return frames.read_pandas(info, path)


def _read_polars(info: Info, path: str) -> Any:
    from regcli.api import frames

    return frames.read_polars(info, path)


_READERS: dict[str, Callable[[Info, str], Any]] = {
    "table": _read_table,
    "json": _read_json,
    "html": _read_html,
    "image": _read_image,
    "audio": _read_audio,
    "video": _read_video,
    "figure": _read_figure,
    "numpy": _read_numpy,
    "pandas": _read_pandas,
    "polars": _read_polars,
}


def _write(path: str, data: bytes) -> None:
    with open(path, "wb") as file:
        file.write(data)


def _read(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()
