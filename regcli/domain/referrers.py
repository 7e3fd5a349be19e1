"""Versions that refer to files of other versions by `regcli-artifact:`, and are in the way when those are to be deleted.

What a version refers to is in its record (`refers`, FORMAT.md 4), so that few manifests have to be read; who refers to a
version is found by its markers. Only versions that are there count. Source: semantics.md DL-08.
"""

from __future__ import annotations

from regcli.domain.collections import is_live, open_place
from regcli.domain.resolving import Version
from regcli.errors import IntegrityError, NotFoundError, RegcliError
from regcli.model import quote
from regcli.store import backrefs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any

    from regcli.domain.collections import Collection
    from regcli.domain.context import Context
    from regcli.store.manifest import Entry

    Record = dict[str, Any]
    # Id of a version -> (path of the first entry that refers to it, where that version was logged or None).
    Targets = dict[str, tuple[str, dict[str, Any] | None]]


# More ids than that are not repeated in a version's record, which every reader of its collection reads; the manifest has them.
MAX_LISTED = 100


def referred(entries: Iterable[Entry]) -> Targets:
    """Return the versions that entries refer to."""
    from regcli.domain.references import is_artifact, target_of

    found: Targets = {}
    for entry in entries:
        if is_artifact(entry):
            artifact_id = target_of(entry)
            if artifact_id is not None:
                found.setdefault(artifact_id, (entry[0], (entry[4] or {}).get("source")))
    return found


def dead_targets(context: Context, targets: Targets) -> Iterator[tuple[str, Version]]:
    """Yield (path of an entry, version that it refers to) where that version was deleted.

    One that is not in this root, as after an import, is nothing that could be told from one that is elsewhere.
    """
    opened: dict[str, Collection] = {}
    for artifact_id, (path, source) in targets.items():
        try:
            place, index = str((source or {})["place"]), int((source or {})["version"])
            collection = opened[place] = opened.get(place) or open_place(context, place)
            record = collection.snapshot.records.get(index)
        except (RegcliError, KeyError, TypeError, ValueError):
            continue
        if record is not None and record["id"] == artifact_id and "source" not in record and not is_live(record):
            yield path, Version(collection, index, record)


def point(context: Context, entries: Iterable[Entry], place: str, index: int) -> dict[str, list[str]]:
    """Write the markers of what a version to be made refers to; returns what its record says of that.

    Called while the content lock is held, so that nothing is deleted between this and the commit.

    Raises:
        NotFoundError: a version that an entry refers to was deleted.
    """
    targets = referred(entries)
    for path, version in dead_targets(context, targets):
        raise NotFoundError(
            f"{quote(path)} refers to {quote(version.ref)}, which was deleted",
            hint=f"bring it back with `regcli undelete {version.ref}`, or leave the entry out",
        )
    return _point(context, targets, place, index)


def point_again(context: Context, record: Record, place: str, index: int) -> None:
    """Write the markers of what a version that an import makes refers to, and correct what its record says of that.

    Its content is stored, unless it was purged.
    """
    from regcli.domain.manifests import read_manifest

    record.pop("refers", None)
    if record.get("references"):
        try:
            entries = read_manifest(context, record)
        except (NotFoundError, IntegrityError):
            # Purged where it comes from: it never refers to anything again.
            return
        record.update(_point(context, referred(entries), place, index))


def _point(context: Context, targets: Targets, place: str, index: int) -> dict[str, list[str]]:
    for artifact_id in sorted(targets):
        backrefs.add_backref(context.root.path, artifact_id, backrefs.REFERENCE, place, index)
    return {"refers": sorted(targets)} if len(targets) <= MAX_LISTED else {}


def refers_to(context: Context, record: Record) -> list[str]:
    """Return the ids of the versions that a version refers to.

    Raises:
        RegcliError: its record does not say so (it is old, or they are many), and its manifest cannot be read.
    """
    ids: list[str] | None = record.get("refers")
    if ids is not None:
        return ids
    if not record.get("references"):
        return []
    from regcli.domain.manifests import read_manifest

    return sorted(referred(read_manifest(context, record)))


def referrers_of(context: Context, artifact_id: str) -> Iterator[Version]:
    """Yield every version that is there and refers to the version with this id, for whoever is about to delete it.

    Raises:
        IntegrityError: something is damaged, so that it cannot be known. StorageError: something cannot be read.
    """
    opened: dict[str, Collection] = {}
    for _, place, number in backrefs.read_backrefs(context.root.path, artifact_id, backrefs.REFERENCE, strict=True):
        collection = opened[place] = opened.get(place) or open_place(context, place)
        record = collection.snapshot.records.get(number)
        if record is not None and is_live(record) and collection.exists and artifact_id in refers_to(context, record):
            yield Version(collection, number, record)
