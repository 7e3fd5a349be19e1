"""Queries over registries, their collections and their versions, chained one after the other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from regcli.api import session
from regcli.api.collections import ArtifactCollection
from regcli.api.errors import translated
from regcli.api.filters import (
    COLLECTION_FIELDS,
    NAMED,
    REGISTRY_FIELDS,
    VERSION_FIELDS,
    asks_for,
    compile_filter,
    parse_order,
    sort_rows,
)
from regcli.api.pages import Pages
from regcli.api.registries import Registry
from regcli.domain import collections as store
from regcli.domain.listing import list_visible_registries
from regcli.domain.resolving import Version
from regcli.domain.sources import Sources, searched_fields
from regcli.model import LATEST, fold

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from regcli.api.artifact import Artifact
    from regcli.domain.collections import Collection
    from regcli.domain.context import Context
    from regcli.domain.registries import Registry as StoredRegistry

    Filter = Mapping[str, Any] | None

_VERSIONS = {"created_at": "created_at", "createdAt": "created_at", "artifact_size": "size", "size": "size",
             "linked_at": "linked_at", "version_index": "version_index", "versionIndex": "version_index"}  # fmt: skip


class Registries(Pages[Registry]):
    """Registries that a filter chooses, by name unless ordered; `.collections()` and `.versions()` go on from them."""

    def __init__(
        self,
        filter: Filter = None,
        order: str | None = None,
        *,
        per_page: int = 100,
        start: str | None = None,
    ) -> None:
        """Begin a query; nothing is read before the first result is asked for.

        Raises:
            ValueError: the filter or order is not allowed.
        """
        matches = compile_filter(_without_prefix(filter), REGISTRY_FIELDS, "registries")
        by = parse_order(order, NAMED, "registries")
        self._find: Callable[[], list[StoredRegistry]] = lambda: _found(matches, by)

        def rows(after: str | None) -> Iterator[tuple[str, Registry]]:
            for registry in self._find():
                key = fold(registry.name)
                if after is None or key > after:
                    yield key, Registry(registry)

        super().__init__(rows, per_page=per_page, start=start, resumable=by is None)

    def collections(
        self,
        filter: Filter = None,
        order: str | None = None,
        per_page: int = 100,
        start: str | None = None,
    ) -> Collections:
        """Return the collections of these registries.

        Args:
            filter: fields `name`, `tag`, `description`, `type`, `created_at`, `updated_at`, `id`.
            order: `name`, `created_at` or `updated_at`, with `-` in front for descending.
            per_page: how many are fetched at a time.
            start: the `.cursor` of an earlier query of the same kind, without an order.

        Raises:
            ValueError: an unknown field or operator, or two names for one field.
        """
        return Collections(self._find, filter, order, per_page=per_page, start=start)

    def versions(
        self,
        filter: Filter = None,
        order: str | None = None,
        per_page: int = 100,
        start: str | None = None,
    ) -> Versions:
        """Return the versions in all collections of these registries.

        Args:
            filter: fields `tag`, `alias`, `version`, `metadata.KEY`, `metrics.KEY`, `artifact_size`, `created_at`,
                `updated_at`, `linked_at`, `id`, `digest`, `description`.
            order: `created_at`, `artifact_size` or `linked_at`, with `-` in front for descending.
            per_page: how many are fetched at a time.
            start: the `.cursor` of an earlier query of the same kind, without an order.

        Raises:
            ValueError: an unknown field or operator, or two names for one field.
        """
        return Versions(self.collections(), filter, order, per_page=per_page, start=start)


class Collections(Pages[ArtifactCollection]):
    """Collections of registries that a filter chooses; `.versions()` goes on from them."""

    def __init__(
        self,
        registries: Callable[[], Iterable[StoredRegistry]],
        filter: Filter = None,
        order: str | None = None,
        *,
        per_page: int = 100,
        start: str | None = None,
    ) -> None:
        """Begin a query; use `Registries.collections`."""
        matches = compile_filter(filter, COLLECTION_FIELDS, "collections")
        by = parse_order(order, NAMED, "collections")
        self._find: Callable[[], list[Collection]] = lambda: _collections(registries(), matches, by)

        def rows(after: str | None) -> Iterator[tuple[str, ArtifactCollection]]:
            for collection in self._find():
                key = _collection_key(collection)
                if after is None or key > after:
                    yield key, ArtifactCollection(collection)

        super().__init__(rows, per_page=per_page, start=start, resumable=by is None)

    def versions(
        self,
        filter: Filter = None,
        order: str | None = None,
        per_page: int = 100,
        start: str | None = None,
    ) -> Versions:
        """Return the versions in these collections; see `Registries.versions`."""
        return Versions(self, filter, order, per_page=per_page, start=start)


class Versions(Pages["Artifact"]):
    """Versions in registries that a filter chooses: links, newest first within each collection unless ordered."""

    def __init__(
        self,
        collections: Collections,
        filter: Filter = None,
        order: str | None = None,
        *,
        per_page: int = 100,
        start: str | None = None,
    ) -> None:
        """Begin a query; use `Registries.versions`."""
        matches = compile_filter(filter, VERSION_FIELDS, "versions")
        by = parse_order(order, _VERSIONS, "versions")
        by_alias = asks_for(filter, VERSION_FIELDS, "aliases")

        def rows(after: str | None) -> Iterator[tuple[str, Artifact]]:
            from regcli.api.artifact import Artifact

            context = session.context_for("Registry.versions")
            found = _versions(context, collections._find(), matches, _position(after))
            if by is not None:
                found = iter(sort_rows(list(found), by))
            for _, (version, shared) in found:
                key = f"{_collection_key(version.collection)}\n{version.index}"
                if by_alias:
                    translated(_hold_to_signatures)(context, version)
                yield key, Artifact._from_version(context, version, shared=shared)

        super().__init__(rows, per_page=per_page, start=start, resumable=by is None and collections._resumable)


def _hold_to_signatures(context: Context, version: Version) -> None:
    """Check those aliases of a version that must be signed, since it was found by an alias.

    Raises:
        SignatureRefusedError: one is not as it must be.
    """
    from regcli.domain.sealing import hold_to_signature, needs_check

    for alias in version.aliases:
        if alias != LATEST and needs_check(context, version.collection, alias):
            hold_to_signature(context, version, alias, 0)


def _without_prefix(filter: Filter) -> Filter:
    """Return the filter with `wandb-registry-` taken from plain names, which scripts for the original may write."""
    if not isinstance(filter, dict) or not isinstance(filter.get("name"), str):
        return filter
    return {**filter, "name": filter["name"].removeprefix("wandb-registry-")}


def _found(matches: Callable[[dict[str, Any]], bool], by: tuple[str, bool] | None) -> list[StoredRegistry]:
    context = session.context_for("Api.registries")
    rows = [(registry.state, registry) for registry in list_visible_registries(context) if matches(registry.state)]
    session.settle(context)
    return [registry for _, registry in (sort_rows(rows, by) if by is not None else rows)]


def _collections(
    registries: Iterable[StoredRegistry], matches: Callable[[dict[str, Any]], bool], by: tuple[str, bool] | None
) -> list[Collection]:
    context = session.context_for("Registry.collections")
    rows = [
        (collection.state, collection)
        for registry in registries
        for collection in store.list_collections(context, registry.base, registry)
        if matches(collection.state)
    ]
    session.settle(context)
    if by is not None:
        rows = sort_rows(rows, by)
    else:
        rows.sort(key=lambda row: _collection_key(row[1]))
    return [collection for _, collection in rows]


def _collection_key(collection: Collection) -> str:
    owner = collection.registry.name if collection.registry is not None else ""
    return f"{fold(owner)}\t{fold(collection.name)}"


def _position(after: str | None) -> tuple[str, int] | None:
    if after is None:
        return None
    key, _, index = after.rpartition("\n")
    return key, int(index)


def _versions(
    context: Context, found: Iterable[Collection], matches: Callable[[dict[str, Any]], bool], after: tuple[str, int] | None
) -> Iterator[tuple[dict[str, Any], tuple[Version, dict[str, Any]]]]:
    sources = Sources(context)
    for collection in found:
        key = _collection_key(collection)
        if after is not None and key < after[0]:
            continue
        for index, record in collection.versions():
            if after is not None and key == after[0] and index >= after[1]:
                continue
            version = Version(collection, index, record)
            shared = sources.shared_record(version)
            document = searched_fields(version, shared)
            if matches(document):
                yield document, (version, shared)
