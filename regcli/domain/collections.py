"""Collections: ordered groups of versions under one name, in a project (sources) or in a registry (links).

The state of a collection is what its commits add up to:
`id, kind (source|link), name, entity, project, type, description, tags, next, latest, count, aliases, removed, …`;
`aliases` maps the folded alias to `[alias as first written, version]`, without `latest`. `ttl` is the default TTL of its
versions: seconds, `none`, or null for the root's. `registry` is the id of the registry it was made in, `former` the folded
names it had, and `redirect` (`{to, id}`) says that this directory's name was given to the collection in directory `to`.
"""

from __future__ import annotations

from regcli.domain import roles
from regcli.domain.registries import Registry, apply_name, find_registry, follow_redirect, open_registry_directory
from regcli.domain.shapes import check_collection, check_record
from regcli.errors import ConflictError, IntegrityError, NotFoundError, RegcliError, RenamedError
from regcli.model import CollectionRef, fold, quote
from regcli.store.chain import Chain
from regcli.store.layout import collection_path, collection_paths, is_collection_place, project_path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from regcli.domain.context import Context
    from regcli.store.chain import Snapshot
    from regcli.store.records import Records

    State = dict[str, Any]
    Record = dict[str, Any]

SOURCE = "source"
LINK = "link"
COMMITTED = "COMMITTED"
DELETED = "DELETED"
PURGED = "PURGED"


def empty_state() -> State:
    """Return the state before the first commit."""
    return {
        "id": None,
        "kind": None,
        "name": None,
        "entity": None,
        "project": None,
        "type": None,
        "description": "",
        "tags": [],
        "created_at": None,
        "created_by": None,
        "updated_at": None,
        "next": 0,
        "latest": None,
        "count": 0,
        "aliases": {},
        "ttl": None,
        "removed": False,
        "registry": None,
        "former": [],
        "redirect": None,
        "settings_seq": 0,
        "origins": {},
    }


def is_live(record: Record | None) -> bool:
    """Tell whether a record is of a version that is there (not deleted, not unlinked)."""
    return record is not None and record["state"] == COMMITTED


def _highest(records: Records, below: int) -> int | None:
    for index, record in records.descending(below):
        if is_live(record):
            return index
    return None


def _bury(records: Records, time: str) -> None:
    """Mark every version that is there as deleted: its collection was."""
    for index, record in [pair for pair in records.descending() if is_live(pair[1])]:
        records.put(index, {**record, "state": DELETED, "updated_at": time})


def _apply_create(state: State, records: Records, op: dict[str, Any], commit: dict[str, Any]) -> None:
    # A collection goes without a commit of its own when its registry does; its versions must not come back with the name.
    _bury(records, commit["time"])
    fresh = empty_state()
    fresh.update(
        next=state["next"],  # numbers are never reused, not even by a collection that was removed and made again
        created_at=commit["time"],
        created_by=commit["user"],
    )
    fresh.update({key: op[key] for key in ("id", "kind", "name", "type", "description", "tags")})
    if "signed" in state:
        # Statements are numbered as versions are: they go on where the collection before left off.
        fresh["signed"] = state["signed"]
    fresh.update({key: op[key] for key in ("entity", "project", "created_at", "created_by", "registry") if key in op})
    state.clear()
    state.update(fresh)


def _check_kind(state: State, record: Record) -> None:
    """Refuse a link without a source, or a source with one; a collection that was made again may be of the other kind."""
    if (state["kind"] == LINK) != (record.get("source") is not None):
        raise ValueError("a version is not of its collection's kind")


def _apply_version(state: State, records: Records, op: dict[str, Any]) -> None:
    index = op["version"]
    if index != state["next"]:
        raise ValueError(f"version {index} is not the next one")
    record = {**op["record"], "state": COMMITTED}
    check_record(record)
    _check_kind(state, record)
    records.put(index, record)
    state["next"] = index + 1
    state["latest"] = index
    state["count"] += 1


