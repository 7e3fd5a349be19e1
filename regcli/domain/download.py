"""Download and checkout: bring a version back, byte for byte."""

from __future__ import annotations

import os

from regcli.domain.manifests import read_manifest
from regcli.domain.resolving import Version, resolve
from regcli.errors import NotFoundError, RefusedError, UsageError
from regcli.model import quote
from regcli.store.manifest import REFERENCE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from regcli.domain.context import Context
    from regcli.store.manifest import Entry
    from regcli.store.statcache import StatCache


class Downloaded:
    """The outcome: the version, the absolute path, counts of files and bytes."""

    __slots__ = ("bytes", "files", "path", "removed", "skipped", "version", "written")

    def __init__(self, version: Version, path: str) -> None:
        """Start with zero counts."""
        self.version = version
        self.path = path
        self.files = 0
        self.written = 0
        self.skipped = 0
        self.removed = 0
        self.bytes = 0

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


def _place(context: Context, entries: Sequence[Entry], done: Downloaded, options: DownloadOptions) -> None:
    from regcli.store.materialize import materialize

    files = [entry for entry in entries if not entry[3] & REFERENCE]
    result = materialize(
        context.root.content,
        files,
        done.path,
        link_mode=options.link_mode,
        threads=options.threads,
        cache=options.cache,
        progress=options.progress,
    )
    done.files = result.files
    done.written = result.written
    done.skipped = result.skipped
    done.bytes = result.bytes


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
    entries = read_manifest(context, version.record)
    chosen = choose_entries(entries, prefix=prefix, include=include, exclude=exclude)
    if entries and not chosen:
        raise NotFoundError(f"no file of {quote(version.ref)} matches", hint=f"`regcli files {version.ref}` lists them")
    done = Downloaded(version, os.path.abspath(directory if directory is not None else default_directory(version)))
    _place(context, chosen, done, options)
    return done


def checkout(context: Context, text: str, directory: str, options: DownloadOptions, *, force: bool = False) -> Downloaded:
    """Make a directory exactly the version: what is not in it is removed, provided that the store knows its content.

    Raises:
        RefusedError: files whose content is stored nowhere would be lost; nothing was changed.
    """
    from regcli.store.materialize import remove_extra, survey

    version = resolve(context, text, action="download")
    entries = read_manifest(context, version.record)
    path = os.path.abspath(directory)
    if path == os.path.abspath(os.sep) or context.root.path == path or context.root.path.startswith(path + os.sep):
        raise UsageError(f"{path} holds the root itself; check out somewhere else")
    found = survey(context.root.content, entries, path)
    if found.unknown and not force:
        shown = ", ".join(quote(name) for name in found.unknown[:3])
        more = f" and {len(found.unknown) - 3} more" if len(found.unknown) > 3 else ""
        raise RefusedError(
            f"{path} has local changes that are stored nowhere: {shown}{more}",
            hint="log them first, or give --force to lose them",
        )
    done = Downloaded(version, path)
    done.removed = remove_extra(path, found.extra)
    _place(context, entries, done, options)
    return done


def write_stamp(path: str, done: Downloaded) -> None:
    """Write the version's digest into a file, only when it changed, so that Make rebuilds only then.

    Raises:
        StorageError: the file cannot be written.
    """
    from regcli.store import files

    text = f"{done.version.digest}\n".encode()
    try:
        if files.read_document(path) == text:
            return
    except (FileNotFoundError, NotADirectoryError):
        pass
    try:
        files.make_directories(os.path.dirname(os.path.abspath(path)))
        files.replace_file(os.path.abspath(path), text)
    except OSError as error:
        raise files.explain(error, f"cannot write {path}") from error
