"""A registry's settings: edited, renamed, taken in from a file, and the registry's end."""

from __future__ import annotations

import os

from regcli.domain import roles
from regcli.domain.documents import format_ttl
from regcli.domain.registries import (
    SYNONYMS,
    VISIBILITIES,
    Registry,
    change_settings,
    find_registry,
    list_registries,
    open_chain,
    readable_settings,
    redirected,
    signed_names,
)
from regcli.errors import ConflictError, IntegrityError, MissingPathError, RefusedError, RegcliError, UsageError
from regcli.model import Alias, RegistryName, TypeName, fold, has_endless_key, quote
from regcli.store import files
from regcli.store.layout import encode_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from regcli.domain.context import Change, Context
    from regcli.store.chain import Snapshot

    Operation = dict[str, Any]
    State = dict[str, Any]

KEEP = "keep"
_KEYS = ("name", "description", "visibility", "types", "protected_aliases", "signed_aliases", "members", "ttl", "automations")


def edit_registry(
    context: Context,
    name: RegistryName,
    *,
    description: str | None = None,
    types: Sequence[TypeName] = (),
    visibility: str | None = None,
    ttl: int | str | None = KEEP,
    rename: RegistryName | None = None,
    reason: str | None = None,
) -> Change:
    """Change a registry's settings, together or not at all.

    Args:
        context: who asks, and where.
        name: which registry.
        description: the new Markdown text, or None to keep it.
        types: artifact types to accept from now on. Types are only ever added, with one exception: the first types given
            to a registry that accepts all narrow it to these; then the types of its collections must be among them.
        visibility: `restricted`; the way back is closed, since what was added meanwhile was meant for members.
        ttl: default TTL of its links: seconds, None for none, or `keep`.
        rename: the new name; contents stay, the old name says the new one.
        reason: for the history.

    Raises:
        RoleError: the user may not change one of these; nothing was changed.
        RefusedError: the visibility cannot be widened; or the registry came with the root, and name and visibility stay.
        SignatureRefusedError: a rename, and a signed alias is in it.
        ConflictError: the new name is taken, or a type is missing.
    """
    registry = find_registry(context, name)
    if visibility is not None and visibility not in VISIBILITIES:
        raise UsageError(f"visibility {quote(visibility)} is unknown", hint=f"use {' or '.join(VISIBILITIES)}")

    def check(snapshot: Snapshot) -> list[Operation]:
        state = snapshot.state
        ops: list[Operation] = []
        if rename is not None and rename != state["name"]:
            roles.require(state, context.user, "rename-registry")
            _refuse_new_name(registry, rename)
            if fold(rename) != fold(state["name"]):
                _require_unsigned(context, Registry(registry.chain, snapshot), "renamed")
            ops.append({"op": "rename", "before": state["name"], "after": str(rename)})
        if description is not None:
            roles.require(state, context.user, "edit-registry")
            ops.extend(_set(state, "description", description))
        if types:
            roles.require(state, context.user, "types")
            ops.extend(_set(state, "types", _widened(context, registry, state, types)))
        if visibility is not None:
            roles.require(state, context.user, "visibility")
            _refuse_visibility(registry, state, visibility)
            ops.extend(_set(state, "visibility", visibility))
        if ttl != KEEP:
            roles.require(state, context.user, "ttl")
            ops.extend(_set(state, "ttl", ttl))
        return ops

    if rename is not None and fold(rename) != fold(registry.name):
        check(registry.snapshot)  # whatever would be refused is refused before the name is taken
        _reserve(context, registry, rename)
    change = change_settings(context, registry, check, reason=reason)
    if visibility == "restricted" and change.snapshot.state["shared"] is not None:
        from regcli.domain.sharing import close_registry

        close_registry(context.root.path, registry.base)
    return change


def _set(state: State, field: str, after: Any) -> list[Operation]:
    return [] if state[field] == after else [{"op": "set", "field": field, "before": state[field], "after": after}]


def _widened(context: Context, registry: Registry, state: State, types: Sequence[str]) -> list[str]:
    """Return the accepted types with some added."""
    if state["types"]:
        return list(dict.fromkeys([*state["types"], *map(str, types)]))
    from regcli.domain.collections import list_collections

    held = {collection.state["type"] for collection in list_collections(context, registry.base, registry)}
    missing = sorted(held - set(types))
    if missing:
        raise ConflictError(
            f"registry {quote(state['name'])} accepts every type and has collections of type {', '.join(missing)}:"
            " naming types narrows it to these",
            hint=f"name {'it' if len(missing) == 1 else 'them'} too: {' '.join(f'--type {item}' for item in missing)}",
        )
    return list(dict.fromkeys(map(str, types)))


