"""Import: take a bundle into this root. What is missing is made; references, times, aliases, tags and sources stay.

Everything is checked before anything is written. Content comes first, then each collection commit by commit, so that an import
that was interrupted is finished by running it again: what is there already is recognised by the ids of its versions.
"""

from __future__ import annotations

from regcli.domain import roles
from regcli.domain.collections import LINK, SOURCE, Collection, locate
from regcli.domain.registries import VISIBILITIES, create_registry, find_registry, protect
from regcli.domain.settings import is_personal, register_entity
from regcli.errors import ConflictError, IntegrityError, NotFoundError, RegcliError
from regcli.model import (
    Alias,
    ArtifactName,
    CollectionName,
    CollectionRef,
    EntityName,
    ProjectName,
    RegistryName,
    TypeName,
    fold,
    quote,
)
from regcli.store import backrefs
from regcli.store.bundle import BundleReader
from regcli.store.manifest import REFERENCE, decode_manifest
from regcli.store.trust import sha256_hex

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from regcli.domain.context import Context
    from regcli.store.chain import Snapshot

    Operation = dict[str, Any]
    Commit = dict[str, Any]

_SMALL = 1 << 20
_PUBLISH_BYTES = 1 << 30
_PUBLISH_BLOBS = 5000
_FIELDS = frozenset(
    [
        "id", "digest", "algorithm", "manifest", "manifest_sha256", "size", "file_count", "description", "metadata", "metrics",
        "tags", "ttl", "inputs", "run", "created_at", "created_by", "updated_at",
    ]
)  # fmt: skip
_OPS = frozenset(["create", "version", "link", "alias", "tags", "edit", "delete", "undelete", "unlink", "purge", "remove"])


class Imported:
    """What an import did: the references of the collections, how many versions and blobs were new, and remarks."""

    __slots__ = ("blobs", "bytes", "collections", "remarks", "versions")

    def __init__(self) -> None:
        """Start with nothing."""
        self.collections: list[str] = []
        self.versions = 0
        self.blobs = 0
        self.bytes = 0
        self.remarks: list[str] = []

    def document(self) -> dict[str, Any]:
        """Return it as JSON."""
        return {
            "collections": self.collections,
            "versions": self.versions,
            "blobs": self.blobs,
            "bytes": self.bytes,
            "remarks": self.remarks,
        }


class _Part:
    """One collection of a bundle, checked: what the index says of it, its reference here, its commits."""

    __slots__ = ("commits", "entry", "ref")

    def __init__(self, entry: dict[str, Any], ref: CollectionRef, commits: list[Commit]) -> None:
        self.entry = entry
        self.ref = ref
        self.commits = commits


def import_bundle(context: Context, path: str, *, progress: Callable[[int, int], None] | None = None) -> Imported:
    """Take a bundle in.

    Raises:
        UsageError: it is no bundle. IntegrityError: it is damaged, or lacks content; nothing was written.
        ConflictError: a collection here has other versions under the same numbers; nothing was written.
        RoleError, ProtectedError: the user may not link or set a protected alias; nothing was written.
    """
    done = Imported()
    with BundleReader(path) as bundle:
        context.make_root()
        parts = [_parse_part(bundle, entry) for entry in _entries(bundle)]
        _check_content(context, bundle, parts)
        origin = str(bundle.index.get("root"))
        for part in parts:
            _check_target(context, part, origin)
        with context.lock("content"):
            _take_content(context, bundle, done, progress)
            places = {str(part.entry["place"]): _prepare(context, part).place for part in parts}
            for part in parts:
                _replay(context, part, origin, places, done)
    return done


def _entries(bundle: BundleReader) -> list[dict[str, Any]]:
    entries = bundle.index.get("collections")
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise IntegrityError(f"{quote(bundle.path)} is damaged: its index lists no collections")
    return sorted(entries, key=lambda entry: "registry" in entry)


