"""Delete and undelete versions. Deleting is soft: the bytes stay until `gc`, and until then it can be undone.

The rules (spec 3.7 and 3.8): a version whose link holds a protected alias is deleted by nobody; a link in the way is
withdrawn only with `force`, by someone who may withdraw it; a custom alias goes only with `delete_aliases`. A version whose
files others refer to is deleted only with `force`, and by nobody while one of those is protected (semantics.md DL-08).
"""

from __future__ import annotations

from regcli.domain.aliasing import clearing_operations
from regcli.domain.collections import DELETED, Collection, find_collection, is_live
from regcli.domain.documents import consumers, links_of, may_see
from regcli.domain.linking import require_unlink_right, unlink_operations
from regcli.domain.resolving import Version, resolve, select
from regcli.errors import IntegrityError, NotFoundError, ProtectedError, RefusedError, UsageError
from regcli.model import parse_reference, quote, split_reference

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection as Collection_
    from collections.abc import Iterable, Sequence
    from typing import Any

    from regcli.domain.context import Context
    from regcli.store.chain import Snapshot

    Operation = dict[str, Any]


class Deleted:
    """The outcome of a deletion.

    Attributes:
        version: what was deleted. aliases: custom aliases that went with it.
        unlinked: references of the links that were withdrawn first.
        consumers: versions and runs that used it as input, which now depend on something deleted.
        referrers: versions with references to its files, which lead nowhere now.
        seq: the commit that the answer rests on.
    """

    __slots__ = ("aliases", "consumers", "referrers", "seq", "unlinked", "version")

    def __init__(self, version: Version) -> None:
        """Start with nothing taken along."""
        self.version = version
        self.aliases: list[str] = []
        self.unlinked: list[str] = []
        self.consumers: list[str] = []
        self.referrers: list[str] = []
        self.seq = version.collection.snapshot.seq


def _require_selector(text: str, further: str = "") -> None:
    head, tail = split_reference(text)
    if tail is None and text.endswith("/"):
        raise UsageError(f"{quote(text)} names no version", hint="write NAME:v0 for one version; `regcli ls` shows them")
    if tail is None:
        raise UsageError(f"{quote(text)} names no version", hint=f"write {quote(f'{head}:v0')} for one version{further}")


def delete_version(
    context: Context, text: str, *, delete_aliases: bool = False, force: bool = False, reason: str | None = None
) -> Deleted:
    """Delete a version that was logged, softly.

    Args:
        context: who asks, and where.
        text: a reference with a selector.
        delete_aliases: also when it has custom aliases, which go with it.
        force: also when it is linked, and the links are withdrawn first; and when others refer to its files, which then lack
            them.
        reason: for the history.

    Raises:
        RefusedError: a link is named; aliases, links or references stand in the way.
        ProtectedError: a link of it, or of a version that refers to it, holds a protected alias.
        RoleError: `force`, but the user may not withdraw one of the links; nothing was changed.
    """
    _require_selector(text, f", or use `regcli collection rm {quote(text)}` for all of them")
    ref = parse_reference(text, context.project)
    from regcli.store.reserve import with_reserve

    # Both exclusively: no link is made, and no alias set or protected, between looking and deleting.
    with (
        with_reserve(context.root.path),
        context.lock("content", exclusive=True),
        context.lock("settings", exclusive=True),
    ):
        version = resolve(context, text)
        _refuse_link(version)
        deleted = Deleted(version)
        collection = version.collection
        artifact: str = version.record["id"]
        _refuse_aliases(version, delete_aliases=delete_aliases)
        links = links_in_the_way(context, [artifact], version.ref, force=force)
        deleted.referrers = referrers_in_the_way(context, [artifact], version.ref, force=force)
        deleted.consumers = dependents(context, [artifact])
        deleted.unlinked = withdraw(context, links, reason=reason)

        def check(snapshot: Snapshot) -> list[Operation]:
            now = collection.at(snapshot)
            index, record = select(now, ref.selector, text)
            if record["id"] != artifact:
                raise NotFoundError(f"{quote(text)} means another version than a moment ago", hint="name it as NAME:vN")
            deleted.version = Version(now, index, record)
            _refuse_aliases(deleted.version, delete_aliases=delete_aliases)
            ops = delete_operations(now, index)
            deleted.aliases = [op["alias"] for op in ops if op["op"] == "alias"]
            return ops

        change = context.transact(collection.chain, check, reason=reason)
    deleted.seq = change.seq
    after = collection.at(change.snapshot)
    index = deleted.version.index
    deleted.version = Version(after, index, change.snapshot.records.get(index) or deleted.version.record)
    return deleted


