"""What is there: registries and projects, their collections, the versions of a collection."""

from __future__ import annotations

from regcli.domain import roles
from regcli.domain.catalog import Catalog
from regcli.domain.collections import Collection, each_collection, find_collection, list_collections, require_right
from regcli.domain.documents import collection_document, registry_document, version_document
from regcli.domain.lifetime import Lifetimes
from regcli.domain.registries import Registry, find_registry, list_registries, visible
from regcli.domain.resolving import Version
from regcli.errors import InvalidNameError, InvalidReferenceError, NotFoundError, RenamedError
from regcli.model import (
    REGISTRY_PREFIX,
    ArtifactName,
    CollectionRef,
    EntityName,
    ProjectName,
    RegistryName,
    parse_collection,
    quote,
    split_reference,
)
from regcli.store.layout import project_path, project_paths

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from regcli.domain.context import Context

    Document = dict[str, Any]


class Project:
    """A project: where artifacts are logged.

    Attributes:
        entity, project: as first written. base: its directory.
    """

    __slots__ = ("base", "entity", "project")

    def __init__(self, entity: str, project: str, base: str) -> None:
        """Name the project."""
        self.entity = entity
        self.project = project
        self.base = base

    @property
    def ref(self) -> str:
        """The canonical reference, `ENTITY/PROJECT`."""
        return f"{self.entity}/{self.project}"


if TYPE_CHECKING:
    Place = Registry | Project | Collection


def list_projects(context: Context) -> list[Project]:
    """Return the projects that hold something, sorted by reference."""
    found = []
    for base in project_paths(context.root.path):
        opened = _open_project(context, base)
        if opened is not None:
            found.append(opened)
    return sorted(found, key=lambda project: project.ref)


def _open_project(context: Context, base: str) -> Project | None:
    for collection in each_collection(context, base, None):
        # All collections of a project spell its name as the first one did.
        return Project(collection.state["entity"], collection.state["project"], base)
    return None


def find_project(context: Context, entity: str, project: str) -> Project:
    """Find a project that holds something.

    Raises:
        NotFoundError: nothing was ever logged there.
    """
    base = project_path(context.root.path, EntityName.parse(entity), ProjectName.parse(project))
    found = _open_project(context, base)
    if found is None:
        from regcli.domain.nearest import nearest

        close = nearest(f"{entity}/{project}", [item.ref for item in list_projects(context)])
        raise NotFoundError(
            f"there is no project {quote(f'{entity}/{project}')}",
            hint=f"did you mean {quote(close)}?" if close else "a project is made by the first `regcli log` into it",
        )
    return found


def list_visible_registries(context: Context) -> list[Registry]:
    """Return the registries that the user may see."""
    return [registry for registry in list_registries(context) if visible(context, registry)]


def find_place(context: Context, text: str) -> Place:
    """Return what a reference without selector names; a final slash says that it is a registry or project.

    Raises:
        InvalidReferenceError: two things have that name; the message gives both spellings. Or it selects a version.
        NotFoundError: nothing has.
    """
    head, selector = split_reference(text)
    if selector is not None:
        raise InvalidReferenceError(
            f"{quote(text)} names a version, not a collection",
            hint=f"`regcli show {text}` shows the version; write {quote(head)} for the collection",
        )
    parts = text.rstrip("/").split("/")
    if text.endswith("/"):
        if len(parts) == 1:
            return find_registry(context, RegistryName.parse(parts[0]))
        if len(parts) == 2:
            return find_project(context, parts[0], parts[1])
        raise InvalidReferenceError(
            f"{quote(text)} names neither a registry nor a project", hint="write REGISTRY/ or ENTITY/PROJECT/"
        )
    if len(parts) == 1:
        return _one(text, [lambda: find_registry(context, RegistryName.parse(text)), lambda: _source(context, text)])
    if len(parts) == 2:
        return _one(
            text,
            [
                lambda: find_project(context, parts[0], parts[1]),
                lambda: find_collection(context, parse_collection(text, context.project)),
            ],
        )
    return find_collection(context, parse_collection(text, context.project))


def find_container(context: Context, text: str) -> Registry | Project:
    """Return the registry or project that a name means, with or without a final slash.

    Raises:
        NotFoundError: there is none. InvalidReferenceError: it has too many parts.
    """
    name = text.rstrip("/")
    found = find_place(context, f"{name}/")
    if isinstance(found, Collection):
        raise InvalidReferenceError(f"{quote(text)} is a collection", hint="name a registry, or ENTITY/PROJECT")
    return found


