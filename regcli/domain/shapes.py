"""The shape of what logs and heads add up to: whoever can write to a root may have written anything.

A value of the wrong type is found here, once, so that no rule below has to expect it. Every function raises ValueError (or the
errors of a wrong type) and says what is malformed; `Chain` makes it "corrupt". On the fast path: loops in C, no imports.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    State = dict[str, Any]
    Record = dict[str, Any]

NONE = type(None)
TEXT = (str,)
MAYBE_TEXT = (str, NONE)
NUMBER = (int,)
MAYBE_NUMBER = (int, NONE)
LIFETIME = (int, str, NONE)

_RECORD: dict[str, tuple[type, ...]] = {
    "id": TEXT, "digest": TEXT, "algorithm": TEXT, "manifest": TEXT, "manifest_sha256": TEXT, "size": NUMBER,
    "file_count": NUMBER, "description": TEXT, "metadata": (dict,), "metrics": (dict,), "tags": (list,),
    "ttl": LIFETIME, "inputs": (list,), "run": MAYBE_TEXT, "created_at": TEXT, "created_by": TEXT, "updated_at": TEXT,
    "state": TEXT, "source": (dict, NONE),
    "linked_at": MAYBE_TEXT, "linked_by": MAYBE_TEXT, "parent": MAYBE_TEXT, "references": MAYBE_NUMBER,
    "refers": (list, NONE),
}  # fmt: skip
_SOURCE = {"entity": TEXT, "project": TEXT, "name": TEXT, "version": NUMBER, "place": TEXT}
_EDGE = {"ref": TEXT, "place": TEXT, "version": NUMBER, "id": TEXT, "digest": TEXT}
_COLLECTION: dict[str, tuple[type, ...]] = {
    "id": MAYBE_TEXT, "kind": MAYBE_TEXT, "name": MAYBE_TEXT, "entity": MAYBE_TEXT, "project": MAYBE_TEXT, "type": MAYBE_TEXT,
    "description": TEXT, "tags": (list,), "created_at": MAYBE_TEXT, "created_by": MAYBE_TEXT, "updated_at": MAYBE_TEXT,
    "next": NUMBER, "latest": MAYBE_NUMBER, "count": NUMBER, "aliases": (dict,), "ttl": LIFETIME, "removed": (bool,),
    "registry": MAYBE_TEXT, "former": (list,), "redirect": (dict, NONE), "signed": (dict, NONE),
}  # fmt: skip
_SETTINGS: dict[str, tuple[type, ...]] = {
    "id": MAYBE_TEXT, "name": MAYBE_TEXT, "description": TEXT, "types": (list,), "visibility": TEXT, "protected": (dict,),
    "members": (dict,), "ttl": MAYBE_NUMBER, "automations": (dict,), "removed": (bool,), "created_at": MAYBE_TEXT,
    "created_by": MAYBE_TEXT, "updated_at": MAYBE_TEXT, "former": (list,), "redirect": (dict, NONE), "shared": (dict, NONE),
}  # fmt: skip
_RUN: dict[str, tuple[type, ...]] = {
    "id": MAYBE_TEXT, "name": MAYBE_TEXT, "entity": MAYBE_TEXT, "project": MAYBE_TEXT, "job_type": MAYBE_TEXT,
    "config": (dict, NONE), "summary": (dict, NONE), "state": MAYBE_TEXT, "used": (list,), "logged": (list,),
    "title": MAYBE_TEXT, "group": MAYBE_TEXT, "tags": (list, NONE), "notes": MAYBE_TEXT, "process": (dict, NONE),
    "created_at": MAYBE_TEXT, "created_by": MAYBE_TEXT, "updated_at": MAYBE_TEXT, "history": (dict, NONE),
}  # fmt: skip
_HISTORY = {"rows": NUMBER, "step": NUMBER, "size": NUMBER, "sha256": TEXT}
_PARTS: dict[str, tuple[type, ...]] = {
    "name": MAYBE_TEXT, "distributed_id": MAYBE_TEXT, "type": MAYBE_TEXT, "algorithm": MAYBE_TEXT, "parts": (list,),
}  # fmt: skip
_PART: dict[str, tuple[type, ...]] = {
    "manifest": TEXT, "manifest_sha256": TEXT, "description": MAYBE_TEXT, "metadata": (dict,), "aliases": (list,),
    "tags": (list,), "run": MAYBE_TEXT, "at": TEXT,
}  # fmt: skip
_ROLES = frozenset(("restricted_viewer", "viewer", "member", "admin"))
_HEX = frozenset("0123456789abcdef")
_PATH = frozenset("/\\\0")
# Type patterns of records that were found right: there are few, and a collection may have many thousand records.
_known_patterns: set[tuple[type, ...]] = set()


def _check_fields(value: Any, fields: Mapping[str, tuple[type, ...]], what: str) -> None:
    if type(value) is not dict:
        raise ValueError(f"{what} is not an object")
    get = value.get
    for key, kinds in fields.items():
        if type(get(key)) not in kinds:
            raise ValueError(f"{key} of {what} is malformed")


def _check_keys(table: dict[Any, Any], what: str) -> None:
    _check_texts(list(table), f"names of {what}")


def _check_texts(values: list[Any], what: str) -> None:
    if values and set(map(type, values)) != {str}:
        raise ValueError(f"{what} are not texts")


def _check_edge(value: Any, what: str) -> None:
    _check_fields(value, _EDGE, what)
    _check_hex(value["id"], 32, f"the id of {what}")


def _check_hex(value: str, size: int, what: str) -> None:
    if len(value) != size or not _HEX.issuperset(value):
        raise ValueError(f"{what} is not {size} hexadecimal digits")


def _check_name(name: str | None, what: str) -> None:
    """Check that a name cannot lead anywhere: downloads make a directory of it."""
    if name in ("", ".", "..") or (name is not None and not _PATH.isdisjoint(name)):
        raise ValueError(f"the name of {what} is none")


def check_record(record: Any) -> None:
    """Check the record of a version or link."""
    if type(record) is not dict:
        raise ValueError("a record is not an object")
    pattern = tuple(map(type, map(record.get, _RECORD)))
    if pattern not in _known_patterns:
        _check_fields(record, _RECORD, "a record")
        _known_patterns.add(pattern)
    if "run" not in record or "ttl" not in record:
        raise ValueError("a record is incomplete")
    for key, size in (("id", 32), ("digest", 32), ("manifest", 32), ("manifest_sha256", 64)):
        _check_hex(record[key], size, f"{key} of a record")
    if record["size"] < 0 or record["file_count"] < 0:
        raise ValueError("a size of a record is negative")
    _check_texts(record["tags"], "tags of a record")
    if record.get("refers"):
        _check_texts(record["refers"], "references of a record")
        for item in record["refers"]:
            _check_hex(item, 32, "a reference of a record")
    for value in record["metrics"].values():
        if type(value) not in (int, float):
            raise ValueError("a metric of a record is not a number")
    for item in record["inputs"]:
        _check_edge(item, "an input")
    if record.get("source") is not None:
        _check_fields(record["source"], _SOURCE, "a source")


def _check_redirect(state: State) -> None:
    if state["redirect"] is not None:
        _check_fields(state["redirect"], {"to": TEXT, "id": MAYBE_TEXT}, "a redirect")


def check_collection(state: Any) -> None:
    """Check the state of a collection."""
    _check_fields(state, _COLLECTION, "a collection")
    _check_name(state["name"], "a collection")
    _check_texts(state["tags"], "tags of a collection")
    _check_texts(state["former"], "former names")
    _check_redirect(state)
    if state["name"] is not None and None in (state["id"], state["type"], state["created_at"]):
        raise ValueError("a collection is incomplete")
    if state["name"] is not None and state["kind"] not in ("source", "link"):
        raise ValueError("a collection is of an unknown kind")
    if type(state.get("signed", {})) is not dict:
        raise ValueError("signed aliases are malformed")
    _check_keys(state["aliases"], "aliases")
    for held in state["aliases"].values():
        if type(held) is not list or len(held) != 2 or type(held[0]) is not str or type(held[1]) is not int:
            raise ValueError("an alias is malformed")


def check_settings(state: Any) -> None:
    """Check the settings of a registry."""
    _check_fields(state, _SETTINGS, "a registry")
    _check_name(state["name"], "a registry")
    _check_texts(state["types"], "types of a registry")
    _check_texts(state["former"], "former names")
    _check_redirect(state)
    for key in ("protected", "members", "automations"):
        _check_keys(state[key], key)
    for entry in state["protected"].values():
        _check_fields(entry, {"name": TEXT, "signed": (bool,)}, "a protected alias")
    if not _ROLES.issuperset(state["members"].values()):
        raise ValueError("a role is unknown")
    for automation in state["automations"].values():
        if type(automation) is not dict:
            raise ValueError("an automation is malformed")
    if state["shared"] is not None:
        _check_fields(state["shared"], {"inode": NUMBER, "uid": NUMBER}, "a shared registry")


def check_root(state: Any) -> None:
    """Check the settings of a root."""
    _check_fields(state, {"entities": (dict,), "ttl": MAYBE_NUMBER, "automations": (dict,)}, "a root")
    _check_keys(state["entities"], "entities")
    _check_keys(state["automations"], "automations")
    for entity in state["entities"].values():
        _check_fields(entity, {"name": TEXT, "personal": (bool,)}, "an entity")
    for automation in state["automations"].values():
        if type(automation) is not dict:
            raise ValueError("an automation is malformed")


def check_run(state: Any) -> None:
    """Check the state of a run."""
    _check_fields(state, _RUN, "a run")
    _check_texts(state["tags"] or [], "tags of a run")
    for item in (*state["used"], *state["logged"]):
        _check_edge(item, "an edge")
    if state.get("history") is not None:
        _check_fields(state["history"], _HISTORY, "the history of a run")


def check_parts(state: Any) -> None:
    """Check the parts of a version that several processes build."""
    _check_fields(state, _PARTS, "the parts of a version")
    if state["name"] is not None and None in (state["distributed_id"], state["type"], state["algorithm"]):
        raise ValueError("the parts of a version are incomplete")
    for part in state["parts"]:
        _check_fields(part, _PART, "a part")
        _check_hex(part["manifest"], 32, "manifest of a part")
        _check_texts(part["aliases"], "aliases of a part")
        _check_texts(part["tags"], "tags of a part")
