"""What is to be logged and what it comes to: the request, its entries, the version's record, and the outcome."""

from __future__ import annotations

from regcli.domain import runs
from regcli.domain.apart import require_outside
from regcli.model import fold

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from regcli.domain.context import Context
    from regcli.domain.resolving import Version
    from regcli.model import Alias, Tag, TypeName
    from regcli.store.batch import Batch
    from regcli.store.ingest import Ingested, Source
    from regcli.store.manifest import Entry
    from regcli.store.statcache import StatCache

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
        skipped_links: links to directories, which were not followed. git: directories whose `.git` was taken along.
    """

    __slots__ = (
        "created", "digest", "file_count", "git", "ignored", "linked", "moved", "ref", "seq", "size", "skipped_links",
        "version",
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
        self.git: list[str] = []


def is_plain(request: LogRequest) -> bool:
    """Tell whether the version is what the sources give, no more and no less."""
    return request.base is None and not request.entries and not request.expected


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
    if is_plain(request):
        return taken.entries, taken
    from regcli.domain.composing import compose

    return compose(context, batch, request, taken), taken


def record_of(
    context: Context,
    request: LogRequest,
    logged: Logged,
    artifact_id: str,
    published: dict[str, str],
    inputs: Sequence[Version],
    run_name: str | None,
) -> dict[str, Any]:
    """Return the record of the version that a request makes.

    Args:
        context: who logs, and when.
        request: what is recorded with the version.
        logged: digest, size and number of files.
        artifact_id: the version's id.
        published: names and digests under which its manifest was published.
        inputs: versions it was made from.
        run_name: the run that logs it, or None.
    """
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


def ignored(request: LogRequest, record: dict[str, Any], inputs: Sequence[Version]) -> list[str]:
    """Name what was given but differs from the version that is there already, and is therefore ignored."""
    found = []
    if request.description is not None and request.description != record["description"]:
        found.append("description")
    if request.metadata is not None and request.metadata != record["metadata"]:
        found.append("metadata")
    if request.metrics and request.metrics != record["metrics"]:
        found.append("metrics")
    if request.ttl not in (INHERIT, record["ttl"]):
        found.append("TTL")
    known = {item["id"] for item in record["inputs"]}
    # With a run they are not lost: it is recorded that the run used them.
    if request.run is None and any(item.record["id"] not in known for item in inputs):
        found.append("inputs")
    return found


def merge_tags(existing: Sequence[str], added: Sequence[str]) -> list[str]:
    """Return the tags with those added that are not there yet, without regard to case; order is kept."""
    merged = {fold(tag): str(tag) for tag in existing}
    for tag in added:
        merged.setdefault(fold(tag), str(tag))
    return list(merged.values())
