"""pins: the boards that `pins.board_folder` (Python and R) writes: `NAME/VERSION/data.txt` beside the pin's files."""

from __future__ import annotations

import os

from regcli.domain.foreign.taking import Find, read_yaml
from regcli.errors import NotFoundError, UsageError
from regcli.model import quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

META = "data.txt"


def read_pins(path: str) -> Iterator[Find]:
    """Yield the versions of every pin of a board, each pin's in the order of their time stamps.

    Raises:
        NotFoundError: there is no such directory. UsageError: a pin's description cannot be read.
    """
    if not os.path.isdir(path):
        raise NotFoundError(f"there is no directory {quote(path)}")
    for name in sorted(os.listdir(path)):
        pin = os.path.join(path, name)
        if not os.path.isdir(pin):
            continue
        # A version's name begins with its time, `20261130T081500Z-3f73f`.
        for version in sorted(os.listdir(pin)):
            if os.path.isfile(os.path.join(pin, version, META)):
                yield _read_version(name, version, os.path.join(pin, version))


def _read_version(name: str, version: str, directory: str) -> Find:
    meta = read_yaml(os.path.join(directory, META))
    if not isinstance(meta, dict):
        raise UsageError(f"{directory}/{META} holds no fields")
    names = meta.get("file") or []
    names = [names] if isinstance(names, str) else [str(item) for item in names]
    find = Find(name, "dataset", {"tool": "pins", "pin": name, "version": version})
    find.files = [(item, os.path.join(directory, item)) for item in names if _is_inside(item)]
    # A link would lead outside, whatever its own name is.
    missing = next((local for _, local in find.files if os.path.islink(local) or not os.path.isfile(local)), None)
    if missing is not None or len(find.files) != len(names):
        raise NotFoundError(f"a file of pin {quote(name)} is missing: {missing or names}")
    find.collection = name
    find.description = str(meta.get("description") or meta.get("title") or "")
    find.tags = [str(tag) for tag in meta.get("tags") or []]
    find.metadata = {key: meta[key] for key in ("title", "type", "created", "pin_hash") if isinstance(meta.get(key), str)}
    if isinstance(meta.get("user"), dict) and meta["user"]:
        find.metadata["user"] = meta["user"]
    return find


def _is_inside(name: str) -> bool:
    return not os.path.isabs(name) and ".." not in name.replace("\\", "/").split("/")