def _refuse_new_name(registry: Registry, name: RegistryName) -> None:
    # Back to its own name is for roots of before this was a rule.
    if registry.is_built_in and encode_name(name) != registry.base.rpartition("/")[2]:
        raise RefusedError(
            f"registry {quote(registry.name)} came with the root and keeps its name",
            hint=f"make another one with `regcli registry create {quote(name)}`",
        )


def _refuse_visibility(registry: Registry, state: State, visibility: str) -> None:
    if registry.is_built_in and state["visibility"] == "organization" != visibility:
        raise RefusedError(
            f"registry {quote(state['name'])} came with the root and stays open to everybody",
            hint=f"make another one with `regcli registry create NAME --visibility {visibility}`",
        )
    if state["visibility"] == "restricted" and visibility != "restricted":
        raise RefusedError(
            f"registry {quote(state['name'])} is restricted, which cannot be undone",
            hint="add members with `regcli member add`, or create another registry",
        )


def _reserve(context: Context, registry: Registry, name: RegistryName) -> None:
    """Commit to the new name's directory that the name is this registry's; see `collection_settings`."""
    own = registry.base.rpartition("/")[2]
    directory = encode_name(name)
    if directory == own:
        return
    if fold(name) in SYNONYMS and SYNONYMS[fold(name)] != own:
        raise ConflictError(f"{quote(name)} means the registry {quote(SYNONYMS[fold(name)])}", hint="choose another name")
    chain = open_chain(context, directory)
    if context.root.shared is not None:
        from regcli.domain.sharing import reserve_registry_directory

        reserve_registry_directory(context.root.path, chain.base)

    def check(snapshot: Snapshot) -> list[Operation]:
        there = Registry(chain, snapshot)
        moved = redirected(context, there)
        if moved is not None and moved.base == registry.base:
            return []
        holder = there if there.exists else moved
        if holder is not None:
            words = "exists already" if fold(holder.name) == fold(name) else f"was renamed to {quote(holder.name)}"
            raise ConflictError(f"registry {quote(name)} {words}", hint="choose another name")
        return [{"op": "redirect", "to": own, "id": registry.state["id"], "name": str(name)}]

    context.transact(chain, check)


def _require_unsigned(context: Context, registry: Registry, what: str) -> None:
    """Refuse what would take signed aliases away, or the name that they were signed under; reads nothing where none is."""
    if signed_names(registry.state):
        from regcli.domain.collection_settings import require_unsigned
        from regcli.domain.collections import each_collection

        found = each_collection(context, registry.base, registry)
        require_unsigned(found, f"registry {quote(registry.name)} cannot be {what}")


def require_signatures_kept(context: Context, registry: Registry, ops: Sequence[Operation]) -> None:
    """Refuse to let anybody without a key move an alias that a version holds with a signature.

    Raises:
        SignatureRefusedError: one of the operations takes such an alias off the list of those that must be signed.
    """
    dropped = {
        fold(op["alias"])
        for op in ops
        if op["op"] in ("protect", "unprotect") and (op["before"] or {}).get("signed") and not (op["after"] or {}).get("signed")
    }
    if dropped:
        from regcli.domain.collection_settings import require_unsigned
        from regcli.domain.collections import each_collection

        found = each_collection(context, registry.base, registry)
        require_unsigned(found, f"registry {quote(registry.name)} cannot do without signatures", dropped=dropped)


def remove_registry(context: Context, name: RegistryName, *, reason: str | None = None) -> Change:
    """Delete a registry with its collections and links; the versions that were linked stay where they were logged.

    Raises:
        RoleError: the user is no admin of it, also where protected aliases are in it. RefusedError: it came with the root.
        SignatureRefusedError: a signed alias is in it.
    """
    registry = find_registry(context, name)

    def check(snapshot: Snapshot) -> list[Operation]:
        require_removable(context, Registry(registry.chain, snapshot))
        return [{"op": "remove"}]

    return change_settings(context, registry, check, reason=reason)


