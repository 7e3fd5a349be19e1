"""Log: make the next version of a source collection from files."""

from __future__ import annotations

from regcli.domain import runs
from regcli.domain.aliasing import alias_operations, moved_from
from regcli.domain.apart import require_outside
from regcli.domain.collections import SOURCE, Collection, is_live, list_collections, locate, require_free
from regcli.domain.resolving import Version, resolve, source_of
from regcli.errors import (
    ConflictError,
    IntegrityError,
    NotFoundError,
    RegcliError,
    SourceChangedError,
    TypeMismatchError,
    UsageError,
)
from regcli.model import ArtifactName, CollectionRef, fold, parse_collection, quote
from regcli.store import backrefs
from regcli.store.files import random_hex
from regcli.store.layout import project_path
from regcli.store.manifest import REFERENCE, InvalidPathError, encode_manifest, manifest_digest, problem_in_paths, sort_entries
from regcli.store.trust import sha256_hex

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from regcli.domain.context import Change, Context
    from regcli.model import Alias, Tag, TypeName
    from regcli.store.batch import Batch
    from regcli.store.chain import Snapshot
    from regcli.store.ingest import Ingested, Source
    from regcli.store.manifest import Entry
    from regcli.store.statcache import StatCache

    Operation = dict[str, Any]

INHERIT = "inherit"
XXH128 = "XXH128"


class LogRequest:
    """What is to be logged, and what is recorded with it.

    Attributes:
        name: reference of the source collection, `NAME` or `ENTITY/PROJECT/NAME`.
        type: the artifact type; may be None where the collection exists.
        sources: files and directories. entries: further manifest entries (references), already checked.
        base, remove: start from this version's files, without these paths.
        ttl: seconds, None for never, or `inherit`.
        links: registry collections to publish into afterwards.
        contents: digest -> bytes of small files that `entries` name and that only memory has.
        expected: path -> digest that a file among `sources` had when it was added.
        digest: of `entries` together, where that is known and their paths were checked; else empty.
        history_step: the step of the run's metrics that the version was logged at. parent: id of the version it began from.
    """

    __slots__ = (
        "algorithm", "aliases", "base", "cache", "contents", "description", "digest", "dry_run", "entries", "expected",
        "follow", "history_step", "inputs", "link_mode", "links", "metadata", "metrics", "name", "new_version", "parent",
        "progress", "rehash", "remove", "run", "sources", "tags", "ttl", "type",
    )  # fmt: skip

    def __init__(self, name: str, type: TypeName | None = None) -> None:  # noqa: A002 - the field's own word
        """Start a request with nothing in it."""
        self.name = name
        self.type = type
        self.sources: list[Source | tuple[str, str]] = []
        self.entries: Sequence[Entry] = ()
        self.aliases: Sequence[Alias] = ()
        self.tags: Sequence[Tag] = ()
        self.description: str | None = None
        self.metadata: dict[str, Any] | None = None
        self.metrics: dict[str, float | int] = {}
        self.base: str | None = None
        self.remove: Sequence[str] = ()
        self.inputs: Sequence[str] = ()
        self.run: str | None = None
        self.ttl: int | str | None = INHERIT
        self.links: Sequence[str] = ()
        self.link_mode = "copy"
        self.new_version = False
        self.dry_run = False
        self.rehash = False
        self.follow = False
        self.algorithm = XXH128
        self.cache: StatCache | None = None
        self.progress: Callable[[int, int], None] | None = None
        self.contents: dict[bytes, bytes] = {}
        self.expected: dict[str, str] = {}
        self.digest = ""
        self.history_step: int | None = None
        self.parent: str | None = None

    def add_path(self, path: str, *, at: str | None = None, exclude: Sequence[str] = ()) -> None:
        """Log a file or directory too.

        Args:
            path: where it is.
            at: the directory inside the artifact; None for its root.
            exclude: gitignore patterns of what to leave out.
        """
        from regcli.store.ingest import Source

        self.sources.append(Source(path, at or "", exclude))


