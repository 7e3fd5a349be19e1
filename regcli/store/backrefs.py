"""Who points to a version: its links, the versions and runs that used it, and the versions that refer to its files.

A link lies in the log of the collection it was made in, so finding the links of a version would mean reading every
collection. A marker is therefore written *before* the commit that makes the pointer: the markers of a version are always
at least the pointers to it. One whose commit never came is harmless, since whoever reads a marker checks what it points to.
"""

from __future__ import annotations

from regcli.errors import IntegrityError, RegcliError, StorageError
from regcli.store import files, jsontext

LINK = "link"
INPUT = "input"
USE = "use"
REFERENCE = "reference"
_HEX = frozenset("0123456789abcdef")

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def _directory(root: str, artifact_id: str) -> str:
    # Ids are read from logs, which anybody may have written: one with `..` would lead out of the root.
    if len(artifact_id) != 32 or not _HEX.issuperset(artifact_id):
        raise IntegrityError(f"{artifact_id[:80]!r} is no id of a version", hint="run `regcli verify` to see all damage")
    return f"{root}/backrefs/{artifact_id[:2]}/{artifact_id}"


def _marker_name(kind: str, place: str, number: int) -> str:
    import xxhash

    return f"{kind}-{xxhash.xxh3_128_hexdigest(place.encode())}-{number}.json"


def add_backref(root: str, artifact_id: str, kind: str, place: str, number: int) -> None:
    """Write the durable marker that version (or event) `number` at `place` points to the artifact; a damaged one is replaced.

    Args:
        root: the root's path.
        artifact_id: 32 hex digits.
        kind: `link`, `input`, `use` or `reference`.
        place: directory of the pointing collection or run, relative to the root.
        number: the version there, or 0 for a run.
    """
    directory = _directory(root, artifact_id)
    path = f"{directory}/{_marker_name(kind, place, number)}"
    data = jsontext.dumps({"kind": kind, "place": place, "number": number}).encode() + b"\n"
    try:
        files.make_within(root, directory)
    except OSError as error:
        raise files.explain(error, f"cannot make {directory}") from error
    if files.create_exclusive(path, data, root=root):
        return
    try:
        if _says(path, kind, place, number):
            # Its writer may have been killed before the name was durable.
            files.fsync_recent(directory)
        else:
            files.remove_obstacle(path, root)
            files.replace_file(path, data, mode=0o444, durable=True, root=root)
    except OSError as error:
        raise files.explain(error, f"cannot write {path}") from error


def _says(path: str, kind: str, place: str, number: int) -> bool:
    """Tell whether a marker can be read and says exactly this."""
    try:
        return _read(path) == (kind, place, number)
    except StorageError:
        return False


def _read(path: str) -> tuple[str, str, int] | None:
    """Return what a marker says; None when it is gone, damaged, or another marker under this name.

    Raises:
        StorageError: it cannot be read, which says nothing about what it says.
    """
    try:
        document = jsontext.loads(files.read_document(path, 65536), path)
        kind, place, number = str(document["kind"]), str(document["place"]), int(document["number"])
        is_this = path.endswith(f"/{_marker_name(kind, place, number)}")
    except StorageError:
        raise
    except (RegcliError, OSError, KeyError, TypeError, ValueError):
        return None
    return (kind, place, number) if is_this else None


def read_backrefs(
    root: str, artifact_id: str, kind: str | None = None, *, strict: bool = False, unread: list[str] | None = None
) -> list[tuple[str, str, int]]:
    """Return (kind, place, number) of every marker, sorted; damaged ones are left out (`verify` writes them again).

    Args:
        root: the root's path.
        artifact_id: 32 hex digits.
        kind: only markers of this kind.
        strict: refuse to answer when a marker is damaged: for whoever is about to delete what is pointed to.
        unread: without `strict`, gets a sentence about each marker that cannot be read.

    Raises:
        IntegrityError: `strict`, and a marker is damaged; or their directory is a link.
        StorageError: `strict`, and one cannot be read; or their directory cannot.
    """
    directory = _directory(root, artifact_id)
    found = []
    for name in files.scan_names(directory):
        if name.startswith(".") or (kind is not None and not name.startswith(f"{kind}-")):
            continue
        try:
            marker = _read(f"{directory}/{name}")
        except StorageError as error:
            if strict:
                raise
            if unread is not None:
                unread.append(error.message)
            continue
        if marker is not None:
            found.append(marker)
        elif strict:
            raise IntegrityError(f"{directory}/{name} is corrupt", hint="run `regcli verify`, which writes it again")
    return sorted(found)


def all_markers(root: str) -> Iterator[tuple[str, tuple[str, str, int] | None]]:
    """Yield the path of every marker that can be read, with what it says: (kind, place, number), or None for a damaged one.

    Raises:
        IntegrityError: a directory is a link. StorageError: one cannot be read.
    """
    top = f"{root}/backrefs"
    for prefix in files.scan_names(top):
        for artifact_id in files.scan_names(f"{top}/{prefix}"):
            for name in files.scan_names(f"{top}/{prefix}/{artifact_id}"):
                if name.startswith("."):
                    continue
                path = f"{top}/{prefix}/{artifact_id}/{name}"
                try:
                    yield path, _read(path)
                except StorageError:
                    continue


def remove_damaged(root: str, hear: Callable[[str, str, int], object] | None = None) -> list[str]:
    """Delete the markers that say nothing, after those that something points from were written again; returns their paths.

    `hear` is told what the others say.
    """
    removed = []
    for path, marker in all_markers(root):
        if marker is not None:
            if hear is not None:
                hear(*marker)
            continue
        try:
            files.remove_obstacle(path, root)
        except OSError:
            pass
        directory, _, name = path.rpartition("/")
        files.remove_names(directory, [name], root)
        removed.append(path)
    return removed