def require_removable(context: Context, registry: Registry) -> None:
    """Refuse the deletion of a registry.

    Raises:
        RoleError: the user is no admin of it. RefusedError: it came with the root. SignatureRefusedError: a signed alias is
        in it.
    """
    roles.require(registry.state, context.user, "delete-registry")
    if registry.is_built_in:
        raise RefusedError(
            f"registry {quote(registry.name)} came with the root and cannot be deleted",
            hint=f"`regcli ls {registry.name}/` lists its collections, and `regcli collection rm` deletes one",
        )
    _require_unsigned(context, registry, "deleted")


def registry_extent(context: Context, registry: Registry) -> tuple[int, int]:
    """Return how many collections and linked versions a registry has, for the question before it is deleted."""
    from regcli.domain.collections import list_collections

    collections = list_collections(context, registry.base, registry)
    return len(collections), sum(collection.state["count"] for collection in collections)


# A hand-edited registry.toml


class Settings:
    """The settings that a file asks for, checked one by one but not yet against a registry."""

    __slots__ = ("description", "members", "name", "protected", "signed", "ttl", "types", "visibility")

    def __init__(self, document: dict[str, Any], path: str) -> None:
        """Check every key and value.

        Raises:
            UsageError: a key is unknown, or a value is not what it must be; names it.
        """
        from regcli.domain.amounts import parse_default_ttl

        for key in document:
            if key not in _KEYS:
                raise UsageError(f"{path}: unknown setting {quote(key)}", hint=f"known: {', '.join(_KEYS)}")
        self.name = RegistryName.parse(_text(document, "name", path))
        self.description = _text(document, "description", path, default="")
        self.visibility = _text(document, "visibility", path, default="organization")
        if self.visibility not in VISIBILITIES:
            said = quote(self.visibility[:40])
            raise UsageError(f"{path}: visibility {said} is unknown", hint=f"use {' or '.join(VISIBILITIES)}")
        self.types = [str(TypeName.parse(item)) for item in _texts(document, "types", path)]
        self.protected = {fold(item): Alias.parse(item) for item in _texts(document, "protected_aliases", path)}
        self.signed = {fold(item) for item in _texts(document, "signed_aliases", path)}
        if not self.signed <= self.protected.keys():
            raise UsageError(f"{path}: 'signed_aliases' has names that are not in 'protected_aliases'")
        ttl = _text(document, "ttl", path, default="none")
        self.ttl = parse_default_ttl(ttl)
        self.members = _members(document, path)


def _text(document: dict[str, Any], key: str, path: str, *, default: str | None = None) -> str:
    value = document.get(key, default)
    if not isinstance(value, str):
        raise UsageError(f"{path}: {quote(key)} must be a text" if key in document else f"{path}: {quote(key)} is missing")
    return value


def _texts(document: dict[str, Any], key: str, path: str) -> list[str]:
    value = document.get(key, [])
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise UsageError(f"{path}: {quote(key)} must be a list of texts")
    return list(dict.fromkeys(value))


def _members(document: dict[str, Any], path: str) -> dict[str, str]:
    from regcli.domain.members import check_user

    value = document.get("members", {})
    if not isinstance(value, dict):
        raise UsageError(f"{path}: 'members' must be a table of users and roles")
    for user, role in value.items():
        check_user(user)
        if role not in roles.ROLES:
            raise UsageError(f"{path}: role of {quote(user)} must be one of {', '.join(roles.ROLES)}")
    return dict(value)


def read_settings_file(path: str) -> tuple[Settings, dict[str, Any]]:
    """Read a `registry.toml`; returns its checked settings and the document.

    Raises:
        MissingPathError: it is not there. UsageError: it cannot be read, is no TOML, or asks for something that is no setting.
    """
    import tomllib

    try:
        data = files.read_document(os.path.abspath(path), 4 * 1024 * 1024)
        text = data.decode("utf-8")
        if has_endless_key(text):
            raise UsageError(f"{path} is malformed: a key has hundreds of parts")
        document = tomllib.loads(text)
    except (FileNotFoundError, NotADirectoryError):
        raise MissingPathError(f"there is no file {quote(path)}") from None
    except IntegrityError as error:
        raise UsageError(error.message) from None
    except (ValueError, RecursionError) as error:
        # ValueError also for a number that is too long, which is not the parser's own error.
        raise UsageError(f"{path} is not TOML: {str(error)[:120]}") from None
    return Settings(document, path), document


class Applied:
    """What a file changes: (what, before, after) in words, and the commit (None for a dry run or no change)."""

    __slots__ = ("changes", "name", "seq")

    def __init__(self, name: str) -> None:
        """Start without changes."""
        self.name = name
        self.changes: list[tuple[str, Any, Any]] = []
        self.seq = 0


