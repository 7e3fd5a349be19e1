"""Images and figures: PIL and matplotlib as PNG, plotly and bokeh as the JSON that they read themselves."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from regcli.api.codecs import Info, NoCodecError, is_of, missing_library, write_media

if TYPE_CHECKING:
    from regcli.api.codecs import Codec
    from regcli.api.media import Image

_is_pil = is_of("PIL.Image", "Image")
_is_matplotlib = is_of("matplotlib.figure", "Figure")
_is_plotly = is_of("plotly.basedatatypes", "BaseFigure")
_is_bokeh = is_of("bokeh.model", "Model")


# Images


def to_pil(data: Any, mode: str | None = None) -> Any:
    """Return a PIL image of a PIL image, a matplotlib figure or an array.

    Args:
        data: an array is (height, width), or with 1, 3 or 4 channels at the end, of uint8, bool, or floats 0 to 1.
        mode: PIL's mode to convert to.

    Raises:
        TypeError: it is nothing of the kind. ValueError: an array has another shape or range.
    """
    try:
        import PIL.Image
    except ImportError as error:
        raise missing_library("image", "PIL", "") from error
    if _is_pil(data):
        image = data
    elif _is_matplotlib(data):
        import io

        buffer = io.BytesIO()
        data.savefig(buffer, format="png")
        image = PIL.Image.open(buffer)
    else:
        numpy = sys.modules.get("numpy")
        if numpy is None or not isinstance(data, numpy.ndarray):
            raise TypeError("Image takes a path, a PIL image, a matplotlib figure or a NumPy array")
        image = PIL.Image.fromarray(_pixels(data))
    return image.convert(mode) if mode is not None and image.mode != mode else image


def _pixels(data: Any) -> Any:
    """Return an array as PIL takes it: uint8, without an axis of one channel."""
    import numpy as np

    if data.ndim == 3 and data.shape[2] == 1:
        data = data[:, :, 0]
    if data.ndim not in (2, 3) or (data.ndim == 3 and data.shape[2] not in (3, 4)):
        raise ValueError(f"an array of shape {data.shape} is no image; use (height, width) or (height, width, 3)")
    if data.dtype == np.bool_:
        return data.astype(np.uint8) * 255
    if data.dtype.kind == "f":
        if data.size and not (data.min() >= 0 and data.max() <= 1):
            raise ValueError("an image of floats has values outside 0 to 1; scale them, or use uint8")
        return (data * 255).round().astype(np.uint8)
    if data.dtype.kind in "iu" and data.size and not (data.min() >= 0 and data.max() <= 255):
        raise ValueError("an image of integers has values outside 0 to 255")
    return data.astype(np.uint8)


def open_image(path: str) -> Any:
    """Return a file as a PIL image with all its pixels read."""
    import PIL.Image

    with PIL.Image.open(path) as image:
        image.load()
        return image


def write_pil(obj: Any, path: str) -> Info:
    """Write a PIL image as PNG, provided that PNG keeps every pixel."""
    if getattr(obj, "n_frames", 1) > 1:
        raise NoCodecError("an image of several frames cannot be kept as PNG", hint="add the file: regcli.Image(path)")
    try:
        obj.save(path, format="PNG")
        again = open_image(path)
    except (OSError, ValueError) as error:
        raise _no_png(obj) from error
    if again.mode != obj.mode or again.size != obj.size or again.tobytes() != obj.tobytes():
        raise _no_png(obj)
    return {"format": "png", "as": "pil", "mode": obj.mode, "width": obj.width, "height": obj.height}


def _no_png(obj: Any) -> NoCodecError:
    return NoCodecError(
        f"an image of the mode {obj.mode} cannot be kept exactly as PNG", hint="convert it, as in image.convert('RGB')"
    )


def write_media_image(obj: Image, path: str) -> Info:
    """Write an image of ours: its file as it is, else as PNG."""
    if obj.path and obj._mode is None:
        return write_media(obj, path)
    info = write_pil(obj.image, path)
    del info["as"]
    return {**info, "caption": obj.caption} if obj.caption is not None else info


# Figures


def write_matplotlib(obj: Any, path: str) -> Info:
    """Write a figure as PNG: `get` gives the picture back, as `Image`."""
    with open(path, "wb") as file:
        obj.savefig(file, format="png")
    return {"format": "png", "library": "matplotlib", "ending": ".png"}


def write_plotly(obj: Any, path: str) -> Info:
    """Write a figure as plotly's JSON."""
    with open(path, "w", encoding="utf-8") as file:
        file.write(obj.to_json())
    return {"format": "json", "library": "plotly", "ending": ".plotly.json"}


def write_bokeh(obj: Any, path: str) -> Info:
    """Write a figure, or any other of its models, as bokeh's JSON."""
    from bokeh.core.json_encoder import serialize_json
    from bokeh.document import Document

    document = obj.document
    added = document is None
    if document is None:
        document = Document()
        document.add_root(obj)
    try:
        text = serialize_json(document.to_json())
    except (TypeError, ValueError) as error:
        raise NoCodecError(f"the bokeh model cannot be kept as JSON: {error}") from error
    finally:
        if added:
            document.clear()
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    return {"format": "json", "library": "bokeh", "root": obj.id, "ending": ".bokeh.json"}


def read_figure(info: Info, path: str) -> Any:
    """Return a figure of plotly or bokeh, or the picture of one of matplotlib."""
    library = info.get("library")
    if library == "matplotlib":
        from regcli.api.media import Image

        return Image(path)
    with open(path, encoding="utf-8") as file:
        text = file.read()
    if library == "plotly":
        import plotly.io

        if not text.lstrip().startswith("{"):
            raise ValueError("it is no JSON object")
        return plotly.io.from_json(text)
    if library == "bokeh":
        import json

        from bokeh.document import Document

        document = Document.from_json(json.loads(text))
        model = document.get_model_by_id(str(info.get("root")))
        if model is None:
            raise ValueError("the figure is not in it")
        if model in document.roots:
            # Free to be added to another document.
            document.remove_root(model)
        return model
    raise ValueError(f"a figure of {library!r} is unknown")


CODECS: list[Codec] = [
    ("image", _is_pil, write_pil, ".png"),
    ("figure", _is_matplotlib, write_matplotlib, ".png"),
    ("figure", _is_plotly, write_plotly, ".plotly.json"),
    ("figure", _is_bokeh, write_bokeh, ".bokeh.json"),
]
