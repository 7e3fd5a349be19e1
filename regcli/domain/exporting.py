"""Export: versions, collections, registries or projects as one bundle, with content, links, aliases and history."""

from __future__ import annotations

from contextlib import nullcontext

from regcli.domain import roles
from regcli.domain.collections import PURGED, Collection, is_live, open_place, require_right
from regcli.domain.listing import find_place, view_collections
from regcli.domain.manifests import read_manifest
from regcli.domain.registries import Registry, protected_names
from regcli.domain.resolving import resolve
from regcli.domain.settings import is_personal
from regcli.domain.vetting import vet_commits, vet_entry
from regcli.errors import IntegrityError, RegcliError, UsageError
from regcli.model import quote, split_reference
from regcli.store import jsontext
from regcli.store.bundle import FORMAT, INDEX, MAX_TEXT, BundleWriter, bundle_file, parse_index
from regcli.store.manifest import REFERENCE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from regcli.domain.context import Context

    Selection = dict[str, set[int] | None]

_DROPPED = ("rename", "redirect")
_MALFORMED = (KeyError, TypeError, ValueError, AttributeError)


class Exported:
    """What went into a bundle: its path and counts."""

    __slots__ = ("blobs", "bytes", "collections", "path", "versions")

    def __init__(self, path: str) -> None:
        """Start with nothing."""
        self.path = path
        self.collections = 0
        self.versions = 0
        self.blobs = 0
        self.bytes = 0

    def document(self) -> dict[str, Any]:
        """Return it as JSON."""
        return {
            "path": self.path,
            "collections": self.collections,
            "versions": self.versions,
            "blobs": self.blobs,
            "bytes": self.bytes,
        }


def export_bundle(
    context: Context,
    texts: Sequence[str],
    path: str,
    *,
    since: str | None = None,
    progress: Callable[[int, int], None] | None = None,
    write: Callable[[bytes], object] | None = None,
) -> Exported:
    """Write a bundle of what the references name, and of the sources of all links among it.

    Args:
        context: who asks, and where.
        texts: references to versions, collections, registries (`model/`) or projects (`team/zoo/`).
        path: the file to write.
        since: an RFC 3339 time: only what changed at or after it, for a root that has the rest.
        progress: told (files, bytes) as they are written.
        write: takes the bytes of the bundle, one after the other, in place of a file; not before every right was checked.

    Raises:
        NotFoundError: a reference names nothing. RoleError: the user may not download it.
        UsageError: it is more than one bundle can hold; nothing was written.
    """
    if not texts:
        raise UsageError("nothing to export", hint="name versions, collections, registries or projects")
    selection: Selection = {}
    for text in texts:
        _select(context, text, selection)
    collections = [open_place(context, place) for place in sorted(selection, key=lambda place: place.startswith("registries/"))]
    done = Exported(path)
    chains: list[tuple[dict[str, Any], bytes]] = []
    blobs: dict[str, int] = {}
    for number, collection in enumerate(collections):
        commits = _commits(collection, selection[collection.place], since)
        if since is not None and not commits:
            continue
        _gather(context, collection, commits, blobs, done)
        entry = _entry(context, collection, number, whole=selection[collection.place] is None)
        entry["after_seq"] = _seq_before(collection, since)
        data = b"".join(jsontext.dumps(commit).encode() + b"\n" for commit in commits)
        _check_chain(collection, entry, commits, data)
        chains.append((entry, data))
    done.collections = len(chains)
    index = {
        "format": FORMAT,
        "root": context.root.id,
        "created_at": context.now(),
        "created_by": context.user,
        "since": since,
        "collections": [entry for entry, _ in chains],
    }
    index_data = jsontext.dumps(index).encode() + b"\n"
    _check_index(index_data, done.collections)
    with bundle_file(path) if write is None else nullcontext(BundleWriter(write)) as writer:
        writer.add_text(INDEX, index_data)
        for entry, data in chains:
            writer.add_text(entry["chain"], data)
        _add_blobs(context, writer, sorted(blobs), done, progress)
        writer.finish()
    return done


def _check_chain(collection: Collection, entry: dict[str, Any], commits: list[dict[str, Any]], data: bytes) -> None:
    """Refuse what no import would take, before anything is written."""
    if len(data) > MAX_TEXT:
        raise UsageError(
            f"the history of {quote(collection.ref)} takes {len(data)} bytes, more than the {MAX_TEXT} that a bundle can hold",
            hint="export single versions, or with --since what changed lately",
        )
    try:
        vet_entry(entry)
        vet_commits(entry, commits)
    except (*_MALFORMED, RegcliError) as error:
        raise UsageError(
            f"{quote(collection.ref)} cannot be exported, since no import would take it: {error}",
            hint="export single versions, or copy the whole root with rsync",
        ) from None


def _check_index(data: bytes, collections: int) -> None:
    """Refuse an index that no import would read, before anything is written."""
    try:
        parse_index(data, "it")
    except IntegrityError as error:
        raise UsageError(
            f"{collections} collections are too many for one bundle, since no import would take its index: {error}",
            hint="export fewer at a time, each part into a file of its own",
        ) from None


