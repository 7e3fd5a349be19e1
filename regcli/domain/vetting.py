"""What a bundle says of a collection, checked before anything is written: anybody may have made it.

Every operation is cut down to the fields that it has, and all of them are tried out on a copy of what is here, by the same
rules by which the log is read: what passes can be appended, and what cannot is refused while nothing has been changed.
"""

from __future__ import annotations

from regcli.domain.collections import LINK, SOURCE, reduce_collection
from regcli.domain.shapes import LIFETIME, MAYBE_TEXT, TEXT, check_collection, check_record
from regcli.domain.survey import parse_time
from regcli.model import Alias, Tag, TypeName
from regcli.store import jsontext
from regcli.store.chain import MAX_COMMIT
from regcli.store.layout import is_collection_place

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any

    from regcli.domain.collections import State
    from regcli.store.records import Records

    Operation = dict[str, Any]
    Commit = dict[str, Any]

_ENTRY: dict[str, tuple[type, ...]] = {
    "chain": TEXT, "place": TEXT, "name": TEXT, "kind": TEXT, "type": TEXT, "description": TEXT, "tags": (list,),
    "whole": (bool,), "after_seq": (int,), "last_seq": (int,),
}  # fmt: skip
_REGISTRY: dict[str, tuple[type, ...]] = {
    "name": TEXT, "description": TEXT, "types": (list,), "visibility": TEXT, "protected": (list,),
}  # fmt: skip
_COMMIT: dict[str, tuple[type, ...]] = {
    "seq": (int,), "time": TEXT, "user": TEXT, "host": TEXT, "command": TEXT, "reason": MAYBE_TEXT, "ops": (list,),
}  # fmt: skip
_MAYBE_VERSION = (int, type(None))
_VERSION: dict[str, tuple[type, ...]] = {"version": (int,)}
_OPS: dict[str, dict[str, tuple[type, ...]]] = {
    "create": {},
    "remove": {},
    "version": {**_VERSION, "record": (dict,)},
    "link": {**_VERSION, "record": (dict,)},
    "alias": {"alias": TEXT, "before": _MAYBE_VERSION, "after": _MAYBE_VERSION},
    "tags": {"version": _MAYBE_VERSION, "before": (list,), "after": (list,)},
    "edit": {"version": _MAYBE_VERSION, "field": TEXT, "before": (object,), "after": (object,)},
    "delete": _VERSION,
    "undelete": _VERSION,
    "unlink": _VERSION,
    "purge": _VERSION,
    "reserve": _VERSION,
}
# What `edit` may change; the rest of a version is what it is.
_EDITS: dict[str, tuple[type, ...]] = {"description": TEXT, "metadata": (dict,), "ttl": LIFETIME}
_COLLECTION_EDITS: dict[str, tuple[type, ...]] = {"description": TEXT, "type": TEXT, "ttl": LIFETIME}
_TIMES = ("created_at", "updated_at", "linked_at")
_MAX_NUMBER = 10**9
_MAX_TIME = 40
_MAX_MEMBER = 64
# Beside its operations a commit has the envelope of this root.
_ENVELOPE = 65536


def _take(document: Any, fields: dict[str, tuple[type, ...]], what: str) -> dict[str, Any]:
    """Return the fields of an object, each of its type; bools are no numbers, and numbers no versions when negative or huge."""
    if type(document) is not dict:
        raise ValueError(f"{what} is not an object")
    for key, kinds in fields.items():
        value = document.get(key)
        if kinds != (object,) and type(value) not in kinds:
            raise ValueError(f"{key} of {what} is malformed")
        if type(value) is int and not 0 <= value <= _MAX_NUMBER and key != "ttl":
            raise ValueError(f"{key} of {what} is out of range")
    return {key: document.get(key) for key in fields}


def vet_entry(entry: dict[str, Any]) -> None:
    """Check what the index says of a collection, but for names.

    Raises:
        ValueError: it is malformed. InvalidNameError: a type or alias breaks the rules.
    """
    _take(entry, _ENTRY, "a collection")
    if len(entry["chain"]) > _MAX_MEMBER:
        raise ValueError("no member of a bundle has such a name")
    TypeName.parse(entry["type"])
    _check_tags(entry["tags"])
    if entry["kind"] not in (SOURCE, LINK) or not is_collection_place(entry["place"]):
        raise ValueError("neither source nor links")
    if entry["kind"] == SOURCE and "registry" in entry:
        raise ValueError("sources in a registry")
    if "registry" in entry:
        settings = _take(entry["registry"], _REGISTRY, "a registry")
        for kind, names in ((TypeName, settings["types"]), (Alias, settings["protected"])):
            if not all(type(name) is str and kind.parse(name) for name in names):
                raise ValueError("a name of a registry is no text")


