"""The versions of one collection in the catalog, field by field, for `--where` and for showing."""

from __future__ import annotations

from regcli.domain.catalog import SHARED, cell
from regcli.domain.collections import open_collection_directory
from regcli.model import fold

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from regcli.domain.catalog import Catalog, Entry
    from regcli.domain.collections import Collection
    from regcli.domain.context import Context


class Rows:
    """The versions of one entry that are there, newest first, for `--where` and for showing.

    Fields are the names of the version record; each is computed when it is first asked for.
    """

    __slots__ = ("_catalog", "_chosen", "_context", "_memo", "_own_collection", "entry")

    def __init__(self, context: Context, catalog: Catalog, entry: Entry) -> None:
        """Choose the versions that are neither deleted nor unlinked."""
        self._context = context
        self._catalog = catalog
        self.entry = entry
        states = entry.column("state") if entry.count else ()
        self._chosen = [place for place in range(entry.count - 1, -1, -1) if states[place] == "COMMITTED"]
        self._memo: dict[str, Sequence[Any]] = {}
        self._own_collection: Collection | None = None

    @property
    def count(self) -> int:
        """How many versions there are."""
        return len(self._chosen)

    def column(self, path: tuple[str, ...]) -> Sequence[Any]:
        """Return the values of a field; None where a version has none."""
        name = path[0]
        found = self._memo.get(name)
        if found is None:
            found = self._memo[name] = self._compute(name)
        if len(path) == 1:
            return found
        if len(path) == 2:
            key = path[1]
            return [value.get(key) if value else None for value in found]
        from regcli.domain.where import dig

        return [dig(value, path[1:]) for value in found]

    def _own(self, name: str) -> list[Any]:
        column = self.entry.column(name)
        if len(self._chosen) == len(column):
            return list(reversed(column))
        return [column[place] for place in self._chosen]

    def _shared(self, name: str) -> list[Any]:
        """Return a field that belongs to the source, looked up there for links."""
        if not self.entry.is_link:
            return self._own(name)
        columns: list[tuple[Sequence[Any], dict[int, int] | None] | None] = []
        for place in self.entry.places:
            source = self._catalog.source(place)
            columns.append((source.column(name), source.positions()) if source is not None and source.count else None)
        if len(columns) == 1 and columns[0] is not None and columns[0][1] is None:
            # The usual case: one source, all of whose versions are where their numbers say.
            values, versions = columns[0][0], self._own("origin_version")
            if not versions or max(versions) < len(values):
                return [values[version] for version in versions]
        found = []
        for row, (origin, version) in enumerate(self._origins()):
            known = columns[origin]
            position = None
            if known is not None:
                position = version if known[1] is None else known[1].get(version)
            if known is None or position is None or position >= len(known[0]):
                found.append(self._copy(name, row))
            else:
                found.append(known[0][position])
        return found

    def _origins(self) -> list[tuple[int, int]]:
        """Return (number of the source collection, version there) of each link."""
        return list(zip(self._own("origin"), self._own("origin_version"), strict=True))

    def _copy(self, name: str, row: int) -> Any:
        """Return the link's own copy of a field whose source cannot be read."""
        if self._own_collection is None:
            self._own_collection = open_collection_directory(self._context, self.entry.base, self.entry.registry)
        record = self._own_collection.snapshot.records.get(self.entry.column("version")[self._chosen[row]])
        return cell(name, record, {}) if record is not None else None

    def versions(self) -> list[int]:
        """Return the version numbers."""
        return self._own("version")

    def _constant(self, value: Any) -> list[Any]:
        return [value] * len(self._chosen)

    def _compute(self, name: str) -> Sequence[Any]:  # noqa: C901, PLR0912 - one branch per field
        entry = self.entry
        state = entry.state
        if name in ("name", "collection"):
            return self._constant(state["name"])
        if name == "registry":
            return self._constant(entry.registry.name if entry.registry is not None else None)
        if name == "type":
            return self._constant(state["type"])
        if name == "state":
            return self._constant("COMMITTED")
        if name == "is_link":
            return self._constant(entry.is_link)
        if name == "version":
            return [f"v{index}" for index in self.versions()]
        if name == "ref":
            ref = entry.ref
            return [f"{ref}:v{index}" for index in self.versions()]
        if name == "aliases":
            return self._aliases()
        if name in ("protected_aliases", "signed_aliases"):
            protected = entry.registry.state["protected"] if entry.registry is not None else {}
            chosen = {key for key, rule in protected.items() if name == "protected_aliases" or rule["signed"]}
            return [[alias for alias in aliases if fold(alias) in chosen] for aliases in self.column(("aliases",))]
        if name in ("entity", "project"):
            return self._projects(name)
        if name == "source":
            return self._source_refs()
        if name in ("links", "used_by"):
            return self._relations(name)
        if name == "logged_by":
            return self._shared("run")
        if name == "reference_count":
            return [count or 0 for count in self._shared("references")]
        if name == "digest_algorithm":
            return self._own("algorithm")
        if name == "ttl":
            from regcli.domain.documents import format_ttl

            return self._constant("none") if entry.is_link else [format_ttl(value) for value in self._own("ttl")]
        if name == "expires_at":
            return self._ends()
        return self._shared(name) if name in SHARED else self._own(name)

    def _aliases(self) -> list[list[str]]:
        held: dict[int, list[str]] = {}
        for shown, holder in self.entry.state["aliases"].values():
            held.setdefault(holder, []).append(shown)
        latest = self.entry.state["latest"]
        empty: list[str] = []
        return [
            (["latest"] if index == latest else empty) + (sorted(held[index]) if index in held else empty)
            for index in self.versions()
        ]

    def _projects(self, name: str) -> list[Any]:
        if not self.entry.is_link:
            return self._constant(self.entry.state[name])
        sources = [self._catalog.source(place) for place in self.entry.places]
        values = [source.state[name] if source is not None else None for source in sources]
        return [values[origin] for origin in self._own("origin")]

    def _source_refs(self) -> list[Any]:
        if not self.entry.is_link:
            return list(self.column(("ref",)))
        sources = [self._catalog.source(place) for place in self.entry.places]
        refs = [source.ref if source is not None and source.exists else None for source in sources]
        return [f"{refs[origin]}:v{version}" if refs[origin] else None for origin, version in self._origins()]

    def _ends(self) -> list[str | None]:
        if self.entry.is_link:
            return self._constant(None)
        from regcli.domain.lifetime import Lifetimes

        lifetimes = Lifetimes(self._context)
        pairs = zip(self._own("ttl"), self._own("created_at"), strict=True)
        return [lifetimes.end(self.entry, ttl, created_at) for ttl, created_at in pairs]

    def _relations(self, name: str) -> list[Any]:
        """Look up links or consumers: one directory per version, since other collections decide about them."""
        from regcli.domain.documents import consumers, visible_links

        if name == "used_by":
            return [consumers(self._context, identity) for identity in self._own("id")]
        if self.entry.is_link:
            return self._constant([])
        opened: dict[str, Collection] = {}
        return [[link.ref for link in visible_links(self._context, identity, opened)] for identity in self._own("id")]
