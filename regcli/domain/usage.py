"""Disk usage: what a version, a collection, a registry, a project or the root costs alone, and what it shares.

Content is stored once, so sizes do not add up: what several versions have in common is freed by none of them alone. A link
costs nothing; the bytes of a registry are those of the versions linked in it.
"""

from __future__ import annotations

from regcli.domain.collections import Collection, is_live, require_right
from regcli.domain.listing import find_place, list_projects, list_visible_registries, view_collections
from regcli.domain.registries import Registry
from regcli.domain.resolving import resolve
from regcli.domain.survey import Survey, blobs_of, by_manifest
from regcli.model import split_reference
from regcli.store import files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    from regcli.domain.context import Context
    from regcli.domain.listing import Project

    Record = dict[str, Any]
    Document = dict[str, Any]


class Part:
    """Some versions whose cost is asked for together.

    Attributes:
        ref: what it is. records: artifact id -> record.
        alone: bytes that nothing else uses. total: bytes of all its blobs. files: how many blobs.
    """

    __slots__ = ("alone", "files", "records", "ref", "total")

    def __init__(self, ref: str, records: Iterable[Record]) -> None:
        """Start uncounted."""
        self.ref = ref
        self.records = {record["id"]: record for record in records}
        self.alone = 0
        self.total = 0
        self.files = 0

    def document(self) -> Document:
        """Return the promised JSON fields."""
        return {
            "ref": self.ref,
            "alone": self.alone,
            "shared": self.total - self.alone,
            "total": self.total,
            "files": self.files,
            "versions": len(self.records),
        }


def disk_usage(context: Context, text: str | None, *, progress: Callable[[int, int], None] | None = None) -> Document:
    """Return the bytes of what a reference names, and of each of its parts.

    Args:
        context: who asks, and where.
        text: a version, collection, registry or project; None for the root.
        progress: told (1, 0) for each manifest that was read.

    Raises:
        NotFoundError: no such thing. RoleError: the user may not look. IntegrityError: a manifest is damaged.
    """
    whole, parts = _parts(context, text)
    survey = Survey(context)
    live = survey.live()
    _count(context, live, [whole, *parts], progress)
    document: Document = {**whole.document(), "parts": [part.document() for part in parts]}
    if text is None:
        document.update(_on_disk(context, survey, live, whole))
    return document


def _parts(context: Context, text: str | None) -> tuple[Part, list[Part]]:
    """Return what is asked for, and what it consists of."""
    if text is None:
        places: list[Registry | Project] = [*list_visible_registries(context), *list_projects(context)]
        parts = [_place_part(context, place) for place in places]
        records = [record for part in parts for record in part.records.values()]
        return Part(".", records), [part for part in parts if part.records]
    head, tail = split_reference(text)
    if tail is not None:
        version = resolve(context, text)
        return Part(version.ref, [version.record]), []
    place = find_place(context, head)
    if not isinstance(place, Collection):
        collections = view_collections(context, place)
        parts = [Part(collection.ref, _live(collection)) for collection in collections]
        return _place_part(context, place), parts
    require_right(context, place, "view")
    parts = [Part(place.version_ref(index), [record]) for index, record in place.versions()]
    return Part(place.ref, _live(place)), parts


def _live(collection: Collection) -> list[Record]:
    return [record for _, record in collection.versions() if is_live(record)]


def _place_part(context: Context, place: Registry | Project) -> Part:
    ref = f"{place.name if isinstance(place, Registry) else place.ref}/"
    return Part(ref, [record for collection in view_collections(context, place) for record in _live(collection)])


def _count(
    context: Context, live: dict[str, Record], parts: list[Part], progress: Callable[[int, int], None] | None = None
) -> None:
    """Count every part: a blob is a part's alone when all versions that use it belong to the part."""
    whole = parts[0]
    used: dict[bytes, int] = {}
    groups = by_manifest(live.values())
    own = [address for address, records in groups.items() if any(record["id"] in whole.records for record in records)]
    rest = [address for address in groups if address not in set(own)]
    for done, address in enumerate([*own, *rest], 1):
        records = groups[address]
        for blob in blobs_of(context, records[0]):
            # What lies outside counts only where it shares something.
            if blob in used or done <= len(own):
                used[blob] = used.get(blob, 0) + len(records)
        if progress is not None:
            progress(1, 0)
    for part in parts:
        _count_part(context, part, used)


def _count_part(context: Context, part: Part, used: dict[bytes, int]) -> None:
    within: dict[bytes, list[int]] = {}
    for records in by_manifest(part.records.values()).values():
        for blob, size in blobs_of(context, records[0]).items():
            within.setdefault(blob, [0, size])[0] += len(records)
    part.files = len(within)
    part.total = sum(size for _, size in within.values())
    part.alone = sum(size for blob, (count, size) in within.items() if count == used.get(blob, count))


def _on_disk(context: Context, survey: Survey, live: dict[str, Record], whole: Part) -> Document:
    """Return what the root's directories hold: content, what only deleted versions need, and the trash."""
    content = context.root.content
    needed = {bytes.fromhex(record["manifest"]) for record in live.values()}
    for records in by_manifest(live.values()).values():
        needed.update(blobs_of(context, records[0]))
    stored = {bytes.fromhex(digest): size for digest, size in content.blobs()}
    return {
        "stored": sum(stored.values()),
        "reclaimable": sum(size for digest, size in stored.items() if digest not in needed),
        "deleted_versions": len([artifact for artifact in survey.sources if artifact not in live]),
        "trash": tree_size(f"{context.root.path}/trash"),
        "manifests": sum(stored.get(bytes.fromhex(address), 0) for address in by_manifest(whole.records.values())),
    }


def tree_size(path: str) -> int:
    """Return the bytes of all files below a directory; 0 where there is none."""
    import os

    total = 0
    for directory, _, names in os.walk(path):
        for name in names:
            try:
                total += os.lstat(f"{directory}/{name}").st_size
            except FileNotFoundError:
                continue
            except OSError as error:
                raise files.explain(error, f"cannot read {directory}/{name}") from error
    return total
