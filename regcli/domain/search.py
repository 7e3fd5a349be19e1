"""Search over registries, collections and versions: by text, tags, aliases and `--where`.

Everything is read from the catalog (`domain/catalog.py`), collection by collection; those where the text cannot occur
are left out before their versions are looked at.
"""

from __future__ import annotations

from regcli.domain import roles
from regcli.domain.catalog import reading
from regcli.domain.catalog_rows import Rows
from regcli.domain.listing import list_projects, list_visible_registries
from regcli.domain.registries import Registry, find_registry
from regcli.errors import UsageError
from regcli.model import RegistryName, fold, quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from typing import Any

    from regcli.domain.catalog import Catalog, Entry
    from regcli.domain.context import Context
    from regcli.domain.where import Path

REGISTRY = "registry"
COLLECTION = "collection"
VERSION = "version"
KINDS = (REGISTRY, COLLECTION, VERSION)
OWN_ORDERS = ("kind", "ref", "field", "value")


class Query:
    """What is searched for.

    Attributes:
        text: part of a name, tag, alias or description, without regard to case; None matches everything.
        kinds: which kinds of results. registry: only in this one. type: only of this artifact type.
        tags: all of them. alias: this one. where: expressions over version records, all of which must hold.
        sort: `kind`, `ref`, `field`, `value` or a field of version records; `descending` turns it round.
    """

    __slots__ = ("alias", "descending", "kinds", "order", "registry", "sort", "tags", "text", "type", "where")

    def __init__(
        self,
        text: str | None,
        *,
        kinds: Sequence[str] = (),
        registry: str | None = None,
        type: str | None = None,  # noqa: A002 - the field's own word
        tags: Sequence[str] = (),
        alias: str | None = None,
        where: Sequence[str] = (),
        sort: str = "kind",
    ) -> None:
        """Take the conditions.

        Raises:
            UsageError: an unknown kind or field, or a malformed expression.
        """
        for kind in kinds:
            if kind not in KINDS:
                raise UsageError(f"kind {quote(kind)} is unknown", hint=f"use {', '.join(KINDS)}")
        self.text = fold(text) if text else None
        self.kinds = tuple(kinds) or KINDS
        self.registry = registry
        self.type = type
        self.tags = {fold(tag) for tag in tags}
        self.alias = fold(alias) if alias else None
        self.where: list[Any] = []
        if where:
            from regcli.domain.where import parse_where

            self.where = [parse_where(expression) for expression in where]
        self.descending = sort.startswith("-")
        self.sort = sort.lstrip("+-")
        self.order: Path | None = None
        if self.sort not in OWN_ORDERS:
            from regcli.domain.where import parse_field

            self.order = parse_field({"created": "created_at", "updated": "updated_at"}.get(self.sort, self.sort))

    @property
    def only_versions(self) -> bool:
        """Whether a condition can hold for versions alone."""
        return self.alias is not None or bool(self.where)


class Result:
    """One hit: the kind of thing, its reference, the field and value that matched, and what it is sorted by."""

    __slots__ = ("field", "key", "kind", "ref", "value")

    def __init__(self, kind: str, ref: str, field: str, value: Any, key: Any = None) -> None:
        """Bundle the hit."""
        self.kind = kind
        self.ref = ref
        self.field = field
        self.value = value
        self.key = key

    def document(self) -> dict[str, Any]:
        """Return the promised JSON fields."""
        return {"kind": self.kind, "ref": self.ref, "field": self.field, "value": self.value}


def lacks_order(query: Query, results: Sequence[Result]) -> bool:
    """Tell whether there are versions among the results, but none that has the field they are to be sorted by."""
    versions = [result.key for result in results if result.kind == VERSION]
    return query.order is not None and bool(versions) and all(key is None for key in versions)


def search(context: Context, query: Query) -> list[Result]:
    """Return every hit; unless sorted otherwise registries before collections before versions, in the order of references."""
    import gc

    # What is read has no cycles; looking for them in hundreds of thousands of new values takes a quarter of the time.
    collecting = gc.isenabled()
    gc.disable()
    try:
        return _sorted(query, reading(context, lambda catalog: _search(context, catalog, query)))
    finally:
        if collecting:
            gc.enable()


def _search(context: Context, catalog: Catalog, query: Query) -> list[Result]:
    results: list[Result] = []
    if query.registry is not None:
        registry = find_registry(context, RegistryName.parse(query.registry))
        roles.require(registry.state, context.user, "view")
        registries = [registry]
    else:
        registries = list_visible_registries(context)
    for registry in registries:
        results.extend(_search_registry(query, registry))
        results.extend(_search_place(context, catalog, query, registry.base, registry))
    if query.registry is None:
        for project in list_projects(context):
            results.extend(_search_place(context, catalog, query, project.base, None))
    return results