class Logged:
    """The outcome of a log.

    Attributes:
        version: the version, new or already there; None after a dry run that would make one.
        created: whether a new version was made (would be made, for a dry run).
        seq: the commit that the answer rests on.
        digest, size, file_count: of the content.
        ignored: what the call gave that a version already there does not take (`metadata`, `description`, …).
        moved: aliases that came from other versions. linked: references made by `links`.
        skipped_links: links to directories, which were not followed.
    """

    __slots__ = (
        "created", "digest", "file_count", "ignored", "linked", "moved", "ref", "seq", "size", "skipped_links", "version",
    )  # fmt: skip

    def __init__(self, ref: str, digest: str, size: int, file_count: int) -> None:
        """Start with what is known of the content."""
        self.ref = ref
        self.digest = digest
        self.size = size
        self.file_count = file_count
        self.version: Version | None = None
        self.created = False
        self.seq = 0
        self.ignored: list[str] = []
        self.moved: list[tuple[str, str]] = []
        self.linked: list[str] = []
        self.skipped_links: list[str] = []


def _source_ref(context: Context, text: str) -> CollectionRef:
    if ":" in text:
        raise UsageError(f"{quote(text)} has a version or alias; give the bare name", hint="add aliases with --alias")
    ref = parse_collection(text, context.project)
    if ref.is_registry:
        raise UsageError(
            f"{quote(text)} is in a registry, where versions are linked, not logged",
            hint=f"log under a plain name, then publish it with --link {quote(text)}",
        )
    ArtifactName.parse(ref.name)
    return ref


def _missing_type() -> UsageError:
    return UsageError("the type of a new artifact is missing", hint="say what it is, as in `--type dataset` or `--type model`")


def _check_type(collection: Collection, wanted: TypeName | None) -> str:
    state = collection.state
    if not collection.exists:
        if wanted is None:
            raise _missing_type()
        return str(wanted)
    if state["kind"] != SOURCE:
        raise ConflictError(
            f"{quote(collection.ref)} holds links; versions cannot be logged into it", hint="choose another name"
        )
    existing: str = state["type"]
    if wanted is not None and wanted != existing:
        raise TypeMismatchError(
            f"artifact {quote(collection.ref)} already exists with type {quote(existing)};"
            f" cannot create another with type {quote(wanted)}",
            hint=f"use --type {existing}, or another name",
        )
    return existing


def shown_project(context: Context, ref: CollectionRef) -> tuple[str, str]:
    """Return entity and project as they were first written in the root."""
    owner = project_path(context.root.path, ref.entity or "", ref.project or "")
    for sibling in list_collections(context, owner, None):
        return sibling.state["entity"], sibling.state["project"]
    return str(ref.entity), str(ref.project)


def _merge(base: Sequence[Entry], remove: Sequence[str], added: Sequence[Entry]) -> list[Entry]:
    """Return the entries of a draft: the base's without what is removed, then what was added over it."""
    merged = {entry[0]: entry for entry in base}
    for item in remove:
        path = item.strip("/")
        gone = [name for name in merged if name == path or name.startswith(f"{path}/")]
        if not gone:
            raise NotFoundError(f"the base version has no file or directory {quote(item)}")
        for name in gone:
            del merged[name]
    merged.update({entry[0]: entry for entry in added})
    return sorted(merged.values(), key=lambda entry: entry[0].encode())


def collect(
    context: Context, batch: Batch | None, request: LogRequest, *, unless: str | None = None
) -> tuple[list[Entry], Ingested]:
    """Store the files (or only hash them, without a batch); returns the version's entries, sorted by path.

    `unless` is the digest of a version: where it is sure that it would come out again, there are no entries, and the
    second answer says so (`is_as_before`).
    """
    from regcli.store.ingest import ingest

    for source in request.sources:
        if not isinstance(source, tuple):
            require_outside(context.root_path, source.path)
    taken = ingest(
        batch,
        request.sources,
        cache=request.cache,
        link_mode=request.link_mode,
        algorithm=request.algorithm,
        follow_directory_links=request.follow,
        rehash=request.rehash,
        progress=request.progress,
        store_root=context.root_path,
        unless=unless if is_plain(request) else None,
    )
    entries = taken.entries
    if is_plain(request):
        return entries, taken
    taken.digest = ""
    _take_given(context, batch, request)
    is_all = not entries and request.base is None and not request.remove
    if is_all and request.digest:
        taken.digest = request.digest
        return sort_entries(request.entries), taken
    if is_all and len({entry[0] for entry in request.entries}) == len(request.entries):
        return _checked(sort_entries(request.entries)), taken
    added = {entry[0]: entry for entry in entries}
    _check_expected(request, added)
    for entry in request.entries:
        if entry[0] in added and added[entry[0]][1] != entry[1]:
            raise UsageError(
                f"two sources give the path {quote(entry[0])} different content",
                hint="name the reference, as in --ref NAME=URI",
            )
        added[entry[0]] = entry
    base: list[Entry] = []
    if request.base is not None:
        from regcli.domain.manifests import read_manifest

        base = read_manifest(context, resolve(context, request.base, action="download").record)
    return _checked(_merge(base, request.remove, list(added.values()))), taken


