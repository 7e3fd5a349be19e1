"""Drafts: the contents of an artifact before it is logged, gathered file by file, by several threads if need be.

Content that may change is taken at once: small files are kept in memory until the draft is logged (or until there are many,
then in the store), larger ones and directories go into the store. Content that the caller promises not to change is only
hashed, and read when the draft is logged, where a change is noticed.
"""

from __future__ import annotations

import os
import stat
import threading

import xxhash

from regcli.errors import NotFoundError, SourceChangedError, UsageError
from regcli.model import quote
from regcli.store import packs
from regcli.store.blobs import is_unchanged, md5_of, open_source
from regcli.store.files import explain
from regcli.store.ingest import Source, ingest
from regcli.store.manifest import EXECUTABLE, FILE, manifest_digest, normalize_path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import Any

    from regcli.domain.context import Context
    from regcli.domain.log_request import LogRequest
    from regcli.store.batch import Batch
    from regcli.store.ingest import Ingested
    from regcli.store.manifest import Entry
    from regcli.store.statcache import StatCache

MUTABLE = "mutable"
IMMUTABLE = "immutable"
POLICIES = (MUTABLE, IMMUTABLE)
# Bytes of small files that a draft keeps in memory before they go into the store.
MAX_KEPT = 16 << 20


class Draft:
    """The files of an artifact that is not logged yet; every method may be called from several threads.

    Attributes:
        algorithm: `XXH128` or `MD5`, of the version's digest.
        entries: path -> manifest entry.
    """

    __slots__ = (
        "_cache",
        "_context",
        "_directories",
        "_in_place",
        "_kept",
        "_kept_bytes",
        "_lock",
        "_names",
        "_whole",
        "algorithm",
        "entries",
    )

    def __init__(
        self,
        context: Callable[[], Context],
        algorithm: str = "XXH128",
        *,
        entries: Iterable[Entry] = (),
        cache: Callable[[Context], StatCache | None] | None = None,
    ) -> None:
        """Begin with nothing, or with the entries of a version that is stored.

        Args:
            context: gives the root; called when content has to go there.
            algorithm: of the digest.
            entries: what it starts with.
            cache: gives the stat cache for a root.
        """
        self.algorithm = algorithm
        self.entries: dict[str, Entry] = {entry[0]: entry for entry in entries}
        self._context = context
        self._cache = cache
        self._lock = threading.RLock()
        self._kept: dict[bytes, bytes] = {}
        self._kept_bytes = 0
        self._in_place: dict[str, str] = {}
        self._names: dict[str, str] = {}
        self._directories: dict[str, str] = {}
        # The digest of a directory that is all there is.
        self._whole = ""

    @property
    def digest(self) -> str:
        """The digest of the version that this would become, 32 hex digits."""
        with self._lock:
            return self._whole or manifest_digest(list(self.entries.values()), self.algorithm)

    @property
    def size(self) -> int:
        """The bytes of all entries together; a reference of unknown size counts 0."""
        with self._lock:
            return sum(max(entry[2], 0) for entry in self.entries.values())

    def local_name(self, local_path: str) -> str | None:
        """Return the artifact path that a local path was added as; the exact text that was added counts."""
        name = self._names.get(local_path)
        if name is not None:
            return name
        for directory, prefix in self._directories.items():
            if local_path.startswith(directory):
                name = prefix + local_path[len(directory) :]
                if name in self.entries:
                    return name
        return None

    def add_file(
        self,
        local_path: str,
        name: str | None = None,
        *,
        policy: str = MUTABLE,
        overwrite: bool = False,
        is_tmp: bool = False,
        extra: dict[str, Any] | None = None,
    ) -> Entry:
        """Add one file.

        Args:
            local_path: a regular file; links are followed.
            name: its path inside the artifact, by default its basename.
            policy: `mutable` takes the content now, `immutable` when the draft is logged.
            overwrite: replace an entry with other content.
            is_tmp: name the file by its content, so that two of one name do not clash.
            extra: what the manifest records with the entry besides; no part of the digest.

        Raises:
            UsageError: it is no file, the policy is unknown, or the path has other content already.
        """
        _check_policy(policy)
        path = normalize_path(name if name is not None else os.path.basename(local_path.rstrip("/")) or local_path)
        status = _status(local_path)
        if not stat.S_ISREG(status.st_mode):
            raise UsageError(f"path is not a file: {quote(local_path)}")
        kept: bytes | None = None
        if policy == IMMUTABLE:
            found = ingest(None, [(path, local_path)], cache=self._stat_cache(), algorithm=self.algorithm).entries[0]
        elif status.st_size < packs.SMALL:
            found, kept = self._read_small(path, local_path)
        else:
            found = self._store([(path, local_path)]).entries[0]
        if is_tmp:
            path = _temporary_name(path, found)
            found = (path, *found[1:])
        if extra is not None:
            found = (*found[:4], {**(found[4] or {}), **extra})
        with self._lock:
            is_new = self._put(found, overwrite=overwrite)
            if policy == MUTABLE:
                # Also where the entry was there already, but only with the promise that its file does not change.
                self._keep(found, kept)
                self._mark(path, None)
            elif is_new:
                self._mark(path, local_path)
            self._names[local_path] = path
            return self.entries[path]

    def add_directory(
        self, local_path: str, prefix: str | None = None, *, policy: str = MUTABLE, merge: bool = False
    ) -> list[Entry]:
        """Add all files below a directory, to the artifact's root or under `prefix`.

        Links to files are followed and stored as files; links to directories are followed, and cycles are cut.

        Raises:
            UsageError: it is no directory, or a path has other content already and `merge` is not given;
            nothing was added.
        """
        _check_policy(policy)
        if not os.path.isdir(local_path):
            raise UsageError(f"path is not a directory: {quote(local_path)}")
        source = Source(local_path, prefix or "")
        if policy == IMMUTABLE:
            taken = ingest(
                None, [source], cache=self._stat_cache(), algorithm=self.algorithm, follow_directory_links=True,
                store_root=self._context().root_path,
            )  # fmt: skip
        else:
            taken = self._store([source])
        found = taken.entries
        start = len(source.prefix) + 1 if source.prefix else 0
        with self._lock:
            if not merge and self.entries:
                for entry in found:
                    self._check_free(entry)
            self._whole = "" if self.entries else taken.digest
            self.entries.update({entry[0]: entry for entry in found})
            if policy == IMMUTABLE or self._in_place:
                for entry in found:
                    self._mark(entry[0], os.path.join(local_path, entry[0][start:]) if policy == IMMUTABLE else None)
            # Not a name for each file: a directory may have a million.
            self._directories[os.path.join(local_path, "")] = f"{source.prefix}/" if source.prefix else ""
        return found

    def add_entries(self, entries: Sequence[Entry]) -> None:
        """Add entries whose content is kept elsewhere (references), all of them or none."""
        with self._lock:
            for entry in entries:
                self._check_free(entry)
            for entry in entries:
                self._put(entry, overwrite=True)
                self._mark(entry[0], None)

    def has(self, name: str) -> bool:
        """Tell whether there is an entry of this path."""
        return normalize_path(name) in self.entries

    def remove(self, name: str | os.PathLike[str]) -> list[str]:
        """Remove an entry, or all entries of a directory; returns their paths.

        Raises:
            NotFoundError: nothing has that path.
        """
        path = normalize_path(name)
        with self._lock:
            gone = [path] if path in self.entries else [p for p in self.entries if p.startswith(f"{path}/")]
            if not gone:
                raise NotFoundError(f"no such file or directory in the artifact: {quote(os.fspath(name))}")
            for item in gone:
                del self.entries[item]
                self._whole = ""
                self._in_place.pop(item, None)
            return gone

    def fill(self, request: LogRequest) -> None:
        """Hand the contents over to a request to log them."""
        with self._lock:
            request.algorithm = self.algorithm
            request.entries = [entry for path, entry in self.entries.items() if path not in self._in_place]
            request.contents = dict(self._kept)
            request.sources = list(self._in_place.items())
            request.expected = {path: self.entries[path][1] for path in self._in_place}
            request.digest = "" if self._in_place else self._whole

    # What the methods above are made of

    def _put(self, entry: Entry, *, overwrite: bool) -> bool:
        before = self.entries.get(entry[0])
        if before is not None and before[1:4] == entry[1:4]:
            return False
        if not overwrite:
            self._check_free(entry)
        self.entries[entry[0]] = entry
        self._whole = ""
        return True

    def _check_free(self, entry: Entry) -> None:
        before = self.entries.get(entry[0])
        if before is not None and before[1] != entry[1]:
            raise UsageError(f"cannot add the same path twice: {quote(entry[0])}", hint="remove it first, or overwrite it")

    def _mark(self, path: str, local: str | None) -> None:
        if local is None:
            self._in_place.pop(path, None)
        else:
            self._in_place[path] = os.path.abspath(local)

    def _read_small(self, path: str, local_path: str) -> tuple[Entry, bytes]:
        for _ in range(3):
            descriptor = open_source(local_path)
            try:
                before = os.fstat(descriptor)
                data = packs.read_exactly(descriptor, before.st_size + 1, 0)
                after = os.fstat(descriptor)
            except OSError as error:
                raise explain(error, f"cannot read {local_path}") from error
            finally:
                os.close(descriptor)
            if len(data) == before.st_size and is_unchanged(before, after):
                extra = {"md5": md5_of(data).hex()} if self.algorithm == "MD5" else None
                flags = EXECUTABLE if before.st_mode & 0o111 else FILE
                return (path, xxhash.xxh3_128_hexdigest(data), len(data), flags, extra), data
        raise SourceChangedError(f"{local_path} kept changing while it was read", hint="add it when nothing writes to it")

    def _keep(self, entry: Entry, data: bytes | None) -> None:
        if data is None:
            return
        digest = bytes.fromhex(entry[1])
        if digest not in self._kept:
            self._kept[digest] = data
            self._kept_bytes += len(data)
            if self._kept_bytes > MAX_KEPT:
                self._flush()

    def _flush(self) -> None:
        if not self._kept:
            return
        context = self._context()
        context.make_root()
        with context.lock("content"), context.root.content.batch() as batch:
            put_kept(batch, self._kept)
            batch.publish()
        self._kept = {}
        self._kept_bytes = 0

    def _store(self, sources: Sequence[Source | tuple[str, str]]) -> Ingested:
        context = self._context()
        context.make_root()
        with context.lock("content"), context.root.content.batch() as batch:
            taken = ingest(batch, sources, cache=self._stat_cache(), algorithm=self.algorithm, follow_directory_links=True)
            batch.publish()
        return taken

    def _stat_cache(self) -> StatCache | None:
        if self._cache is None:
            return None
        try:
            return self._cache(self._context())
        except NotFoundError:
            return None


def put_kept(batch: Batch, contents: dict[bytes, bytes]) -> None:
    """Stage small contents that were kept in memory."""
    for data in contents.values():
        batch.put_bytes(data)


def _check_policy(policy: str) -> None:
    if policy not in POLICIES:
        raise UsageError(f"policy {quote(str(policy))} is unknown", hint='policy must be "mutable" or "immutable"')


def _status(path: str) -> os.stat_result:
    try:
        return os.stat(path)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise UsageError(f"path is not a file: {quote(path)}") from error
    except OSError as error:
        raise explain(error, f"cannot read {path}") from error


def _temporary_name(path: str, entry: Entry) -> str:
    directory, slash, name = path.rpartition("/")
    _, dot, ending = name.partition(".")
    extra = entry[4] or {}
    return f"{directory}{slash}{extra.get('md5', entry[1])[:20]}{dot}{ending}"
