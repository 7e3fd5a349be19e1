"""Import: take a bundle into this root. What is missing is made; references, times, aliases, tags and sources stay.

Everything is checked before anything is written. Content comes first, then each collection commit by commit, so that an import
that was interrupted is finished by running it again: what is there already is recognised by the ids of its versions.
"""

from __future__ import annotations

from regcli.domain import roles
from regcli.domain.collections import (
    LINK,
    PURGED,
    SOURCE,
    Collection,
    empty_state,
    is_live,
    locate,
    open_place,
    reduce_collection,
)
from regcli.domain.referrers import point_again
from regcli.domain.registries import VISIBILITIES, create_registry, find_registry, protect
from regcli.domain.repeating import creation, operations
from regcli.domain.settings import is_personal, register_entity
from regcli.domain.vetting import made_by, rehearse, vet_commits, vet_entry
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
from regcli.store.chain import GENESIS, Snapshot
from regcli.store.manifest import REFERENCE, decode_manifest, manifest_digest
from regcli.store.records import Records
from regcli.store.trust import sha256_hex

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from regcli.domain.context import Context
    from regcli.store.manifest import Entry

    Operation = dict[str, Any]
    Commit = dict[str, Any]

_SMALL = 1 << 20
_PUBLISH_BYTES = 1 << 30
_PUBLISH_BLOBS = 5000
_MALFORMED = (KeyError, TypeError, ValueError, AttributeError)
_OF_THE_MANIFEST = ("manifest_sha256", "algorithm", "digest", "size", "file_count")


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
    """One collection of a bundle, checked: what the index says of it, its reference here, its commits.

    `target` is the collection that is here before, or None; `needed` are the records of versions whose content must be there,
    when all of it was tried out.
    """

    __slots__ = ("commits", "entry", "needed", "ref", "target")

    def __init__(self, entry: dict[str, Any], ref: CollectionRef, commits: list[Commit]) -> None:
        self.entry = entry
        self.ref = ref
        self.commits = commits
        self.target: Collection | None = None
        self.needed: list[dict[str, Any]] = []

    @property
    def first(self) -> Commit | None:
        """The first commit."""
        return self.commits[0] if self.commits else None


def import_bundle(
    context: Context, path: str, *, stream: int | None = None, progress: Callable[[int, int], None] | None = None
) -> Imported:
    """Take a bundle in; from a descriptor, `stream`, where it is not a file that `path` names.

    Raises:
        UsageError: it is no bundle. IntegrityError: it is damaged, or lacks content; nothing was written.
        ConflictError: a collection here has other versions under the same numbers; nothing was written.
        RoleError, ProtectedError: the user may not link or set a protected alias; nothing was written.
    """
    done = Imported()
    with BundleReader(path, stream) as bundle:
        context.make_root()
        parts = [_parse_part(bundle, entry) for entry in _entries(bundle)]
        if len({fold(str(part.ref)) for part in parts}) < len(parts):
            raise IntegrityError(f"{quote(path)} is damaged: it has a collection twice; nothing was imported")
        origin = _origin_of(bundle)
        for part in parts:
            part.target = _find_target(context, part)
            _check_target(context, part, origin)
            _rehearse(bundle, part, origin)
        _check_sources(context, bundle, parts)
        _check_content(context, bundle, parts)
        with context.lock("content"):
            _take_content(context, bundle, done, progress)
            places = {str(part.entry["place"]): _prepare(context, part).place for part in parts}
            for part in parts:
                _replay(context, part, origin, places, done)
    return done


def _origin_of(bundle: BundleReader) -> str:
    root = bundle.index.get("root")
    if not isinstance(root, str) or not root.isalnum() or len(root) > 64:
        raise IntegrityError(f"{quote(bundle.path)} is damaged: it names no root")
    return root


def _entries(bundle: BundleReader) -> list[dict[str, Any]]:
    entries = bundle.index.get("collections")
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise IntegrityError(f"{quote(bundle.path)} is damaged: its index lists no collections")
    return sorted(entries, key=lambda entry: ("registry" in entry, entry.get("kind") == LINK))


