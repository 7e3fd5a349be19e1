"""What the shells ask for: `regcli __complete KIND WORD [--root DIR] [-C DIR] [--project P] [--of REF]`.

Prints the names of a kind that begin with WORD, one a line, level by level as a shell completes paths: `model/`, then
`model/zoo`, then `model/zoo:production`. `--of` is the reference that stands before on the line. On the fast path:
built-in modules and the domain's readers only. A shell has no use for errors here, so they are silent.
"""

from __future__ import annotations

import os

from regcli.errors import NotFoundError, RegcliError, UsageError
from regcli.model import LATEST, CollectionRef, fold, parse_collection, split_reference

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from regcli.cli.settings import Options
    from regcli.domain.collections import Collection
    from regcli.domain.context import Context

    Source = Callable[[Context, str, str | None], Iterable[str]]

# More than a person looks through; the newest versions come first.
LIMIT = 500


def candidates(context: Context, kind: str, word: str, of: str | None) -> list[str]:
    """Return the names of a kind that begin with `word`, at most LIMIT; none where anything is wrong."""
    source = _SOURCES.get(kind)
    if source is None:
        return []
    found: list[str] = []
    try:
        for name in source(context, word, of):
            if name.startswith(word) and name.isprintable():
                found.append(name)
                if len(found) >= LIMIT:
                    break
    except (RegcliError, OSError):
        # What was found before is still right.
        return found
    return found


def parse(rest: list[str], options: Options) -> tuple[str, str, str | None]:
    """Return kind, word and `--of`; the other options go into `options`.

    Raises:
        UsageError: the line is not one that the scripts write.
    """
    if len(rest) < 2:
        raise UsageError("__complete takes KIND and WORD")
    of = None
    words = iter(rest[2:])
    for word in words:
        name, equals, value = word.partition("=")
        if not equals:
            value = next(words, "")
        if name == "--of":
            of = value
        elif name == "-C":
            try:
                os.chdir(value)
            except OSError as error:
                raise UsageError(f"cannot change to {value}") from error
        elif name in ("--root", "--project"):
            setattr(options, name[2:], value)
    return rest[0], rest[1], of


def _registries(context: Context, _word: str, _of: str | None) -> Iterable[str]:
    from regcli.domain.registries import list_registries, visible

    return [registry.name for registry in list_registries(context) if visible(context, registry)]


def _projects(context: Context, _word: str, _of: str | None) -> Iterable[str]:
    from regcli.domain.listing import list_projects

    return [project.ref for project in list_projects(context)]


def _collections(context: Context, word: str, _of: str | None) -> Iterable[str]:
    """Yield what a reference may begin with, up to the next slash."""
    from regcli.domain.collections import list_collections, owner_path
    from regcli.domain.registries import visible

    parts = word.split("/")
    if len(parts) == 1:
        yield from _first_level(context, word)
    elif len(parts) == 2:
        try:
            owner, registry = owner_path(context, CollectionRef("x", registry=parts[0]))
        except NotFoundError:
            return
        if registry is not None and visible(context, registry):
            # As typed: the shell keeps what stands before the cursor.
            yield from (f"{parts[0]}/{collection.name}" for collection in list_collections(context, owner, registry))
    elif len(parts) == 3:
        owner, _ = owner_path(context, CollectionRef("x", entity=parts[0], project=parts[1]))
        yield from (f"{parts[0]}/{parts[1]}/{collection.name}" for collection in list_collections(context, owner, None))


def _first_level(context: Context, word: str) -> Iterable[str]:
    from regcli.domain.collections import list_collections, owner_path

    current = context.project
    owner, _ = owner_path(context, CollectionRef("x", entity=current.entity, project=current.project))
    yield from (collection.name for collection in list_collections(context, owner, None))
    yield from (f"{name}/" for name in _registries(context, word, None))


def _references(context: Context, word: str, of: str | None) -> Iterable[str]:
    head, tail = split_reference(word)
    if tail is None:
        yield from _collections(context, word, of)
        yield from (f"{name}/" for name in _projects(context, word, of) if f"{name}/" != word)
        return
    collection = _find(context, head)
    if collection is not None:
        yield f"{head}:{LATEST}"
        yield from (f"{head}:{alias}" for alias in _custom_aliases(collection))
        yield from (f"{head}:v{index}" for index, _ in collection.versions())


def _aliases(context: Context, _word: str, of: str | None) -> Iterable[str]:
    """Yield the aliases of the collection before on the line, and the names protected in its registry."""
    collection = _find(context, split_reference(of or "")[0])
    if collection is not None:
        yield from _custom_aliases(collection)
        registry = collection.registry
    else:
        from regcli.domain.registries import find_registry

        registry = find_registry(context, of or "")
    if registry is not None:
        from regcli.domain.registries import protected_names

        yield from protected_names(registry.state)


def _tags(context: Context, _word: str, of: str | None) -> Iterable[str]:
    """Yield the tags in use in the collection before on the line."""
    collection = _find(context, split_reference(of or "")[0])
    if collection is None:
        return
    seen = set(collection.state["tags"])
    yield from sorted(seen)
    for _, record in collection.versions():
        for tag in record.get("tags", ()):
            if tag not in seen:
                seen.add(tag)
                yield tag


def _entries(context: Context, word: str, of: str | None) -> Iterable[str]:
    """Yield the files of the version before on the line, a directory at a time."""
    from regcli.domain.files import list_files

    _, entries = list_files(context, of or "")
    depth = word.rfind("/") + 1
    seen = set()
    for entry in entries:
        path = entry[0]
        if path.startswith(word):
            slash = path.find("/", depth)
            name = path if slash < 0 else path[: slash + 1]
            if name not in seen:
                seen.add(name)
                yield name


def _find(context: Context, text: str) -> Collection | None:
    from regcli.domain.collections import find_collection
    from regcli.domain.registries import visible

    try:
        collection = find_collection(context, parse_collection(text, context.project))
    except RegcliError:
        return None
    if collection.registry is not None and not visible(context, collection.registry):
        return None
    return collection


def _custom_aliases(collection: Collection) -> list[str]:
    return sorted((shown for shown, _ in collection.state["aliases"].values()), key=fold)


_SOURCES: dict[str, Source] = {
    "registry": _registries,
    "project": _projects,
    "collection": _collections,
    "ref": _references,
    "alias": _aliases,
    "tag": _tags,
    "entry": _entries,
}
