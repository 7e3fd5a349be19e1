"""Names of what is there, read fast among thousands: for completion, where a stale one does no harm."""

from __future__ import annotations

from regcli.domain import roles
from regcli.errors import RegcliError
from regcli.model import REGISTRY_PREFIX, fold
from regcli.store import files
from regcli.store.layout import collection_paths, project_path
from regcli.store.peek import peek_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from regcli.domain.collections import Collection
    from regcli.domain.context import Context
    from regcli.domain.registries import Registry

# Of more versions than this only some are named; nobody looks through more.
LIMIT = 500
# How many heads are looked at for the names as they were written; of more, the folded names do.
_PEEKS = 500


def begins(name: str, word: str) -> bool:
    """Tell whether a name begins with what was typed; case does not count, as it does not where names are looked up."""
    return name.startswith(word) or fold(name).startswith(fold(word))


def _decode(directory: str) -> str | None:
    """Return the folded name of a directory that `encode_name` named, or None where it keeps only a hash of it."""
    if "%" not in directory:
        return directory
    if "%~" in directory:
        return None
    first, *rest = directory.split("%")
    parts = [first.encode()]
    for piece in rest:
        try:
            parts.append(bytes.fromhex(piece[:2]) + piece[2:].encode())
        except ValueError:
            return None
    return b"".join(parts).decode("utf-8", "replace")


def names_in(directory: str, word: str, look: Callable[[str], str | None]) -> Iterator[str]:
    """Yield the names of what lies in a directory and begins with `word`, sorted.

    `look` opens one of the directories below in full, where a glance at its head does not do.
    """
    folded = fold(word)
    rows = []
    for name in files.scan_names(directory):
        if not name.startswith("."):
            plain = _decode(name)
            if plain is None or plain.startswith(folded):
                rows.append((plain or "", name))
    rows.sort()
    if len(rows) > _PEEKS:
        yield from (shown for plain, name in rows if (shown := plain or peek_name(f"{directory}/{name}")))
        return
    for _, name in rows:
        try:
            shown = peek_name(f"{directory}/{name}") or look(f"{directory}/{name}")
        except RegcliError:
            # One that is damaged does not spoil the others.
            continue
        if shown is not None and begins(shown, word):
            yield shown


def collection_names(context: Context, owner: str, registry: Registry | None, word: str) -> Iterator[str]:
    """Yield the names of the collections in a registry's or project's directory `owner` that begin with `word`."""
    from regcli.domain.collections import open_collection_directory, redirected

    def look(base: str) -> str | None:
        collection = open_collection_directory(context, base, registry)
        found = collection if collection.exists else redirected(context, collection)
        return found.name if found is not None else None

    return names_in(f"{owner}/collections", word, look)


def _registries(context: Context, word: str) -> Iterator[Registry]:
    """Yield the registries that the user may see and whose names begin with `word`."""
    from regcli.domain.registries import open_registry_directory, redirected, registry_directories

    folded = fold(word)
    for directory in registry_directories(context):
        plain = _decode(directory)
        if plain is not None and not plain.startswith(folded):
            continue
        try:
            opened = open_registry_directory(context, directory)
            registry = opened if opened.exists else redirected(context, opened)
        except RegcliError:
            continue
        if registry is not None and registry.exists and roles.allows(registry.state, context.user, "view"):
            yield registry


def find_visible(context: Context, name: str) -> Registry | None:
    """Return the registry of that name, or None where there is none that the user may see."""
    from regcli.domain.registries import find_registry

    try:
        registry = find_registry(context, name.removeprefix(REGISTRY_PREFIX))
    except RegcliError:
        return None
    return registry if roles.allows(registry.state, context.user, "view") else None


def registry_names(context: Context, word: str, _of: str) -> Iterator[str]:
    """Yield the names of the registries that the user may see, with the prefix of a full name where one was typed."""
    prefix = REGISTRY_PREFIX if word.startswith(REGISTRY_PREFIX) else ""
    for registry in _registries(context, word.removeprefix(prefix)):
        if begins(registry.name, word.removeprefix(prefix)):
            yield prefix + registry.name


def project_names(context: Context, word: str, _of: str) -> Iterator[str]:
    """Yield projects, as their collections write them."""
    entity_word, slash, project_word = word.partition("/")
    top = f"{context.root.path}/projects"
    for entity in sorted(files.scan_names(top)):
        folded = _decode(entity)
        if folded is None or (folded != fold(entity_word) if slash else not folded.startswith(fold(entity_word))):
            continue
        for project in sorted(files.scan_names(f"{top}/{entity}")):
            plain = _decode(project)
            if plain is not None and plain.startswith(fold(project_word)):
                state = _first_state(context, f"{top}/{entity}/{project}")
                if state is not None:
                    yield f"{state['entity']}/{state['project']}"


def _first_state(context: Context, owner: str) -> dict[str, str] | None:
    from regcli.domain.collections import open_collection_directory

    for base in collection_paths(owner):
        try:
            collection = open_collection_directory(context, base, None)
        except RegcliError:
            continue
        if collection.exists:
            return collection.state
    return None


def source_names(context: Context, word: str, _of: str) -> Iterator[str]:
    """Yield the names of the artifacts that were logged in the current project."""
    current = context.project
    return collection_names(context, project_path(context.root.path, current.entity, current.project), None, word)


# Versions


def version_names_of(collection: Collection, word: str) -> Iterator[str]:
    """Yield the versions that are there and begin with `word`, newest first, and of many only some.

    Of those left out, one is kept for each next digit: else a shell would take what the rest has in common for certain.
    """
    digits = word[1:]
    if word[:1] not in ("", "v") or not (digits == "" or (digits.isascii() and digits.isdigit())):
        return
    below = collection.state["next"]
    chosen, is_cut = _some(collection, _ranges(digits, below), LIMIT)
    if is_cut:
        for digit in "0123456789":
            chosen += _some(collection, _ranges(digits + digit, below), 1)[0]
        if digits:
            chosen += _some(collection, [(int(digits), int(digits) + 1)], 1)[0]
    yield from (f"v{index}" for index in chosen)


def _ranges(digits: str, below: int) -> list[tuple[int, int]]:
    """Return the ranges of numbers under `below` that are written with these digits at first, the longest numbers first."""
    if digits[:1] == "0" and digits != "0":
        return []
    found = []
    for more in range(len(str(below)) - len(digits), -1, -1):
        if digits:
            first, last = int(digits) * 10**more, (int(digits) + 1) * 10**more
            if digits == "0" and more:
                continue
        elif more:
            first, last = (10 ** (more - 1) if more > 1 else 0), 10**more
        else:
            continue
        if first < below:
            found.append((first, min(last, below)))
    return found


def _some(collection: Collection, ranges: list[tuple[int, int]], limit: int) -> tuple[list[int], bool]:
    """Return at most `limit` versions of the ranges that are there, highest first, and whether some may be left out."""
    chosen: list[int] = []
    looked = 0
    for first, last in ranges:
        for index in range(last - 1, first - 1, -1):
            if len(chosen) >= limit or looked >= 4 * LIMIT:
                return chosen, True
            looked += 1
            if _is_there(collection, index):
                chosen.append(index)
    return chosen, False


def _is_there(collection: Collection, index: int) -> bool:
    from regcli.domain.collections import is_live

    if collection.state["count"] == collection.state["next"]:
        return True
    return is_live(collection.snapshot.records.get(index))
