"""Settings of the whole root: entities (team or personal), the default TTL, automations with the root as scope."""

from __future__ import annotations

from regcli.domain.shapes import check_root
from regcli.errors import RoleError
from regcli.model import EntityName, fold, quote
from regcli.store.chain import Chain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from regcli.domain.context import Change, Context
    from regcli.store.chain import Snapshot
    from regcli.store.records import Records
    from regcli.store.root import Root

    State = dict[str, Any]


def reduce_root(state: State, records: Records, commit: dict[str, Any]) -> None:  # noqa: ARG001 - the root has no records
    """Apply one commit of the root's settings log."""
    for op in commit["ops"]:
        name = op["op"]
        if name == "entity":
            state["entities"][fold(op["name"])] = op["after"]
        elif name == "set":
            state[op["field"]] = op["after"]
        elif name == "automation":
            if op["after"] is None:
                state["automations"].pop(op["name"], None)
            else:
                # Whose secrets it may read is for the commit to say, not for the definition.
                state["automations"][op["name"]] = {**op["after"], "created_by": commit["user"]}
        else:
            raise ValueError(f"unknown operation {name!r}")


def root_chain(context: Context) -> Chain:
    """Return the log of the root's own settings."""
    root = context.root

    def initial() -> State:
        entity = {"name": root.entity, "personal": root.personal}
        return {"entities": {fold(root.entity): entity}, "ttl": None, "automations": {}}

    derived = root.derived(root.path)
    return Chain(root.path, f"{root.path}/settings", root.id, reduce_root, initial, derived=derived, check_state=check_root)


def root_settings(context: Context) -> Snapshot:
    """Return the root's settings as they are now."""
    return root_chain(context).read()


def is_personal(context: Context, entity: str) -> bool:
    """Tell whether an entity is a personal one, whose versions cannot be linked."""
    known = root_settings(context).state["entities"].get(fold(entity))
    return bool(known and known["personal"])


def register_entity(context: Context, name: str, *, personal: bool) -> Change:
    """Record an entity and whether it is personal."""

    def check(snapshot: Snapshot) -> list[dict[str, Any]]:
        before = snapshot.state["entities"].get(fold(name))
        after = {"name": before["name"] if before else str(name), "personal": personal}
        return [] if before == after else [{"op": "entity", "name": str(name), "before": before, "after": after}]

    return context.transact(root_chain(context), check)


def set_default_ttl(context: Context, ttl: int | None) -> Change:
    """Set how long versions live whose TTL is inherited: seconds, or None for ever.

    Holds for existing versions too. Source: the W&B docs on TTL, where only team admins set it; here the root's owner does.

    Raises:
        RoleError: the user did not make the root.
    """

    def check(snapshot: Snapshot) -> list[dict[str, Any]]:
        if context.user != context.root.owner:
            raise RoleError(
                f"user {quote(context.user)} may not change the default TTL of the root",
                hint=f"its owner is {quote(context.root.owner)}; you can set the TTL of a version or a collection",
            )
        before = snapshot.state["ttl"]
        return [] if before == ttl else [{"op": "set", "field": "ttl", "before": before, "after": ttl}]

    return context.transact(root_chain(context), check)


def initialize(context: Context, entity: str | None, *, personal: bool, ttl: int | str | None = "keep") -> tuple[Root, bool]:
    """Make the root, or record an entity in the one that is there; returns it and whether it was made.

    `ttl` is the default TTL of versions: seconds, None for never, or `keep`.

    Raises:
        RoleError: a default TTL, but the root belongs to somebody else.
    """
    from regcli.domain.registries import write_built_in

    root, made = context.make_root(entity, personal=personal)
    if not isinstance(ttl, str):
        # First, as it is what may be refused.
        set_default_ttl(context, ttl)
    if made:
        write_built_in(context)
    elif entity is not None or personal:
        name = EntityName.parse(entity or root.entity)
        if fold(name) != fold(root.entity) or personal:
            register_entity(context, name, personal=personal)
    return root, made
