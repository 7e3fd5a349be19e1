"""The catalog: what is known of every collection and its versions, kept in a cache that proves itself fresh.

Searching and listing read one small file per collection instead of its head and pages. The file says on which commit
it rests; it is believed only while that commit is there unchanged and none follows. Otherwise, and when the file
is missing, damaged or of another format, the collection itself is read and the file written again where that is allowed.
Its columns are decoded when they are asked for: whoever asks does so in `reading`, for damage that shows only then.
A link's tags, metadata, description and TTL are not copied: they are looked up in its source's file, which proves itself too.
"""

from __future__ import annotations

import os

from regcli.domain.collections import LINK, Collection, empty_state, is_there, open_collection_directory
from regcli.domain.shapes import check_collection
from regcli.errors import RegcliError
from regcli.model import fold
from regcli.store import files, jsontext
from regcli.store.layout import collection_paths, is_collection_place

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import Any, TypeVar

    from regcli.domain.context import Context
    from regcli.domain.registries import Registry

    State = dict[str, Any]
    Answer = TypeVar("Answer")

FORMAT = 2
_MAGIC = b"regclct1"
_FIRST_READ = 8192
_LIMIT = 1 << 30
_MAX_WEIGHT = 1 << 30
# Of a record, one column each; of a link the first group only, as the second is its source's.
OWN = (
    "version",
    "state",
    "id",
    "digest",
    "algorithm",
    "size",
    "file_count",
    "origin",
    "origin_version",
    "linked_at",
    "linked_by",
)
SHARED = (
    "tags", "description", "metadata", "metrics", "ttl", "inputs", "run", "created_at", "created_by", "updated_at",
    "references",
)  # fmt: skip


class Entry:
    """What the catalog knows of one collection.

    Attributes:
        base: its directory. registry: the registry it lies in, or None. state: the collection's state.
        seq: the commit it rests on. count: how many versions it lists, deleted ones too.
        places: the source collections that its links come from; the column `origin` counts them from 0.
    """

    __slots__ = ("_columns", "_data", "_loaded", "_positions", "_spare", "base", "count", "places", "registry", "seq", "state")

    def __init__(
        self,
        base: str,
        registry: Registry | None,
        header: dict[str, Any],
        data: bytes | memoryview,
        loaded: dict[str, Any] | None = None,
    ) -> None:
        """Take a proven header; `data` are the bytes of the columns (empty when only the header was wanted)."""
        self.base = base
        self.registry = registry
        self.state: State = header["state"]
        self.seq: int = header["seq"]
        self.count: int = header["count"]
        self.places: list[str] = header["places"]
        self._columns: dict[str, list[Any]] = header["columns"]
        self._data = data
        self._loaded: dict[str, Any] = loaded or {}
        self._spare = _MAX_WEIGHT
        self._positions: dict[int, int] | None = None

    @property
    def exists(self) -> bool:
        """Whether there is such a collection, and neither it nor its registry was removed."""
        return is_there(self.state, self.registry)

    @property
    def is_link(self) -> bool:
        """Whether it holds links."""
        return bool(self.state["kind"] == LINK)

    @property
    def name(self) -> str:
        """The name as it was first written."""
        return str(self.state["name"])

    @property
    def ref(self) -> str:
        """The canonical reference of the collection."""
        if self.registry is not None:
            return f"{self.registry.name}/{self.state['name']}"
        return f"{self.state['entity']}/{self.state['project']}/{self.state['name']}"

    def column(self, name: str) -> Sequence[Any]:
        """Return a field of all versions, oldest first.

        Raises:
            DamagedColumnsError: what the cache has is malformed.
        """
        found: Sequence[Any] | None = self._loaded.get(name)
        if found is None:
            from regcli.domain.catalog_columns import DamagedColumnsError, decode

            raw = self._raw(name)
            # Whoever made the columns made their checksum: what would take too much memory is read from the log instead.
            self._spare -= jsontext.weight(raw)
            if self._spare < 0:
                raise DamagedColumnsError(f"column {name} of the catalog is too large")
            loaded = decode(name, raw, self.count, len(self.places) if self.is_link else None)
            found = self._loaded[name] = loaded
        return found

    def _raw(self, name: str) -> bytes:
        offset, length = self._columns[name]
        return bytes(self._data[offset : offset + length])

    def may_contain(self, folded: str) -> bool:
        """Tell whether the text may occur in a tag or description of a version (False is certain)."""
        text = self._loaded.get("text")
        if text is not None:
            return folded in text
        return folded.encode("utf-8", "surrogatepass") in self._raw("text")

    def positions(self) -> dict[int, int] | None:
        """Return where each version stands in the columns, or None when version N stands at N."""
        if self._positions is None:
            versions = self.column("version")
            if not versions or versions[-1] == len(versions) - 1:
                self._positions = {}
            else:
                self._positions = {number: place for place, number in enumerate(versions)}
        return self._positions or None


