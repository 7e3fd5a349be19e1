"""The sources of many links, each collection of them opened once."""

from __future__ import annotations

from regcli.errors import RegcliError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from regcli.domain.collections import Collection
    from regcli.domain.context import Context
    from regcli.domain.resolving import Version

    Record = dict[str, Any]


class Sources:
    """Finds what memberships share, for one query over many of them."""

    __slots__ = ("_context", "_opened")

    def __init__(self, context: Context) -> None:
        """Open nothing yet."""
        self._context = context
        self._opened: dict[str, Collection | None] = {}

    def shared_record(self, version: Version) -> Record:
        """Return the record that holds tags, metadata and description; a link's own copy where its source cannot be read."""
        source = version.record.get("source")
        if source is None:
            return version.record
        collection = self._open(source["place"])
        record = collection.snapshot.records.get(source["version"]) if collection is not None else None
        return record if record is not None and record["id"] == version.record["id"] else version.record

    def _open(self, place: str) -> Collection | None:
        if place not in self._opened:
            from regcli.domain.collections import open_place

            try:
                self._opened[place] = open_place(self._context, place)
            except RegcliError as error:
                self._context.warnings.append(error.message)
                self._opened[place] = None
        return self._opened[place]


def searched_fields(version: Version, shared: Record) -> Record:
    """Return what queries of the library may name of a version."""
    return {
        **{key: shared[key] for key in ("id", "tags", "metadata", "metrics", "description", "created_at", "updated_at")},
        "version": version.version,
        "version_index": version.index,
        "type": version.collection.state["type"],
        "aliases": version.aliases,
        "digest": version.digest,
        "size": version.record["size"],
        "linked_at": version.record.get("linked_at"),
    }
