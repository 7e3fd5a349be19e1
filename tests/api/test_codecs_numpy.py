"""NumPy arrays as NPY, and images as PNG."""

from __future__ import annotations

import json
import math
import os
from typing import TYPE_CHECKING, Any

import numpy as np
import PIL.Image
import pytest

from regcli.api import codecs
from regcli.api.media import Image, Table
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


def there_and_back(obj: Any) -> Any:
    _, path, info = codecs.encode(obj, "x")
    return codecs.decode(json.loads(json.dumps(info)), path)


@pytest.mark.parametrize(
    "array",
    [
        np.arange(6).reshape(2, 3), np.zeros((0, 4), np.float32), np.array(5), np.array([1 + 2j]), np.array(["a", "동물원"]),
        np.array([True, False]), np.array(["2026-11-30"], "datetime64[D]"), np.asfortranarray(np.eye(3)),
        np.array([(1, 2.5)], [("a", "i4"), ("b", "f8")]), np.arange(10)[::-2], np.array([math.nan, math.inf]),
        np.arange(4, dtype=">u2"),
    ],
    ids=lambda array: f"{array.dtype}{array.shape}",
)  # fmt: skip
def test_an_array_comes_back_with_its_type_and_shape(array: Any) -> None:
    again = there_and_back(array)
    np.testing.assert_array_equal(again, array)
    assert (again.dtype, again.shape) == (array.dtype, array.shape)


def test_an_array_is_an_ordinary_npy_file() -> None:
    path, local, info = codecs.encode(np.arange(3, dtype="i8"), "values")
    assert path == "values.npy"
    assert info == {"kind": "numpy", "format": "npy", "dtype": "int64", "shape": [3]}
    np.testing.assert_array_equal(np.load(local, allow_pickle=False), [0, 1, 2])


def test_a_number_of_numpy_comes_back_as_one() -> None:
    again = there_and_back(np.float32(1.5))
    assert type(again) is np.float32
    assert again == 1.5


@pytest.mark.parametrize("array", [np.array([object()]), np.ma.array([1, 2], mask=[0, 1])], ids=["objects", "masked"])
def test_what_npy_cannot_say_is_refused(array: Any, temporary: Path) -> None:
    with pytest.raises(TypeError, match="cannot be kept as NPY"):
        codecs.encode(array, "x")
    assert list(temporary.iterdir()) == []


def test_objects_in_a_file_are_not_loaded(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> Any:
            return os.mkdir, (str(tmp_path / "sprung"),)

    with (tmp_path / "x.npy").open("wb") as file:
        np.save(file, np.array([Trap()]), allow_pickle=True)
    with pytest.raises(IntegrityError):
        codecs.decode({"kind": "numpy"}, str(tmp_path / "x.npy"))
    assert not (tmp_path / "sprung").exists()


def test_numbers_and_arrays_in_tables_and_values_become_plain() -> None:
    table = there_and_back(Table(["n", "a"], [[np.int64(3), np.array([1.5, math.inf])]]))
    assert table.data == [[3, [1.5, math.inf]]]
    assert there_and_back({"a": np.arange(3), "b": np.bool_(True)}) == {"a": [0, 1, 2], "b": True}  # noqa: FBT003
    assert Table(["a"], [[1], [2]]).get_column("a", convert_to="numpy").tolist() == [1, 2]


# Images


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
def test_an_image_comes_back_pixel_by_pixel(mode: str) -> None:
    pixels = np.random.default_rng(1).integers(0, 255, (6, 5, 3), dtype=np.uint8)
    image = PIL.Image.fromarray(pixels)
    image = PIL.Image.fromarray(pixels[:, :, 0].astype(np.uint16) * 200) if mode == "I;16" else image.convert(mode)
    assert image.mode == mode
    again = there_and_back(image)
    assert (again.mode, again.size, again.tobytes()) == (image.mode, image.size, image.tobytes())
    assert again.convert("RGB").tobytes() == image.convert("RGB").tobytes()


def test_an_image_is_an_ordinary_png_file() -> None:
    path, local, info = codecs.encode(PIL.Image.new("RGB", (3, 2), "red"), "picture")
    assert path == "picture.png"
    assert (info["kind"], info["width"], info["height"]) == ("image", 3, 2)
    with open(local, "rb") as file:
        assert file.read(8) == b"\x89PNG\r\n\x1a\n"


@pytest.mark.parametrize(
    "image", [PIL.Image.new("CMYK", (2, 2)), PIL.Image.new("F", (2, 2), 0.5), PIL.Image.new("I", (2, 2), 70000)]
)
def test_an_image_that_png_would_change_is_refused(image: Any, temporary: Path) -> None:
    with pytest.raises(TypeError, match="cannot be kept exactly as PNG"):
        codecs.encode(image, "x")
    assert list(temporary.iterdir()) == []


def test_an_image_of_several_frames_is_given_as_a_file(tmp_path: Path) -> None:
    frames = [PIL.Image.new("L", (2, 2), value) for value in (0, 255)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    with PIL.Image.open(tmp_path / "a.gif") as image, pytest.raises(TypeError, match="several frames"):
        codecs.encode(image, "x")
    path, _, _ = codecs.encode(Image(tmp_path / "a.gif"), "x")
    assert path == "x.gif"


@pytest.mark.parametrize(
    ("array", "pixel"),
    [
        (np.full((2, 3), 7, np.uint8), 7),
        (np.full((2, 3, 1), 7, np.uint8), 7),
        (np.ones((2, 3), bool), 255),
        (np.full((2, 3), 0.5), 128),
        (np.full((2, 3, 3), 9, np.int64), (9, 9, 9)),
        (np.full((2, 3, 4), 9, np.uint8), (9, 9, 9, 9)),
    ],
)
def test_an_image_is_made_of_an_array(array: Any, pixel: Any) -> None:
    image = Image(array, caption="c")
    assert (image.width, image.height) == (3, 2)
    again = there_and_back(image)
    assert type(again) is Image
    assert again.image.getpixel((0, 0)) == pixel
    assert again.caption == "c"


@pytest.mark.parametrize(
    "array", [np.zeros(3), np.zeros((2, 2, 2)), np.full((2, 2), 1.5), np.full((2, 2), -1), np.full((2, 2), 300)]
)
def test_an_array_that_is_no_image_is_refused(array: Any) -> None:
    with pytest.raises(ValueError, match="image"):
        Image(array)


def test_an_image_is_converted_when_it_is_asked_for(tmp_path: Path) -> None:
    PIL.Image.new("RGB", (2, 2), "red").save(tmp_path / "red.png")
    assert there_and_back(Image(tmp_path / "red.png", mode="L")).image.mode == "L"
    assert there_and_back(Image(tmp_path / "red.png")).image.mode == "RGB"
    with pytest.raises(TypeError):
        Image(object())


def test_a_file_that_is_no_image_is_said(tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(b"\x89PNG\r\n\x1a\nnonsense")
    with pytest.raises(IntegrityError, match="cannot be read as image"):
        codecs.decode({"kind": "image", "as": "pil"}, str(tmp_path / "x.png"))