def reading(context: Context, work: Callable[[Catalog], Answer]) -> Answer:
    """Return what `work` makes of the catalog; where a column in the cache is malformed, of what the logs say."""
    from regcli.domain.catalog_columns import DamagedColumnsError

    told = len(context.warnings)
    try:
        return work(Catalog(context))
    except DamagedColumnsError:
        del context.warnings[told:]
        return work(Catalog(context, cached=False))


class Catalog:
    """Reads entries of a root, and remembers those that links pointed to."""

    __slots__ = ("_context", "_is_cached", "_sources")

    def __init__(self, context: Context, *, cached: bool = True) -> None:
        """Take the surroundings; nothing is read. Without `cached`, the cache is only written."""
        self._context = context
        self._is_cached = cached
        self._sources: dict[str, Entry | None] = {}

    def entries(self, owner: str, registry: Registry | None, *, columns: bool = True) -> Iterator[Entry]:
        """Yield the collections in a registry's or project's directory that exist, sorted by name.

        Args:
            owner: the directory.
            registry: the registry, or None for a project.
            columns: whether the fields of versions will be asked for.

        A collection that is damaged is left out, with a warning.
        """
        found = []
        for base in collection_paths(owner):
            entry = self._guarded(base, registry, columns=columns)
            if entry is not None and entry.exists:
                found.append(entry)
        yield from sorted(found, key=lambda entry: fold(entry.state["name"]))

    def source(self, place: str) -> Entry | None:
        """Return the entry of the source collection at a place of the root, or None where it cannot be read."""
        if place not in self._sources:
            entry = None
            if place.startswith("projects/") and is_collection_place(place):
                entry = self._guarded(f"{self._context.root.path}/{place}", None, columns=True)
                if entry is not None and entry.is_link:
                    # Only what a log says can lead here; whoever wrote it made a link of a link.
                    entry = None
            self._sources[place] = entry
        return self._sources[place]

    def _guarded(self, base: str, registry: Registry | None, *, columns: bool) -> Entry | None:
        try:
            return self.read(base, registry, columns=columns)
        except RegcliError as error:
            self._context.warnings.append(error.message)
            return None

    def read(self, base: str, registry: Registry | None, *, columns: bool = True) -> Entry:
        """Return the entry of one collection, from the cache when it is fresh.

        Raises:
            IntegrityError: the collection is damaged.
        """
        path = self._path(base)
        entry = self._cached(path, base, registry, columns=columns) if self._is_cached else None
        if entry is not None:
            return entry
        collection = open_collection_directory(self._context, base, registry)
        if collection.snapshot.seq == 0:
            return Entry(base, registry, _nothing(collection.state), b"", {"text": ""})
        return _build(self._context.root.id, collection, path)

    def _path(self, base: str) -> str:
        place = base[len(self._context.root.path) + 1 :]
        return f"{_folder(self._context)}/{_file_name(place)}"

    def _cached(self, path: str, base: str, registry: Registry | None, *, columns: bool) -> Entry | None:
        found = _read_file(self._context, path, columns=columns)
        if found is None:
            return None
        header, body = found
        try:
            if header["format"] != FORMAT or header["root"] != self._context.root.id:
                return None
            if header["base"] != base[len(self._context.root.path) + 1 :] or header["settings_seq"] != _settings_seq(registry):
                return None
            if not _is_fresh(base, header["seq"], header["proof"]):
                return None
            _check_header(header)
            if columns:
                _check_body(header, body)
            return Entry(base, registry, header, body)
        except (KeyError, TypeError, ValueError, AttributeError):
            # Malformed, or written by a version of the program that kept less.
            return None


def _check_header(header: dict[str, Any]) -> None:
    """Refuse (KeyError, TypeError, ValueError, AttributeError) what this program does not write."""
    if empty_state().keys() - header["state"].keys():
        raise ValueError("the state is incomplete")
    check_collection(header["state"])
    if type(header["count"]) is not int or header["count"] < 0:
        raise ValueError("count is malformed")
    if type(header["places"]) is not list or not set(map(type, header["places"])) <= {str}:
        raise ValueError("places are malformed")


def _check_body(header: dict[str, Any], body: memoryview) -> None:
    """Refuse columns that are not those of the header, or not where it says. Raises as `_check_header` does."""
    import xxhash

    if xxhash.xxh3_128_hexdigest(body) != header["body"]:
        raise ValueError("the columns are not these")
    for name in ("text", *OWN, *(() if header["state"]["kind"] == LINK else SHARED)):
        offset, length = header["columns"][name]
        if type(offset) is not int or type(length) is not int or offset < 0 or not 0 <= length <= len(body) - offset:
            raise ValueError("a column is malformed")


def _folder(context: Context) -> str:
    # In a shared root everybody has their own: what another user wrote could say what the log does not.
    folder = "catalog" if context.root.shared is None else f"catalog-{os.geteuid()}"
    return f"{context.root.path}/cache/{folder}"


def _file_name(place: str) -> str:
    import xxhash

    return xxhash.xxh3_128_hexdigest(place.encode("utf-8", "surrogatepass"))


