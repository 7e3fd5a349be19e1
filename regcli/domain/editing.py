"""Tags, description, metadata and TTL: of a version, shared by all its memberships, and tags of collections."""

from __future__ import annotations

from regcli.domain import roles
from regcli.domain.collections import find_collection, is_live, require_right
from regcli.domain.documents import links_of
from regcli.domain.log_request import merge_tags
from regcli.domain.metadata import check_metadata
from regcli.domain.resolving import Version, resolve, shared_record, source_of
from regcli.errors import NotFoundError, ProtectedError, RefusedError, UsageError
from regcli.model import Tag, fold, parse_collection, quote, split_reference

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from regcli.domain.context import Context
    from regcli.store.chain import Snapshot

    Operation = dict[str, Any]
    Build = Callable[[dict[str, Any], int | None], list[Operation]]

MAX_COLLECTION_TAGS = 20


class Edited:
    """The outcome of an edit: the version or collection it was about, its record or state after it, and the commit."""

    __slots__ = ("changed", "record", "ref", "seq", "version")

    def __init__(self, ref: str, record: dict[str, Any], version: Version | None, seq: int, *, changed: bool) -> None:
        """Bundle the outcome; `version` is None for a collection."""
        self.ref = ref
        self.record = record
        self.version = version
        self.seq = seq
        self.changed = changed


def require_unprotected(context: Context, artifact_id: str, ref: str, what: str) -> None:
    """Refuse changing a version that a protected alias holds anywhere, unless the user is admin there.

    Raises:
        ProtectedError: naming the link and the alias.
    """
    for link in links_of(context, artifact_id, strict=True):
        protected = link.protected_aliases()
        registry = link.collection.registry
        if protected and registry is not None and not roles.allows(registry.state, context.user, "delete-protected"):
            seen = roles.allows(registry.state, context.user, "view")
            holder = f"alias {quote(protected[0])} of {quote(link.ref)}" if seen else "an alias that you may not see"
            raise ProtectedError(
                f"{quote(ref)} is protected by {holder} and cannot be {what}",
                hint=f"ask an admin: {roles.name_admins(registry.state)}",
            )


def edit_version(context: Context, text: str, build: Build, what: str, *, reason: str | None = None) -> Edited:
    """Change what belongs to the version itself, through whichever of its memberships the reference names.

    Args:
        context: who asks, and where.
        text: a reference to a version.
        build: makes the operations from the source's record and index.
        what: the participle for a refusal, such as `re-tagged`.
        reason: for the history.
    """
    named = resolve(context, text, action="edit-version")
    source = source_of(context, named)
    with context.lock("settings"):
        require_unprotected(context, source.record["id"], named.ref, what)

        def check(snapshot: Snapshot) -> list[Operation]:
            record = snapshot.records.get(source.index)
            if record is None or not (is_live(record) or named.is_link):
                raise NotFoundError(f"{quote(source.ref)} was deleted")
            return build(record, source.index)

        change = context.transact(source.collection.chain, check, reason=reason)
    record = change.snapshot.records.get(source.index) or {}
    if not named.is_link:
        named = Version(source.collection.at(change.snapshot), named.index, record)
    return Edited(named.ref, record, named, change.seq, changed=change.commit is not None)


def edit_collection(context: Context, text: str, build: Build, *, reason: str | None = None) -> Edited:
    """Change what belongs to a collection; the user's role must allow it where it lies in a registry."""
    with context.lock("settings"):
        collection = find_collection(context, parse_collection(text, context.project))

        def check(snapshot: Snapshot) -> list[Operation]:
            if snapshot.state["removed"]:
                raise NotFoundError(f"collection {quote(collection.ref)} was deleted")
            return build(snapshot.state, None)

        require_right(context, collection, "edit-collection")
        change = context.transact(collection.chain, check, reason=reason)
    return Edited(collection.ref, change.snapshot.state, None, change.seq, changed=change.commit is not None)


