"""Log: make the next version of a source collection from files."""

from __future__ import annotations

from regcli.domain import runs
from regcli.domain.aliasing import alias_operations, moved_from
from regcli.domain.collections import SOURCE, Collection, is_live, list_collections, locate, require_free
from regcli.domain.log_request import Logged, collect, ignored, merge_tags, record_of
from regcli.domain.resolving import Version, resolve, source_of
from regcli.errors import ConflictError, NotFoundError, RegcliError, TypeMismatchError, UsageError
from regcli.model import ArtifactName, CollectionRef, parse_collection, quote
from regcli.store import backrefs
from regcli.store.files import random_hex
from regcli.store.layout import project_path
from regcli.store.manifest import REFERENCE, encode_manifest, manifest_digest
from regcli.store.trust import sha256_hex

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from regcli.domain.context import Change, Context
    from regcli.domain.log_request import LogRequest
    from regcli.model import TypeName
    from regcli.store.batch import Batch
    from regcli.store.chain import Snapshot
    from regcli.store.ingest import Ingested
    from regcli.store.manifest import Entry

    Operation = dict[str, Any]


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


def log_version(context: Context, request: LogRequest) -> Logged:
    """Make the next version of a source collection, unless its latest has the same content.

    The content is durable before the version appears; the version, its aliases and its collection appear together.

    Raises:
        TypeMismatchError: the collection has another type. UsageError: a source cannot be logged.
        StorageError: disk full or unreadable; nothing was changed.
    """
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
        from regcli.domain.linking import check_link

        check_link(context, target, type_name, entity=str(ref.entity), aliases=())
    if request.dry_run:
        return _dry_run(context, request, collection, ref)
    with context.lock("content"), context.root.content.batch() as batch:
        try:
            logged = _log_into(batch, context, request, collection, ref, type_name, inputs)
        except BaseException:
            kept = batch.give_back()
            context.warnings.extend(f"{path} stays read-only: the store shares it, and got no copy" for path in kept)
            raise
    if logged.version is not None:
        try:
            _follow_up(context, request, logged, logged.version, inputs)
        except RegcliError as error:
            error.message = f"{quote(logged.ref)} was logged, but what follows was not done: {error.message}"
            raise
    return logged


def _log_into(
    batch: Batch,
    context: Context,
    request: LogRequest,
    collection: Collection,
    ref: CollectionRef,
    type_name: str,
    inputs: Sequence[Version],
) -> Logged:
    """Stage the content and commit the version."""
    entries, taken = collect(context, batch, request, unless=_digest_of_latest(request, collection))
    logged = _describe(ref, entries, taken, request.algorithm)
    if taken.is_as_before and not (
        _is_stored(context, collection, taken) and _commit_unchanged(context, request, collection, inputs, logged)
    ):
        # Content is missing that the files here can give again, or another process was faster.
        entries, taken = collect(context, batch, request)
        logged = _describe(ref, entries, taken, request.algorithm)
    if not taken.is_as_before:
        _commit(context, request, collection, ref, type_name, batch, entries, inputs, logged)
        batch.keep_sources()
        _remember_blobs(request, batch)
        taken.confirm()
    for path in taken.remove_sources():
        context.warnings.append(f"{path} changed while it was logged and was not removed")
    return logged


def _is_stored(context: Context, collection: Collection, taken: Ingested) -> bool:
    """Tell whether the content of the latest version, which is as before, is still there.

    It is looked for only where something in the store has changed since it was seen the last time.
    """
    if context.root.content.is_untouched_since(taken.proven_at):
        return True
    from regcli.domain.manifests import is_stored

    current = _current_latest(collection.snapshot)
    if current is None or not is_stored(context, current[1]):
        return False
    taken.confirm()
    return True


def _is_whole(context: Context, batch: Batch, record: dict[str, Any]) -> bool:
    """Tell whether nothing of a version whose files were staged again was missing, or found damaged."""
    from regcli.domain.manifests import has_manifest

    return not batch.added and has_manifest(context, record)


def _remember_blobs(request: LogRequest, batch: Batch) -> None:
    """Spare the first download that shares bytes the reading of what was just hashed."""
    if batch.learned and request.cache is not None:
        from regcli.store.statcache import blobs_section

        section = blobs_section(request.cache, batch.content.root)
        section.fresh = batch.learned
        section.save()


def _follow_up(context: Context, request: LogRequest, logged: Logged, version: Version, inputs: Sequence[Version]) -> None:
    """Record the edges of the run and publish the links: transactions of other logs."""
    if request.run is not None:
        chain, _ = runs.ensure_run(context, request.run)
        for item in inputs:
            runs.record_use(context, chain, item)
        runs.record_output(context, chain, version)
    for target in request.links:
        from regcli.domain.linking import link_version

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
    logged.git = taken.git
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

    def restore(ref: str, record: dict[str, Any]) -> None:
        if not published and not _is_whole(context, batch, record):
            publish()
            context.warnings.append(f"content of {quote(ref)} was missing from the store, and is stored again")

    def check(snapshot: Snapshot) -> list[Operation]:
        nonlocal done, index
        now = collection.at(snapshot)
        _check_type(now, request.type)
        current = _current_latest(snapshot)
        if current is not None and current[1]["digest"] == logged.digest and not request.new_version:
            index = current[0]
            restore(now.version_ref(index), current[1])
            logged.created = False
            logged.ignored = ignored(request, current[1], inputs)
            done = _unchanged_operations(context, request, now, snapshot, *current)
            return done
        index = snapshot.state["next"]
        logged.created = True
        done = []
        if not now.exists:
            done.extend(require_free(context, now))
            index = max([index, *(op["version"] for op in done)])
            done.append(creation(ref, shown, type_name))
        # What refuses it does so before anything is published.
        given = alias_operations(context, now, snapshot, index, request.aliases)
        publish()
        for item in inputs:
            backrefs.add_backref(context.root.path, item.record["id"], backrefs.INPUT, now.place, index)
        record = record_of(context, request, logged, artifact_id, published, inputs, run_name)
        if references := [entry for entry in entries if entry[3] == REFERENCE]:
            from regcli.domain.referrers import point

            record["references"] = len(references)
            record.update(point(context, references, now.place, index))
        done += [{"op": "version", "version": index, "record": record}, *given]
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
        now = collection.at(snapshot)
        _check_type(now, request.type)
        current = _current_latest(snapshot)
        if current is None or current[1]["digest"] != logged.digest:
            raise _OvertakenError
        index = current[0]
        logged.ignored = ignored(request, current[1], inputs)
        done = _unchanged_operations(context, request, now, snapshot, *current)
        return done

    try:
        change = context.transact(collection.chain, check)
    except _OvertakenError:
        return False
    _conclude(collection, change, index, done, logged)
    return True


def _conclude(collection: Collection, change: Change, index: int, done: list[Operation], logged: Logged) -> None:
    after = collection.at(change.snapshot)
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


def _unchanged_operations(
    context: Context, request: LogRequest, collection: Collection, snapshot: Snapshot, index: int, record: dict[str, Any]
) -> list[Operation]:
    ops = alias_operations(context, collection, snapshot, index, request.aliases)
    tags = merge_tags(record["tags"], request.tags)
    if tags != record["tags"]:
        ops.append({"op": "tags", "version": index, "before": record["tags"], "after": tags})
    return ops