def _check_tags(tags: list[Any]) -> None:
    if not all(type(tag) is str and Tag.parse(tag) for tag in tags):
        raise ValueError("a tag is no text")


def _check_time(text: str) -> None:
    if len(text) > _MAX_TIME:
        raise ValueError("a time is malformed")
    parse_time(text)


def _check_unicode(document: Any) -> None:
    """Refuse lone surrogates, which JSON can spell but no file can hold, anywhere in a document of any depth."""
    waiting = [document]
    while waiting:
        value = waiting.pop()
        if type(value) is dict:
            waiting.extend(value)
            waiting.extend(value.values())
        elif type(value) is list:
            waiting.extend(value)
        elif type(value) is str and not value.isascii() and any("\ud800" <= character <= "\udfff" for character in value):
            raise ValueError("a text has a lone surrogate")


def vet_commits(entry: dict[str, Any], commits: Iterable[Any]) -> list[Commit]:
    """Return the commits of a collection with the fields that this program knows.

    Raises:
        ValueError: one is malformed. InvalidNameError: an alias or tag breaks the rules. IntegrityError: a time is none.
    """
    found = []
    last = 0
    for document in commits:
        commit = _take(document, _COMMIT, "a commit")
        _check_time(commit["time"])
        _check_unicode(commit)
        if not last < commit["seq"] <= entry["last_seq"]:
            raise ValueError("commits are not in order")
        last = commit["seq"]
        commit["ops"] = [_vet_operation(op, entry["kind"]) for op in commit["ops"]]
        if len(jsontext.dumps(commit)) > MAX_COMMIT - _ENVELOPE:
            raise ValueError("a commit is too large")
        found.append(commit)
    return found


def _vet_operation(op: Any, kind: str) -> Operation:
    name = op["op"]
    if name not in _OPS:
        raise ValueError(f"an unknown operation {str(name)[:40]!r}")
    found = {"op": name, **_take(op, _OPS[name], f"operation {name}")}
    if name in ("version", "link"):
        if (name == "link") is not (kind == LINK):
            raise ValueError("a link among versions, or a version among links")
        _vet_record(found["record"], kind)
    elif name == "alias":
        Alias.parse(found["alias"])
    elif name == "tags":
        _check_tags(found["after"])
    elif name == "edit":
        allowed = _COLLECTION_EDITS if found["version"] is None else _EDITS
        if type(found["after"]) not in allowed.get(found["field"], ()):
            raise ValueError(f"an edit of {found['field'][:40]!r}")
        if found["field"] == "type":
            TypeName.parse(found["after"])
    return found


def _vet_record(record: dict[str, Any], kind: str) -> None:
    check_record({**record, "state": "COMMITTED"})
    _check_tags(record["tags"])
    for key in _TIMES:
        if record.get(key) is not None:
            _check_time(record[key])
    source = record.get("source")
    if (source is not None) is not (kind == LINK):
        raise ValueError("a link without its source, or a source that is a link")
    if record["algorithm"] not in ("XXH128", "MD5"):
        raise ValueError("an unknown algorithm")
    for edge in record["inputs"] if source is None else (*record["inputs"], source):
        if not is_collection_place(edge["place"]) or not 0 <= edge["version"] <= _MAX_NUMBER:
            raise ValueError("a version that is nowhere")
        if "id" in edge and (len(edge["id"]) != 32 or not set(edge["id"]) <= set("0123456789abcdef")):
            raise ValueError("a malformed id")


def rehearse(state: State, records: Records, ops: list[Operation], origin: dict[str, Any]) -> None:
    """Apply operations to a copy of a collection as its log would, so that none is appended that no reader takes.

    Raises:
        ValueError (or the errors of a wrong type): they do not fit.
    """
    for op in ops:
        if (
            op["op"] == "alias"
            and op["after"] is not None
            and records.get(op["after"]) is None
            and not _makes(ops, op["after"])
        ):
            raise ValueError(f"alias {op['alias']!r} of a version that is not there")
    commit = {"ops": ops, "time": origin["time"], "user": origin["user"], "origin": origin}
    reduce_collection(state, records, commit)
    check_collection(state)


def _makes(ops: list[Operation], index: int) -> bool:
    return any(op["op"] in ("version", "link") and op["version"] == index for op in ops)


def made_by(commits: list[Commit]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield (index, record) of the versions that commits make."""
    for commit in commits:
        for op in commit["ops"]:
            if op["op"] in ("version", "link"):
                yield op["version"], op["record"]