def remembered(context: Context) -> Iterator[tuple[str, int]]:
    """Yield place and commit of every collection that was read into the catalog once, whether it is still there or not."""
    folder = _folder(context)
    for name in sorted(files.scan_names(folder)):
        found = _read_file(context, f"{folder}/{name}", columns=False)
        if found is None or found[0].get("root") != context.root.id:
            continue
        place, seq = found[0].get("base"), found[0].get("seq")
        if isinstance(place, str) and isinstance(seq, int) and seq > 0 and name == _file_name(place):
            yield place, seq


def _read_file(context: Context, path: str, *, columns: bool) -> tuple[dict[str, Any], memoryview] | None:
    """Return header and columns (empty where they are not asked for) of a file of the cache; None where it is damaged."""
    try:
        descriptor = os.open(path, files.READ)
    except OSError:
        return None
    try:
        status = os.fstat(descriptor)
        if (context.root.shared is not None and status.st_uid != os.geteuid()) or status.st_size > _LIMIT:
            return None
        # At once: of a large file each copy takes as long as what is done with it.
        data = os.read(descriptor, status.st_size if columns else _FIRST_READ)
        size = int.from_bytes(data[8:12], "little")
        if data[:8] != _MAGIC or size > files.MAX_DOCUMENT:
            return None
        if not columns and len(data) < 12 + size:
            data += os.read(descriptor, 12 + size - len(data))
    except OSError:
        return None
    finally:
        os.close(descriptor)
    header = jsontext.unseal(data[12 : 12 + size])
    return None if header is None else (header, memoryview(data)[12 + size :])


def _nothing(state: State) -> dict[str, Any]:
    return {"state": state, "seq": 0, "count": 0, "places": [], "columns": {}}


def _settings_seq(registry: Registry | None) -> int | None:
    """Return what else decides which commits count: in a shared registry the state of its settings."""
    return registry.snapshot.seq if registry is not None and registry.state.get("shared") is not None else None


def _commit_path(base: str, seq: int) -> str:
    return f"{base}/log/{seq:010d}.json"


def _is_fresh(base: str, seq: int, proof: list[int]) -> bool:
    """Tell whether commit `seq` is there with the size and time of `proof`, and no later one."""
    try:
        status = os.stat(_commit_path(base, seq), follow_symlinks=False)
    except OSError:
        return False
    if [status.st_size, status.st_mtime_ns] != proof:
        return False
    try:
        os.stat(_commit_path(base, seq + 1), follow_symlinks=False)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return False


def _build(root_id: str, collection: Collection, path: str) -> Entry:
    """Read a collection into an entry and keep it in the cache where that can be written."""
    state = collection.state
    is_link = state["kind"] == LINK
    names = OWN if is_link else OWN + SHARED
    columns: dict[str, list[Any]] = {name: [] for name in names}
    text: list[str] = []
    places: dict[str, int] = {}
    for index, record in collection.snapshot.records.ascending():
        columns["version"].append(index)
        for name in names[1:]:
            columns[name].append(cell(name, record, places))
        if not is_link:
            text.extend(fold(tag) for tag in record.get("tags") or ())
            if record.get("description"):
                text.append(fold(record["description"]))
    loaded: dict[str, Any] = {**columns, "text": "\n".join(text)}
    header: dict[str, Any] = {
        "format": FORMAT,
        "root": root_id,
        "base": collection.place,
        "seq": collection.snapshot.seq,
        "count": len(columns["version"]),
        "places": list(places),
        "settings_seq": _settings_seq(collection.registry),
        "state": state,
    }
    _write(collection, path, header, loaded)
    return Entry(collection.base, collection.registry, {**header, "columns": {}}, b"", loaded)


def cell(name: str, record: dict[str, Any], places: dict[str, int]) -> Any:
    """Return what a column has for a record; a source collection that `places` has no number for gets the next."""
    if name.startswith("origin"):
        source = record.get("source")
        if source is None:
            return None
        return places.setdefault(source["place"], len(places)) if name == "origin" else source["version"]
    if name == "inputs":
        return [item["ref"] for item in record["inputs"]]
    return record.get(name)


def _write(collection: Collection, path: str, header: dict[str, Any], loaded: dict[str, Any]) -> None:
    """Write the cache file; failing to is harmless."""
    import xxhash

    try:
        status = os.stat(_commit_path(collection.base, collection.snapshot.seq), follow_symlinks=False)
        pieces = []
        table: dict[str, list[Any]] = {}
        offset = 0
        for name, value in loaded.items():
            data = value.encode("utf-8", "surrogatepass") if name == "text" else jsontext.dumps(value).encode()
            table[name] = [offset, len(data)]
            pieces.append(data)
            offset += len(data)
        body = b"".join(pieces)
        proof = [status.st_size, status.st_mtime_ns]
        sealed = jsontext.seal({**header, "proof": proof, "columns": table, "body": xxhash.xxh3_128_hexdigest(body)})
        document = b"".join((_MAGIC, len(sealed).to_bytes(4, "little"), sealed, body))
        root = collection.chain.root
        try:
            files.replace_file(path, document, root=root)
        except FileNotFoundError:
            files.make_within(root, os.path.dirname(path))
            files.replace_file(path, document, root=root)
    except (OSError, ValueError, RegcliError):
        return