def _refuse_link(version: Version) -> None:
    if version.is_link:
        raise RefusedError(
            f"{quote(version.ref)} is a link: unlink it, its source stays", hint=f"use `regcli unlink {version.ref}`"
        )


def _refuse_aliases(version: Version, *, delete_aliases: bool) -> None:
    custom = [alias for alias in version.aliases if alias != "latest"]
    if custom and not delete_aliases:
        raise RefusedError(
            f"{quote(version.ref)} has the alias{'es' if len(custom) > 1 else ''} {', '.join(map(quote, custom))}",
            hint="remove them first, or delete them too with --delete-aliases",
        )


def delete_operations(collection: Collection, index: int) -> list[Operation]:
    """Return the operations that delete a source version together with its custom aliases."""
    return [*clearing_operations(collection, index), {"op": "delete", "version": index}]


def links_in_the_way(
    context: Context, artifacts: Iterable[str], ref: str, *, force: bool, going: Collection_[str] = ()
) -> list[Version]:
    """Return the links of some source versions, provided that all of them may be withdrawn.

    Links in collections whose directory is in `going` do not count: they go as well.

    Raises:
        ProtectedError: one holds a protected alias; then nobody may delete its source.
        RefusedError: there are some, and `force` is not given. RoleError: the user may not withdraw one.
    """
    links = [
        link for artifact in artifacts for link in links_of(context, artifact, strict=True) if link.collection.base not in going
    ]
    for link in links:
        protected = link.protected_aliases()
        if protected:
            shown = link.ref if may_see(context, link) else "a link"
            raise ProtectedError(
                f"{quote(ref)} cannot be deleted: {quote(shown)} is protected by alias {quote(protected[0])}",
                hint="an admin has to remove that alias first, or take it off the protected list",
            )
    if links and not force:
        raise RefusedError(
            f"{quote(ref)} is linked as {_list_links(context, links)}",
            hint="unlink it first, or withdraw these links too with --force",
        )
    for link in links:
        require_unlink_right(context, link)
    return links


def referrers_in_the_way(
    context: Context, artifacts: Iterable[str], ref: str, *, force: bool, going: Collection_[str] = ()
) -> list[str]:
    """Return the references of the versions that refer to files of some source versions, provided that they may lose them.

    Those in collections whose directory is in `going` do not count: they go as well.

    Raises:
        ProtectedError: a link of one holds a protected alias; then nobody may take its files away.
        RefusedError: there are some, and `force` is not given.
    """
    from regcli.domain.referrers import referrers_of

    found = {
        other.ref: other
        for artifact in artifacts
        for other in referrers_of(context, artifact)
        if other.collection.base not in going
    }
    for other in found.values():
        for link in links_of(context, other.record["id"], strict=True):
            protected = link.protected_aliases()
            if protected:
                shown = link.ref if may_see(context, link) else "a link"
                raise ProtectedError(
                    f"{quote(ref)} cannot be deleted: {quote(other.ref)} refers to its files, and its link {quote(shown)}"
                    f" is protected by alias {quote(protected[0])}",
                    hint="an admin has to remove that alias first, or take it off the protected list",
                )
    refs = sorted(found)
    if refs and not force:
        words = [quote(other) for other in refs[:5]]
        if len(refs) > 5:
            words.append(f"{len(refs) - 5} more")
        raise RefusedError(
            f"{quote(ref)} cannot be deleted: {', '.join(words)} refer{'s' if len(refs) == 1 else ''} to its files",
            hint=f"`regcli delete {refs[0]}` first; with --force those references lead nowhere",
        )
    return refs