def _apply_state(state: State, records: Records, op: dict[str, Any], time: str) -> None:
    index = op["version"]
    record = records.get(index)
    if record is None:
        raise ValueError(f"there is no version {index}")
    name = op["op"]
    after = {"delete": DELETED, "unlink": DELETED, "undelete": COMMITTED, "purge": PURGED}[name]
    was_live = is_live(record)
    if after == COMMITTED:
        _check_kind(state, record)
    records.put(index, {**record, "state": after, "updated_at": time})
    if was_live and after != COMMITTED:
        state["count"] -= 1
        if state["latest"] == index:
            state["latest"] = _highest(records, index)
    elif not was_live and after == COMMITTED:
        state["count"] += 1
        if state["latest"] is None or state["latest"] < index:
            state["latest"] = index


def _apply_field(state: State, records: Records, op: dict[str, Any], time: str) -> None:
    field = "tags" if op["op"] == "tags" else op["field"]
    if op["version"] is None:
        state[field] = op["after"]
        return
    record = records.get(op["version"])
    if record is None:
        raise ValueError(f"there is no version {op['version']}")
    changed = {**record, field: op["after"], "updated_at": time}
    check_record(changed)
    records.put(op["version"], changed)


def reduce_collection(state: State, records: Records, commit: dict[str, Any]) -> None:  # noqa: PLR0912 - a branch per operation
    """Apply one commit of a collection's log."""
    settings_seq = max(state["settings_seq"], commit.get("settings_seq") or 0)
    origin = commit.get("origin")
    if origin is not None:
        # What an import repeats happened when it happened first.
        commit = {**commit, "time": origin["time"], "user": origin["user"]}
    for op in commit["ops"]:
        name = op["op"]
        if name == "create":
            _apply_create(state, records, op, commit)
        elif name in ("version", "link"):
            _apply_version(state, records, op)
        elif name == "alias":
            key = fold(op["alias"])
            if op["after"] is None:
                state["aliases"].pop(key, None)
            else:
                shown = state["aliases"].get(key, [op["alias"], None])[0]
                state["aliases"][key] = [shown, op["after"]]
            if "signature" in op:
                # The newest statement about the alias, so that reading it needs no more than the head.
                state.setdefault("signed", {})[key] = op["signature"]
        elif name in ("delete", "undelete", "unlink", "purge"):
            _apply_state(state, records, op, commit["time"])
        elif name in ("tags", "edit"):
            _apply_field(state, records, op, commit["time"])
        elif name == "reserve":
            state["next"] = max(state["next"], op["version"])
        elif name in ("rename", "redirect"):
            apply_name(state, op)
        elif name == "remove":
            _bury(records, commit["time"])
            state["removed"] = True
            state["count"] = 0
            state["latest"] = None
            state["aliases"] = {}
        else:
            raise ValueError(f"unknown operation {name!r}")
    if origin is not None and origin["upto"]:
        state.setdefault("origins", {})[f"{origin['root']}:{origin['place']}"] = origin["upto"]
    state["updated_at"] = commit["time"]
    state["settings_seq"] = settings_seq


def is_there(state: State, registry: Registry | None) -> bool:
    """Tell whether a collection of this state exists in a registry (None: in a project).

    A registry that was removed took its collections along; one made under its name later has another id.
    """
    if state["name"] is None or state["removed"]:
        return False
    return registry is None or (registry.exists and state["registry"] in (None, registry.state["id"]))