def _retag(context: Context, text: str, change: Callable[[list[str]], list[str]], reason: str | None) -> Edited:
    def build(record: dict[str, Any], index: int | None) -> list[Operation]:
        after = change(record["tags"])
        if after == record["tags"]:
            return []
        return [{"op": "tags", "version": index, "before": record["tags"], "after": after}]

    head, tail = split_reference(text)
    if tail is None:
        return edit_collection(context, head, build, reason=reason)
    return edit_version(context, text, build, "re-tagged", reason=reason)


def add_tags(context: Context, text: str, tags: Sequence[Tag], *, reason: str | None = None) -> Edited:
    """Add tags to a version, or to a collection where the reference selects no version.

    Raises:
        UsageError: more than 20 for a collection at once. Source: TG-03.
    """
    if len({fold(tag) for tag in tags}) > MAX_COLLECTION_TAGS and split_reference(text)[1] is None:
        raise UsageError(
            f"a collection takes at most {MAX_COLLECTION_TAGS} tags at once, and there are {len(tags)}",
            hint="add them in several steps",
        )
    return _retag(context, text, lambda before: merge_tags(before, tags), reason)


def remove_tags(context: Context, text: str, tags: Sequence[str], *, reason: str | None = None) -> Edited:
    """Remove tags from a version or a collection.

    Raises:
        NotFoundError: one of them is not there; nothing is removed.
    """
    gone = {fold(Tag.parse(tag)): tag for tag in tags}

    def change(before: list[str]) -> list[str]:
        present = {fold(tag) for tag in before}
        for key, shown in gone.items():
            if key not in present:
                raise NotFoundError(f"{quote(text)} has no tag {quote(shown)}", hint=f"its tags: {', '.join(before) or 'none'}")
        return [tag for tag in before if fold(tag) not in gone]

    return _retag(context, text, change, reason)


def list_tags(context: Context, text: str) -> tuple[str, list[str]]:
    """Return (reference, tags) of a version or a collection."""
    head, tail = split_reference(text)
    if tail is None:
        collection = find_collection(context, parse_collection(head, context.project))
        require_right(context, collection, "view")
        return collection.ref, list(collection.state["tags"])
    version = resolve(context, text)
    return version.ref, list(shared_record(context, version)["tags"])


def edit(
    context: Context,
    text: str,
    *,
    description: str | None = None,
    metadata: dict[str, Any] | None = None,
    unset: Sequence[str] = (),
    ttl: int | str | None = "keep",
    reason: str | None = None,
) -> Edited:
    """Change description, metadata keys or TTL of a version.

    Args:
        context: who asks, and where.
        text: a reference to a version.
        description: the new text, or None to keep it.
        metadata: keys to set.
        unset: keys to remove.
        ttl: seconds, None for never, `inherit`, or `keep`.
        reason: for the history.

    Raises:
        RefusedError: a TTL on a link, or on a version that is linked. NotFoundError: a key to remove is not there.
    """
    if ttl != "keep":
        _refuse_linked_ttl(context, text)

    def build(record: dict[str, Any], index: int | None) -> list[Operation]:
        ops: list[Operation] = []

        def change(field: str, after: Any) -> None:
            if record[field] != after:
                ops.append({"op": "edit", "version": index, "field": field, "before": record[field], "after": after})

        if description is not None:
            change("description", description)
        if metadata or unset:
            after = {**record["metadata"], **(metadata or {})}
            for key in unset:
                if key not in after:
                    raise NotFoundError(f"{quote(text)} has no metadata key {quote(key)}")
                del after[key]
            change("metadata", check_metadata(after))
        if ttl != "keep":
            change("ttl", ttl)
        return ops

    return edit_version(context, text, build, "edited", reason=reason)


def _refuse_linked_ttl(context: Context, text: str) -> None:
    version = resolve(context, text)
    if version.is_link:
        raise RefusedError(
            f"{quote(version.ref)} is a link: a TTL cannot be set on it", hint="unlink it first, then set the TTL on its source"
        )
    link = next(links_of(context, version.record["id"], strict=True), None)
    if link is not None:
        raise RefusedError(
            f"{quote(version.ref)} is linked as {quote(link.ref)}: a TTL cannot be set on it", hint="unlink it first"
        )
