"""What scripts get to see of a version or a collection: the fields of the JSON output, which are promised."""

from __future__ import annotations

from regcli.domain import roles
from regcli.domain.collections import COMMITTED, Collection, is_live, open_place
from regcli.domain.lifetime import Lifetimes
from regcli.domain.resolving import Version, shared_record, source_of
from regcli.errors import IntegrityError, RegcliError
from regcli.store import backrefs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from regcli.domain.catalog import Entry
    from regcli.domain.context import Context

    Document = dict[str, Any]
    Record = dict[str, Any]


def format_ttl(ttl: int | str | None) -> str:
    """Return a TTL as `--ttl` takes it: `none`, `inherit`, or seconds in the largest whole unit."""
    if ttl is None:
        return "none"
    if isinstance(ttl, str):
        return ttl
    for unit, seconds in (("w", 604800), ("d", 86400), ("h", 3600), ("m", 60)):
        if ttl % seconds == 0:
            return f"{ttl // seconds}{unit}"
    return f"{ttl}s"


def links_of(
    context: Context, artifact_id: str, *, strict: bool = False, opened: dict[str, Collection] | None = None
) -> Iterator[Version]:
    """Yield every membership that is a link to the artifact and still there.

    Args:
        context: who asks, and where.
        artifact_id: of the source version.
        strict: for whoever is about to take away or change what is linked: a link that cannot be read, because of damage,
            may be one that forbids it.
        opened: keeps collections by place, for many artifacts in a row; without it everything is read anew.

    Raises:
        IntegrityError: `strict`, and something is damaged. StorageError: `strict`, and something cannot be read.
    """
    opened = {} if opened is None else opened
    markers = backrefs.read_backrefs(context.root.path, artifact_id, backrefs.LINK, strict=strict, unread=context.warnings)
    for _, place, number in markers:
        try:
            collection = opened[place] = opened.get(place) or open_place(context, place)
            record = collection.snapshot.records.get(number)
        except RegcliError as error:
            if strict:
                raise
            context.warnings.append(error.message)
            continue
        if record is not None and is_live(record) and record["id"] == artifact_id and collection.exists:
            yield Version(collection, number, record)


def may_see(context: Context, version: Version) -> bool:
    """Tell whether the user may see the place where a version lies."""
    registry = version.collection.registry
    return registry is None or roles.allows(registry.state, context.user, "view")


def visible_links(context: Context, artifact_id: str, opened: dict[str, Collection] | None = None) -> list[Version]:
    """Return the links that the user may see, ordered by reference; `opened` as for `links_of`."""
    found = [link for link in links_of(context, artifact_id, opened=opened) if may_see(context, link)]
    return sorted(found, key=lambda link: (link.collection.ref, link.index))


def version_document(
    context: Context,
    version: Version,
    *,
    related: bool = True,
    opened: dict[str, Collection] | None = None,
    lifetimes: Lifetimes | None = None,
) -> Document:
    """Return the version record.

    Args:
        context: who asks, and where.
        version: a membership.
        related: also look up its links and who used it (one directory read per version).
        opened: keeps collections of sources and links by place, for many versions in a row.
        lifetimes: keeps the root's default TTL, for the same.
    """
    opened = {} if opened is None else opened
    shared = shared_record(context, version, opened)
    source = version.record.get("source")
    source_ref = _source_ref(context, version, opened) if source is not None else version.ref
    links = visible_links(context, shared["id"], opened) if related else []
    state = _state(version, shared)
    expires_at = None
    if source is None and not links and state == COMMITTED:
        expires_at = (lifetimes or Lifetimes(context)).end(version.collection, shared["ttl"], shared["created_at"])
    document: Document = {
        "ref": version.ref,
        "name": version.collection.name,
        "version": version.version,
        "type": version.collection.state["type"],
        "digest": version.digest,
        "digest_algorithm": version.record["algorithm"],
        "size": version.record["size"],
        "file_count": version.record["file_count"],
        "reference_count": shared.get("references") or 0,
        "aliases": version.aliases,
        "protected_aliases": version.protected_aliases(),
        "signed_aliases": version.signed_aliases(),
        "tags": shared["tags"],
        "metadata": shared["metadata"],
        "metrics": shared["metrics"],
        "description": shared["description"],
        "ttl": "none" if (source is not None or links) else format_ttl(shared["ttl"]),
        "expires_at": expires_at,
        "state": state,
        "id": shared["id"],
        "created_at": shared["created_at"],
        "created_by": shared["created_by"],
        "updated_at": shared["updated_at"],
        "linked_at": version.record.get("linked_at"),
        "linked_by": version.record.get("linked_by"),
        "is_link": source is not None,
        "source": source_ref,
        "inputs": [item["ref"] for item in shared["inputs"]],
        "logged_by": shared["run"],
    }
    if related:
        document["links"] = [] if source is not None else [link.ref for link in links]
        document["used_by"] = consumers(context, shared["id"])
    return document


