"""What a shell may complete: the names of a kind that begin with a word.

Names come level by level, as a shell completes paths: `model/`, then `model/zoo`, then `model/zoo:production`. On the fast
path: built-in modules and the readers of heads only.
"""

from __future__ import annotations

from regcli.domain import roles
from regcli.errors import RegcliError
from regcli.model import (
    LATEST,
    REGISTRY_PREFIX,
    ProjectRef,
    fold,
    is_unprintable,
    parse_collection,
    split_reference,
)
from regcli.store import files
from regcli.store.peek import peek_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from regcli.domain.collections import Collection
    from regcli.domain.context import Context
    from regcli.domain.registries import Registry

    Source = Callable[[Context, str, str], Iterable[str]]

# A version may have a million files, a collection as many versions; nobody looks through more than this.
LIMIT = 500
# How many heads are looked at for the names as they were written; of more, the folded names do.
_PEEKS = 500
# How many collections are searched for aliases, tags and types where none is named on the line.
_SEARCHED = 100


def complete(context: Context, kind: str, word: str, of: str | None = None) -> list[str]:
    """Return the names of a kind that begin with `word`, each once, in an order worth reading.

    A list that is cut off keeps what the full one begins with in common, so that a shell never fills in too much. Names
    that could steer a terminal are left out. What the user may not see, or what is damaged, is not offered; there are no
    errors.

    Args:
        context: who asks, and where.
        kind: `ref`, `collection`, `registry`, `project`, `source`, `alias`, `tag`, `type`, `version`, `entry`, `run`, `user`.
        word: what was typed so far.
        of: the reference that stands before on the line.
    """
    source = _SOURCES.get(kind)
    found: dict[str, None] = {}
    if source is None:
        return []
    try:
        for name in source(context, word, of or ""):
            if name.isprintable() or not any(map(is_unprintable, name)):
                found[name] = None
    except (RegcliError, OSError, ValueError, KeyError, TypeError):
        # What was found before is still right; a damaged file is no reason to say nothing.
        pass
    return _prefer(list(found), word)


def _prefer(names: list[str], word: str) -> list[str]:
    """Return the names that begin with a word just as it was typed; if none does, those that do without regard to case."""
    return [name for name in names if name.startswith(word)] or names


def _begins(name: str, word: str) -> bool:
    """Tell whether a name begins with what was typed; case does not count, as it does not where names are looked up."""
    return name.startswith(word) or fold(name).startswith(fold(word))


# Names in directories


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


def _names_in(directory: str, word: str, look: Callable[[str], str | None]) -> Iterator[str]:
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
        if shown is not None and _begins(shown, word):
            yield shown


def _collection_names(context: Context, owner: str, registry: Registry | None, word: str) -> Iterator[str]:
    from regcli.domain.collections import open_collection_directory, redirected

    def look(base: str) -> str | None:
        collection = open_collection_directory(context, base, registry)
        found = collection if collection.exists else redirected(context, collection)
        return found.name if found is not None else None

    return _names_in(f"{owner}/collections", word, look)


def _registries(context: Context, word: str) -> Iterator[Registry]:
    """Yield the registries that the user may see and whose names begin with `word`."""
    from regcli.domain.registries import BUILT_IN, open_registry_directory, redirected

    names = {*BUILT_IN, *(name for name in files.scan_names(f"{context.root.path}/registries") if not name.startswith("."))}
    folded = fold(word)
    for directory in sorted(names):
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


def _registry(context: Context, name: str) -> Registry | None:
    from regcli.domain.registries import find_registry

    try:
        registry = find_registry(context, name.removeprefix(REGISTRY_PREFIX))
    except RegcliError:
        return None
    return registry if roles.allows(registry.state, context.user, "view") else None


def _registry_names(context: Context, word: str, _of: str) -> Iterator[str]:
    prefix = REGISTRY_PREFIX if word.startswith(REGISTRY_PREFIX) else ""
    for registry in _registries(context, word.removeprefix(prefix)):
        if _begins(registry.name, word.removeprefix(prefix)):
            yield prefix + registry.name


