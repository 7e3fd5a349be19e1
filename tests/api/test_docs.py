"""The page on the library is run, block after block, as a reader would."""

from __future__ import annotations

import re
from pathlib import Path

import regcli

PAGE = (Path(str(regcli.__file__)).parent / "docs" / "python.md").read_text()


def test_the_page_runs() -> None:
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    assert len(blocks) >= 5
    names: dict[str, object] = {}
    for block in blocks:
        exec(compile(block, "python.md", "exec"), names)


def test_every_public_name_is_on_the_page() -> None:
    for name in regcli.__all__:
        assert f"`{name}" in PAGE or name in ("__version__", "RegcliError") or f"regcli.{name}" in PAGE, name


def test_every_public_class_and_method_is_documented() -> None:
    for name in regcli.__all__:
        thing = getattr(regcli, name)
        if not isinstance(thing, type):
            assert name in ("__version__", "run") or thing.__doc__, name
            continue
        assert thing.__doc__, name
        for member, value in vars(thing).items():
            if not member.startswith("_") and (callable(value) or isinstance(value, property)):
                assert value.__doc__, f"{name}.{member}"
