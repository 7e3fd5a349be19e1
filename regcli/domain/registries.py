"""Registries: their settings, kept in a log of their own, and how one is found by name."""

from __future__ import annotations

from regcli.domain import roles
from regcli.domain.shapes import check_settings
from regcli.errors import (
    ConflictError,
    IntegrityError,
    NotFoundError,
    RegcliError,
    RenamedError,
    RoleError,
    StorageError,
    UsageError,
)
from regcli.model import Alias, RegistryName, TypeName, fold, quote
from regcli.store import files
from regcli.store.chain import Chain
from regcli.store.layout import encode_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from regcli.domain.context import Change, Context
    from regcli.store.chain import Snapshot
    from regcli.store.records import Records

    State = dict[str, Any]

BUILT_IN = {"model": "Models, ready to be shared", "dataset": "Datasets, ready to be shared"}
SYNONYMS = {"models": "model", "datasets": "dataset"}
VISIBILITIES = ("organization", "restricted")


def empty_state() -> State:
    """Return the settings before the first commit."""
    return {
        "id": None,
        "name": None,
        "description": "",
        "types": [],
        "visibility": "organization",
        "protected": {},
        "members": {},
        "ttl": None,
        "automations": {},
        "removed": False,
        "created_at": None,
        "created_by": None,
        "updated_at": None,
        "former": [],
        "redirect": None,
        "shared": None,
    }


def apply_name(state: State, op: dict[str, Any]) -> None:
    """Apply a rename, or the reservation of a name for the thing that lies in another directory."""
    if op["op"] == "redirect":
        state["redirect"] = {"to": op["to"], "id": op["id"]}
        return
    state["name"] = op["after"]
    if fold(op["before"]) != fold(op["after"]):
        state["former"] = [*state["former"], fold(op["before"])]


def reduce_settings(  # noqa: PLR0912 - one branch per operation
    state: State,
    records: Records,  # noqa: ARG001 - registries have no records
    commit: dict[str, Any],
) -> None:
    """Apply one commit of a settings log."""
    for op in commit["ops"]:
        name = op["op"]
        if name == "create":
            fresh = empty_state()
            fresh.update(created_at=commit["time"], created_by=commit["user"])
            fresh.update(op["settings"])
            state.clear()
            state.update(fresh)
        elif name == "set":
            state[op["field"]] = op["after"]
        elif name == "protect":
            state["protected"][fold(op["alias"])] = op["after"]
        elif name == "unprotect":
            state["protected"].pop(fold(op["alias"]), None)
        elif name == "member":
            if op["after"] is None:
                state["members"].pop(op["member"], None)
            else:
                state["members"][op["member"]] = op["after"]
        elif name == "automation":
            if op["after"] is None:
                state["automations"].pop(op["name"], None)
            else:
                # Whose secrets it may read is for the commit to say, not for the definition.
                state["automations"][op["name"]] = {**op["after"], "created_by": commit["user"]}
        elif name in ("rename", "redirect"):
            apply_name(state, op)
        elif name == "remove":
            state["removed"] = True
        else:
            raise ValueError(f"unknown operation {name!r}")
        state["updated_at"] = commit["time"]


class Registry:
    """An opened registry: its directory, its settings log and the settings as they are now."""

    __slots__ = ("base", "chain", "snapshot")

    def __init__(self, chain: Chain, snapshot: Snapshot) -> None:
        """Take its settings log, and what that says."""
        self.base = chain.base
        self.chain = chain
        self.snapshot = snapshot

    @property
    def state(self) -> State:
        """The settings."""
        return self.snapshot.state

    @property
    def name(self) -> str:
        """The name as it was first written."""
        name: str = self.snapshot.state["name"]
        return name

    @property
    def place(self) -> str:
        """The directory relative to the root, which never changes."""
        return self.chain.place

    @property
    def is_built_in(self) -> bool:
        """Whether it came with the root: it keeps its name, is open to everybody and cannot be deleted (RY-10, RY-14)."""
        directory = self.base.rpartition("/")[2]
        built_in: bool = directory in BUILT_IN and self.state["id"] == _built_in_id(self.chain.root_id, directory)
        return built_in

    @property
    def exists(self) -> bool:
        """Whether there is such a registry, and it was not removed."""
        return self.snapshot.state["name"] is not None and not self.snapshot.state["removed"]


