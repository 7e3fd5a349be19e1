"""Diff: what changed between two versions, files and metadata."""

from __future__ import annotations

from regcli.domain.manifests import read_manifest
from regcli.domain.resolving import Version, resolve, shared_record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from regcli.domain.context import Context
    from regcli.store.manifest import Entry

MISSING = object()


class Difference:
    """What differs between version `a` and version `b`.

    Attributes:
        added, removed: manifest entries. changed: (entry of a, entry of b).
        metadata: key -> `{before, after}`, without the side that has no such key.
    """

    __slots__ = ("a", "added", "b", "changed", "metadata", "removed")

    def __init__(self, a: Version, b: Version) -> None:
        """Start with no differences."""
        self.a = a
        self.b = b
        self.added: list[Entry] = []
        self.removed: list[Entry] = []
        self.changed: list[tuple[Entry, Entry]] = []
        self.metadata: dict[str, dict[str, Any]] = {}

    @property
    def is_empty(self) -> bool:
        """Whether the versions are the same."""
        return not (self.added or self.removed or self.changed or self.metadata)

    def document(self) -> dict[str, Any]:
        """Return the promised JSON fields."""
        return {
            "a": self.a.ref,
            "b": self.b.ref,
            "added": [_entry(entry) for entry in self.added],
            "removed": [_entry(entry) for entry in self.removed],
            "changed": [{"path": after[0], "before": _entry(before), "after": _entry(after)} for before, after in self.changed],
            "metadata": self.metadata,
        }


def _entry(entry: Entry) -> dict[str, Any]:
    from regcli.domain.files import entry_document

    return entry_document(entry)


def diff(context: Context, first: str, second: str) -> Difference:
    """Compare two versions."""
    a = resolve(context, first)
    b = resolve(context, second)
    found = Difference(a, b)
    before = {entry[0]: entry for entry in read_manifest(context, a.record)}
    after = {entry[0]: entry for entry in read_manifest(context, b.record)}
    for path in sorted(before.keys() | after.keys(), key=str.encode):
        if path not in before:
            found.added.append(after[path])
        elif path not in after:
            found.removed.append(before[path])
        elif before[path][1:4] != after[path][1:4]:
            found.changed.append((before[path], after[path]))
    old, new = shared_record(context, a)["metadata"], shared_record(context, b)["metadata"]
    for key in sorted(old.keys() | new.keys()):
        if old.get(key, MISSING) != new.get(key, MISSING):
            change: dict[str, Any] = {}
            if key in old:
                change["before"] = old[key]
            if key in new:
                change["after"] = new[key]
            found.metadata[key] = change
    return found
