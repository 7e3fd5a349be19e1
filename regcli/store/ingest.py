"""From files to entries: walk, look into the stat cache, have read what is new."""

from __future__ import annotations

import errno
import os
import stat
from struct import Struct

import xxhash

from regcli.errors import MissingPathError, UsageError
from regcli.model import quote
from regcli.store import files
from regcli.store.manifest import (
    EXECUTABLE,
    FILE,
    InvalidPathError,
    has_twins,
    manifest_digest,
    normalize_path,
    problem_in_paths,
    sort_entries,
)
from regcli.store.reading import Reader
from regcli.store.statcache import Section, Summary, make_key, no_section, pack_rows
from regcli.store.walk import Walk, refuse_special

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import Any

    from regcli.store.batch import Batch
    from regcli.store.manifest import Entry
    from regcli.store.statcache import StatCache

    Progress = Callable[[int, int], None]
    Part = tuple[str, str, bytes]  # prefix of a directory, its files' names with "/" between them, a ROW for each

# The columns of a ROW that are asked for.
_KEYS = Struct("<40s8x")
_SIZES = Struct("<16xQ16xQ")


class Source:
    """A file or directory that is to be logged.

    Attributes:
        path: where it is. A directory's content goes to the artifact's root (or `prefix`), a file keeps its name.
        prefix: place inside the artifact, "" for its root.
        exclude: patterns in gitignore syntax, relative to the directory.
    """

    __slots__ = ("exclude", "path", "prefix")

    def __init__(self, path: str, prefix: str = "", exclude: Sequence[str] = ()) -> None:
        self.path = path
        self.prefix = normalize_path(prefix) if prefix else ""
        self.exclude = exclude


class Ingested:
    """What was found.

    Attributes:
        entries: sorted by path.
        files, bytes: how many, and their sizes together.
        bytes_read: bytes that were read, because the stat cache did not know them.
        skipped_links: links to directories that were not followed.
        git: directories among the sources whose `.git` was taken along.
        moved: sources to be removed by `remove_sources` (only with link mode `move`).
        digest: of the entries' manifest, where it had to be computed, else "".
        is_as_before: the digest is the one that was asked for with `unless`; then there are no entries.
        proven_at: of what is as before, when all of it was seen in the store (`Summary.proven_at`).
    """

    __slots__ = (
        "_section", "bytes", "bytes_read", "digest", "entries", "files", "git", "is_as_before", "moved", "proven_at",
        "skipped_links",
    )  # fmt: skip

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.digest = ""
        self.is_as_before = False
        self.files = 0
        self.bytes = 0
        self.bytes_read = 0
        self.skipped_links: list[str] = []
        self.git: list[str] = []
        self.moved: list[tuple[str, bytes]] = []
        self.proven_at = 0
        self._section: Section | None = None

    def summarized(self, section: Section) -> None:
        """Take the part of the cache that says what all of this is together."""
        self._section = section

    def confirm(self) -> None:
        """Note that all of it is in the store now."""
        if self._section is not None:
            self._section.confirm_summary()

    def remove_sources(self) -> list[str]:
        """Remove the files that were moved in, to be called when the version is committed; return those that stayed.

        A file that is no longer what was stored is left alone.
        """
        stayed = []
        for path, key in self.moved:
            try:
                status = os.lstat(path)
                # Linking changed ctime and perhaps the mode; size, inode and mtime still tell.
                if make_key(status)[:32] != key[:32]:
                    stayed.append(path)
                    continue
                os.unlink(path)
            except OSError:
                stayed.append(path)
        return stayed