def _built_in_id(root_id: str, directory_name: str) -> str:
    return f"{root_id[:24]}{'0' * 7}{1 + list(BUILT_IN).index(directory_name)}"


def open_chain(context: Context, directory_name: str) -> Chain:
    """Return the settings log of the registry that lies in a directory of `registries/`."""
    root = context.root
    base = f"{root.path}/registries/{directory_name}"

    def initial() -> State:
        state = empty_state()
        if directory_name in BUILT_IN:
            # A fresh root has these two without a file being written; the first change of one writes its first commit.
            state.update(
                name=directory_name,
                id=_built_in_id(root.id, directory_name),
                description=BUILT_IN[directory_name],
                members={root.owner: roles.ADMIN},
                created_at=root.created_at,
                created_by=root.owner,
                updated_at=root.created_at,
            )
        return state

    judge = None
    if root.shared is not None:
        from regcli.domain.sharing import settings_judge

        judge = settings_judge(base)
    return Chain(
        base,
        f"{base}/settings",
        root.id,
        reduce_settings,
        initial,
        f"registries/{directory_name}",
        derived=root.derived(base),
        judge=judge,
        check_state=check_settings,
    )


def directory_at(place: str) -> str | None:
    """Return the name of the registry's directory at a place of the root, or None where the place is not a registry's."""
    top, _, name = place.partition("/")
    return name if top == "registries" and name not in ("", ".", "..") and "/" not in name else None


def open_registry_directory(context: Context, directory_name: str) -> Registry:
    """Open the registry that lies in a directory of `registries/`."""
    chain = open_chain(context, directory_name)
    return Registry(chain, chain.read())


def _follow(context: Context, name: str) -> Registry:
    """Open the registry of a name's own directory, or the one that the name was given to by a rename."""
    try:
        registry = open_registry_directory(context, encode_name(name))
    except StorageError as error:
        if isinstance(error.__cause__, PermissionError):
            raise RoleError(
                f"user {quote(context.user)} has no access to registry {quote(name)}: {error.message}",
                hint="ask an admin of the registry",
            ) from error
        raise
    return redirected(context, registry) or registry


def redirected(context: Context, registry: Registry) -> Registry | None:
    """Return the registry that the name of this directory was given to by a rename, or None."""
    target = None if registry.exists else follow_redirect(registry.base, registry.state)
    if target is None:
        return None
    moved = open_registry_directory(context, target)
    return moved if moved.exists and moved.state["id"] == registry.state["redirect"]["id"] else None


def follow_redirect(base: str, state: State) -> str | None:
    """Return the directory, beside `base`, that its state redirects to, or None.

    Raises:
        IntegrityError: what it names is no directory that this program makes.
    """
    redirect = state.get("redirect")
    if redirect is None:
        return None
    target: str = redirect["to"]
    if "/" in target or target in ("", ".", ".."):
        raise IntegrityError(f"{base} is corrupt: its redirect names no directory", hint="run `regcli verify`")
    return target


def find_registry(context: Context, name: str) -> Registry:
    """Find a registry by name: case does not count, `models` means `model` unless it exists itself.

    Raises:
        NotFoundError: with the nearest name. RenamedError: with the new name.
    """
    registry = _follow(context, name)
    if not registry.exists and fold(name) in SYNONYMS:
        name = SYNONYMS[fold(name)]
        registry = _follow(context, name)
    if not registry.exists:
        raise NotFoundError(f"there is no registry {quote(name)}", hint=_nearest_hint(context, name))
    # A rename that was cut short between its two commits has both names: the new one is not among the former then.
    if fold(registry.name) != fold(name) and fold(name) in registry.state["former"]:
        raise RenamedError(f"registry {quote(name)} was renamed to {quote(registry.name)}", hint=f"use {quote(registry.name)}")
    return registry


def _nearest_hint(context: Context, name: str) -> str:
    from regcli.domain.nearest import nearest

    names = [registry.name for registry in list_registries(context) if visible(context, registry)]
    close = nearest(name, names)
    if close is not None:
        return f"did you mean {quote(close)}?"
    return f"make it with `regcli registry create {quote(name)}`; there are: {', '.join(sorted(names))}"


