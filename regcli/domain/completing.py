"""What a shell may complete: the names of a kind that begin with a word.

Names come level by level, as a shell completes paths: `model/`, then `model/zoo`, then `model/zoo:production`. On the fast
path: built-in modules and the readers of heads only.
"""

from __future__ import annotations

from regcli.domain import roles
from regcli.domain.known import (
    LIMIT,
    begins,
    collection_names,
    find_visible,
    names_in,
    project_names,
    registry_names,
    source_names,
    version_names_of,
)
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

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from regcli.domain.collections import Collection
    from regcli.domain.context import Context

    Source = Callable[[Context, str, str], Iterable[str]]

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


# References


def _collections(context: Context, word: str, _of: str) -> Iterator[str]:
    """Yield what a collection's reference may begin with, up to the next slash."""
    from regcli.store.layout import project_path

    parts = word.split("/")
    if len(parts) == 1:
        yield from source_names(context, word, "")
        yield from (f"{name}/" for name in registry_names(context, word, ""))
        yield from _entities(context, word)
    elif len(parts) == 2:
        registry = find_visible(context, parts[0])
        if registry is not None:
            # As typed: the shell keeps what stands before the cursor.
            yield from (f"{parts[0]}/{name}" for name in collection_names(context, registry.base, registry, parts[1]))
        yield from (f"{name}/" for name in project_names(context, word, ""))
    elif len(parts) == 3 and parts[1].startswith(REGISTRY_PREFIX):
        registry = find_visible(context, parts[1])
        if registry is not None:
            names = collection_names(context, registry.base, registry, parts[2])
            yield from (f"{parts[0]}/{parts[1]}/{name}" for name in names)
    elif len(parts) == 3:
        owner = project_path(context.root.path, parts[0], parts[1])
        yield from (f"{parts[0]}/{parts[1]}/{name}" for name in collection_names(context, owner, None, parts[2]))


def _entities(context: Context, word: str) -> Iterator[str]:
    """Yield `ENTITY/`, or at once `ENTITY/PROJECT/` where the entity has only one project."""
    projects: dict[str, list[str]] = {}
    for name in project_names(context, word, ""):
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
    yield from (f"{head}:{alias}" for alias in aliases if begins(alias, tail))
    yield from (f"{head}:{version}" for version in version_names_of(collection, tail))


def _version_names(context: Context, word: str, of: str) -> Iterator[str]:
    """Yield the versions of the collection before on the line, and `none`, which `--expect` knows."""
    collection = _find(context, split_reference(of)[0])
    if begins("none", word):
        yield "none"
    if collection is not None:
        yield from version_names_of(collection, word)


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
    from regcli.store.layout import collection_paths, project_path

    collection = _find(context, split_reference(of)[0]) if of else None
    if collection is not None:
        yield collection
        return
    current = context.project
    registry = find_visible(context, of.rstrip("/")) if of else None
    owner = registry.base if registry is not None else project_path(context.root.path, current.entity, current.project)
    for base in collection_paths(owner)[:_SEARCHED]:
        try:
            opened = open_collection_directory(context, base, registry)
        except RegcliError:
            continue
        if opened.exists:
            yield opened


def _sorted(names: Iterable[str], word: str) -> list[str]:
    return sorted({name for name in names if begins(name, word)}, key=fold)


def _aliases(context: Context, word: str, of: str) -> Iterator[str]:
    """Yield the aliases in use, and the names protected in the registry."""
    from regcli.domain.registries import protected_names

    found: set[str] = set()
    registry = find_visible(context, of) if of else None
    for collection in _searched(context, of):
        found.update(_custom_aliases(collection))
        registry = registry or collection.registry
    yield from _sorted(found, word)
    if registry is not None:
        yield from (name for name in protected_names(registry.state) if begins(name, word))


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
    registry = find_visible(context, of) if of else None
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

    return names_in(base, word, look)


def _users(context: Context, word: str, of: str) -> Iterator[str]:
    """Yield the members of the registry before on the line, then the users of this machine."""
    registry = find_visible(context, of) if of else None
    if registry is not None:
        yield from sorted(name for name in registry.state["members"] if name.startswith(word))
    try:
        import pwd
    except ImportError:
        return
    yield from sorted(entry.pw_name for entry in pwd.getpwall() if entry.pw_name.startswith(word))


_SOURCES: dict[str, Source] = {
    "registry": registry_names,
    "project": project_names,
    "source": source_names,
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