def _state(version: Version, shared: Record) -> str:
    if not is_live(version.record):
        return "DELETED"
    return COMMITTED if is_live(shared) or version.is_link else "DELETED"


def _source_ref(context: Context, version: Version, opened: dict[str, Collection]) -> str:
    source = version.record["source"]
    try:
        return source_of(context, version, opened).ref
    except (IntegrityError, KeyError):
        return f"{source['entity']}/{source['project']}/{source['name']}:v{source['version']}"


def consumers(context: Context, artifact_id: str) -> list[str]:
    """Return references of the versions, and names of the runs, that used the artifact as input."""
    found = set()
    opened: dict[str, Collection] = {}
    for kind, place, number in backrefs.read_backrefs(context.root.path, artifact_id, unread=context.warnings):
        try:
            if kind == backrefs.INPUT:
                # A collection whose every version was made from this one is opened once.
                collection = opened[place] = opened.get(place) or open_place(context, place)
                record = collection.snapshot.records.get(number)
                if record is not None and any(item["id"] == artifact_id for item in record["inputs"]):
                    found.add(record["run"] or collection.version_ref(number))
            elif kind == backrefs.USE:
                from regcli.domain.runs import run_used

                found.update(run_used(context, place, artifact_id))
        except RegcliError as error:
            context.warnings.append(error.message)
    return sorted(found)


def collection_document(collection: Collection | Entry) -> Document:
    """Return a collection as an element of `ls REGISTRY`."""
    state = collection.state
    return {
        "ref": collection.ref,
        "name": collection.name,
        "kind": state["kind"],
        "type": state["type"],
        "versions": state["count"],
        "latest": f"v{state['latest']}" if state["latest"] is not None else None,
        "tags": state["tags"],
        "description": state["description"],
        "created_at": state["created_at"],
        "created_by": state["created_by"],
        "updated_at": state["updated_at"],
        "aliases": sorted(shown for shown, _ in state["aliases"].values()),
    }


def registry_document(state: dict[str, Any], *, collections: int | None = None) -> Document:
    """Return a registry's settings as `registry show` prints them."""
    from regcli.domain.registries import protected_names, signed_names

    document: Document = {
        "name": state["name"],
        "ref": state["name"],
        "description": state["description"],
        "types": state["types"],
        "visibility": state["visibility"],
        "protected_aliases": protected_names(state),
        "signed_aliases": signed_names(state),
        "members": [{"user": user, "role": role} for user, role in sorted(state["members"].items())],
        "ttl": format_ttl(state["ttl"]) if state["ttl"] is not None else "none",
        "shared": state["shared"]["group"] if state["shared"] is not None else None,
        "created_at": state["created_at"],
        "created_by": state["created_by"],
        "updated_at": state["updated_at"],
    }
    if collections is not None:
        document["collections"] = collections
    return document
