"""Save what was edited on a version: its aliases in the collection it was found in, and what all its memberships share.

The two may lie in two logs. Every rule of both is checked before the first of them is written.
"""

from __future__ import annotations

from regcli.domain import roles
from regcli.domain.aliasing import alias_operations, sign_aliases
from regcli.domain.collections import is_live, with_fresh_settings
from regcli.domain.editing import require_unprotected
from regcli.domain.metadata import check_metadata
from regcli.domain.resolving import Version, resolve, source_of
from regcli.errors import NotFoundError, RefusedError
from regcli.model import LATEST, Alias, fold, quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from regcli.domain.collections import Collection
    from regcli.domain.context import Context
    from regcli.store.chain import Snapshot

    Operation = dict[str, Any]

SHARED = ("description", "metadata", "tags", "ttl")


def save_version(
    context: Context,
    text: str,
    *,
    add_aliases: Sequence[Alias] = (),
    remove_aliases: Sequence[str] = (),
    fields: dict[str, Any] | None = None,
) -> Version:
    """Apply edits to a version and return it as it is now.

    Args:
        context: who edits, and where.
        text: a reference to one membership.
        add_aliases: to set on it; one that another version holds moves.
        remove_aliases: to take from it; one that it no longer holds is passed over.
        fields: `description`, `metadata` (whole), `tags` (whole) and `ttl` after the edit; only those that change.

    Raises:
        RoleError, ProtectedError: the user may not; nothing was changed.
        RefusedError: a TTL on a link, or on a version that is linked.
    """
    named = resolve(context, text)
    changes = {key: value for key, value in (fields or {}).items() if key in SHARED}
    with context.lock("settings"):
        here = with_fresh_settings(context, named.collection)
        source = source_of(context, named) if changes else named
        if changes:
            _check_shared(context, named, source, changes, here.registry)
        is_one = source.collection.base == here.base

        def check(snapshot: Snapshot) -> list[Operation]:
            now = here.at(snapshot)
            if not is_live(snapshot.records.get(named.index)):
                raise NotFoundError(f"version {quote(named.ref)} was deleted")
            ops = _field_operations(snapshot, source, changes) if changes and is_one else []
            ops += _alias_operations(context, now, snapshot, named.index, add_aliases, remove_aliases)
            return sign_aliases(context, now, snapshot, ops)

        change = context.transact(here.chain, check, settings_seq=here.settings_seq)
        if changes and not is_one:
            # After the aliases, for which a right or a signature may be missing; what rests on this log was checked before.
            context.transact(source.collection.chain, lambda snapshot: _field_operations(snapshot, source, changes))
    after = here.at(change.snapshot)
    return Version(after, named.index, change.snapshot.records.get(named.index) or {})


def _check_shared(context: Context, named: Version, source: Version, changes: dict[str, Any], registry: Any) -> None:
    if registry is not None:
        roles.require(registry.state, context.user, "edit-version")
    require_unprotected(context, source.record["id"], named.ref, "edited")
    if "ttl" in changes and named.is_link:
        raise RefusedError(
            f"cannot set TTL for link artifact {quote(named.ref)}", hint="unlink it first, then set the TTL on its source"
        )
    if "ttl" in changes:
        from regcli.domain.documents import links_of

        link = next(links_of(context, source.record["id"]), None)
        if link is not None and changes["ttl"] is not None:
            raise RefusedError(
                f"{quote(named.ref)} is linked as {quote(link.ref)}: a TTL cannot be set on it", hint="unlink it first"
            )
    if "metadata" in changes:
        check_metadata(changes["metadata"])


def _field_operations(snapshot: Snapshot, source: Version, changes: dict[str, Any]) -> list[Operation]:
    record = snapshot.records.get(source.index)
    if record is None:
        raise NotFoundError(f"{quote(source.ref)} was deleted")
    ops: list[Operation] = []
    for field, after in changes.items():
        before = record[field]
        if before == after:
            continue
        if field == "tags":
            ops.append({"op": "tags", "version": source.index, "before": before, "after": list(after)})
        else:
            ops.append({"op": "edit", "version": source.index, "field": field, "before": before, "after": after})
    return ops


def _alias_operations(
    context: Context,
    collection: Collection,
    snapshot: Snapshot,
    index: int,
    add: Sequence[Alias],
    remove: Sequence[str],
) -> list[Operation]:
    ops = alias_operations(context, collection, snapshot, index, add)
    for alias in remove:
        held = snapshot.state["aliases"].get(fold(alias))
        if fold(alias) == LATEST or held is None or held[1] != index:
            continue
        if collection.registry is not None:
            roles.require_alias_right(collection.registry.state, context.user, alias)
        ops.append({"op": "alias", "alias": held[0], "before": index, "after": None})
    return ops
