"""The end of a collection, or of a whole project: nothing is touched before it is certain that nothing stands in the way."""

from __future__ import annotations

from regcli.domain import deletion
from regcli.domain.collection_settings import bare_name, require_unprotected, require_unsigned
from regcli.domain.collections import SOURCE, Collection, find_collection, list_collections, require_right
from regcli.domain.listing import Project, find_container
from regcli.errors import NotFoundError, RefusedError, UsageError
from regcli.model import parse_collection, quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from regcli.domain.context import Context
    from regcli.domain.resolving import Version
    from regcli.store.chain import Snapshot

    Operation = dict[str, Any]


class Removed:
    """What a removal took along: the reference, how many versions, which links were withdrawn, who used them, the commit.

    `referrers` are versions elsewhere with references to files that went.
    """

    __slots__ = ("consumers", "kind", "ref", "referrers", "seq", "unlinked", "versions")

    def __init__(self, collection: Collection) -> None:
        """Start with what is there."""
        self.ref = collection.ref
        self.kind: str = collection.state["kind"]
        self.versions: int = collection.state["count"]
        self.unlinked: list[str] = []
        self.consumers: list[str] = []
        self.referrers: list[str] = []
        self.seq = collection.snapshot.seq


class _Removal:
    """A collection that may be removed, and the links that have to be withdrawn before."""

    __slots__ = ("collection", "links", "removed")

    def __init__(self, context: Context, collection: Collection, going: set[str], *, delete_aliases: bool, force: bool) -> None:
        """Check everything that stands in the way; links and references in collections that are `going` too do not.

        Raises:
            RoleError, ProtectedError, RefusedError: see `remove_collection`.
        """
        require_right(context, collection, "delete-collection")
        _require_removable(context, collection)
        self.collection = collection
        self.removed = Removed(collection)
        self.links: list[Version] = []
        if collection.state["kind"] == SOURCE:
            if not delete_aliases:
                _refuse_aliases(collection)
            artifacts = [record["id"] for _, record in collection.versions()]
            self.links = deletion.links_in_the_way(context, artifacts, collection.ref, force=force, going=going)
            gone = going | {collection.base}
            self.removed.referrers = deletion.referrers_in_the_way(context, artifacts, collection.ref, force=force, going=gone)
            self.removed.consumers = deletion.dependents(context, artifacts, collection)

    def carry_out(self, context: Context, *, delete_aliases: bool, reason: str | None) -> Removed:
        """Withdraw the links and remove the collection."""
        collection, removed = self.collection, self.removed
        removed.unlinked = deletion.withdraw(context, self.links, reason=reason)

        def check(snapshot: Snapshot) -> list[Operation]:
            now = collection.at(snapshot)
            if not now.exists:
                raise NotFoundError(f"collection {quote(collection.ref)} was deleted")
            _require_removable(context, now)
            if collection.state["kind"] == SOURCE and not delete_aliases:
                _refuse_aliases(now)
            removed.versions = snapshot.state["count"]
            return [{"op": "remove", "version": None}]

        change = context.transact(collection.chain, check, reason=reason, settings_seq=collection.settings_seq)
        removed.seq = change.seq
        return removed


def _require_removable(context: Context, collection: Collection) -> None:
    require_unprotected(context, collection, "deleted")
    require_unsigned([collection], f"collection {quote(collection.ref)} cannot be deleted")


def _refuse_aliases(collection: Collection) -> None:
    custom = sorted(shown for shown, _ in collection.state["aliases"].values())
    if custom:
        raise RefusedError(
            f"collection {quote(collection.ref)} has aliases: {', '.join(custom[:8])}",
            hint="delete them too with --delete-aliases",
        )


def remove_collection(
    context: Context, text: str, *, delete_aliases: bool = False, force: bool = False, reason: str | None = None
) -> Removed:
    """Delete a collection. Of a registry's, the links go and the sources stay; of a project's, the versions go.

    Args:
        context: who asks, and where.
        text: the collection.
        delete_aliases: a project's: even when versions have custom aliases.
        force: a project's: even when versions are linked; those links, unless protected, are withdrawn first. And when versions
            elsewhere refer to their files, unless those are protected.
        reason: for the history.

    Raises:
        RoleError: the user may not. ProtectedError: a protected alias is in it, and the user is no admin; or it holds the
        source of a protected link, or files that a protected version refers to. SignatureRefusedError: a signed alias is in
        it. RefusedError: custom aliases, links or references stand in the way.
    """
    with context.lock("content", exclusive=True), context.lock("settings", exclusive=True):
        collection = find_collection(context, parse_collection(bare_name(text), context.project))
        removal = _Removal(context, collection, set(), delete_aliases=delete_aliases, force=force)
        return removal.carry_out(context, delete_aliases=delete_aliases, reason=reason)


def remove_project(
    context: Context, text: str, *, delete_aliases: bool = False, force: bool = False, reason: str | None = None
) -> list[Removed]:
    """Delete all collections of a project, `ENTITY/PROJECT`, once it is certain that nothing stands in the way of any.

    One commit for each; a crash in between leaves some, and doing it again removes the rest. Runs stay.

    Raises:
        NotFoundError: there is no such project. ProtectedError, RefusedError: as for `remove_collection`.
    """
    with context.lock("content", exclusive=True), context.lock("settings", exclusive=True):
        project = find_container(context, text)
        if not isinstance(project, Project):
            raise UsageError(f"{quote(text)} is a registry", hint=f"use `regcli registry rm {text.rstrip('/')}`")
        collections = list_collections(context, project.base, None)
        going = {collection.base for collection in collections}
        removals = [
            _Removal(context, collection, going, delete_aliases=delete_aliases, force=force) for collection in collections
        ]
        return [removal.carry_out(context, delete_aliases=delete_aliases, reason=reason) for removal in removals]