def _project_names(context: Context, word: str, _of: str) -> Iterator[str]:
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

    for name in files.scan_names(f"{owner}/collections"):
        if not name.startswith("."):
            try:
                collection = open_collection_directory(context, f"{owner}/collections/{name}", None)
            except RegcliError:
                continue
            if collection.exists:
                return collection.state
    return None


def _source_names(context: Context, word: str, _of: str) -> Iterator[str]:
    from regcli.store.layout import project_path

    current = context.project
    return _collection_names(context, project_path(context.root.path, current.entity, current.project), None, word)


# References


def _collections(context: Context, word: str, _of: str) -> Iterator[str]:
    """Yield what a collection's reference may begin with, up to the next slash."""
    from regcli.store.layout import project_path

    parts = word.split("/")
    if len(parts) == 1:
        yield from _source_names(context, word, "")
        yield from (f"{name}/" for name in _registry_names(context, word, ""))
        yield from _entities(context, word)
    elif len(parts) == 2:
        registry = _registry(context, parts[0])
        if registry is not None:
            # As typed: the shell keeps what stands before the cursor.
            yield from (f"{parts[0]}/{name}" for name in _collection_names(context, registry.base, registry, parts[1]))
        yield from (f"{name}/" for name in _project_names(context, word, ""))
    elif len(parts) == 3 and parts[1].startswith(REGISTRY_PREFIX):
        registry = _registry(context, parts[1])
        if registry is not None:
            names = _collection_names(context, registry.base, registry, parts[2])
            yield from (f"{parts[0]}/{parts[1]}/{name}" for name in names)
    elif len(parts) == 3:
        owner = project_path(context.root.path, parts[0], parts[1])
        yield from (f"{parts[0]}/{parts[1]}/{name}" for name in _collection_names(context, owner, None, parts[2]))


def _entities(context: Context, word: str) -> Iterator[str]:
    """Yield `ENTITY/`, or at once `ENTITY/PROJECT/` where the entity has only one project."""
    projects: dict[str, list[str]] = {}
    for name in _project_names(context, word, ""):
        projects.setdefault(name.partition("/")[0], []).append(name)
    for entity, names in projects.items():
        yield f"{names[0]}/" if len(names) == 1 else f"{entity}/"


def _references(context: Context, word: str, of: str) -> Iterator[str]:
    head, tail = split_reference(word)
    if tail is not None:
        yield from _selectors(context, head, tail)
        return
    names = _prefer(list(_collections(context, word, of)), word)
    yield from names
    if len(names) == 1 and not names[0].endswith("/"):
        # Nothing else begins like this, so what may follow is offered at once.
        yield from _selectors(context, names[0], "")


def _selectors(context: Context, head: str, tail: str) -> Iterator[str]:
    collection = _find(context, head)
    if collection is None:
        return
    aliases = [LATEST, *_custom_aliases(collection)] if collection.state["latest"] is not None else []
    yield from (f"{head}:{alias}" for alias in aliases if _begins(alias, tail))
    yield from (f"{head}:{version}" for version in _versions(collection, tail))


def _versions(collection: Collection, word: str) -> Iterator[str]:
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


def _version_names(context: Context, word: str, of: str) -> Iterator[str]:
    """Yield the versions of the collection before on the line, and `none`, which `--expect` knows."""
    collection = _find(context, split_reference(of)[0])
    if _begins("none", word):
        yield "none"
    if collection is not None:
        yield from _versions(collection, word)


def _find(context: Context, text: str) -> Collection | None:
    from regcli.domain.collections import find_collection

    try:
        collection = find_collection(context, parse_collection(text, context.project))
    except RegcliError:
        return None
    if collection.registry is not None and not roles.allows(collection.registry.state, context.user, "view"):
        return None
    return collection


def _custom_aliases(collection: Collection) -> list[str]:
    return sorted((shown for shown, _ in collection.state["aliases"].values()), key=fold)


# Aliases, tags, types: what is in use