def is_plain(request: LogRequest) -> bool:
    """Tell whether the version is what the sources give, no more and no less."""
    return request.base is None and not request.entries and not request.expected


def _checked(entries: list[Entry]) -> list[Entry]:
    """Return sorted entries if their paths together make an artifact."""
    paths = [entry[0] for entry in entries]
    problem = problem_in_paths(paths) if paths else None
    if problem is not None:
        raise InvalidPathError(problem, hint="rename one of them, or log one alone and then the other with --base and --at")
    return entries


def _check_expected(request: LogRequest, found: dict[str, Entry]) -> None:
    for path, digest in request.expected.items():
        if found[path][1] != digest:
            raise SourceChangedError(
                f"the file of {quote(path)} changed since it was added",
                hint="add it again, or let it be copied when it is added",
            )


def _take_given(context: Context, batch: Batch | None, request: LogRequest) -> None:
    """Stage what only memory has; what else the given entries name must be in the store."""
    if batch is None:
        return
    for digest, data in request.contents.items():
        if batch.put_bytes(data) != digest.hex():
            raise IntegrityError("a content that was kept in memory is not what its digest says")
    wanted = {bytes.fromhex(entry[1]) for entry in request.entries if not entry[3] & REFERENCE}
    wanted.difference_update(request.contents)
    missing = wanted - context.root.content.have_binary(wanted)
    if missing:
        gone = {digest.hex() for digest in missing}
        path = next(entry[0] for entry in request.entries if entry[1] in gone)
        raise NotFoundError(f"the content of {quote(path)} is no longer in the store", hint="add the file again, then log it")


def log_version(context: Context, request: LogRequest) -> Logged:
    """Make the next version of a source collection, unless its latest has the same content.

    The content is durable before the version appears; the version, its aliases and its collection appear together.

    Raises:
        TypeMismatchError: the collection has another type. UsageError: a source cannot be logged.
        StorageError: disk full or unreadable; nothing was changed.
    """
    from regcli.domain.linking import check_link

    if not request.dry_run:
        context.make_root()
    ref = _source_ref(context, request.name)
    if request.dry_run and not context.has_root:
        return _first_dry_run(context, request, ref)
    collection = locate(context, ref)
    type_name = _check_type(collection, request.type)
    inputs = [source_of(context, resolve(context, text, action="use")) for text in request.inputs]
    if request.base is None and request.remove:
        raise UsageError("--remove needs --base", hint="name the version to start from with --base REF")
    if request.base is not None:
        resolve(context, request.base, action="download")
    for target in request.links:
        check_link(context, target, type_name, entity=str(ref.entity), aliases=())
    if request.dry_run:
        return _dry_run(context, request, collection, ref)
    with context.lock("content"), context.root.content.batch() as batch:
        entries, taken = collect(context, batch, request, unless=_digest_of_latest(request, collection))
        logged = _describe(ref, entries, taken, request.algorithm)
        if taken.is_as_before and not _commit_unchanged(context, request, collection, inputs, logged):
            # Another process was faster.
            entries, taken = collect(context, batch, request)
            logged = _describe(ref, entries, taken, request.algorithm)
        if not taken.is_as_before:
            _commit(context, request, collection, ref, type_name, batch, entries, inputs, logged)
            _remember_blobs(request, batch)
        for path in taken.remove_sources():
            context.warnings.append(f"{path} changed while it was logged and was not removed")
    if logged.version is not None:
        try:
            _follow_up(context, request, logged, logged.version, inputs)
        except RegcliError as error:
            error.message = f"{quote(logged.ref)} was logged, but what follows was not done: {error.message}"
            raise
    return logged


def _remember_blobs(request: LogRequest, batch: Batch) -> None:
    """Spare the first download that shares bytes the reading of what was just hashed."""
    if batch.learned and request.cache is not None:
        from regcli.store.statcache import blobs_section

        section = blobs_section(request.cache, batch.content.root)
        section.fresh = batch.learned
        section.save_own()


