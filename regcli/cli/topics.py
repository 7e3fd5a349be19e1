"""The topics of `regcli help`: Markdown files in `regcli/docs/`."""

from __future__ import annotations

import os

from regcli.errors import NotFoundError
from regcli.model import quote

_SUFFIX = ".md"


def docs_path() -> str:
    """Return the directory of the topics."""
    return os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "docs")


def list_topics() -> list[tuple[str, str]]:
    """Return name and title of each topic, sorted by name."""
    names = sorted(entry.removesuffix(_SUFFIX) for entry in os.listdir(docs_path()) if entry.endswith(_SUFFIX))
    return [(name, _read(name).partition("\n")[0].lstrip("# ")) for name in names]


def read_topic(name: str) -> str:
    """Return a topic's text.

    Raises:
        NotFoundError: there is no such topic; the hint names the nearest.
    """
    names = [topic for topic, _ in list_topics()]
    if name not in names:
        from difflib import get_close_matches

        near = get_close_matches(name, names)
        hint = f"did you mean {quote(near[0])}?" if near else "`regcli help` lists the topics"
        raise NotFoundError(f"there is no help topic {quote(name)}", hint=hint)
    return _read(name)


def _read(name: str) -> str:
    with open(os.path.join(docs_path(), name + _SUFFIX), encoding="utf-8") as file:
        return file.read()