def _searched(context: Context, of: str) -> Iterator[Collection]:
    """Yield the collection that `of` names; else the first of the registry that it names, or of the current project."""
    from regcli.domain.collections import open_collection_directory
    from regcli.store.layout import project_path

    collection = _find(context, split_reference(of)[0]) if of else None
    if collection is not None:
        yield collection
        return
    current = context.project
    registry = _registry(context, of.rstrip("/")) if of else None
    owner = registry.base if registry is not None else project_path(context.root.path, current.entity, current.project)
    for count, name in enumerate(files.scan_names(f"{owner}/collections")):
        if count >= _SEARCHED:
            return
        if not name.startswith("."):
            try:
                opened = open_collection_directory(context, f"{owner}/collections/{name}", registry)
            except RegcliError:
                continue
            if opened.exists:
                yield opened


def _sorted(names: Iterable[str], word: str) -> list[str]:
    return sorted({name for name in names if _begins(name, word)}, key=fold)


def _aliases(context: Context, word: str, of: str) -> Iterator[str]:
    """Yield the aliases in use, and the names protected in the registry."""
    from regcli.domain.registries import protected_names

    found: set[str] = set()
    registry = _registry(context, of) if of else None
    for collection in _searched(context, of):
        found.update(_custom_aliases(collection))
        registry = registry or collection.registry
    yield from _sorted(found, word)
    if registry is not None:
        yield from (name for name in protected_names(registry.state) if _begins(name, word))


def _tags(context: Context, word: str, of: str) -> Iterator[str]:
    """Yield the tags of collections and of their newest versions."""
    found: set[str] = set()
    for collection in _searched(context, of):
        found.update(collection.state["tags"])
        for record in collection.snapshot.records.recent.values():
            found.update(record.get("tags", ()))
    yield from _sorted(found, word)


def _types(context: Context, word: str, of: str) -> Iterator[str]:
    """Yield the types that the registry accepts, else those in use."""
    registry = _registry(context, of) if of else None
    if registry is not None and registry.state["types"]:
        yield from _sorted(registry.state["types"], word)
        return
    yield from _sorted(
        {"dataset", "model", *(str(item.state["type"]) for item in _searched(context, of) if item.state["type"])}, word
    )


# Files of a version, runs, users


def _entries(context: Context, word: str, of: str) -> Iterator[str]:
    """Yield the files of the version before on the line, a directory at a time."""
    from regcli.domain.files import list_files

    _, entries = list_files(context, of)
    depth = word.rfind("/") + 1
    seen: dict[str, None] = {}
    for entry in entries:
        path = entry[0]
        if path.startswith(word):
            slash = path.find("/", depth)
            seen[path if slash < 0 else path[: slash + 1]] = None
    names = list(seen)
    yield from names if len(names) <= 2 * LIMIT else _cut(sorted(names), len(word))


def _cut(names: list[str], known: int) -> list[str]:
    """Return the first of many sorted names, and one more for each next character."""
    kept = names[:LIMIT]
    last = kept[-1][known : known + 1]
    for name in names[LIMIT:]:
        if name[known : known + 1] != last:
            kept.append(name)
            last = name[known : known + 1]
    return kept


def _runs(context: Context, word: str, _of: str) -> Iterator[str]:
    from regcli.domain.runs import chain_of
    from regcli.store.layout import project_path

    current: ProjectRef = context.project
    base = f"{project_path(context.root.path, current.entity, current.project)}/runs"

    def look(directory: str) -> str | None:
        name: str | None = chain_of(context, directory).read().state["name"]
        return name

    return _names_in(base, word, look)


def _users(context: Context, word: str, of: str) -> Iterator[str]:
    """Yield the members of the registry before on the line, then the users of this machine."""
    registry = _registry(context, of) if of else None
    if registry is not None:
        yield from sorted(name for name in registry.state["members"] if name.startswith(word))
    try:
        import pwd
    except ImportError:
        return
    yield from sorted(entry.pw_name for entry in pwd.getpwall() if entry.pw_name.startswith(word))


_SOURCES: dict[str, Source] = {
    "registry": _registry_names,
    "project": _project_names,
    "source": _source_names,
    "collection": _collections,
    "ref": _references,
    "version": _version_names,
    "alias": _aliases,
    "tag": _tags,
    "type": _types,
    "entry": _entries,
    "run": _runs,
    "user": _users,
}