def _follow_up(context: Context, request: LogRequest, logged: Logged, version: Version, inputs: Sequence[Version]) -> None:
    """Record the edges of the run and publish the links: transactions of other logs."""
    from regcli.domain.linking import link_version

    if request.run is not None:
        chain, _ = runs.ensure_run(context, request.run)
        for item in inputs:
            runs.record_use(context, chain, item)
        runs.record_output(context, chain, version)
    for target in request.links:
        made = link_version(context, version.ref, target, aliases=()).version.ref
        if made not in logged.linked:
            logged.linked.append(made)


def _describe(ref: CollectionRef, entries: Sequence[Entry], taken: Ingested, algorithm: str) -> Logged:
    if taken.is_as_before:
        logged = Logged(str(ref), taken.digest, taken.bytes, taken.files)
    else:
        digest = taken.digest or manifest_digest(entries, algorithm)
        logged = Logged(str(ref), digest, sum([entry[2] for entry in entries]), len(entries))
    logged.skipped_links = taken.skipped_links
    return logged


def _digest_of_latest(request: LogRequest, collection: Collection) -> str | None:
    """Return the digest with which a log of the same files makes no version; None where it would make one."""
    current = _current_latest(collection.snapshot)
    if current is None or request.new_version or current[1].get("algorithm") != request.algorithm:
        return None
    digest: str = current[1]["digest"]
    return digest


def _first_dry_run(context: Context, request: LogRequest, ref: CollectionRef) -> Logged:
    """Say what the first log of all would make, without making the root."""
    if request.type is None:
        raise _missing_type()
    entries, taken = collect(context, None, request)
    logged = _describe(ref, entries, taken, request.algorithm)
    logged.created = True
    return logged


def _dry_run(context: Context, request: LogRequest, collection: Collection, ref: CollectionRef) -> Logged:
    entries, taken = collect(context, None, request, unless=_digest_of_latest(request, collection))
    logged = _describe(ref, entries, taken, request.algorithm)
    current = _current_latest(collection.snapshot)
    if current is not None and current[1]["digest"] == logged.digest and not request.new_version:
        logged.version = Version(collection, *current)
    else:
        logged.created = True
    logged.seq = collection.snapshot.seq
    return logged


def _current_latest(snapshot: Snapshot) -> tuple[int, dict[str, Any]] | None:
    latest = snapshot.state["latest"]
    record = snapshot.records.get(latest) if latest is not None else None
    if latest is None or record is None or not is_live(record):
        return None
    return latest, record


def _commit(
    context: Context,
    request: LogRequest,
    collection: Collection,
    ref: CollectionRef,
    type_name: str,
    batch: Batch,
    entries: Sequence[Entry],
    inputs: Sequence[Version],
    logged: Logged,
) -> None:
    """Publish the content and then the version in one transaction."""
    published: dict[str, str] = {}
    artifact_id = random_hex(16)
    shown = (collection.state["entity"], collection.state["project"])
    if not collection.exists:
        shown = shown_project(context, ref)
    run_name = None
    if request.run is not None:
        _, run_name = runs.ensure_run(context, request.run)
    done: list[Operation] = []
    index = -1

    def publish() -> None:
        # Only once, however often the race for the next number is lost; not at all when nothing changed.
        if not published:
            data = encode_manifest(entries, request.algorithm)
            published["manifest"] = batch.put_bytes(data)
            published["manifest_sha256"] = sha256_hex(data)
            batch.publish()

    def check(snapshot: Snapshot) -> list[Operation]:
        nonlocal done, index
        now = Collection(collection.base, collection.chain, snapshot, None)
        _check_type(now, request.type)
        current = _current_latest(snapshot)
        if current is not None and current[1]["digest"] == logged.digest and not request.new_version:
            index = current[0]
            logged.created = False
            logged.ignored = _ignored(request, current[1], inputs)
            done = _unchanged_operations(context, request, now, snapshot, *current)
            return done
        publish()
        index = snapshot.state["next"]
        logged.created = True
        done = []
        if not now.exists:
            done.extend(require_free(context, now))
            index = max([index, *(op["version"] for op in done)])
            done.append(creation(ref, shown, type_name))
        for item in inputs:
            backrefs.add_backref(context.root.path, item.record["id"], backrefs.INPUT, now.place, index)
        record = _record(context, request, logged, artifact_id, published, inputs, run_name)
        if references := sum(entry[3] == REFERENCE for entry in entries):
            record["references"] = references
        done.append({"op": "version", "version": index, "record": record})
        done.extend(alias_operations(context, now, snapshot, index, request.aliases))
        return done

    change = context.transact(collection.chain, check)
    _conclude(collection, change, index, done, logged)


