"""Collections as the library shows them: of a project or a registry, with their artifacts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from regcli.api import session
from regcli.api.errors import CommError, documented, translated
from regcli.api.filters import COLLECTION_FIELDS, NAMED, compile_filter, parse_order, sort_rows
from regcli.api.pages import Pages
from regcli.domain import collections as store
from regcli.domain.names import check_collection_name, parse_tags
from regcli.domain.resolving import Version
from regcli.domain.values import to_optional_text
from regcli.errors import ConflictError, InvalidNameError
from regcli.model import TypeName, fold

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import Any

    from regcli.api.artifact import Artifact
    from regcli.domain.collections import Collection
    from regcli.domain.context import Context

MAX_TAGS = 20


class ArtifactCollection:
    """A group of versions under one name.

    Name, description, tags and (of a project's collection) type can be assigned; `save()` stores all changes.

    Source: `semantics.md` CO-01 to CO-10.
    """

    def __init__(self, collection: Collection) -> None:
        """Show a collection as it was read."""
        self._session = session.session()
        self._read(collection)

    def _read(self, collection: Collection) -> None:
        state = collection.state
        self._collection = collection
        self._name: str = state["name"]
        self._type: str = state["type"]
        self._description: str = state["description"]
        self._tags: list[str] = list(state["tags"])

    @classmethod
    def _from_collection(cls, collection: Collection) -> ArtifactCollection:
        return cls(collection)

    def _context(self, command: str) -> Context:
        return self._session.context_for(f"ArtifactCollection.{command}")

    @property
    def id(self) -> str:
        """Its id; a rename keeps it."""
        identity: str = self._collection.state["id"]
        return identity

    @property
    def entity(self) -> str:
        """The entity that owns it; for a registry's, the root's own."""
        state = self._collection.state
        return state["entity"] or self._context("entity").root.entity

    @property
    def project(self) -> str:
        """The project; for a registry's collection `wandb-registry-NAME`."""
        registry = self._collection.registry
        return f"wandb-registry-{registry.name}" if registry is not None else str(self._collection.state["project"])

    @property
    def qualified_name(self) -> str:
        """`ENTITY/PROJECT/NAME`."""
        return f"{self.entity}/{self.project}/{self._collection.name}"

    @property
    def name(self) -> str:
        """The name; assign and `save()` to rename. Links, versions and aliases stay, the old name stops resolving."""
        return self._name

    @name.setter
    def name(self, name: str) -> None:
        self._name = translated(check_collection_name)(name, in_registry=self._collection.registry is not None)

    @property
    def type(self) -> str:
        """The artifact type of all its versions; only a project's collection of unlinked versions can be given another."""
        return self._type

    @type.setter
    def type(self, kind: str) -> None:
        if not self.is_sequence() and kind != self._type:
            raise ValueError("the type of a collection of links cannot be changed")
        self._type = str(translated(TypeName.parse)(kind))

    @property
    def description(self) -> str:
        """Markdown."""
        return self._description

    @description.setter
    def description(self, description: str | None) -> None:
        self._description = translated(to_optional_text)(description, "the description") or ""

    @property
    def tags(self) -> list[str]:
        """Its tags; edit in place or assign, then `save()`."""
        return self._tags

    @tags.setter
    def tags(self, tags: Sequence[str]) -> None:
        parsed = translated(parse_tags)(tags)
        if len(parsed) > MAX_TAGS:
            raise ValueError(f"a collection takes at most {MAX_TAGS} tags at once")
        self._tags = [str(tag) for tag in parsed]

    @property
    def aliases(self) -> list[str]:
        """The aliases of all its versions, without `vN`; read only."""
        state = self._collection.state
        custom = sorted(shown for shown, _ in state["aliases"].values())
        return ["latest", *custom] if state["latest"] is not None else custom

    @property
    def created_at(self) -> str:
        """When it was made, RFC 3339 in UTC."""
        return str(self._collection.state["created_at"])

    @property
    def updated_at(self) -> str:
        """When anything in it changed last, RFC 3339 in UTC."""
        return str(self._collection.state["updated_at"])

    def is_sequence(self) -> bool:
        """Tell whether versions are logged here; else it holds links."""
        return bool(self._collection.state["kind"] == store.SOURCE)

    def artifacts(self, per_page: int = 50, start: str | None = None) -> Pages[Artifact]:
        """Return its versions, newest first, or those after the `.cursor` of an earlier query."""
        return version_pages(self._context("artifacts"), self._collection.reread(), per_page=per_page, start=start)

    versions = artifacts

    @translated
    def save(self) -> None:
        """Store what was assigned, together or not at all.

        Raises:
            CommError: the user may not, or a protected alias is in it. ValueError: the name is taken or breaks the rules.
        """
        from regcli.domain.collection_settings import edit_collection_settings

        context = self._context("save")
        tags = parse_tags(self._tags)
        state = self._collection.state
        known = {fold(tag) for tag in state["tags"]}
        if len([tag for tag in tags if fold(tag) not in known]) > MAX_TAGS:
            raise ValueError(f"a collection takes at most {MAX_TAGS} tags at once")
        try:
            edit_collection_settings(
                context,
                self._collection.ref,
                description=self._description if self._description != state["description"] else None,
                rename=self._name if self._name != state["name"] else None,
                type=TypeName.parse(self._type) if self._type != state["type"] else None,
                tags=tags if [str(tag) for tag in tags] != state["tags"] else None,
            )
        except (ConflictError, InvalidNameError) as error:
            raise documented(error, ValueError) from error
        session.settle(context)
        self._read(self._collection.reread())

    @translated
    def delete(self) -> None:
        """Delete it. Of a registry's, the links go and the sources stay; of a project's, the versions go.

        Raises:
            CommError: the user may not, a protected alias is in it, or versions are linked.
        """
        from regcli.domain.removal import remove_collection

        context = self._context("delete")
        remove_collection(context, self._collection.ref, delete_aliases=True)
        session.settle(context)

    def change_type(self, new_type: str) -> None:
        """Give a project's collection another type at once."""
        self.type = new_type
        self.save()

    def __eq__(self, other: object) -> bool:
        """Equal when it is the same collection."""
        return isinstance(other, ArtifactCollection) and self._collection.base == other._collection.base

    def __hash__(self) -> int:
        """Consistent with `==`."""
        return hash(self._collection.base)

    def __repr__(self) -> str:
        """Show name and type."""
        return f"<ArtifactCollection {self.qualified_name} ({self._type})>"


class ArtifactType:
    """A type of artifacts in a project.

    Attributes:
        entity, project: where. name: the type.
    """

    def __init__(self, entity: str, project: str, name: str, found: Sequence[Collection]) -> None:
        """Show a type with its collections."""
        self.entity = entity
        self.project = project
        self.name = name
        self._found = list(found)

    def collections(
        self,
        filters: Mapping[str, Any] | None = None,
        order: str | None = None,
        per_page: int = 50,
        start: str | None = None,
    ) -> Pages[ArtifactCollection]:
        """Return the collections of this type.

        Args:
            filters: as for `Registries.collections`.
            order: `name` (the default), `created_at` or `updated_at`, with `-` in front for descending.
            per_page: how many are fetched at a time.
            start: the `.cursor` of an earlier query without an order.

        Raises:
            ValueError: an unknown field, operator or order.
        """
        matches = compile_filter(filters, COLLECTION_FIELDS, "collections")
        found = [collection for collection in self._found if matches(collection.state)]
        return collection_pages(found, order=order, per_page=per_page, start=start)

    def collection(self, name: str) -> ArtifactCollection:
        """Return one of them; CommError when there is none."""
        for collection in self._found:
            if fold(collection.name) == fold(name):
                return ArtifactCollection(collection)
        raise CommError(f"there is no collection {name!r} of type {self.name!r} in {self.entity}/{self.project}")

    def __repr__(self) -> str:
        """Show the name."""
        return f"<ArtifactType {self.name}>"


def collection_pages(
    found: Sequence[Collection], *, order: str | None = None, per_page: int, start: str | None = None
) -> Pages[ArtifactCollection]:
    """Return collections in pages, by name unless ordered.

    Raises:
        ValueError: the order is unknown.
    """
    by = parse_order(order, NAMED, "collections")
    rows_by_name = [(collection.state, collection) for collection in found]
    ordered = sort_rows(rows_by_name, by) if by is not None else rows_by_name

    def rows(after: str | None) -> Iterator[tuple[str, ArtifactCollection]]:
        for _, collection in ordered:
            key = fold(collection.name)
            if after is None or key > after:
                yield key, ArtifactCollection(collection)

    return Pages(rows, per_page=per_page, start=start, resumable=by is None)


def version_pages(
    context: Context, collection: Collection, *, per_page: int, start: str | None = None, tags: Sequence[str] = ()
) -> Pages[Artifact]:
    """Return the versions of a collection in pages, newest first; only those that have all the tags."""
    from regcli.api.artifact import Artifact
    from regcli.domain import roles
    from regcli.domain.sources import Sources

    wanted = {fold(tag) for tag in tags}

    def rows(after: str | None) -> Iterator[tuple[str, Artifact]]:
        if collection.registry is not None:
            roles.require(collection.registry.state, context.user, "view")
        below = int(after) if after is not None else None
        sources = Sources(context)
        for index, record in collection.versions():
            if below is not None and index >= below:
                continue
            version = Version(collection, index, record)
            shared = sources.shared_record(version)
            if not wanted or wanted <= {fold(tag) for tag in shared["tags"]}:
                yield str(index), Artifact._from_version(context, version, shared=shared)

    return Pages(rows, per_page=per_page, start=start)