def ingest(
    batch: Batch | None,
    sources: Iterable[Source | tuple[str, str]],
    *,
    cache: StatCache | None = None,
    link_mode: str = "copy",
    algorithm: str = "XXH128",
    follow_directory_links: bool = False,
    rehash: bool = False,
    progress: Progress | None = None,
    store_root: str | None = None,
    unless: str | None = None,
) -> Ingested:
    """Stage the content of files and directories; nothing is published.

    Args:
        batch: where content goes; None only hashes and writes nothing (a dry run).
        sources: what to log; a pair is (artifact path, local file).
        cache: answers for files that did not change, as far as the store still has their blobs.
        link_mode: `copy`, `hardlink` (share the file, which becomes read-only) or `move` (see `Ingested.remove_sources`).
        algorithm: `MD5` adds `md5` to the entries.
        follow_directory_links: follow links to directories too; cycles are cut.
        rehash: read everything, whatever the cache says.
        progress: called with files and bytes so far.
        store_root: a directory to leave out where a source contains it; the batch's root by default.
        unless: digest of a manifest that the caller has already. Where the cache proves that one directory would give it
            again, no entries are made (`Ingested.is_as_before`).

    Raises:
        MissingPathError: a source is not there.
        UsageError: a source is neither file nor directory, two sources give one path different content, or `move` would take
            a `.git` along.
        SourceChangedError: a file kept changing.
        StorageError: reading or writing failed.
    """
    if link_mode not in ("copy", "hardlink", "move"):
        raise UsageError(f"unknown link mode {quote(link_mode)}", hint="copy, hardlink or move")
    if algorithm not in ("XXH128", "MD5"):
        raise UsageError(f"unknown digest algorithm {quote(algorithm)}", hint="XXH128 or MD5")
    root = store_root if batch is None else batch.content.root
    run = _Run(batch, link_mode=link_mode, md5=algorithm == "MD5", progress=progress)
    import gc

    # Entries are plain tuples without cycles: looking for cycles among a million of them is a tenth of all the work.
    was_collecting = gc.isenabled()
    gc.disable()
    try:
        sources = list(sources)
        if len(sources) == 1 and link_mode == "copy" and not rehash and cache is not None:
            run.summarizes(algorithm, unless)
        return _ingest(run, sources, cache, algorithm, follow_directory_links=follow_directory_links, rehash=rehash, root=root)
    finally:
        if was_collecting:
            gc.enable()


def _ingest(
    run: _Run,
    sources: Iterable[Source | tuple[str, str]],
    cache: StatCache | None,
    algorithm: str,
    *,
    follow_directory_links: bool,
    rehash: bool,
    root: str | None,
) -> Ingested:
    avoid = _identity_of(root)
    pairs: list[tuple[str, str]] = []
    for source in sources:
        if isinstance(source, tuple):
            pairs.append(source)
            continue
        section = no_section(algorithm) if cache is None else cache.section(source.path, algorithm)
        run.use(section, rehash=rehash)
        prefix = f"{source.prefix}/" if source.prefix else ""
        before = len(run.result.entries)
        if _is_directory(source.path):
            walk = Walk(source.path, exclude=source.exclude, follow_directory_links=follow_directory_links, avoid=avoid)
            run.take_directory(walk, prefix)
            if run.result.is_as_before:
                return run.result
        else:
            _take_one(run, prefix + _basename(source.path), source.path)
        run.learned_all = section.save(len(run.result.entries) - before)
        run.forget()
    if pairs:
        section = no_section(algorithm) if cache is None else cache.section("", algorithm)
        run.use(section, rehash=rehash)
        for path, local in pairs:
            _take_one(run, normalize_path(path), local)
        section.save(len(pairs))
    return run.finish()


def _identity_of(path: str | None) -> tuple[int, int] | None:
    if path is None:
        return None
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _is_directory(path: str) -> bool:
    try:
        mode = os.stat(path).st_mode
    except (FileNotFoundError, NotADirectoryError) as error:
        if os.path.lexists(path):
            raise MissingPathError(f"{quote(path)} is a link that leads nowhere") from error
        raise MissingPathError(f"there is no file or directory {quote(path)}") from error
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise UsageError(f"{quote(path)} is a link that leads in circles") from error
        raise files.explain(error, f"cannot read {path}") from error
    if stat.S_ISDIR(mode):
        return True
    refuse_special(path, mode)
    return False


def _basename(path: str) -> str:
    return normalize_path(os.path.basename(path.rstrip("/")) or path)