def _parse_part(bundle: BundleReader, entry: dict[str, Any]) -> _Part:
    """Check everything that a bundle says of one collection; it may have been made by anybody."""
    try:
        vet_entry(entry)
        if "registry" in entry:
            settings = entry["registry"]
            if settings["visibility"] not in VISIBILITIES:
                raise ValueError("an unknown visibility")
            ref = CollectionRef(CollectionName.parse(entry["name"]), registry=RegistryName.parse(settings["name"]))
        else:
            entity, project = EntityName.parse(entry["entity"]), ProjectName.parse(entry["project"])
            ref = CollectionRef(ArtifactName.parse(entry["name"]), entity=entity, project=project)
        commits = vet_commits(entry, bundle.read_chain(entry["chain"]))
    except RegcliError:
        raise
    except _MALFORMED as error:
        raise _damaged(bundle.path, error) from None
    return _Part(entry, ref, commits)


def _damaged(path: str, error: Exception) -> IntegrityError:
    return IntegrityError(f"{quote(path)} is damaged: {error!r}; nothing was imported")


def _check_sources(context: Context, bundle: BundleReader, parts: list[_Part]) -> None:
    """Make sure that what each link will point to comes along or is here."""
    coming = {
        (part.entry["place"], index): record["id"]
        for part in parts
        if part.entry["kind"] == SOURCE
        for index, record in made_by(part.commits)
    }
    targets = {part.entry["place"]: part.target for part in parts}
    for part in parts:
        for record in part.needed if part.entry["kind"] == LINK else ():
            source = record["source"]
            if coming.get((source["place"], source["version"])) == record["id"]:
                continue
            place = source["place"]
            here = targets[place] if place in targets else _open_here(context, place)
            found = here.snapshot.records.get(source["version"]) if here is not None else None
            if found is None or found["id"] != record["id"]:
                what = f"{source['entity']}/{source['project']}/{source['name']}:v{source['version']}"
                raise IntegrityError(
                    f"{quote(bundle.path)} lacks {quote(what)}, which {quote(str(part.ref))} links to, and it is not here",
                    hint="import the bundle that it continues first",
                )


def _open_here(context: Context, place: str) -> Collection | None:
    try:
        return open_place(context, place)
    except IntegrityError:
        return None


def _check_content(context: Context, bundle: BundleReader, parts: list[_Part]) -> None:
    """Make sure that every byte is what it says, and that no version would lack content."""
    damaged = next(bundle.damaged_blobs(), None)
    if damaged is not None:
        raise IntegrityError(f"{quote(bundle.path)} is damaged: blob {damaged} has other bytes; nothing was imported")
    content = context.root.content
    manifests: dict[str, dict[str, Any]] = {}
    for part in parts:
        for record in part.needed:
            expected = manifests.setdefault(record["manifest"], record)
            if any(record[key] != expected[key] for key in _OF_THE_MANIFEST):
                raise IntegrityError(
                    f"{quote(bundle.path)} is damaged: versions with one manifest differ; nothing was imported"
                )
    wanted: set[str] = set(manifests)
    sizes: dict[str, int] = {}
    for address, record in manifests.items():
        data = b"".join(bundle.stream(address)) if address in bundle.blobs else content.read(address)
        entries = _entries_of(bundle, record, data)
        for name, digest, size, flags, _ in entries:
            if flags & REFERENCE:
                continue
            wanted.add(digest)
            if sizes.setdefault(digest, size) != size or bundle.blobs.get(digest, (0, size))[1] != size:
                raise IntegrityError(f"{quote(bundle.path)} is damaged: {quote(name)} has another size; nothing was imported")
    missing = wanted - bundle.blobs.keys()
    missing -= content.have(missing)
    if missing:
        raise IntegrityError(
            f"{quote(bundle.path)} lacks {len(missing)} blobs that are not here either, such as {min(missing)}",
            hint="import the bundle that it continues first",
        )
    for digest, size in content.sizes(sizes.keys() - bundle.blobs.keys()).items():
        if sizes[digest] != size:
            raise IntegrityError(f"{quote(bundle.path)} is damaged: blob {digest} has another size; nothing was imported")