def _sorted(query: Query, results: list[Result]) -> list[Result]:
    if query.order is not None:
        return sort_by_value(results, [result.key for result in results], descending=query.descending)
    if query.sort == "kind":
        return sorted(results, key=lambda result: KINDS.index(result.kind), reverse=query.descending)
    return sorted(results, key=lambda result: str(getattr(result, query.sort)), reverse=query.descending)


def sort_by_value(items: Sequence[Any], keys: Iterable[Any], *, descending: bool) -> list[Any]:
    """Return items in the order of JSON values of any type: numbers, then text; what has no value comes last."""

    def rank(value: Any) -> tuple[int, Any]:
        if isinstance(value, (int, float)):
            return (0, value)
        return (1, fold(value) if isinstance(value, str) else str(value))

    pairs = [(key, item) for key, item in zip(keys, items, strict=True) if key is not None]
    missing = [item for key, item in zip(keys, items, strict=True) if key is None]
    ordered = sorted(pairs, key=lambda pair: rank(pair[0]), reverse=descending)
    return [item for _, item in ordered] + missing


def _hits(query: Query, fields: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    if query.text is None:
        return [fields[0]]
    return [(field, value) for field, value in fields if query.text in fold(value)]


def _search_registry(query: Query, registry: Registry) -> Iterator[Result]:
    if REGISTRY not in query.kinds or query.tags or query.only_versions or query.type is not None:
        return
    for field, value in _hits(query, [("name", registry.name), ("description", registry.state["description"])]):
        yield Result(REGISTRY, registry.name, field, value)


def _search_place(context: Context, catalog: Catalog, query: Query, owner: str, registry: Registry | None) -> Iterator[Result]:
    wants_versions = VERSION in query.kinds
    for entry in catalog.entries(owner, registry, columns=wants_versions):
        state = entry.state
        if query.type is not None and state["type"] != query.type:
            continue
        if COLLECTION in query.kinds and not query.only_versions and query.tags <= {fold(tag) for tag in state["tags"]}:
            fields = [("name", state["name"]), *(("tag", tag) for tag in state["tags"]), ("description", state["description"])]
            for field, value in _hits(query, fields):
                yield Result(COLLECTION, entry.ref, field, value)
        if wants_versions and entry.count and _may_match(catalog, query, entry):
            yield from _search_versions(query, Rows(context, catalog, entry))


def _may_match(catalog: Catalog, query: Query, entry: Entry) -> bool:
    """Tell whether any version of a collection can match, without looking at them (False is certain)."""
    aliases = entry.state["aliases"]
    if query.alias is not None and query.alias != "latest" and query.alias not in aliases:
        return False
    needles = set(query.tags)
    if query.text is not None and not any(query.text in alias for alias in aliases):
        needles.add(query.text)
    if not needles:
        return True
    if not entry.is_link:
        return all(entry.may_contain(needle) for needle in needles)
    sources = [catalog.source(place) for place in entry.places]
    return any(source is None or all(source.may_contain(needle) for needle in needles) for source in sources)


def _search_versions(query: Query, rows: Rows) -> Iterator[Result]:
    chosen: list[int] = list(range(rows.count))
    if query.alias is not None:
        aliases = rows.column(("aliases",))
        chosen = [row for row in chosen if query.alias in [fold(alias) for alias in aliases[row]]]
    if query.tags and chosen:
        tags = rows.column(("tags",))
        chosen = [row for row in chosen if query.tags <= {fold(tag) for tag in tags[row]}]
    for expression in query.where:
        if not chosen:
            return
        mask = expression.mask(rows)
        chosen = [row for row in chosen if mask[row]]
    if not chosen:
        return
    refs = rows.column(("ref",))
    keys = rows.column(query.order) if query.order is not None else None
    for row, field, value in _matches(query, rows, chosen):
        yield Result(VERSION, refs[row], field, value, keys[row] if keys is not None else None)


def _matches(query: Query, rows: Rows, chosen: Sequence[int]) -> Iterator[tuple[int, str, Any]]:
    """Yield (row, field, value) of what is shown as the reason of each hit."""
    if query.text is not None:
        aliases, tags, descriptions = (rows.column((name,)) for name in ("aliases", "tags", "description"))
        for row in chosen:
            for alias in aliases[row]:
                if alias != "latest" and query.text in fold(alias):
                    yield row, "alias", alias
            for tag in tags[row]:
                if query.text in fold(tag):
                    yield row, "tag", tag
            if descriptions[row] and query.text in fold(descriptions[row]):
                yield row, "description", descriptions[row]
        return
    path: Path = ("version",)
    if query.where:
        from regcli.domain.where import first_field

        path = first_field(query.where[0])
    values = rows.column(path)
    field = ".".join(path)
    for row in chosen:
        yield row, field, values[row]
