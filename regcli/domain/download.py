"""Download and checkout: bring a version back, byte for byte."""

from __future__ import annotations

import os

from regcli.domain.apart import require_apart
from regcli.domain.manifests import read_manifest
from regcli.domain.resolving import Version, resolve
from regcli.errors import NotFoundError, RefusedError, UsageError
from regcli.model import quote, quote_some
from regcli.store.manifest import REFERENCE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from regcli.domain.context import Context
    from regcli.store.manifest import Entry
    from regcli.store.statcache import StatCache


class Downloaded:
    """The outcome: the version, the absolute path, counts of files and bytes, and a call for the files' names."""

    __slots__ = ("bytes", "files", "list_names", "missing", "path", "removed", "skipped", "version", "written")

    def __init__(self, version: Version, path: str) -> None:
        """Start with zero counts."""
        self.list_names: Callable[[], Sequence[str]] = tuple
        self.version = version
        self.path = path
        self.files = 0
        self.written = 0
        self.skipped = 0
        self.removed = 0
        self.bytes = 0
        # Paths of references that were left out, since their target is gone.
        self.missing: Sequence[str] = ()

    def document(self) -> dict[str, Any]:
        """Return the promised JSON fields."""
        return {
            "ref": self.version.ref,
            "digest": self.version.digest,
            "path": self.path,
            "files": self.files,
            "written": self.written,
            "skipped": self.skipped,
            "removed": self.removed,
            "bytes": self.bytes,
            "missing_references": list(self.missing),
        }


def default_directory(version: Version) -> str:
    """Return `artifacts/NAME:vN`, with `-` for the colon where file names may not have one."""
    separator = "-" if os.name == "nt" else ":"
    return f"artifacts/{version.collection.name}{separator}{version.version}"


def choose_entries(
    entries: Sequence[Entry], *, prefix: str | None = None, include: Sequence[str] = (), exclude: Sequence[str] = ()
) -> list[Entry]:
    """Return the entries that a download is about.

    Args:
        entries: a manifest's.
        prefix: a raw prefix of the path, as in the original (`a` matches `a/x` and `ab`).
        include: gitignore patterns; when given, only what matches one.
        exclude: gitignore patterns of what to leave out.
    """
    chosen = [entry for entry in entries if prefix is None or entry[0].startswith(prefix)]
    if include:
        matches = _matcher(include)
        chosen = [entry for entry in chosen if matches(entry[0])]
    if exclude:
        matches = _matcher(exclude)
        chosen = [entry for entry in chosen if not matches(entry[0])]
    return chosen


def _matcher(patterns: Sequence[str]) -> Callable[[str], bool]:
    from pathspec import GitIgnoreSpec

    spec = GitIgnoreSpec.from_lines(patterns)
    return lambda path: bool(spec.match_file(path))