def _entries_of(bundle: BundleReader, record: dict[str, Any], data: bytes) -> list[Entry]:
    """Return the entries of a manifest that is the one, and what its version's record says that it is."""
    address = record["manifest"]
    if sha256_hex(data) != record["manifest_sha256"]:
        raise IntegrityError(f"{quote(bundle.path)} is damaged: manifest {address} is not the one that its history names")
    algorithm, entries = decode_manifest(data, f"manifest {address}")
    told = (record["algorithm"], record["digest"], record["size"], record["file_count"])
    if told != (algorithm, manifest_digest(entries, algorithm), sum([entry[2] for entry in entries]), len(entries)):
        raise IntegrityError(f"{quote(bundle.path)} is damaged: a version is not what its manifest {address} says")
    return entries


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
    target = part.target
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
    for index, record in made_by(part.commits):
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
    for commit, source in _sources(part, origin):
        if not whole or commit["seq"] > mark:
            _append(context, target, commit["ops"], source, places, known, done, whole=whole)
    done.collections.append(target.reread().ref)


def _sources(part: _Part, origin: str) -> Iterator[tuple[Commit, dict[str, Any]]]:
    """Yield each commit with what the log here will say of where it comes from."""
    for number, commit in enumerate(part.commits, 1):
        last = number == len(part.commits)
        seq = part.entry["last_seq"] if last else commit["seq"]
        source = {key: commit[key] for key in ("time", "user", "host", "command", "reason", "seq")}
        source.update(root=origin, place=part.entry["place"], upto=seq if part.entry["whole"] else 0)
        yield commit, source


def _rehearse(bundle: BundleReader, part: _Part, origin: str) -> None:
    """Try everything out that `_replay` will do, and note which versions will need their content."""
    target = part.target
    known = _known_ids(target, part) if target is not None else {}
    mark = _watermark(target, origin, part)
    after = target.snapshot.copy() if target is not None else Snapshot(0, GENESIS, empty_state(), Records("", "", _nothing))
    registry = target.registry if target is not None else None
    try:
        if target is None or not target.exists:
            first = {"time": "", "user": "", "ops": [creation(part.entry, part.ref, part.first, origin, registry)]}
            reduce_collection(after.state, after.records, first)
        for commit, source in _sources(part, origin):
            if part.entry["whole"] and commit["seq"] <= mark:
                continue
            ops = operations(registry, str(part.ref), after.state, commit["ops"], {}, known, [], whole=part.entry["whole"])
            rehearse(after.state, after.records, ops, source)
    except _MALFORMED as error:
        raise _damaged(bundle.path, error) from None
    for index, _ in made_by(part.commits):
        record = after.records.get(index)
        if record is not None and record["state"] != PURGED and (part.entry["kind"] == SOURCE or is_live(record)):
            part.needed.append(record)


def _nothing() -> Records:
    return Records("", "", _nothing)


def _known_ids(target: Collection, part: _Part) -> dict[int, str]:
    """Return the ids of those versions of a part that are here already."""
    if not target.exists:
        return {}
    found = {}
    for index, _ in made_by(part.commits):
        record = target.snapshot.records.get(index)
        if record is not None:
            found[index] = record["id"]
    return found


def _create(context: Context, target: Collection, part: _Part, origin: str) -> None:
    def check(snapshot: Snapshot) -> list[Operation]:
        return [] if target.at(snapshot).exists else [creation(part.entry, part.ref, part.first, origin, target.registry)]

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
    remarks: list[str] = []

    def check(snapshot: Snapshot) -> list[Operation]:
        nonlocal made
        remarks.clear()
        kept = operations(target.registry, target.ref, snapshot.state, ops, places, known, remarks, whole=whole)
        new = [op for op in kept if op["op"] in ("version", "link")]
        for op in new:
            _mark_backrefs(context, target, op)
        made = len(new)
        return kept

    context.transact(target.chain, check, settings_seq=target.settings_seq, origin=source)
    done.versions += made
    done.remarks.extend(remarks)


def _mark_backrefs(context: Context, target: Collection, op: Operation) -> None:
    """Write the markers of what a version points to, before the commit that makes it."""
    record = op["record"]
    for item in record["inputs"]:
        backrefs.add_backref(context.root.path, item["id"], backrefs.INPUT, target.place, op["version"])
    if op["op"] == "version":
        point_again(context, record, target.place, op["version"])
    if op["op"] == "link":
        backrefs.add_backref(context.root.path, record["id"], backrefs.LINK, target.place, op["version"])