def _parse_part(bundle: BundleReader, entry: dict[str, Any]) -> _Part:
    """Check everything that a bundle says of one collection; it may have been made by anybody."""
    try:
        TypeName.parse(entry["type"])
        if entry["kind"] not in (SOURCE, LINK) or not isinstance(entry["place"], str):
            raise ValueError("neither source nor links")
        if "registry" in entry:
            settings = entry["registry"]
            if settings["visibility"] not in VISIBILITIES:
                raise ValueError("an unknown visibility")
            [TypeName.parse(item) for item in settings["types"]]
            [Alias.parse(item) for item in settings["protected"]]
            ref = CollectionRef(CollectionName.parse(entry["name"]), registry=RegistryName.parse(settings["name"]))
        else:
            entity, project = EntityName.parse(entry["entity"]), ProjectName.parse(entry["project"])
            ref = CollectionRef(ArtifactName.parse(entry["name"]), entity=entity, project=project)
        commits = list(bundle.read_chain(entry["chain"]))
        for commit in commits:
            for op in commit["ops"]:
                _check_operation(op)
            if not all(isinstance(commit[key], str) for key in ("time", "user", "host", "command")):
                raise ValueError("a commit without its author")
            int(commit["seq"])
    except RegcliError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise IntegrityError(f"{quote(bundle.path)} is damaged: {error!r}") from None
    return _Part(entry, ref, commits)


def _check_operation(op: Operation) -> None:
    name = op["op"]
    if name not in _OPS:
        raise ValueError(f"an unknown operation {name!r}")
    if name in ("version", "link"):
        record = op["record"]
        if not record.keys() >= _FIELDS or int(op["version"]) < 0 or not isinstance(record["tags"], list):
            raise ValueError("an incomplete version")
        if len(record["id"]) != 32 or not set(record["id"]) <= set("0123456789abcdef"):
            raise ValueError("a malformed id")
        if name == "link" and not {"entity", "project", "name", "version", "place"} <= record["source"].keys():
            raise ValueError("a link without its source")
    elif name == "alias":
        Alias.parse(op["alias"])


def _versions(part: _Part) -> Iterator[tuple[int, dict[str, Any], bool]]:
    """Yield (index, record, whether its content was purged) of the versions that a part makes."""
    for commit in part.commits:
        purged = {op["version"] for op in commit["ops"] if op["op"] == "purge"}
        for op in commit["ops"]:
            if op["op"] in ("version", "link"):
                yield op["version"], op["record"], op["version"] in purged


def _check_content(context: Context, bundle: BundleReader, parts: list[_Part]) -> None:
    """Make sure that every byte is what it says, and that no version would lack content."""
    damaged = next(bundle.damaged_blobs(), None)
    if damaged is not None:
        raise IntegrityError(f"{quote(bundle.path)} is damaged: blob {damaged} has other bytes; nothing was imported")
    content = context.root.content
    gone = _withdrawn(parts)
    manifests: dict[str, str] = {}
    for part in parts:
        for _, record, purged in _versions(part):
            if not purged and record["id"] not in gone:
                manifests[record["manifest"]] = record["manifest_sha256"]
    wanted: set[str] = set(manifests)
    for address, expected in manifests.items():
        data = b"".join(bundle.stream(address)) if address in bundle.blobs else content.read(address)
        if sha256_hex(data) != expected:
            raise IntegrityError(f"{quote(bundle.path)} is damaged: manifest {address} is not the one that its history names")
        _, entries = decode_manifest(data, f"manifest {address}")
        wanted.update(digest for _, digest, _, flags, _ in entries if not flags & REFERENCE)
    missing = wanted - bundle.blobs.keys()
    missing -= content.have(missing)
    if missing:
        raise IntegrityError(
            f"{quote(bundle.path)} lacks {len(missing)} blobs that are not here either, such as {min(missing)}",
            hint="import the bundle that it continues first",
        )


def _withdrawn(parts: list[_Part]) -> set[str]:
    """Return the ids of links that were withdrawn again, whose content a bundle need not have."""
    gone: set[str] = set()
    for part in parts:
        if part.entry["kind"] != LINK:
            continue
        ids = {index: record["id"] for index, record, _ in _versions(part)}
        gone.update(
            ids[op["version"]]
            for commit in part.commits
            for op in commit["ops"]
            if op["op"] == "unlink" and op["version"] in ids
        )
    for part in parts:
        if part.entry["kind"] == SOURCE:
            gone -= {record["id"] for _, record, purged in _versions(part) if not purged}
    return gone


def _find_target(context: Context, part: _Part) -> Collection | None:
    try:
        return locate(context, part.ref)
    except NotFoundError:
        return None


