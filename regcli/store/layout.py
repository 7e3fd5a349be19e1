"""Where things lie in a root, and how a name becomes a directory's name.

A name is never used as a path: it is folded (case, Unicode normalization) and percent-encoded, so that the store
survives Windows and macOS file systems, `..`, `CON`, trailing dots and newlines.
"""

from __future__ import annotations

from regcli.model import fold
from regcli.store import files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_SAFE = frozenset(b"abcdefghijklmnopqrstuvwxyz0123456789_-.")
_DEVICES = frozenset(
    ["con", "prn", "aux", "nul", "conin$", "conout$", *(f"com{n}" for n in range(10)), *(f"lpt{n}" for n in range(10))]
)
_LONGEST = 120
_KEPT = 64
_PARTS = frozenset(
    [
        "regcli.toml", "head.json", "pages", "settings", "registries", "projects", "blobs", "packs", "backrefs",
        "trash", "locks", "cache", "outbox",
    ]
)  # fmt: skip


def encode_name(name: str) -> str:
    """Return the directory name of a registry, collection, entity or project.

    Lower-case ASCII letters, digits, `_ - .` stay; every other byte of the folded UTF-8 is `%XX`. A leading or trailing
    dot and the first letter of a Windows device name are encoded too. Over 120 characters: the first 64, `%~`, the XXH3-128.
    """
    folded = fold(name).encode("utf-8", "surrogatepass")
    parts = [chr(byte) if byte in _SAFE else f"%{byte:02X}" for byte in folded]
    if parts[0] == ".":
        parts[0] = "%2E"
    if parts[-1] == ".":
        parts[-1] = "%2E"
    encoded = "".join(parts)
    if encoded.split(".", 1)[0] in _DEVICES:
        encoded = f"%{ord(encoded[0]):02X}{encoded[1:]}"
    if len(encoded) > _LONGEST:
        import xxhash

        encoded = f"{encoded[:_KEPT]}%~{xxhash.xxh3_128_hexdigest(folded)}"
    return encoded


def is_part_of_root(name: str) -> bool:
    """Tell whether a file or directory of this name, directly in a root, is one that the store makes."""
    return name in _PARTS or name.startswith("heads-")


def project_path(root: str, entity: str, project: str) -> str:
    """Return the directory of a project."""
    return f"{root}/projects/{encode_name(entity)}/{encode_name(project)}"


def collection_path(owner: str, name: str) -> str:
    """Return the directory of a collection in the registry's or project's directory `owner`."""
    return f"{owner}/collections/{encode_name(name)}"


def is_collection_place(place: str) -> bool:
    """Tell whether a text has the form of a collection's directory relative to the root; anybody may have written it."""
    parts = place.split("/")
    # No name is encoded with a dot at its beginning.
    if any(not part or part[0] == "." or "\0" in part or len(part) > 255 for part in parts):
        return False
    if len(parts) == 4:
        return parts[0] == "registries" and parts[2] == "collections"
    return len(parts) == 5 and parts[0] == "projects" and parts[3] == "collections"


def project_paths(root: str) -> Iterator[str]:
    """Yield the directories of the projects in a root, sorted."""
    for entity in _below(f"{root}/projects"):
        yield from _below(entity)


def collection_paths(owner: str) -> list[str]:
    """Return the directories of the collections in a registry's or project's directory, sorted."""
    return _below(f"{owner}/collections")


def run_paths(project: str) -> list[str]:
    """Return the directories of the runs in a project's directory, sorted."""
    return _below(f"{project}/runs")


def part_paths(project: str) -> Iterator[str]:
    """Yield the directories of the parts of versions that several processes build in a project."""
    for name in _below(f"{project}/parts"):
        yield from _below(name)


def _below(path: str) -> list[str]:
    """Return what lies in a directory, without litter and what else begins with a dot, sorted."""
    return [f"{path}/{name}" for name in sorted(files.scan_names(path)) if not name.startswith(".")]
