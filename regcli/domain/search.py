"""Search over registry and collection names, tags, aliases and descriptions."""

from __future__ import annotations

from regcli.domain import roles
from regcli.domain.collections import Collection, list_collections
from regcli.domain.listing import list_projects, list_visible_registries
from regcli.domain.registries import Registry, find_registry
from regcli.domain.resolving import Version, shared_record
from regcli.errors import UsageError
from regcli.model import RegistryName, fold, quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any

    from regcli.domain.context import Context

REGISTRY = "registry"
COLLECTION = "collection"
VERSION = "version"
KINDS = (REGISTRY, COLLECTION, VERSION)


class Query:
    """What is searched for.

    Attributes:
        text: part of a name, tag, alias or description, without regard to case; None matches everything.
        kinds: which kinds of results. registry: only in this one. type: only of this artifact type.
        tags: all of them. alias: this one.
    """

    __slots__ = ("alias", "kinds", "registry", "tags", "text", "type")

    def __init__(
        self,
        text: str | None,
        *,
        kinds: Sequence[str] = (),
        registry: str | None = None,
        type: str | None = None,  # noqa: A002 - the field's own word
        tags: Sequence[str] = (),
        alias: str | None = None,
    ) -> None:
        """Take the conditions."""
        for kind in kinds:
            if kind not in KINDS:
                raise UsageError(f"kind {quote(kind)} is unknown", hint=f"use {', '.join(KINDS)}")
        self.text = fold(text) if text else None
        self.kinds = tuple(kinds) or KINDS
        self.registry = registry
        self.type = type
        self.tags = {fold(tag) for tag in tags}
        self.alias = fold(alias) if alias else None


class Result:
    """One hit: the kind of thing, its reference, and the field and value that matched."""

    __slots__ = ("field", "kind", "ref", "value", "version")

    def __init__(self, kind: str, ref: str, field: str, value: str, version: Version | None = None) -> None:
        """Bundle the hit."""
        self.kind = kind
        self.ref = ref
        self.field = field
        self.value = value
        self.version = version

    def document(self) -> dict[str, Any]:
        """Return the promised JSON fields."""
        return {"kind": self.kind, "ref": self.ref, "field": self.field, "value": self.value}


def search(context: Context, query: Query) -> list[Result]:
    """Return every hit, registries before collections before versions, each in the order of references."""
    results: list[Result] = []
    if query.registry is not None:
        registry = find_registry(context, RegistryName.parse(query.registry))
        roles.require(registry.state, context.user, "view")
        registries = [registry]
    else:
        registries = list_visible_registries(context)
    for registry in registries:
        results.extend(_search_registry(query, registry))
        for collection in list_collections(context, registry.base, registry):
            results.extend(_search_collection(context, query, collection))
    if query.registry is None:
        for project in list_projects(context):
            for collection in list_collections(context, project.base, None):
                results.extend(_search_collection(context, query, collection))
    return sorted(results, key=lambda result: KINDS.index(result.kind))


def _hits(query: Query, fields: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    if query.text is None:
        return [fields[0]]
    return [(field, value) for field, value in fields if query.text in fold(value)]


def _search_registry(query: Query, registry: Registry) -> Iterator[Result]:
    if REGISTRY not in query.kinds or query.tags or query.alias is not None or query.type is not None:
        return
    for field, value in _hits(query, [("name", registry.name), ("description", registry.state["description"])]):
        yield Result(REGISTRY, registry.name, field, value)


def _search_collection(context: Context, query: Query, collection: Collection) -> Iterator[Result]:
    state = collection.state
    if query.type is not None and state["type"] != query.type:
        return
    if COLLECTION in query.kinds and query.alias is None and query.tags <= {fold(tag) for tag in state["tags"]}:
        fields = [("name", state["name"]), *(("tag", tag) for tag in state["tags"]), ("description", state["description"])]
        for field, value in _hits(query, fields):
            yield Result(COLLECTION, collection.ref, field, value)
    if VERSION in query.kinds:
        for index, record in collection.versions():
            yield from _search_version(context, query, Version(collection, index, record))


def _search_version(context: Context, query: Query, version: Version) -> Iterator[Result]:
    aliases = version.aliases
    if query.alias is not None and query.alias not in {fold(alias) for alias in aliases}:
        return
    shared = shared_record(context, version)
    if not query.tags <= {fold(tag) for tag in shared["tags"]}:
        return
    fields = [
        *(("alias", alias) for alias in aliases if alias != "latest"),
        *(("tag", tag) for tag in shared["tags"]),
        ("description", shared["description"]),
    ]
    if query.text is None:
        fields.insert(0, ("version", version.version))
    for field, value in _hits(query, fields):
        yield Result(VERSION, version.ref, field, value, version)
