"""Entries of a version that is more than its sources: a base's, references, and what only memory has."""

from __future__ import annotations

from regcli.domain.manifests import read_manifest
from regcli.domain.resolving import resolve
from regcli.errors import IntegrityError, NotFoundError, SourceChangedError, UsageError
from regcli.model import quote
from regcli.store.manifest import REFERENCE, InvalidPathError, problem_in_paths, sort_entries

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from regcli.domain.context import Context
    from regcli.domain.log_request import LogRequest
    from regcli.store.batch import Batch
    from regcli.store.ingest import Ingested
    from regcli.store.manifest import Entry


def compose(context: Context, batch: Batch | None, request: LogRequest, taken: Ingested) -> list[Entry]:
    """Return the version's entries, sorted by path: what was taken from the sources, and what else the request gives.

    `taken.digest` says what all of them come to where that is known, and is empty otherwise.

    Raises:
        InvalidPathError: their paths together make no artifact. UsageError: one path has different contents.
        NotFoundError: the base has no path that is to be removed, or a content is not in the store.
        SourceChangedError: a file is not what it was when it was added.
    """
    taken.digest = ""
    _take_given(context, batch, request)
    is_all = not taken.entries and request.base is None and not request.remove
    if is_all and request.digest:
        taken.digest = request.digest
        return sort_entries(request.entries)
    if is_all and len({entry[0] for entry in request.entries}) == len(request.entries):
        return _checked(sort_entries(request.entries))
    added = {entry[0]: entry for entry in taken.entries}
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
        base = read_manifest(context, resolve(context, request.base, action="download").record)
    return _checked(_merge(base, request.remove, list(added.values())))


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
    return sort_entries(merged.values())


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
