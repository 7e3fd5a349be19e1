"""References: entries of a version whose bytes are kept elsewhere, recorded by URI (semantics.md R-01 to R-24).

What a URI's scheme means: `file` is a file or directory of this machine; `http` and `https` one URL; `s3`, `gs`, `az` and
`https://ACCOUNT.blob.core.windows.net` an object or all objects under a prefix; `regcli-artifact` an entry of another version
of this root; any other scheme is recorded as it stands and cannot be fetched.
"""

from __future__ import annotations

from regcli.errors import MissingReferenceError, NotFoundError, ReferenceChangedError, RegcliError, UsageError
from regcli.model import quote
from regcli.store import elsewhere
from regcli.store.manifest import FILE, REFERENCE, normalize_path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from regcli.domain.context import Context
    from regcli.domain.resolving import Version
    from regcli.store.manifest import Entry
    from regcli.store.statcache import StatCache

ARTIFACT = "regcli-artifact"
# The original's name for the same thing is understood too.
_ARTIFACT_SCHEMES = (ARTIFACT, "wandb-artifact", "wandb-client-artifact")
_WEB = ("http", "https")
_HEX = frozenset("0123456789abcdef")
_MAX_CHAIN = 32


class UnsupportedSchemeError(UsageError):
    """A reference has a scheme that regcli can record, but not fetch."""

    kind = "unsupported-scheme"


class Places:
    """The ways to where references lead, for one command and all its threads; nothing is connected before it is used.

    Attributes:
        web: the way to the web. buckets: the way to object stores.
    """

    __slots__ = ("_context", "buckets", "web")

    def __init__(self, context: Context) -> None:
        """Take the user's surroundings."""
        from regcli.store.elsewhere.buckets import Buckets
        from regcli.store.elsewhere.web import Web

        self._context = context
        self.web = Web(sleep=context.sleep)
        self.buckets = Buckets(context.environment)

    def tell_redirects(self) -> None:
        """Say which URLs led to another host."""
        for url, host in dict.fromkeys(self.web.redirects):
            self._context.warnings.append(f"{quote(url)} was redirected to {host}")
        self.web.redirects.clear()


def split_named(text: str) -> tuple[str | None, str]:
    """Take `[NAME=]URI` apart; a `=` inside the URI belongs to it."""
    before, mark, after = text.partition("=")
    if mark and "://" not in before and elsewhere.scheme_of(after):
        return before, after
    return None, text