def apply_settings(context: Context, path: str, *, dry_run: bool = False, reason: str | None = None) -> Applied:
    """Take in a hand-edited `registry.toml`: one commit for all that differs from the settings as they are.

    Only an admin may, whatever the changes are. The file cannot rename, widen what can only be narrowed, or touch automations.

    Raises:
        RoleError: the user is no admin. UsageError: the file is not valid. RefusedError: a change that cannot be made.
    """
    wanted, document = read_settings_file(path)
    registry = find_registry(context, wanted.name)
    applied = Applied(registry.name)

    def check(snapshot: Snapshot) -> list[Operation]:
        state = snapshot.state
        for action in ("types", "protect", "members"):
            roles.require(state, context.user, action)
        if wanted.name != state["name"]:
            raise RefusedError(
                f"the file is about {quote(wanted.name)}, the registry is {quote(state['name'])}",
                hint="rename with `regcli registry edit --rename`",
            )
        _refuse_automations(state, document, path)
        ops = _differences(context, registry, state, wanted)
        require_signatures_kept(context, Registry(registry.chain, snapshot), ops)
        applied.changes = [_in_words(op) for op in ops]
        return ops

    if dry_run:
        check(registry.snapshot)
        applied.seq = registry.snapshot.seq
    else:
        applied.seq = change_settings(context, registry, check, reason=reason).seq
    return applied


def _refuse_automations(state: State, document: dict[str, Any], path: str) -> None:
    import tomllib

    known = tomllib.loads(readable_settings(state).decode()).get("automations", {})
    if document.get("automations", {}) != known:
        raise RefusedError(f"{path} changes automations", hint="use `regcli automation add` and `regcli automation rm`")


def _differences(context: Context, registry: Registry, state: State, wanted: Settings) -> list[Operation]:
    from regcli.domain.members import require_an_admin

    ops = _set(state, "description", wanted.description)
    gone = [item for item in state["types"] if item not in wanted.types]
    if gone:
        raise RefusedError(
            f"registry {quote(state['name'])} accepts {', '.join(gone)}, which the file leaves out: types cannot be removed",
            hint="add them to 'types' again",
        )
    if wanted.types != state["types"]:
        ops += _set(state, "types", _widened(context, registry, state, wanted.types))
    _refuse_visibility(registry, state, wanted.visibility)
    ops += _set(state, "visibility", wanted.visibility)
    ops += _set(state, "ttl", wanted.ttl)
    for key, alias in sorted(wanted.protected.items()):
        before = state["protected"].get(key)
        after = {"name": before["name"] if before else str(alias), "signed": key in wanted.signed}
        if before != after:
            ops.append({"op": "protect", "alias": str(alias), "before": before, "after": after})
    for key, before in sorted(state["protected"].items()):
        if key not in wanted.protected:
            ops.append({"op": "unprotect", "alias": before["name"], "before": before, "after": None})
    for user in sorted(wanted.members.keys() | state["members"].keys()):
        old, new = state["members"].get(user), wanted.members.get(user)
        if old != new:
            ops.append({"op": "member", "member": user, "before": old, "after": new})
    require_an_admin(state["name"], wanted.members)
    return ops


def _in_words(op: Operation) -> tuple[str, Any, Any]:
    if op["op"] == "set":
        before, after = op["before"], op["after"]
        if op["field"] == "ttl":
            before, after = format_ttl(before), format_ttl(after)
        return op["field"], before, after
    if op["op"] == "member":
        return f"member {op['member']}", op["before"], op["after"]
    states = [None if value is None else "signed" if value["signed"] else "protected" for value in (op["before"], op["after"])]
    return f"alias {op['alias']}", states[0], states[1]


def hand_edits(context: Context) -> list[tuple[str, str]]:
    """Return (registry, path) of every `registry.toml` that does not say what the settings log says, for `doctor`."""
    found = []
    for registry in list_registries(context):
        path = f"{registry.base}/registry.toml"
        try:
            data = files.read_document(path)
            age = os.stat(path).st_mtime
            newest = os.stat(registry.chain.commit_path(registry.snapshot.seq)).st_mtime if registry.snapshot.seq else 0.0
        except (OSError, RegcliError):
            # Missing, or not to be read by this user: nothing to show.
            continue
        # One that is older than the newest commit was not edited, it could not be written again: it is derived.
        if data != readable_settings(registry.state) and age >= newest:
            found.append((registry.name, path))
    return found