def _watermark(collection: Collection | None, origin: str, part: _Part) -> int:
    """Return how far the collection of the bundle's root was taken in already."""
    if collection is None or not collection.exists:
        return 0
    number = collection.state.get("origins", {}).get(f"{origin}:{part.entry['place']}", 0)
    return int(number)


def _check_target(context: Context, part: _Part, origin: str) -> None:
    """Check every rule before anything is written."""
    target = _find_target(context, part)
    if part.entry["whole"] and _watermark(target, origin, part) < int(part.entry["after_seq"]):
        raise ConflictError(
            f"the bundle continues another one for {quote(str(part.ref))}, which was not imported here",
            hint="import that one first, or export without --since",
        )
    if target is not None and target.registry is not None:
        settings = target.registry.state
        roles.require(settings, context.user, "link")
        for op in (op for commit in part.commits for op in commit["ops"] if op["op"] == "alias" and op["after"] is not None):
            roles.require_alias_right(settings, context.user, op["alias"])
    if target is None or not target.exists:
        return
    state = target.state
    if (state["kind"], state["type"]) != (part.entry["kind"], part.entry["type"]):
        raise ConflictError(f"{quote(target.ref)} exists here as {state['kind']} of type {quote(state['type'])}")
    for index, record, _ in _versions(part):
        here = target.snapshot.records.get(index)
        if here is not None and here["id"] != record["id"]:
            raise ConflictError(
                f"{quote(target.version_ref(index))} here is another version than the bundle's",
                hint="rename the collection here first",
            )
        if here is None and index < state["next"]:
            raise ConflictError(
                f"{quote(target.ref)} has used the number v{index} already", hint="rename the collection here first"
            )


def _take_content(context: Context, bundle: BundleReader, done: Imported, progress: Callable[[int, int], None] | None) -> None:
    """Store the blobs that are not here, published every so often: an interrupted import need not begin again."""
    content = context.root.content
    present = content.have(bundle.blobs)
    missing = [digest for digest in bundle.blobs if digest not in present]
    for group in _groups(missing, bundle):
        with content.batch() as batch:
            for digest in group:
                size = bundle.blobs[digest][1]
                if size < _SMALL:
                    stored = batch.put_bytes(b"".join(bundle.stream(digest)))
                else:
                    stored = batch.put_stream(bundle.stream(digest))
                if stored != digest:
                    raise IntegrityError(f"{quote(bundle.path)} changed while it was imported")
                done.blobs += 1
                done.bytes += size
                if progress is not None:
                    progress(done.blobs, done.bytes)
            batch.publish()


def _groups(digests: list[str], bundle: BundleReader) -> Iterator[list[str]]:
    group: list[str] = []
    total = 0
    for digest in digests:
        group.append(digest)
        total += bundle.blobs[digest][1]
        if total >= _PUBLISH_BYTES or len(group) >= _PUBLISH_BLOBS:
            yield group
            group, total = [], 0
    if group:
        yield group


def _prepare(context: Context, part: _Part) -> Collection:
    """Make the registry or entity that a part needs, and return the collection, which need not exist yet."""
    settings = part.entry.get("registry")
    if settings is None:
        entity = str(part.ref.entity)
        if part.entry.get("personal") is True and not is_personal(context, entity):
            register_entity(context, entity, personal=True)
        return locate(context, part.ref)
    try:
        registry = find_registry(context, settings["name"])
    except NotFoundError:
        create_registry(
            context,
            RegistryName.parse(settings["name"]),
            description=str(settings["description"]),
            types=[TypeName.parse(item) for item in settings["types"]],
            visibility=settings["visibility"],
        )
        registry = find_registry(context, settings["name"])
        if settings["protected"]:
            protect(context, registry, [Alias.parse(item) for item in settings["protected"]])
    return locate(context, part.ref)


def _replay(context: Context, part: _Part, origin: str, places: dict[str, str], done: Imported) -> None:
    """Append the commits that are not here yet, each with the one it came from."""
    target = locate(context, part.ref)
    known = _known_ids(target, part)
    mark = _watermark(target, origin, part)
    whole = bool(part.entry["whole"])
    if not target.exists:
        _create(context, target, part, origin)
    for number, commit in enumerate(part.commits, 1):
        if whole and commit["seq"] <= mark:
            continue
        last = number == len(part.commits)
        seq = int(part.entry["last_seq"]) if last else commit["seq"]
        source = {key: commit.get(key) for key in ("time", "user", "host", "command", "reason", "seq")}
        source.update(root=origin, place=part.entry["place"], upto=seq if whole else 0)
        _append(context, target, commit["ops"], source, places, known, done, whole=whole)
    done.collections.append(target.reread().ref)