def registry_directories(context: Context) -> list[str]:
    """Return the names of all directories of registries, sorted; `model` and `dataset` may have none yet."""
    names = files.scan_names(f"{context.root.path}/registries")
    return sorted({*BUILT_IN, *(name for name in names if not name.startswith("."))})


def list_registries(context: Context) -> list[Registry]:
    """Return all registries that exist, sorted by name; a damaged one is skipped with a warning."""
    found = []
    for name in registry_directories(context):
        try:
            registry = open_registry_directory(context, name)
        except RegcliError as error:
            # A registry that the file system keeps this user out of is none that they should hear of.
            if not isinstance(error.__cause__, PermissionError):
                context.warnings.append(error.message)
            continue
        if registry.exists:
            found.append(registry)
    return sorted(found, key=lambda registry: fold(registry.name))


def visible(context: Context, registry: Registry) -> bool:
    """Tell whether the user may see the registry at all."""
    return roles.allows(registry.state, context.user, "view")


def create_registry(
    context: Context,
    name: RegistryName,
    *,
    description: str = "",
    types: Sequence[TypeName] = (),
    visibility: str = "organization",
    ttl: int | None = None,
    group: str | None = None,
) -> Change:
    """Make a registry; whoever makes it is its admin.

    Args:
        context: who asks, and where.
        name: unique in the root, without regard to case.
        description: Markdown.
        types: the artifact types it accepts; none given means all.
        visibility: `organization` (everybody is at least member) or `restricted` (members only).
        ttl: default time to live of its versions in seconds, or None.
        group: the group of the operating system that it is shared with, in a shared root; None for the root's.

    Raises:
        ConflictError: there is one of that name, or one that was renamed had it.
    """
    if visibility not in VISIBILITIES:
        raise UsageError(f"visibility {quote(visibility)} is unknown", hint=f"use {' or '.join(VISIBILITIES)}")
    context.make_root()
    if fold(name) in SYNONYMS:
        raise ConflictError(f"{quote(name)} means the registry {quote(SYNONYMS[fold(name)])}, which exists")
    registry = _follow(context, name)
    if registry.exists and fold(registry.name) != fold(name):
        raise ConflictError(f"{quote(name)} is the old name of registry {quote(registry.name)}", hint="choose another name")
    settings = {
        "id": files.random_hex(16),
        "name": str(name),
        "description": description,
        "types": [str(item) for item in dict.fromkeys(types)],
        "visibility": visibility,
        "members": {context.user: roles.ADMIN},
        "ttl": ttl,
    }
    group = group or context.root.shared
    if group is not None and not registry.exists:
        from regcli.domain.sharing import close_directories

        settings["shared"] = close_directories(context.root.path, registry.base, group)

    def check(snapshot: Snapshot) -> list[dict[str, Any]]:
        if snapshot.state["name"] is not None and not snapshot.state["removed"]:
            raise ConflictError(f"registry {quote(snapshot.state['name'])} exists already", hint="choose another name")
        if redirected(context, Registry(registry.chain, snapshot)) is not None:
            raise ConflictError(f"the name {quote(name)} was taken by a rename at the same time", hint="choose another name")
        return [{"op": "create", "settings": settings}]

    change = context.transact(registry.chain, check)
    if group is not None:
        from regcli.domain.sharing import open_directories

        open_directories(context.root.path, registry.base, group, restricted=visibility == "restricted")
    write_readable(registry.chain, change.snapshot.state)
    return change


def change_settings(context: Context, registry: Registry, check: Any, *, reason: str | None = None) -> Change:
    """Run one transaction on a registry's settings, apart from all that rests on them, and refresh `registry.toml`."""

    def existing(snapshot: Snapshot) -> list[dict[str, Any]]:
        if snapshot.state["removed"]:
            raise NotFoundError(f"registry {quote(snapshot.state['name'])} was deleted")
        ops: list[dict[str, Any]] = check(snapshot)
        if ops and snapshot.seq == 0:
            # The first change of a registry that came with the root also records what it came with.
            kept = {key: value for key, value in snapshot.state.items() if key != "updated_at"}
            ops = [{"op": "create", "settings": kept}, *ops]
        return ops

    with context.lock("settings", exclusive=True):
        change = context.transact(registry.chain, existing, reason=reason)
    if change.commit is not None:
        write_readable(registry.chain, change.snapshot.state)
    return change