def _list_links(context: Context, links: Sequence[Version]) -> str:
    shown = [quote(link.ref) for link in links if may_see(context, link)]
    hidden = len(links) - len(shown)
    words = shown[:5]
    if len(shown) > 5:
        words.append(f"{len(shown) - 5} more")
    if hidden:
        words.append(f"{hidden} more in registries that {quote(context.user)} may not see")
    return ", ".join(words)


def withdraw(context: Context, links: Sequence[Version], *, reason: str | None = None) -> list[str]:
    """Withdraw links whose rights were checked, one commit each; returns their references.

    They come before the deletion: a crash in between leaves fewer links, never one to something deleted.
    """
    done = []
    for link in links:
        collection = link.collection

        def check(snapshot: Snapshot, link: Version = link, collection: Collection = collection) -> list[Operation]:
            now = collection.at(snapshot)
            record = snapshot.records.get(link.index)
            if not is_live(record):
                return []
            require_unlink_right(context, Version(now, link.index, record or {}))
            return unlink_operations(now, link.index)

        context.transact(collection.chain, check, reason=reason, settings_seq=collection.settings_seq)
        done.append(link.ref)
    return done


def dependents(context: Context, artifacts: Iterable[str], besides: Collection | None = None) -> list[str]:
    """Return what used any of the artifacts as input; what lies in the collection `besides` itself is left out."""
    found: set[str] = set()
    for artifact in artifacts:
        found.update(consumers(context, artifact))
    own = f"{besides.ref}:" if besides is not None else None
    return sorted(ref for ref in found if own is None or not ref.startswith(own))


class Restored:
    """The outcome: the version, whether it had been deleted, and the commit that the answer rests on."""

    __slots__ = ("changed", "seq", "version")

    def __init__(self, version: Version, seq: int, *, changed: bool) -> None:
        """Bundle the outcome."""
        self.version = version
        self.seq = seq
        self.changed = changed


def undelete_version(context: Context, text: str, *, reason: str | None = None) -> Restored:
    """Bring back a version that was deleted and not purged yet; its aliases do not come back, `latest` finds its place.

    Raises:
        NotFoundError: there never was such a version, or `gc` has purged it. RefusedError: a link is named.
    """
    _require_selector(text)
    ref = parse_reference(text, context.project)
    with context.lock("content"):
        collection = find_collection(context, ref.collection)
        index = -1

        def check(snapshot: Snapshot) -> list[Operation]:
            nonlocal index
            now = collection.at(snapshot)
            index, record = select(now, ref.selector, text, deleted=True)
            version = Version(now, index, record)
            if version.is_link:
                raise RefusedError(
                    f"{quote(version.ref)} is a link: what was unlinked is linked again, under a new number",
                    hint="use `regcli link`",
                )
            if is_live(record):
                return []
            if record["state"] != DELETED:
                raise NotFoundError(
                    f"version {quote(version.ref)} was purged: its content is gone", hint="a deleted version stays until `gc`"
                )
            _require_content(context, version)
            return [{"op": "undelete", "version": index}]

        change = context.transact(collection.chain, check, reason=reason)
    after = collection.at(change.snapshot)
    return Restored(Version(after, index, change.snapshot.records.get(index) or {}), change.seq, changed=bool(change.commit))


def _require_content(context: Context, version: Version) -> None:
    """Refuse to bring back a version whose blobs are gone (from a root whose content was damaged or tampered with)."""
    from regcli.domain.manifests import read_manifest
    from regcli.store.manifest import REFERENCE

    entries = read_manifest(context, version.record)
    wanted = {entry[1] for entry in entries if not entry[3] & REFERENCE}
    missing = wanted - context.root.content.have(wanted)
    if missing:
        raise IntegrityError(
            f"{quote(version.ref)} cannot be brought back: {len(missing)} of its files are missing", hint="run `regcli verify`"
        )
    if version.record.get("references"):
        from regcli.domain.referrers import dead_targets, referred

        for path, target in dead_targets(context, referred(entry for entry in entries if entry[3] == REFERENCE)):
            context.warnings.append(
                f"{quote(path)} refers to {quote(target.ref)}, which is deleted: `regcli undelete {target.ref}`"
            )