class _OvertakenError(Exception):
    """The latest version is another one by now."""


def _commit_unchanged(
    context: Context, request: LogRequest, collection: Collection, inputs: Sequence[Version], logged: Logged
) -> bool:
    """Take what was given for the version that is there; False, with nothing done, where the latest is another by now."""
    if request.run is not None:
        runs.ensure_run(context, request.run)
    done: list[Operation] = []
    index = -1

    def check(snapshot: Snapshot) -> list[Operation]:
        nonlocal done, index
        now = Collection(collection.base, collection.chain, snapshot, None)
        _check_type(now, request.type)
        current = _current_latest(snapshot)
        if current is None or current[1]["digest"] != logged.digest:
            raise _OvertakenError
        index = current[0]
        logged.ignored = _ignored(request, current[1], inputs)
        done = _unchanged_operations(context, request, now, snapshot, *current)
        return done

    try:
        change = context.transact(collection.chain, check)
    except _OvertakenError:
        return False
    _conclude(collection, change, index, done, logged)
    return True


def _conclude(collection: Collection, change: Change, index: int, done: list[Operation], logged: Logged) -> None:
    after = Collection(collection.base, collection.chain, change.snapshot, None)
    record = change.snapshot.records.get(index)
    if record is None:
        raise NotFoundError(f"version v{index} of {quote(after.ref)} does not exist")
    logged.version = Version(after, index, record)
    logged.ref = logged.version.ref
    logged.moved = moved_from(after, done)
    logged.seq = change.seq


def creation(ref: CollectionRef, shown: tuple[str, str], type_name: str) -> Operation:
    """Return the operation that makes a source collection."""
    return {
        "op": "create",
        "id": random_hex(16),
        "kind": SOURCE,
        "name": str(ref.name),
        "entity": shown[0],
        "project": shown[1],
        "type": type_name,
        "description": "",
        "tags": [],
    }


def _ignored(request: LogRequest, record: dict[str, Any], inputs: Sequence[Version]) -> list[str]:
    """Name what was given but differs from the version that is there already, and is therefore ignored."""
    ignored = []
    if request.description is not None and request.description != record["description"]:
        ignored.append("description")
    if request.metadata is not None and request.metadata != record["metadata"]:
        ignored.append("metadata")
    if request.metrics and request.metrics != record["metrics"]:
        ignored.append("metrics")
    if request.ttl not in (INHERIT, record["ttl"]):
        ignored.append("TTL")
    known = {item["id"] for item in record["inputs"]}
    # With a run they are not lost: it is recorded that the run used them.
    if request.run is None and any(item.record["id"] not in known for item in inputs):
        ignored.append("inputs")
    return ignored


def _unchanged_operations(
    context: Context, request: LogRequest, collection: Collection, snapshot: Snapshot, index: int, record: dict[str, Any]
) -> list[Operation]:
    ops = alias_operations(context, collection, snapshot, index, request.aliases)
    tags = merge_tags(record["tags"], request.tags)
    if tags != record["tags"]:
        ops.append({"op": "tags", "version": index, "before": record["tags"], "after": tags})
    return ops


def merge_tags(existing: Sequence[str], added: Sequence[str]) -> list[str]:
    """Return the tags with those added that are not there yet, without regard to case; order is kept."""
    merged = {fold(tag): str(tag) for tag in existing}
    for tag in added:
        merged.setdefault(fold(tag), str(tag))
    return list(merged.values())


def _record(
    context: Context,
    request: LogRequest,
    logged: Logged,
    artifact_id: str,
    published: dict[str, str],
    inputs: Sequence[Version],
    run_name: str | None,
) -> dict[str, Any]:
    now = context.now()
    further = {"history_step": request.history_step, "parent": request.parent}
    return {
        **{key: value for key, value in further.items() if value is not None},
        "id": artifact_id,
        "digest": logged.digest,
        "algorithm": request.algorithm,
        **published,
        "size": logged.size,
        "file_count": logged.file_count,
        "description": request.description or "",
        "metadata": request.metadata or {},
        "metrics": request.metrics,
        "tags": merge_tags((), request.tags),
        "ttl": request.ttl,
        "inputs": [runs.edge(item) for item in inputs],
        "run": run_name,
        "created_at": now,
        "created_by": context.user,
        "updated_at": now,
    }