def protect(
    context: Context, registry: Registry, aliases: Sequence[Alias], *, reason: str | None = None, signed: bool = False
) -> Change:
    """Put alias names on the registry's protected list; whatever holds one is protected at once.

    Raises:
        RoleError: the user is no admin.
    """

    def check(snapshot: Snapshot) -> list[dict[str, Any]]:
        roles.require(snapshot.state, context.user, "protect")
        ops: list[dict[str, Any]] = []
        for alias in dict.fromkeys(aliases):
            before = snapshot.state["protected"].get(fold(alias))
            after = {"name": before["name"] if before else str(alias), "signed": signed or bool(before and before["signed"])}
            if before != after:
                ops.append({"op": "protect", "alias": str(alias), "before": before, "after": after})
        return ops

    return change_settings(context, registry, check, reason=reason)


def unprotect(context: Context, registry: Registry, aliases: Sequence[Alias], *, reason: str | None = None) -> Change:
    """Take alias names off the protected list; versions keep them as ordinary aliases.

    Raises:
        RoleError: the user is no admin. NotFoundError: a name is not on the list. SignatureRefusedError: a version holds one
        that is signed.
    """
    from regcli.domain.registry_settings import require_signatures_kept

    def check(snapshot: Snapshot) -> list[dict[str, Any]]:
        roles.require(snapshot.state, context.user, "protect")
        ops: list[dict[str, Any]] = []
        for alias in dict.fromkeys(aliases):
            before = snapshot.state["protected"].get(fold(alias))
            if before is None:
                raise NotFoundError(
                    f"alias {quote(alias)} is not protected in registry {quote(snapshot.state['name'])}",
                    hint=f"protected: {', '.join(protected_names(snapshot.state)) or 'none'}",
                )
            ops.append({"op": "unprotect", "alias": str(alias), "before": before, "after": None})
        require_signatures_kept(context, Registry(registry.chain, snapshot), ops)
        return ops

    return change_settings(context, registry, check, reason=reason)


def protected_names(state: State) -> list[str]:
    """Return the protected alias names, sorted."""
    return sorted(entry["name"] for entry in state["protected"].values())


def signed_names(state: State) -> list[str]:
    """Return those protected alias names that must be signed, sorted."""
    return sorted(entry["name"] for entry in state["protected"].values() if entry["signed"])


def write_readable(chain: Chain, state: State) -> None:
    """Write `registry.toml`, the settings for people to read; it is derived, so failing to is harmless."""
    try:
        files.replace_file(f"{chain.base}/registry.toml", readable_settings(state), root=chain.root)
    except (OSError, IntegrityError):
        return


def write_built_in(context: Context) -> None:
    """Write the readable settings of the registries that come with a root."""
    for name in BUILT_IN:
        registry = open_registry_directory(context, name)
        try:
            files.make_within(context.root.path, registry.base)
        except OSError:
            continue
        write_readable(registry.chain, registry.state)


def readable_settings(state: State) -> bytes:
    """Return the text of `registry.toml` for a state of the settings."""
    import tomli_w

    document: dict[str, Any] = {
        "name": state["name"],
        "description": state["description"],
        "visibility": state["visibility"],
        "types": state["types"],
        "protected_aliases": protected_names(state),
        "members": dict(sorted(state["members"].items())),
    }
    if state["ttl"] is not None:
        document["ttl"] = f"{state['ttl']}s"
    signed = signed_names(state)
    if signed:
        document["signed_aliases"] = signed
    if state["automations"]:
        document["automations"] = {name: _plain(value) for name, value in sorted(state["automations"].items())}
    note = (
        "# Derived from the settings log of this registry, for reading. Changes made here have no effect\n"
        "# until an admin takes them in with `regcli registry apply`.\n"
    )
    # JSON may have lone surrogates, which no file holds.
    return note.encode() + tomli_w.dumps(document).encode("utf-8", "replace")


def _plain(value: dict[str, Any]) -> dict[str, Any]:
    """Return what an automation may have, texts and numbers; anything else was written into the log by somebody's own hand."""
    return {key: item for key, item in value.items() if isinstance(item, (str, int))}
