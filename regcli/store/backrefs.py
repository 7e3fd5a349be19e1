"""Who points to a version: its links, and the versions and runs that used it.

A link lies in the log of the collection it was made in, so finding the links of a version would mean reading every
collection. A marker is therefore written *before* the commit that makes the pointer: the markers of a version are always
at least the pointers to it. One whose commit never came is harmless, since whoever reads a marker checks what it points to.
"""

from __future__ import annotations

from regcli.errors import RegcliError
from regcli.store import files, jsontext

LINK = "link"
INPUT = "input"
USE = "use"


def _directory(root: str, artifact_id: str) -> str:
    return f"{root}/backrefs/{artifact_id[:2]}/{artifact_id}"


def add_backref(root: str, artifact_id: str, kind: str, place: str, number: int) -> None:
    """Write the durable marker that version (or event) `number` at `place` points to the artifact.

    Args:
        root: the root's path.
        artifact_id: 32 hex digits.
        kind: `link`, `input` or `use`.
        place: directory of the pointing collection or run, relative to the root.
        number: the version there, or 0 for a run.
    """
    import xxhash

    directory = _directory(root, artifact_id)
    path = f"{directory}/{kind}-{xxhash.xxh3_128_hexdigest(place.encode())}-{number}.json"
    try:
        files.make_directories(directory)
    except OSError as error:
        raise files.explain(error, f"cannot make {directory}") from error
    files.create_exclusive(path, jsontext.dumps({"kind": kind, "place": place, "number": number}).encode() + b"\n")


def read_backrefs(root: str, artifact_id: str, kind: str | None = None) -> list[tuple[str, str, int]]:
    """Return (kind, place, number) of every marker, sorted; damaged ones are left out (`verify` names them)."""
    directory = _directory(root, artifact_id)
    found = []
    for name in files.scan_names(directory):
        if name.startswith(".") or (kind is not None and not name.startswith(f"{kind}-")):
            continue
        path = f"{directory}/{name}"
        try:
            document = jsontext.loads(files.read_document(path, 65536), path)
            found.append((str(document["kind"]), str(document["place"]), int(document["number"])))
        except (RegcliError, OSError, KeyError, TypeError, ValueError):
            continue
    return sorted(found)