def _source(context: Context, name: str) -> Collection:
    current = context.project
    return find_collection(context, CollectionRef(ArtifactName.parse(name), entity=current.entity, project=current.project))


def _one(text: str, finders: Sequence[Callable[[], Place]]) -> Place:
    found: list[Place] = []
    failure: NotFoundError | InvalidNameError | None = None
    for finder in finders:
        try:
            found.append(finder())
        except RenamedError as error:
            failure = error
        except (NotFoundError, InvalidNameError) as error:
            # The last finder's failure is the one to report: it is about collections, which is what people name most.
            if not isinstance(failure, RenamedError):
                failure = error
    if len(found) == 2:
        place, collection = found
        other = collection.ref if isinstance(collection, Collection) else text
        if other == text:
            other = f"{REGISTRY_PREFIX}{text}"
        raise InvalidReferenceError(
            f"{quote(text)} names two things",
            hint=f"write {quote(f'{text}/')} for the {'registry' if isinstance(place, Registry) else 'project'},"
            f" {quote(other)} for the collection",
        )
    if not found:
        raise failure or NotFoundError(f"there is nothing named {quote(text)}")
    return found[0]


def view_collections(context: Context, place: Registry | Project) -> list[Collection]:
    """Return the collections of a registry or project that the user may see."""
    if isinstance(place, Registry):
        roles.require(place.state, context.user, "view")
        return list_collections(context, place.base, place)
    return list_collections(context, place.base, None)


def _count(context: Context, owner: str, registry: Registry | None) -> int:
    return sum(1 for _ in Catalog(context).entries(owner, registry, columns=False))


def registry_rows(context: Context) -> list[Document]:
    """Return the registries that the user may see, with the number of their collections."""
    return [
        registry_document(registry.state, collections=_count(context, registry.base, registry))
        for registry in list_visible_registries(context)
    ]


def registry_row(context: Context, name: str) -> Document:
    """Return one registry's settings."""
    registry = find_registry(context, RegistryName.parse(name))
    roles.require(registry.state, context.user, "view")
    return registry_document(registry.state, collections=_count(context, registry.base, registry))


def overview(context: Context) -> Document:
    """Return what `ls` without a reference shows: registries and projects."""
    projects = [
        {
            "ref": project.ref,
            "entity": project.entity,
            "project": project.project,
            "collections": _count(context, project.base, None),
        }
        for project in list_projects(context)
    ]
    return {"registries": registry_rows(context), "projects": projects}


def collection_rows(context: Context, place: Registry | Project, *, sort: str | None = None) -> list[Document]:
    """Return the collections of a registry or project; by name, or newest first by `created` or `updated`."""
    registry = place if isinstance(place, Registry) else None
    if registry is not None:
        roles.require(registry.state, context.user, "view")
    documents = [collection_document(entry) for entry in Catalog(context).entries(place.base, registry, columns=False)]
    if sort in ("created", "updated"):
        documents.sort(key=lambda document: str(document[f"{sort}_at"]), reverse=True)
    elif sort == "version":
        documents.sort(key=lambda document: int(document["versions"]), reverse=True)
    return documents


def version_rows(
    context: Context, collection: Collection, *, sort: str | None = None, limit: int | None = None, deleted: bool = False
) -> tuple[int, list[Document]]:
    """Return how many versions there are, and the records of the first `limit`; newest first unless sorted otherwise."""
    require_right(context, collection, "view")
    total = collection.state["count"]
    pairs = list(collection.versions(deleted=True)) if deleted else None
    if pairs is not None:
        total = len(pairs)
    found = pairs if pairs is not None else collection.versions()
    if sort in ("created", "size", "updated"):
        key = {"created": "created_at", "updated": "updated_at", "size": "size"}[sort]
        found = sorted(found, key=lambda pair: pair[1][key], reverse=True)
    documents: list[Document] = []
    opened: dict[str, Collection] = {}
    lifetimes = Lifetimes(context)
    for index, record in found:
        if limit is not None and len(documents) >= limit:
            break
        documents.append(version_document(context, Version(collection, index, record), opened=opened, lifetimes=lifetimes))
    return total, documents