def collect_references(
    context: Context,
    uri: str,
    *,
    name: str | None = None,
    prefix: str = "",
    checksum: bool = True,
    max_objects: int | None = None,
    algorithm: str = "XXH128",
    cache: StatCache | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[Entry]:
    """Return the manifest entries of what a URI leads to; nothing is copied.

    Args:
        context: who asks, and where.
        uri: with a scheme.
        name: the entry's path, or the directory of the entries where the URI means many; by default the last part of the URI
            (paths relative to the URI for many).
        prefix: a directory of the artifact to place all of it in.
        checksum: ask for size and ETag, read files. Without, the digest is that of the URI: a new version comes only from a new
            URI, and what is fetched later is not checked.
        max_objects: refuse more than this many files or objects; by default 10,000,000.
        algorithm: `XXH128` or `MD5`, for the digests of files; the same as the artifact's.
        cache: stat cache for `file:`.
        progress: told files and bytes so far, for `file:`.

    Raises:
        UsageError: no scheme, no name, or too many. MissingPathError, MissingReferenceError: nothing is there.
        MissingLibraryError: an object store, without obstore. StorageError: it cannot be reached or read.
    """
    scheme = elsewhere.scheme_of(uri)
    if not scheme:
        raise UsageError(
            f"references must be URIs, and {quote(uri)} is none", hint="to reference a local file, use file:///absolute/path"
        )
    if elsewhere.has_controls(uri):
        raise UsageError(f"{quote(uri)} has a character that no URI may have")
    if max_objects is not None and max_objects < 0:
        raise UsageError("--max-objects is negative")
    name = normalize_path(name) if name else None
    places = Places(context)
    try:
        entries = _collect(context, places, scheme, uri, name, checksum, max_objects, algorithm, cache, progress)
    finally:
        places.tell_redirects()
    if prefix:
        top = normalize_path(prefix)
        entries = [(f"{top}/{entry[0]}", *entry[1:]) for entry in entries]
    return entries


def _collect(
    context: Context,
    places: Places,
    scheme: str,
    uri: str,
    name: str | None,
    checksum: bool,
    max_objects: int | None,
    algorithm: str,
    cache: StatCache | None,
    progress: Callable[[int, int], None] | None,
) -> list[Entry]:
    if scheme == "file":
        from regcli.store.elsewhere import local

        return local.collect(
            uri,
            name,
            checksum=checksum,
            max_objects=max_objects,
            algorithm=algorithm,
            avoid=context.root_path,
            cache=cache,
            progress=progress,
        )
    if scheme in _ARTIFACT_SCHEMES:
        return [_collect_artifact(context, uri, name)]
    from regcli.store.elsewhere.bucket_uri import is_bucket

    if is_bucket(uri):
        return places.buckets.collect(uri, name, checksum=checksum, max_objects=max_objects)
    if scheme in _WEB:
        return [places.web.collect(uri, name, checksum=checksum)]
    if name is None:
        raise UsageError(
            f"a reference with the scheme {quote(scheme)} needs a name in the artifact",
            hint=f"give one, as in --ref weights.bin={uri}",
        )
    context.warnings.append(f"{quote(uri)} is recorded as it stands: regcli cannot check or fetch the scheme {quote(scheme)}")
    return [elsewhere.make_entry(name, uri, uri, check=elsewhere.NONE)]


# Entries of other versions


def artifact_uri(artifact_id: str, path: str) -> str:
    """Return the URI of another version's entry: the version's id and the path in it."""
    return f"{ARTIFACT}://{artifact_id}/{path}"


def _split_artifact_uri(uri: str) -> tuple[str, str]:
    """Return (id or reference, path).

    A reference ends with its selector: `regcli-artifact://ENTITY/PROJECT/NAME:SEL/PATH`.
    """
    rest = uri.partition("://")[2]
    head, slash, path = rest.partition("/")
    if len(head) == 32 and _HEX.issuperset(head.lower()):
        return head.lower(), path
    before, colon, after = rest.partition(":")
    selector, slash, path = after.partition("/")
    if not colon or not slash or not path:
        raise UsageError(
            f"{quote(uri)} names no entry of an artifact",
            hint=f"write {ARTIFACT}://NAME:v0/PATH, {ARTIFACT}://REGISTRY/COLLECTION:ALIAS/PATH",
        )
    return f"{before}:{selector}", path


def _collect_artifact(context: Context, uri: str, name: str | None) -> Entry:
    from regcli.domain.manifests import read_manifest
    from regcli.domain.resolving import resolve, source_of

    where, path = _split_artifact_uri(uri)
    version = find_artifact(context, where) if ":" not in where else resolve(context, where, action="download")
    version = source_of(context, version)
    entry = _find_entry(read_manifest(context, version.record), path)
    if entry is None:
        raise NotFoundError(f"{quote(version.ref)} has no file {quote(path)}", hint=f"`regcli files {version.ref}` lists them")
    source, target = _follow(context, version, entry)
    check, digest = _check_of(target, version.record["algorithm"])
    place = name or path.rpartition("/")[2]
    # Size 0 as the original records it: the bytes are counted where they are.
    made = elsewhere.make_entry(place, artifact_uri(source.record["id"], target[0]), digest, check=check)
    extra = {**(made[4] or {}), "source": {"place": source.collection.place, "version": source.index}}
    return (*made[:4], extra)


def _check_of(entry: Entry, algorithm: str) -> tuple[str, str]:
    """Return how the content of an entry is checked, and the digest that is recorded for it."""
    _, digest, _, flags, extra = entry
    if flags == REFERENCE:
        return (extra or {}).get("check", elsewhere.SIZE), digest
    if algorithm == "MD5" and extra is not None and "md5" in extra:
        return elsewhere.MD5, elsewhere.base64_of(extra["md5"])
    return elsewhere.XXH128, elsewhere.base64_of(digest)


def _find_entry(entries: Sequence[Entry], path: str) -> Entry | None:
    from bisect import bisect_left

    at = bisect_left(entries, path, key=lambda entry: entry[0])
    return entries[at] if at < len(entries) and entries[at][0] == path else None


def find_artifact(context: Context, artifact_id: str, source: dict[str, Any] | None = None) -> Version:
    """Return the logged version with this id; `source` is where it was.

    Raises:
        MissingReferenceError: there is none (any more).
    """
    from regcli.domain.collections import is_live, list_collections, open_place
    from regcli.domain.resolving import Version
    from regcli.store.layout import project_paths

    if source is not None:
        try:
            collection = open_place(context, str(source["place"]))
            record = collection.snapshot.records.get(int(source["version"]))
            if is_live(record) and record is not None and record["id"] == artifact_id and "source" not in record:
                return Version(collection, int(source["version"]), record)
        except (RegcliError, KeyError, ValueError, TypeError):
            # It was written in another root; the id decides.
            pass
    for owner in project_paths(context.root.path):
        for collection in list_collections(context, owner, None):
            for index, record in collection.versions():
                if record["id"] == artifact_id and "source" not in record:
                    return Version(collection, index, record)
    raise MissingReferenceError(
        f"unable to find the version with the id {artifact_id}, which a reference leads to",
        hint="leave such references out of a download with --allow-missing-references",
    )


def is_artifact(entry: Entry) -> bool:
    """Tell whether an entry is a reference to an entry of another version."""
    return entry[3] == REFERENCE and elsewhere.scheme_of((entry[4] or {})["ref"]) in _ARTIFACT_SCHEMES


def target_of(entry: Entry) -> str | None:
    """Return the id of the version that such a reference leads to; None where its URI has none."""
    where = (entry[4] or {})["ref"].partition("://")[2].partition("/")[0].lower()
    return where if len(where) == 32 and _HEX.issuperset(where) else None


def _follow(context: Context, version: Version | None, entry: Entry) -> tuple[Version, Entry]:
    """Follow references from version to version; returns the last version, and an entry that is none such.

    `version` is the one that has the entry; it may be None where the entry leads on.
    """
    from regcli.domain.manifests import read_manifest

    for _ in range(_MAX_CHAIN):
        if version is not None and not is_artifact(entry):
            return version, entry
        extra = entry[4] or {}
        where, path = _split_artifact_uri(extra["ref"])
        version = find_artifact(context, where, extra.get("source"))
        found = _find_entry(read_manifest(context, version.record), path)
        if found is None:
            raise MissingReferenceError(f"{quote(version.ref)} has no file {quote(path)}, which a reference leads to")
        entry = found
    raise MissingReferenceError(f"the reference {quote(entry[0])} leads through more than {_MAX_CHAIN} others")


def settle_artifact(context: Context, entry: Entry) -> Entry:
    """Return what a reference to another version's entry stands for: a stored file, or a reference to elsewhere.

    Raises:
        MissingReferenceError: the version or its entry is gone. ReferenceChangedError: it has other content.
    """
    extra = entry[4] or {}
    path = _split_artifact_uri(extra["ref"])[1]
    version, target = _follow(context, None, entry)
    if _check_of(target, version.record["algorithm"])[1] != entry[1]:
        raise ReferenceChangedError(
            f"{quote(path)} of {quote(version.ref)} is not the content that {quote(entry[0])} refers to"
        )
    if target[3] == REFERENCE:
        return (entry[0], target[1], target[2], REFERENCE, target[4])
    return (entry[0], target[1], target[2], target[3] or FILE, None)
