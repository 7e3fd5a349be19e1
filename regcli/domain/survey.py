"""Every version in a root, strictly: what deletes must know all of them, so one unreadable log is an error here."""

from __future__ import annotations

from regcli.domain.collections import COMMITTED, LINK, PURGED, Collection, is_live, open_collection_directory
from regcli.domain.registries import open_registry_directory, registry_directories
from regcli.errors import IntegrityError, RegcliError, SignatureRefusedError, StorageError
from regcli.model import quote
from regcli.store.layout import collection_paths, project_paths
from regcli.store.manifest import REFERENCE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any

    from regcli.domain.context import Context
    from regcli.domain.registries import Registry

    Record = dict[str, Any]
    # Digest of a blob -> its size in bytes.
    Blobs = dict[bytes, int]


def parse_time(text: str) -> float:
    """Return the seconds since the epoch of a stored time, `2026-11-30T08:15:00.123456Z`.

    Raises:
        IntegrityError: it is no such time.
    """
    from calendar import timegm

    try:
        day, clock = text[:10].split("-"), text[11:19].split(":")
        seconds = timegm((int(day[0]), int(day[1]), int(day[2]), int(clock[0]), int(clock[1]), int(clock[2])))
        return seconds + float(f"0.{text[20:-1] or 0}")
    except (ValueError, IndexError) as error:
        raise IntegrityError(f"{quote(text)} is not a time that regcli writes", hint="run `regcli verify`") from error


def every_collection(context: Context) -> Iterator[Collection]:
    """Yield every collection of the root that has a log, those that were deleted too.

    Raises:
        IntegrityError: a log cannot be read.
    """
    owners: list[tuple[str, Registry | None]] = []
    for name in registry_directories(context):
        registry = open_registry_directory(context, name)
        owners.append((registry.base, registry))
    owners.extend((project, None) for project in project_paths(context.root.path))
    for owner, registry_of in owners:
        for base in collection_paths(owner):
            collection = open_collection_directory(context, base, registry_of)
            if collection.state["name"] is not None:
                yield collection


def shown_ref(collection: Collection) -> str:
    """Return a collection's reference; a registry that lost its name is shown by its directory."""
    registry = collection.registry
    if registry is not None and registry.state["name"] is None:
        return f"{registry.base.rpartition('/')[2]}/{collection.name}"
    return collection.ref


class Survey:
    """What the versions of a root are, by artifact (a version with all its memberships).

    Attributes:
        collections: every collection. sources: artifact id -> record, of every source that is not purged.
        linked: ids of the artifacts that some link points to. records: artifact id -> a record, links' copies too.
        newest: the newest time of any change, in seconds since the epoch.
    """

    __slots__ = ("_context", "collections", "linked", "newest", "records", "sources")

    def __init__(self, context: Context) -> None:
        """Read every collection of the root."""
        self._context = context
        self.collections = list(every_collection(context))
        self.sources: dict[str, Record] = {}
        self.records: dict[str, Record] = {}
        self.linked: set[str] = set()
        self.newest = 0.0
        for collection in self.collections:
            is_link = collection.state["kind"] == LINK
            if collection.state["updated_at"] is not None:
                self.newest = max(self.newest, parse_time(collection.state["updated_at"]))
            for _, record in collection.snapshot.records.ascending():
                if is_link:
                    # A link keeps its content alive itself, should its source's log be gone.
                    if is_live(record) and collection.exists:
                        self.linked.add(record["id"])
                        self.records.setdefault(record["id"], record)
                elif record["state"] != PURGED:
                    self.sources[record["id"]] = record
                    self.records[record["id"]] = record

    def live(self) -> dict[str, Record]:
        """Return the records of artifacts that are there: their source or a link is."""
        return {
            artifact: record
            for artifact, record in self.records.items()
            if record["state"] == COMMITTED or artifact in self.linked
        }

    def referred(self) -> set[str]:
        """Return the ids of the artifacts whose files some version that is there refers to.

        Raises:
            IntegrityError: the manifest of a version, whose record does not say it, cannot be read.
        """
        from regcli.domain.referrers import refers_to

        found: set[str] = set()
        for record in self.sources.values():
            if record["state"] == COMMITTED and record.get("references"):
                try:
                    found.update(refers_to(self._context, record))
                except StorageError:
                    raise
                except RegcliError as error:
                    raise _unknown_files(record, error) from error
        return found

    def signed_lists(self) -> set[str]:
        """Return the blobs with the BLAKE3 lists of signed aliases; without one its version is hashed anew at every read."""
        from regcli.domain.statements import parse_signed

        found = set()
        for collection in self.collections:
            for stored in collection.state.get("signed", {}).values():
                try:
                    listed = parse_signed(stored, shown_ref(collection)).statement["files"]
                except SignatureRefusedError:
                    continue
                if listed is not None:
                    found.add(listed["list"])
        return found


def by_manifest(records: Iterable[Record]) -> dict[str, list[Record]]:
    """Group records that have one manifest, so that each is read once."""
    groups: dict[str, list[Record]] = {}
    for record in records:
        groups.setdefault(record["manifest"], []).append(record)
    return groups


def _unknown_files(record: Record, error: RegcliError) -> IntegrityError:
    return IntegrityError(
        f"the files of a version of {record['created_at']} cannot be known: {error.message}",
        hint="`regcli verify` names the version; nothing was swept",
    )


def blobs_of(context: Context, record: Record) -> Blobs:
    """Return the blobs of a version's files (not its manifest), each once.

    Raises:
        IntegrityError: the manifest is damaged or missing, so what it names cannot be known.
    """
    from regcli.domain.manifests import read_manifest

    try:
        entries = read_manifest(context, record)
    except StorageError:
        # It may be there; it cannot be read now.
        raise
    except RegcliError as error:
        raise _unknown_files(record, error) from error
    return {bytes.fromhex(entry[1]): entry[2] for entry in entries if not entry[3] & REFERENCE}