def _known_ids(target: Collection, part: _Part) -> dict[int, str]:
    if not target.exists:
        return {}
    found = {}
    for index, _, _ in _versions(part):
        record = target.snapshot.records.get(index)
        if record is not None:
            found[index] = record["id"]
    return found


def _create(context: Context, target: Collection, part: _Part, origin: str) -> None:
    entry = part.entry
    first = part.commits[0] if part.commits else None
    creation: Operation = {
        "op": "create",
        "id": sha256_hex(f"{origin}:{entry['place']}".encode())[:32],
        "kind": entry["kind"],
        "name": str(part.ref.name),
        "type": entry["type"],
        "description": str(entry["description"]),
        "tags": [str(tag) for tag in entry["tags"]],
    }
    if first is not None:
        creation.update(created_at=first["time"], created_by=first["user"])
    if target.registry is not None:
        creation["registry"] = target.registry.state["id"]
    else:
        creation.update(entity=str(part.ref.entity), project=str(part.ref.project))

    def check(snapshot: Snapshot) -> list[Operation]:
        if target.at(snapshot).exists:
            return []
        return [creation]

    context.transact(target.chain, check)


def _append(
    context: Context,
    target: Collection,
    ops: list[Operation],
    source: dict[str, Any],
    places: dict[str, str],
    known: dict[int, str],
    done: Imported,
    *,
    whole: bool,
) -> None:
    made = 0

    def check(snapshot: Snapshot) -> list[Operation]:
        nonlocal made
        kept: list[Operation] = []
        following = snapshot.state["next"]
        made = 0
        for op in ops:
            name = op["op"]
            if name in ("create", "remove"):
                continue
            if name in ("version", "link"):
                if op["version"] in known:
                    continue
                if op["version"] > following:
                    kept.append({"op": "reserve", "version": op["version"]})
                kept.append({**op, "record": _moved(context, target, op, places)})
                following = op["version"] + 1
                made += 1
            elif name == "alias":
                kept.extend(_alias(target, snapshot, op, known, done, whole=whole))
            elif whole or op.get("version") not in known:
                kept.append(op)
        return kept

    context.transact(target.chain, check, settings_seq=target.settings_seq, origin=source)
    done.versions += made


def _moved(context: Context, target: Collection, op: Operation, places: dict[str, str]) -> dict[str, Any]:
    """Return a record whose places are those of this root, after writing the markers of what it points to."""
    record = dict(op["record"])
    inputs = [{**item, "place": places.get(item["place"], item["place"])} for item in record["inputs"]]
    record["inputs"] = inputs
    for item in inputs:
        backrefs.add_backref(context.root.path, item["id"], backrefs.INPUT, target.place, op["version"])
    if op["op"] == "link":
        source = record["source"]
        record["source"] = {**source, "place": places.get(source["place"], source["place"])}
        backrefs.add_backref(context.root.path, record["id"], backrefs.LINK, target.place, op["version"])
    return record


def _alias(
    target: Collection, snapshot: Snapshot, op: Operation, known: dict[int, str], done: Imported, *, whole: bool
) -> list[Operation]:
    """Return an alias operation as it applies here; an alias that this root has put elsewhere itself stays there."""
    held = snapshot.state["aliases"].get(fold(op["alias"]))
    registry = target.registry
    protection = registry.state["protected"].get(fold(op["alias"])) if registry is not None else None
    if protection is not None and protection["signed"]:
        done.remarks.append(f"alias {quote(op['alias'])} of {quote(target.ref)} needs a signature here and was left out")
        return []
    after = op["after"]
    if not whole and (after in known or (held is not None and after is not None)):
        if held is None or held[1] != after:
            done.remarks.append(f"alias {quote(op['alias'])} of {quote(target.ref)} was left as it is here")
        return []
    before = held[1] if held is not None else None
    return [] if before == after else [{"op": "alias", "alias": op["alias"], "before": before, "after": after}]