class Collection:
    """An opened collection.

    Attributes:
        base: its directory. chain: its log. snapshot: its state as it was read.
        registry: the registry it lies in, or None for a project's.
    """

    __slots__ = ("base", "chain", "registry", "snapshot")

    def __init__(self, chain: Chain, snapshot: Snapshot, registry: Registry | None) -> None:
        """Bundle what was found."""
        self.base = chain.base
        self.chain = chain
        self.snapshot = snapshot
        self.registry = registry

    @property
    def state(self) -> State:
        """The state that was read."""
        return self.snapshot.state

    @property
    def exists(self) -> bool:
        """Whether there is such a collection, and neither it nor its registry was removed."""
        return is_there(self.snapshot.state, self.registry)

    @property
    def name(self) -> str:
        """The name as it was first written."""
        name: str = self.snapshot.state["name"]
        return name

    @property
    def ref(self) -> str:
        """The canonical reference of the collection."""
        if self.registry is not None:
            return f"{self.registry.name}/{self.name}"
        return f"{self.state['entity']}/{self.state['project']}/{self.name}"

    @property
    def place(self) -> str:
        """The directory relative to the root: what a link or a lineage edge keeps, since it never changes."""
        return self.base[self.base.rindex("/registries/" if self.registry is not None else "/projects/") + 1 :]

    def version_ref(self, index: int) -> str:
        """Return the canonical reference of version `index`."""
        return f"{self.ref}:v{index}"

    def versions(self, *, deleted: bool = False) -> Iterator[tuple[int, Record]]:
        """Yield (index, record) of the versions that are there, newest first; `deleted` adds the deleted ones."""
        if not self.exists and not deleted:
            return
        for index, record in self.snapshot.records.descending():
            if is_live(record) or deleted:
                yield index, record

    def aliases_of(self, index: int) -> list[str]:
        """Return the aliases of a version, sorted, `latest` first."""
        custom = sorted(shown for shown, holder in self.state["aliases"].values() if holder == index)
        return ["latest", *custom] if self.state["latest"] == index else custom

    @property
    def settings_seq(self) -> int | None:
        """Number of the registry's settings that it was read with; None in a project."""
        return self.registry.snapshot.seq if self.registry is not None else None

    def at(self, snapshot: Snapshot) -> Collection:
        """Return the collection in another state of its log, such as the one that a transaction checks."""
        return Collection(self.chain, snapshot, self.registry)

    def reread(self) -> Collection:
        """Return the collection as it is now."""
        return self.at(self.chain.read())


def chain_of(context: Context, base: str, registry: Registry | None) -> Chain:
    """Return the log of the collection that lies in `base`."""
    parts = base.split("/")
    place = "/".join(parts[-4:] if parts[-4] == "registries" else parts[-5:])
    judge = None
    if registry is not None and registry.state["shared"] is not None:
        from regcli.domain.sharing import collection_judge

        judge = collection_judge(registry, base)
    return Chain(
        base,
        f"{base}/log",
        context.root.id,
        reduce_collection,
        empty_state,
        place,
        derived=context.root.derived(base),
        judge=judge,
        settings_seq=registry.snapshot.seq if registry is not None else None,
        check_state=check_collection,
        check_record=check_record,
    )


def open_collection_directory(context: Context, base: str, registry: Registry | None) -> Collection:
    """Open the collection that lies in a directory."""
    chain = chain_of(context, base, registry)
    return Collection(chain, chain.read(), registry)


def open_place(context: Context, place: str) -> Collection:
    """Open the collection of a place that a link or an edge keeps (relative to the root).

    Raises:
        IntegrityError: the place is not one that this program writes.
    """
    if not is_collection_place(place):
        raise IntegrityError(f"{quote(place)} is not a place in the root")
    top, directory, *_ = place.split("/")
    registry = open_registry_directory(context, directory) if top == "registries" else None
    return open_collection_directory(context, f"{context.root.path}/{place}", registry)


def owner_path(context: Context, ref: CollectionRef) -> tuple[str, Registry | None]:
    """Return the directory that holds a reference's collection, and the registry when it is one's.

    Raises:
        NotFoundError: there is no such registry. RoleError: the user has no access to it.
    """
    if ref.registry is not None:
        registry = find_registry(context, ref.registry)
        roles.require(registry.state, context.user, "view")
        return registry.base, registry
    return project_path(context.root.path, ref.entity or "", ref.project or ""), None


def locate(context: Context, ref: CollectionRef) -> Collection:
    """Return the collection of a reference, whether or not it exists (see `exists`).

    A collection that was renamed is found under its new name; under an old one RenamedError tells the new.
    """
    owner, registry = owner_path(context, ref)
    collection = open_collection_directory(context, collection_path(owner, ref.name), registry)
    moved = redirected(context, collection)
    if moved is not None:
        if fold(moved.name) == fold(ref.name) or fold(ref.name) not in moved.state["former"]:
            # The second: a rename that was cut short between its two commits, so that it has both names.
            return moved
        collection = moved
    if collection.exists and fold(collection.name) != fold(ref.name):
        raise RenamedError(
            f"collection {quote(ref.name)} was renamed to {quote(collection.name)}", hint=f"use {quote(collection.ref)}"
        )
    return collection