def _add_blobs(
    context: Context, writer: BundleWriter, digests: Sequence[str], done: Exported, progress: Callable[[int, int], None] | None
) -> None:
    content = context.root.content
    for digest in digests:
        size = content.size(digest)
        writer.add_blob(digest, size, content.stream(digest))
        done.blobs += 1
        done.bytes += size
        if progress is not None:
            progress(done.blobs, done.bytes)


def _add(selection: Selection, place: str, index: int | None) -> None:
    if index is None or selection.get(place, set()) is None:
        selection[place] = None
        return
    known = selection.setdefault(place, set())
    if known is not None:
        known.add(index)


def _add_source(selection: Selection, record: dict[str, Any]) -> None:
    source = record.get("source")
    if source is not None:
        _add(selection, source["place"], source["version"])


def _select(context: Context, text: str, selection: Selection) -> None:
    _, tail = split_reference(text)
    if tail is not None:
        version = resolve(context, text, action="download")
        if version.seal is not None:
            from regcli.domain.verification import check_signed_content

            check_signed_content(context, version)
        _add(selection, version.collection.place, version.index)
        _add_source(selection, version.record)
        return
    place = find_place(context, text)
    if isinstance(place, Collection):
        require_right(context, place, "download")
        _select_collection(place, selection)
        return
    if isinstance(place, Registry):
        roles.require(place.state, context.user, "download")
    for collection in view_collections(context, place):
        _select_collection(collection, selection)


def _select_collection(collection: Collection, selection: Selection) -> None:
    _add(selection, collection.place, None)
    for _, record in collection.versions(deleted=True):
        _add_source(selection, record)


def _commits(collection: Collection, wanted: set[int] | None, since: str | None) -> list[dict[str, Any]]:
    """Return the commits that are about the wanted versions (all, for None), without what only this root needs."""
    gone = {index for index, record in collection.versions(deleted=True) if record["state"] == PURGED}
    after = max(_seq_before(collection, since), _begun(collection) - 1)
    found = []
    for commit, _ in collection.chain.commits():
        ops: list[dict[str, Any]] = []
        for op in commit["ops"]:
            ops.extend(_kept(op, wanted, gone))
        if ops and commit["seq"] > after:
            kept: dict[str, Any] = {
                key: commit[key] for key in ("seq", "time", "user", "host", "command", "reason") if key in commit
            }
            found.append({**kept, "ops": ops})
    return found


def _kept(op: dict[str, Any], wanted: set[int] | None, gone: set[int]) -> list[dict[str, Any]]:
    name = op["op"]
    if name in _DROPPED:
        return []
    if name == "alias":
        about = [index for index in (op["before"], op["after"]) if index is not None]
        if wanted is not None and not wanted.intersection(about):
            return []
        # An alias that went to a version outside the bundle is, seen from inside, removed.
        if wanted is not None and op["after"] not in wanted:
            return [{"op": "alias", "alias": op["alias"], "before": op["before"], "after": None}]
        # Without a signature, which holds for this root only.
        plain: dict[str, Any] = {"op": "alias", **{key: op[key] for key in ("alias", "before", "after")}}
        return [plain]
    index = op.get("version")
    if wanted is not None and index is not None and index not in wanted:
        return []
    if index in gone and name in ("version", "link"):
        return [op, {"op": "purge", "version": index}]
    if index in gone:
        return []
    return [op]


def _gather(
    context: Context, collection: Collection, commits: Sequence[dict[str, Any]], blobs: dict[str, int], done: Exported
) -> None:
    """Note the blobs of the versions that the commits make."""
    for commit in commits:
        for op in commit["ops"]:
            if op["op"] not in ("version", "link"):
                continue
            record = collection.snapshot.records.get(op["version"])
            if record is None or record["state"] == PURGED or (op["op"] == "link" and not is_live(record)):
                continue
            done.versions += 1
            if record["manifest"] in blobs:
                continue
            blobs[record["manifest"]] = 0
            entries = read_manifest(context, record)
            blobs.update({digest: size for _, digest, size, flags, _ in entries if not flags & REFERENCE})


def _begun(collection: Collection) -> int:
    """Return the number of the commit with which the collection began, the last time it was made."""
    seq = 1
    for commit, _ in collection.chain.commits():
        if any(op["op"] == "create" for op in commit["ops"]):
            seq = commit["seq"]
    return seq


def _seq_before(collection: Collection, since: str | None) -> int:
    """Return the number of the last commit that `since` leaves out."""
    last = 0
    if since is not None:
        for commit, _ in collection.chain.commits():
            if commit["time"] < since:
                last = commit["seq"]
    return last


def _entry(context: Context, collection: Collection, number: int, *, whole: bool) -> dict[str, Any]:
    state = collection.state
    entry: dict[str, Any] = {
        "chain": f"chains/{number:04d}.jsonl",
        "place": collection.place,
        "ref": collection.ref,
        "name": state["name"],
        "kind": state["kind"],
        "type": state["type"],
        "description": state["description"],
        "tags": state["tags"],
        "whole": whole,
        "last_seq": collection.snapshot.seq,
        "entity": state["entity"],
        "project": state["project"],
    }
    if collection.registry is not None:
        settings = collection.registry.state
        entry["registry"] = {
            "name": settings["name"],
            "description": settings["description"],
            "types": settings["types"],
            "visibility": settings["visibility"],
            "protected": protected_names(settings),
        }
    else:
        entry["personal"] = is_personal(context, state["entity"])
    return entry