def _take_one(run: _Run, artifact_path: str, local: str) -> None:
    if _is_directory(local):
        raise UsageError(f"{quote(local)} is a directory, not a file")
    place, _, name = artifact_path.rpartition("/")
    try:
        status = os.stat(local)
    except OSError as error:
        raise files.explain(error, f"cannot read {local}") from error
    run.take(f"{place}/{name}" if place else name, local, None, local, status)
    run.report()


class _Run:
    """The state of one `ingest`."""

    __slots__ = (
        "_algorithm", "_answers", "_batch", "_link_mode", "_listing", "_md5", "_progress", "_reader", "_rehash", "_section",
        "_told", "_unless", "learned_all", "result",
    )  # fmt: skip

    def __init__(self, batch: Batch | None, *, link_mode: str, md5: bool, progress: Progress | None) -> None:
        self._batch = batch
        self._reader = Reader(batch, link_mode=link_mode, md5=md5)
        self._link_mode = link_mode
        self._md5 = md5
        self._progress = progress
        self.result = Ingested()
        self._section = no_section()
        self._answers: dict[bytes, bytes] | None = {}
        self._rehash = False
        self._told = 0
        self._algorithm = ""
        self._unless: bytes | None = None
        self._listing: Any = None
        self.learned_all = True

    def summarizes(self, algorithm: str, unless: str | None) -> None:
        """Use and keep a summary of the only source."""
        self._algorithm = algorithm
        self._unless = bytes.fromhex(unless) if unless is not None else None

    def use(self, section: Section, *, rehash: bool) -> None:
        """Answer from this section of the cache from now on, as far as the blobs are still stored."""
        self._section = section
        self._answers = None
        self._rehash = rehash

    def forget(self) -> None:
        """Let go of what the cache said: of a million files that is half of all memory."""
        self._answers = {}
        self._section.forget()

    @property
    def _known(self) -> dict[bytes, bytes]:
        if self._answers is None:
            self._answers = self._load_known()
        return self._answers

    def _load_known(self) -> dict[bytes, bytes]:
        if self._rehash or self._link_mode != "copy":
            return {}
        known = self._section.known
        if known and self._batch is not None:
            wanted = {value[:16] for value in known.values()} if self._md5 else set(known.values())
            missing = wanted - self._batch.content.have_binary(wanted)
            if missing:
                known = {key: value for key, value in known.items() if value[:16] not in missing}
        return known

    def take_directory(self, walk: Walk, prefix: str) -> None:
        """Take all files that a walk finds; only look at them where the cache may know what they are together."""
        summary = self._section.summary() if self._unless is not None else None
        if summary is not None and summary.digest != self._unless:
            summary = None
        waiting: list[Part] = []
        self._listing = xxhash.xxh3_128(prefix.encode()) if self._algorithm else None
        has_git = False
        for place, descriptor, found in walk.directories():
            if not found:
                continue
            # Names have no "/": one text takes a fifth of the memory of many.
            part = place, "/".join([name for name, _ in found]), pack_rows([status for _, status in found])
            # The one of a submodule or a further work tree is a file.
            has_git = has_git or place.startswith(".git/") or (not place and "/.git/" in f"/{part[1]}/")
            if self._listing is not None:
                names = os.fsencode(part[1])
                self._listing.update(b"%d %d %s/%s" % (len(found), len(names), os.fsencode(place), names))
                self._listing.update(part[2])
            if summary is not None:
                waiting.append(part)
            else:
                self._take_part(part, walk, prefix, descriptor)
        self.result.skipped_links += walk.skipped_links
        if has_git:
            if self._link_mode == "move":
                raise UsageError(
                    f"{quote(walk.top)} is a repository: its .git would be moved away", hint="leave it out with --exclude .git"
                )
            self.result.git.append(walk.top)
        if summary is not None and self._listing.digest() == summary.listing:
            self._answer(summary)
            return
        waiting.reverse()
        while waiting:
            # Bit by bit: a million rows and a million entries need not be there together.
            self._take_part(waiting.pop(), walk, prefix, None)

    def _answer(self, summary: Summary) -> None:
        result = self.result
        result.is_as_before = True
        result.digest = summary.digest.hex()
        result.files, result.bytes = summary.files, summary.bytes
        result.proven_at = summary.proven_at
        result.summarized(self._section)
        if self._progress is not None:
            self._progress(result.files, result.bytes)

    def _take_part(self, part: Part, walk: Walk, prefix: str, descriptor: int | None) -> None:
        place, joined, rows = part
        names = joined.split("/")
        keys = [key for (key,) in _KEYS.iter_unpack(rows)]
        values = list(map(self._known.get, keys))
        start = prefix + place
        md5 = self._md5
        self.result.entries += [
            (
                start + name,
                value[:16].hex(),
                size,
                EXECUTABLE if mode & 0o111 else FILE,
                {"md5": value[16:].hex()} if md5 else None,
            )
            for name, value, (size, mode) in zip(names, values, _SIZES.iter_unpack(rows), strict=True)
            if value is not None
        ]
        if None in values:
            opened = walk.reopen(place) if descriptor is None else descriptor
            try:
                for name, key in sorted(
                    [(name, key) for name, key, value in zip(names, keys, values, strict=True) if value is None]
                ):
                    self._take(start + name, name, opened, f"{walk.top}/{place}{name}", key)
            finally:
                if descriptor is None:
                    os.close(opened)
        self.report()

    def take(self, path: str, name: str, directory: int | None, where: str, status: os.stat_result) -> None:
        """Take one file: from the cache, else by reading it."""
        key = make_key(status)
        value = self._known.get(key)
        if value is None:
            self._take(path, name, directory, where, key)
        else:
            self._add(path, value, status)

    def _take(self, path: str, name: str, directory: int | None, where: str, key: bytes) -> None:
        value, status, key_after = self._reader.read(name, directory, where, key)
        if key_after != key:
            # It is no longer what the walk saw.
            self._algorithm = ""
        self._section.fresh += key_after + value
        self.result.bytes_read += status.st_size
        if self._link_mode == "move" and self._batch is not None:
            self.result.moved.append((os.path.abspath(where), key_after))
        self._add(path, value, status)

    def _add(self, path: str, value: bytes, status: os.stat_result) -> None:
        flags = EXECUTABLE if status.st_mode & 0o111 else FILE
        extra = {"md5": value[16:].hex()} if self._md5 else None
        self.result.entries.append((path, value[:16].hex(), status.st_size, flags, extra))

    def report(self) -> None:
        """Tell how far it is."""
        if self._progress is not None:
            entries = self.result.entries
            self.result.bytes += sum([entry[2] for entry in entries[self._told :]])
            self._told = len(entries)
            self._progress(self._told, self.result.bytes)

    def finish(self) -> Ingested:
        """Sort, and check that the paths together make an artifact."""
        result = self.result
        result.entries = entries = sort_entries(result.entries)
        paths = [entry[0] for entry in entries]
        if has_twins(paths):
            result.entries = entries = _unique(entries)
            paths = [entry[0] for entry in entries]
        result.files = len(entries)
        result.bytes = sum([entry[2] for entry in entries])
        problem = problem_in_paths(paths) if entries else None
        if problem is not None:
            raise InvalidPathError(problem, hint="rename the file, or leave it out with --exclude")
        if self._algorithm and self._listing is not None and self.learned_all:
            result.digest = manifest_digest(entries, self._algorithm)
            summary = Summary(self._listing.digest(), bytes.fromhex(result.digest), result.files, result.bytes)
            self._section.save_summary(summary)
            result.summarized(self._section)
        return result


def _unique(entries: list[Entry]) -> list[Entry]:
    """Drop what two sources give alike; refuse what they give differently."""
    kept: list[Entry] = []
    for entry in entries:
        if kept and kept[-1][0] == entry[0]:
            if kept[-1][1:4] != entry[1:4]:
                raise UsageError(
                    f"two sources give different content for {quote(entry[0])}",
                    hint="rename one, or log one alone and then the other with --base and --at",
                )
        else:
            kept.append(entry)
    return kept