def redirected(context: Context, collection: Collection) -> Collection | None:
    """Return the collection that the name of this directory was given to by a rename, or None."""
    moved = given_to(context, collection)
    return moved if moved is not None and moved.exists and moved.state["id"] == collection.state["redirect"]["id"] else None


def given_to(context: Context, collection: Collection) -> Collection | None:
    """Return what lies where the name of this directory was given to by a rename; it may have been removed since."""
    target = None if collection.exists else follow_redirect(collection.chain.base, collection.state)
    if target is None:
        return None
    owner = collection.base[: collection.base.rindex("/")]
    return open_collection_directory(context, f"{owner}/{target}", collection.registry)


def require_free(context: Context, collection: Collection) -> list[dict[str, Any]]:
    """Refuse making a collection under a name that a rename has taken since it was looked up.

    Returns:
        What goes before its creation: where a collection that was renamed to this name has been removed, the numbers go
        on after those that it gave under the name, since none may mean another version one day.

    Raises:
        ConflictError: it is another collection's now.
    """
    moved = redirected(context, collection)
    if moved is not None:
        raise ConflictError(
            f"the name was taken: {quote(moved.ref)} was renamed to it at the same time", hint="look again, then decide"
        )
    gone = given_to(context, collection)
    if gone is None or gone.state["next"] <= collection.state["next"]:
        return []
    return [{"op": "reserve", "version": gone.state["next"]}]


def prepare_collection(registry: Registry | None, base: str) -> None:
    """Make the directories of a collection that is about to be made, where its registry is shared.

    Raises:
        ConflictError: somebody else made them, and could delete what is added.
    """
    if registry is not None and registry.state["shared"] is not None:
        from regcli.domain.sharing import make_collection_directories

        make_collection_directories(registry.chain.root, base)


def find_collection(context: Context, ref: CollectionRef) -> Collection:
    """Find an existing collection.

    Raises:
        NotFoundError: with the nearest name, or why it is not there.
    """
    collection = locate(context, ref)
    if not collection.exists:
        raise NotFoundError(f"there is no collection {quote(str(ref))}", hint=_nearest_hint(context, ref))
    return collection


def _nearest_hint(context: Context, ref: CollectionRef) -> str | None:
    from regcli.domain.nearest import nearest

    owner, registry = owner_path(context, ref)
    names = [collection.name for collection in list_collections(context, owner, registry)]
    close = nearest(ref.name, names)
    if close is not None:
        found = CollectionRef(close, registry=ref.registry, entity=ref.entity, project=ref.project)
        return f"did you mean {quote(str(found))}?"
    if registry is None and _names_registry(context, ref.name):
        return f"{quote(ref.name)} is a registry: `regcli ls {quote(f'{ref.name}/')}` lists its collections"
    where = registry.name if registry is not None else f"{ref.entity}/{ref.project}"
    return f"`regcli ls {where}/` lists what is there" if names else f"{quote(where)} has no collections yet"


def _names_registry(context: Context, name: str) -> bool:
    from regcli.domain.listing import list_visible_registries

    return any(fold(registry.name) == fold(name) for registry in list_visible_registries(context))


def require_right(context: Context, collection: Collection, action: str) -> None:
    """Refuse what the user's role in the collection's registry does not allow; projects have no roles.

    Raises:
        RoleError: it does not.
    """
    if collection.registry is not None:
        roles.require(collection.registry.state, context.user, action)


def with_fresh_settings(context: Context, collection: Collection) -> Collection:
    """Return the collection with its registry's settings as they are now: under the settings lock, those that count."""
    if collection.registry is None:
        return collection
    return Collection(collection.chain, collection.snapshot, find_registry(context, collection.registry.name))


def each_collection(context: Context, owner: str, registry: Registry | None) -> Iterator[Collection]:
    """Yield the collections in a registry's or project's directory.

    One that is damaged is skipped with a warning, so that it never spoils the others.
    """
    for base in collection_paths(owner):
        try:
            collection = open_collection_directory(context, base, registry)
        except RegcliError as error:
            context.warnings.append(error.message)
            continue
        if collection.exists:
            yield collection


def list_collections(context: Context, owner: str, registry: Registry | None) -> list[Collection]:
    """Return what `each_collection` finds, sorted by name."""
    return sorted(each_collection(context, owner, registry), key=lambda collection: fold(collection.name))