class DownloadOptions:
    """How files are placed.

    Attributes:
        link_mode: `auto` (reflink, else copy), `copy`, `reflink`, `hardlink` or `symlink`.
        threads: how many, or None for what suits the machine.
        allow_missing_references: leave out references whose target is gone.
        cache: stat cache of the target. progress: told (files, bytes) as they are done.
    """

    __slots__ = ("allow_missing_references", "cache", "link_mode", "progress", "threads")

    def __init__(
        self,
        *,
        link_mode: str = "auto",
        threads: int | None = None,
        allow_missing_references: bool = False,
        cache: StatCache | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> None:
        """Take the options as given."""
        self.link_mode = link_mode
        self.threads = threads
        self.allow_missing_references = allow_missing_references
        self.cache = cache
        self.progress = progress


def _place(
    context: Context,
    entries: Sequence[Entry],
    done: Downloaded,
    options: DownloadOptions,
    approve: Callable[[list[tuple[str, str, bool]]], None] | None = None,
    manifest: str | None = None,
) -> None:
    from regcli.domain.sealing import proofs_of
    from regcli.store.materialize import materialize

    proofs = proofs_of(context, done.version)
    references = any(entry[3] == REFERENCE for entry in entries)
    if references:
        from regcli.domain.fetching import settle_references

        before = entries
        entries = settle_references(context, before, allow_missing=options.allow_missing_references)
        if proofs is not None:
            proofs.leave_out(
                new[1] for old, new in zip(before, entries, strict=True) if old[3] == REFERENCE and new[3] != REFERENCE
            )
    result = materialize(
        context.root.content,
        entries,
        done.path,
        prune=approve,
        link_mode=options.link_mode,
        threads=options.threads,
        cache=options.cache,
        progress=options.progress,
        proofs=proofs,
        manifest=manifest,
    )
    done.files = result.files
    done.written = result.written
    done.skipped = result.skipped
    done.bytes = result.bytes
    done.removed = len(result.removed)
    if references:
        _fetch(context, entries, done, options)


def _fetch(context: Context, entries: Sequence[Entry], done: Downloaded, options: DownloadOptions) -> None:
    """Fetch the references, after the files: what is stored here is there even where the network fails."""
    from regcli.domain.fetching import fetch_references

    before = done.files, done.bytes

    def report(files: int, size: int) -> None:
        if options.progress is not None:
            options.progress(before[0] + files, before[1] + size)

    fetched = fetch_references(
        context,
        entries,
        done.path,
        allow_missing=options.allow_missing_references,
        threads=options.threads,
        progress=report,
    )
    done.files += fetched.files
    done.written += fetched.written
    done.skipped += fetched.skipped
    done.bytes += fetched.bytes
    done.missing = fetched.missing


def download(
    context: Context,
    text: str,
    directory: str | None,
    options: DownloadOptions,
    *,
    prefix: str | None = None,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
) -> Downloaded:
    """Write the files of a version into a directory; what is there already and right is left alone, other files stay.

    Raises:
        NotFoundError: no such version, or no file matches. IntegrityError: stored content is damaged; no wrong byte was
        given a name. RoleError: the user may look, but not download.
    """
    version = resolve(context, text, action="download")
    if prefix is None and not include and not exclude:
        return _download_whole(context, version, directory if directory is not None else default_directory(version), options)
    entries = read_manifest(context, version.record)
    chosen = choose_entries(entries, prefix=prefix, include=include, exclude=exclude)
    if entries and not chosen:
        raise NotFoundError(f"no file of {quote(version.ref)} matches", hint=f"`regcli files {version.ref}` lists them")
    return download_version(
        context, version, chosen, directory if directory is not None else default_directory(version), options
    )


def _download_whole(context: Context, version: Version, directory: str, options: DownloadOptions) -> Downloaded:
    """Download all files; where the stat cache proves that they are in place, the manifest is not even read."""
    manifest: str = version.record["manifest"]
    if options.cache is not None and version.seal is None and options.link_mode != "symlink" and directory:
        from regcli.store.inplace import find_in_place

        require_apart(context.root.path, directory, ())
        found = find_in_place(options.cache, directory, manifest)
        if found is not None:
            done = Downloaded(version, os.path.abspath(directory))
            done.files = done.skipped = found.files
            done.list_names = lambda: [entry[0] for entry in read_manifest(context, version.record)]
            if options.progress is not None:
                options.progress(found.files, 0)
            return done
    entries = read_manifest(context, version.record)
    return download_version(context, version, entries, directory, options, manifest=manifest)


def download_version(
    context: Context,
    version: Version,
    entries: Sequence[Entry],
    directory: str,
    options: DownloadOptions,
    *,
    manifest: str | None = None,
) -> Downloaded:
    """Write these entries of a version, which was resolved already, into a directory. Raises as `download` does.

    `manifest` is the digest of the version's manifest where these are all its entries.
    """
    require_apart(context.root.path, directory, (entry[0] for entry in entries))
    done = Downloaded(version, os.path.abspath(directory))
    _place(context, entries, done, options, manifest=manifest)
    done.list_names = lambda: [entry[0] for entry in entries]
    return done


def checkout(context: Context, text: str, directory: str, options: DownloadOptions, *, force: bool = False) -> Downloaded:
    """Make a directory exactly the version: what is not in it is removed, provided that the store knows its content.

    Raises:
        RefusedError: files whose content is stored nowhere would be lost, or one would lie in the root; nothing was changed.
    """
    version = resolve(context, text, action="download")
    entries = read_manifest(context, version.record)
    require_apart(context.root.path, directory, (entry[0] for entry in entries))
    path = os.path.abspath(directory)
    if path == os.path.abspath(os.sep):
        raise UsageError(f"{path} cannot become a version; check out somewhere else")

    def approve(changes: list[tuple[str, str, bool]]) -> None:
        lost = [name for name, _, stored in changes if not stored]
        if not force and any(entry[3] == REFERENCE for entry in entries):
            from regcli.domain.fetching import local_changes

            lost += local_changes(context, entries, path)
        if lost and not force:
            raise RefusedError(
                f"{path} has local changes that are stored nowhere: {quote_some(lost)}",
                hint="log them first, or give --force to lose them",
            )

    done = Downloaded(version, path)
    _place(context, entries, done, options, approve)
    return done
