"""`Api`: look at what is stored, without a run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from regcli.api import session
from regcli.api.artifact import Artifact
from regcli.api.collections import ArtifactCollection, ArtifactType, collection_pages, version_pages
from regcli.api.errors import documented, translated
from regcli.api.filters import compile_filter, parse_order, sort_rows
from regcli.api.pages import Pages
from regcli.api.queries import Registries
from regcli.api.registries import Registry, check_visibility
from regcli.api.run_view import PublicRun
from regcli.domain import runs
from regcli.domain.collections import Collection, find_collection, list_collections
from regcli.domain.listing import find_project
from regcli.domain.names import parse_registry
from regcli.domain.paths import canonical_path
from regcli.domain.resolving import resolve
from regcli.domain.values import to_optional_text, to_text
from regcli.errors import ConflictError, NotFoundError, TypeMismatchError
from regcli.model import ProjectRef, TypeName, fold, parse_collection, parse_project, quote, split_reference

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from regcli.domain.context import Context

_RUN_FIELDS = {
    "name": "name", "id": "name", "display_name": "title", "state": "state", "job_type": "job_type", "jobType": "job_type",
    "group": "group", "tags": "tags", "tag": "tags", "created_at": "created_at", "createdAt": "created_at",
    "user": "created_by",
}  # fmt: skip


class Api:
    """Queries of the store.

    Names without entity and project are meant in the current project (`REGCLI_PROJECT`, else the root's default). A name of
    two parts is a registry's collection, or else one of that project in the current entity.

    Source: `semantics.md` 1.12 and the W&B SDK's class of the same name.
    """

    def __init__(
        self, overrides: Mapping[str, Any] | None = None, timeout: int | None = None, api_key: str | None = None
    ) -> None:
        """Begin; nothing is read.

        Args:
            overrides: `entity` and `project` to be meant where a name has none.
            timeout: accepted for the original's scripts.
            api_key: accepted for the original's scripts; there is no server.
        """
        del timeout, api_key
        self._overrides = dict(overrides or {})

    def _context(self, command: str) -> Context:
        context = session.context_for(f"Api.{command}")
        if not self._overrides:
            return context
        current = context.project
        entity, project = self._overrides.get("entity"), self._overrides.get("project")
        return context.derive(context.command, f"{entity or current.entity}/{project or current.project}")

    @property
    def default_entity(self) -> str:
        """The entity that is meant where a name has none."""
        return self._context("default_entity").project.entity

    # Artifacts

    @translated
    def artifact(self, name: str, type: str | None = None) -> Artifact:
        """Return a logged artifact or a link.

        Args:
            name: `NAME:SEL`, `ENTITY/PROJECT/NAME:SEL`, `wandb-registry-REGISTRY/COLLECTION:SEL`, with an organization in
                front or not; SEL is a version, an alias, or a digest, `latest` by default.
            type: the type that it must have.

        Raises:
            CommError: there is none, or the user may not see it. ValueError: it cannot be parsed, or has another type.
        """
        context = self._context("artifact")
        path = canonical_path(context, name)
        version = resolve(context, path)
        session.settle(context)
        if type is not None and version.collection.state["type"] != type:
            kind = version.collection.state["type"]
            raise TypeMismatchError(f"type {quote(type)} does not match: {quote(version.ref)} has type {quote(kind)}")
        selector = split_reference(path)[1]
        return Artifact._from_version(context, version, selector if selector and "@" not in selector else None)

    @translated
    def artifact_exists(self, name: str, type: str | None = None) -> bool:
        """Tell whether there is such an artifact, of that type where one is given; other failures are raised."""
        context = self._context("artifact_exists")
        try:
            version = resolve(context, canonical_path(context, name))
        except NotFoundError:
            return False
        return type is None or version.collection.state["type"] == type

    @translated
    def artifacts(
        self,
        type_name: str,
        name: str,
        order: str | None = None,
        per_page: int = 50,
        tags: Sequence[str] | str | None = None,
        start: str | None = None,
    ) -> Pages[Artifact]:
        """Return the versions of a collection, newest first.

        Args:
            type_name: the collection's type.
            name: the collection, as in `artifact` without selector.
            order: `-version_index` (the default), `+version_index`, `created_at` or `artifact_size`, with `-` for descending.
            per_page: how many are fetched at a time.
            tags: only versions that have all of these.
            start: the `.cursor` of an earlier query in the default order.

        Raises:
            CommError: there is no such collection. ValueError: it has another type, or the order is unknown.
        """
        context = self._context("artifacts")
        collection = self._collection(context, type_name, name)
        wanted = [tags] if isinstance(tags, str) else list(tags or ())
        keys = {"version_index": "index", "versionIndex": "index", "created_at": "created_at", "createdAt": "created_at",
                "artifact_size": "size", "size": "size"}  # fmt: skip
        by = parse_order(order, keys, "versions")
        pages = version_pages(context, collection, per_page=per_page, start=start, tags=wanted)
        if by is None or by == ("index", True):
            return pages

        def rows(after: str | None) -> Iterator[tuple[str, Artifact]]:
            del after
            found = [
                (
                    {"index": artifact._logged("version").index, "created_at": artifact.created_at, "size": artifact.size},
                    artifact,
                )
                for artifact in pages
            ]
            for record, artifact in sort_rows(found, by):
                yield str(record["index"]), artifact

        return Pages(rows, per_page=per_page, start=start, resumable=False)

    def artifact_versions(self, type_name: str, name: str, per_page: int = 50) -> Pages[Artifact]:
        """Return `artifacts(type_name, name)`; the older name."""
        return self.artifacts(type_name, name, per_page=per_page)

    # Collections and types

    @staticmethod
    def _collection(context: Context, type_name: str | None, name: str) -> Collection:
        head = split_reference(canonical_path(context, name))[0]
        collection = find_collection(context, parse_collection(head, context.project))
        kind = collection.state["type"]
        if type_name is not None and kind != type_name:
            raise TypeMismatchError(f"collection {quote(collection.ref)} has type {quote(kind)}, not {quote(type_name)}")
        if collection.registry is not None:
            from regcli.domain import roles

            roles.require(collection.registry.state, context.user, "view")
        return collection

    @translated
    def artifact_collection(self, type_name: str, name: str) -> ArtifactCollection:
        """Return a collection.

        Raises:
            CommError: there is none. ValueError: it has another type.
        """
        return ArtifactCollection(self._collection(self._context("artifact_collection"), type_name, name))

    @translated
    def artifact_collection_exists(self, name: str, type: str | None = None) -> bool:
        """Tell whether there is such a collection, of that type where one is given; other failures are raised."""
        try:
            self._collection(self._context("artifact_collection_exists"), type, name)
        except (NotFoundError, TypeMismatchError):
            return False
        return True

    @translated
    def artifact_collections(
        self, project_name: str, type_name: str, order: str | None = None, per_page: int = 50, start: str | None = None
    ) -> Pages[ArtifactCollection]:
        """Return the collections of a type in a project.

        Args:
            project_name: `[ENTITY/]PROJECT`, or `wandb-registry-NAME`.
            type_name: the type.
            order: `name` (the default), `created_at` or `updated_at`, with `-` in front for descending.
            per_page: how many are fetched at a time.
            start: the `.cursor` of an earlier query without an order.

        Raises:
            CommError: there is no such project. ValueError: the order is unknown.
        """
        _, _, found = self._project(project_name)
        chosen = [collection for collection in found if collection.state["type"] == type_name]
        return collection_pages(chosen, order=order, per_page=per_page, start=start)

    def _project(self, name: str | None) -> tuple[str, str, list[Collection]]:
        """Return entity, project and collections of a project or registry."""
        context = self._context("project")
        if name is not None and name.rpartition("/")[2].startswith("wandb-registry-"):
            registry = Registry(_visible_registry(context, name.rpartition("/")[2]))
            return registry.entity, registry.full_name, list_collections(context, registry._registry.base, registry._registry)
        project = context.project if name is None else parse_project(name, context.project.entity)
        found = find_project(context, project.entity, project.project)
        return found.entity, found.project, list_collections(context, found.base, None)

    @translated
    def artifact_types(self, project: str | None = None) -> list[ArtifactType]:
        """Return the types of artifacts in a project, by name.

        Raises:
            CommError: there is no such project.
        """
        entity, name, found = self._project(project)
        kinds = sorted({str(collection.state["type"]) for collection in found})
        return [ArtifactType(entity, name, kind, [c for c in found if c.state["type"] == kind]) for kind in kinds]

    @translated
    def artifact_type(self, type_name: str, project: str | None = None) -> ArtifactType:
        """Return one type of artifacts in a project.

        Raises:
            CommError: nothing in it has that type.
        """
        for kind in self.artifact_types(project):
            if kind.name == type_name:
                return kind
        raise NotFoundError(f"project {quote(project or 'the current one')} has no artifacts of type {quote(type_name)}")

    # Registries

    def registries(
        self,
        organization: str | None = None,
        filter: Mapping[str, Any] | None = None,
        order: str | None = None,
        per_page: int = 100,
        start: str | None = None,
    ) -> Registries:
        """Return the registries that the user may see; chain `.collections()` and `.versions()`.

        Args:
            organization: accepted for the original's scripts; a root is one organization.
            filter: fields `name`, `description`, `created_at`, `updated_at`, `visibility`, `id`, with the operators of
                MongoDB.
            order: `name`, `created_at` or `updated_at`, with `-` in front for descending.
            per_page: how many are fetched at a time.
            start: the `.cursor` of an earlier query without an order.

        Raises:
            ValueError: an unknown field or operator, or two names for one field.
        """
        del organization
        return Registries(filter, order, per_page=per_page, start=start)

    @translated
    def registry(self, name: str, organization: str | None = None) -> Registry:
        """Return a registry by name, with prefix or without.

        Raises:
            CommError: there is none, or the user may not see it.
        """
        del organization
        return Registry(_visible_registry(self._context("registry"), name))

    @translated
    def create_registry(
        self,
        name: str,
        visibility: str,
        organization: str | None = None,
        description: str | None = None,
        artifact_types: Sequence[str] | None = None,
    ) -> Registry:
        """Make a registry, whose admin is whoever makes it.

        Args:
            name: unique, 1 to 113 characters, no slash, backslash, `#`, `?`, `%` or colon.
            visibility: `organization` or `restricted`.
            organization: accepted for the original's scripts.
            description: Markdown.
            artifact_types: the accepted types; none given means all.

        Raises:
            ValueError: a name, type or the visibility is not allowed, or there is one of that name.
        """
        from regcli.domain.registries import create_registry

        del organization
        parsed = parse_registry(name)
        check_visibility(visibility)
        context = self._context("create_registry")
        types = [TypeName.parse(kind) for kind in artifact_types or ()]
        try:
            create_registry(
                context,
                parsed,
                description=to_optional_text(description, "the description") or "",
                types=types,
                visibility=visibility,
            )
        except ConflictError as error:
            raise documented(error, ValueError) from error
        session.settle(context)
        return Registry(_visible_registry(context, parsed))

    # Runs

    @translated
    def run(self, path: str) -> PublicRun:
        """Return a run: `ID`, `PROJECT/ID` or `ENTITY/PROJECT/ID`.

        Raises:
            CommError: there is none.
        """
        context = self._context("run")
        parts = to_text(path, "a run's path").strip("/").split("/")
        if len(parts) == 2:
            path = f"{context.project.entity}/{path}"
        return PublicRun(context, *runs.read_run(context, path))

    @translated
    def runs(
        self,
        path: str | None = None,
        filters: Mapping[str, Any] | None = None,
        order: str = "+created_at",
        per_page: int = 50,
        include_sweeps: bool = False,
        lazy: bool = True,
    ) -> Pages[PublicRun]:
        """Return the runs of a project, oldest first.

        Args:
            path: `[ENTITY/]PROJECT`, by default the current one.
            filters: fields `name`, `display_name`, `state`, `job_type`, `group`, `tags`, `created_at`, `user`.
            order: `+created_at` or `-created_at`.
            per_page: how many are fetched at a time.
            include_sweeps: accepted for the original's scripts.
            lazy: accepted for the original's scripts.

        Raises:
            ValueError: an unknown field or operator.
        """
        del include_sweeps, lazy
        context = self._context("runs")
        project: ProjectRef = context.project if path is None else parse_project(path, context.project.entity)
        matches = compile_filter(filters, _RUN_FIELDS, "runs")
        by = parse_order(order, {"created_at": "created_at", "createdAt": "created_at"}, "runs")

        def rows(after: str | None) -> Iterator[tuple[str, PublicRun]]:
            del after
            found = runs.list_runs(context, project)
            states = [({**s.state, "state": runs.run_state(context, s.state)}, (c, s)) for c, s in found]
            chosen = [row for row in states if matches(row[0])]
            for state, (chain, snapshot) in sort_rows(chosen, by) if by is not None else chosen:
                yield fold(state["name"]), PublicRun(context, chain, snapshot)

        return Pages(rows, per_page=per_page, resumable=False)

    def flush(self) -> None:
        """Do nothing: queries read the store each time."""


def _visible_registry(context: Context, name: str) -> Any:
    from regcli.domain import roles
    from regcli.domain.registries import find_registry

    registry = find_registry(context, parse_registry(name))
    roles.require(registry.state, context.user, "view")
    return registry
