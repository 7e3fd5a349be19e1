"""Retention: `gc` deletes what is due and takes off the disk what nothing needs.

`gc` works in three steps, each of which can be undone until the next is due: versions whose time is up are deleted (softly);
versions that were deleted longer ago than the grace period are purged, after which `undelete` refuses; and content that no
version needs any more goes to the trash, which is emptied of what has lain there for the grace period.

Which versions are due is `expiry`'s to say.
"""

from __future__ import annotations

from contextlib import nullcontext

from regcli.domain.collections import DELETED, SOURCE, Collection, is_live
from regcli.domain.context import format_time
from regcli.domain.deletion import delete_operations
from regcli.domain.distributed import open_parts
from regcli.domain.expiry import Expired, Policy, plan_expiry
from regcli.domain.linking import unlink_operations
from regcli.domain.listing import find_place
from regcli.domain.survey import Survey, blobs_of, by_manifest, parse_time, shown_ref
from regcli.errors import RefusedError, StorageError, UsageError
from regcli.model import quote, split_reference

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from regcli.domain.context import Context
    from regcli.store.chain import Snapshot

    Operation = dict[str, Any]
    Record = dict[str, Any]

# A clock that is behind the newest change by more than this is wrong, and so are all ages.
CLOCK_SLACK = 60.0
# Parts of a version that nobody finished for so long are given up.
_ABANDONED = 14 * 86400.0


class Collected:
    """What `gc` did, or would do.

    Attributes:
        deleted, unlinked: versions and links whose time was up. purged: references of versions that cannot be undeleted now.
        blobs, trashed: how many blobs went to the trash, and the bytes that will be free when it is emptied.
        freed: bytes that the disk got back by emptying the trash.
        kept_young: dead blobs left alone because they are young. kept_packed: bytes of dead blobs in packs mostly alive.
        litter: temporary files of killed processes that were removed. waiting: deleted versions within the grace period.
    """

    __slots__ = (
        "blobs", "deleted", "dry_run", "freed", "kept_packed", "kept_young", "litter", "purged", "trashed", "unlinked",
        "waiting",
    )  # fmt: skip

    def __init__(self, *, dry_run: bool) -> None:
        """Start with nothing done."""
        self.dry_run = dry_run
        self.deleted: list[Expired] = []
        self.unlinked: list[Expired] = []
        self.purged: list[str] = []
        self.blobs = 0
        self.trashed = 0
        self.freed = 0
        self.kept_young = 0
        self.kept_packed = 0
        self.litter = 0
        self.waiting = 0

    def document(self) -> dict[str, Any]:
        """Return the promised JSON fields."""
        return {
            "dry_run": self.dry_run,
            "deleted": [item.document() for item in self.deleted],
            "unlinked": [item.document() for item in self.unlinked],
            "purged": self.purged,
            "blobs": self.blobs,
            "trashed": self.trashed,
            "freed": self.freed,
            "kept_young": self.kept_young,
            "kept_packed": self.kept_packed,
            "litter": self.litter,
            "waiting": self.waiting,
        }


def collect_garbage(
    context: Context, text: str | None, policy: Policy, *, progress: Callable[[int, int], None] | None = None
) -> Collected:
    """Delete what is due, purge what was deleted, and take content off the disk that nothing needs.

    Args:
        context: who asks, and where.
        text: a collection, registry or project whose versions this is about; None for all of the root. Content is
            swept in the whole root all the same, since it is shared.
        policy: what goes.
        progress: told (1, 0) for each manifest that was read.

    Raises:
        RefusedError: the locks of this file system prove nothing; or the root is shared and not the user's.
        IntegrityError: what is live cannot be known for certain.
        RoleError: links of the named registry are due, but the user may not withdraw them. BusyError: others keep writing.
    """
    from regcli.store.locktest import distrust_of_locks
    from regcli.store.reserve import with_reserve

    root = context.root
    _require_owner(context, policy)
    doubt = distrust_of_locks(root.path)
    if doubt is not None and not policy.offline:
        raise RefusedError(
            f"gc needs locks that work, and here they may not: {doubt}",
            hint="stop everything that writes to this root, then run `regcli gc --offline`",
        )
    collected = Collected(dry_run=policy.dry_run)
    needed = not policy.offline
    with (
        nullcontext() if policy.dry_run else with_reserve(root.path),
        context.lock("content", exclusive=True, needed=needed),
    ):
        with context.lock("settings", exclusive=True, needed=needed):
            survey = Survey(context)
            scope = _scope(context, survey, text)
            now = context.clock()
            if survey.newest > now + CLOCK_SLACK:
                context.warnings.append("the clock is behind the newest change in the root: nothing is deleted by age")
                now = 0.0
            plan = plan_expiry(context, survey, scope, policy, now, by_name=text is not None)
            collected.deleted, collected.unlinked = plan.deleted, plan.unlinked
            if not policy.dry_run:
                _delete(context, collected)
        gone = {item.version.record["id"] for item in collected.deleted}
        # Where locks are taken on trust, an hour protects what somebody may be writing after all.
        young = policy.grace if doubt is None else 3600.0
        due = list(_purgeable(scope, policy, collected, now, gone))
        while due:
            before = len(due), collected.freed
            try:
                _purge(context, survey, policy, collected, due)
            except StorageError:
                # On a full disk the commits of many collections may need what the first ones freed.
                _sweep(context, survey, policy, collected, young=young, progress=progress)
                if (len(due), collected.freed) == before:
                    raise
        _sweep(context, survey, policy, collected, young=young, progress=progress)
    return collected


def _require_owner(context: Context, policy: Policy) -> None:
    """Refuse at once what the sticky directories of a shared root would refuse half-way."""
    import os

    root = context.root
    owner = os.lstat(root.path).st_uid
    if root.shared is not None and not policy.dry_run and context.uid not in (0, owner):
        from regcli.domain.sharing import user_of

        raise RefusedError(
            f"the root {root.path} is shared and belongs to {quote(user_of(owner))}, who alone can free its space",
            hint="`regcli gc --dry-run` shows what there is to free",
        )


def _scope(context: Context, survey: Survey, text: str | None) -> list[Collection]:
    """Return the collections that a reference is about, removed ones too where it is the root."""
    if text is None:
        return survey.collections
    head, tail = split_reference(text)
    if tail is not None:
        raise UsageError(f"{quote(text)} names one version", hint=f"use `regcli delete {text}`, or name a collection")
    place = find_place(context, head)
    if isinstance(place, Collection):
        return [collection for collection in survey.collections if collection.base == place.base]
    return [collection for collection in survey.collections if collection.base.startswith(f"{place.base}/collections/")]


def _delete(context: Context, collected: Collected) -> None:
    """Commit the deletions and withdrawals, one commit for each collection."""
    groups: dict[str, list[Expired]] = {}
    for item in [*collected.deleted, *collected.unlinked]:
        groups.setdefault(item.version.collection.base, []).append(item)
    for items in groups.values():
        collection = items[0].version.collection

        def check(snapshot: Snapshot, items: list[Expired] = items, collection: Collection = collection) -> list[Operation]:
            now = collection.at(snapshot)
            build = delete_operations if collection.state["kind"] == SOURCE else unlink_operations
            # Whoever wrote since, on a file system whose locks do nothing, may have set an alias: then it stays.
            return [
                op
                for item in items
                if is_live(snapshot.records.get(item.version.index)) and now.aliases_of(item.version.index) in ([], ["latest"])
                for op in build(now, item.version.index)
            ]

        reason = f"gc: {', '.join(sorted({item.reason for item in items}))}"
        context.transact(collection.chain, check, reason=reason, settings_seq=collection.settings_seq)


# What is purged and swept


def _purgeable(
    scope: list[Collection], policy: Policy, collected: Collected, now: float, gone: set[str]
) -> Iterator[tuple[Collection, list[int]]]:
    """Yield the versions of each collection that were deleted longer ago than the grace period."""
    for collection in scope:
        if collection.state["kind"] != SOURCE:
            continue
        due: list[int] = []
        for index, record in collection.snapshot.records.ascending():
            if record["id"] in gone:
                if policy.grace <= 0:
                    due.append(index)
                else:
                    collected.waiting += 1
            elif record["state"] == DELETED:
                if now - parse_time(record["updated_at"]) >= policy.grace:
                    due.append(index)
                else:
                    collected.waiting += 1
        if due:
            yield collection, due


def _purge(
    context: Context, survey: Survey, policy: Policy, collected: Collected, due: list[tuple[Collection, list[int]]]
) -> None:
    """Mark versions purged, and take them off the list one collection after the other."""
    while due:
        collection, indexes = due[0]
        if not policy.dry_run:
            _commit_purge(context, collection, indexes)
        del due[0]
        collected.purged.extend(f"{shown_ref(collection)}:v{index}" for index in indexes)
        # Only now does its content count as dead.
        for index in indexes:
            survey.sources.pop((collection.snapshot.records.get(index) or {})["id"], None)


def _commit_purge(context: Context, collection: Collection, due: list[int]) -> None:
    def check(snapshot: Snapshot) -> list[Operation]:
        states = {index: (snapshot.records.get(index) or {}).get("state") for index in due}
        return [{"op": "purge", "version": index} for index in due if states[index] == DELETED]

    context.transact(collection.chain, check)


def _sweep(
    context: Context,
    survey: Survey,
    policy: Policy,
    collected: Collected,
    *,
    young: float,
    progress: Callable[[int, int], None] | None,
) -> None:
    """Move dead content to the trash and empty the trash of what is old."""
    from regcli.store import litter, sweep

    content = context.root.content
    kept = [record for artifact, record in survey.records.items() if artifact in survey.sources or artifact in survey.linked]
    live: set[str] = set()
    for address, records in by_manifest(kept).items():
        live.add(address)
        live.update(blob.hex() for blob in blobs_of(context, records[0]))
        if progress is not None:
            progress(1, 0)
    live.update(survey.signed_lists())
    now = context.clock()
    for part in open_parts(context, format_time(now - _ABANDONED)):
        live.add(part["manifest"])
        live.update(blob.hex() for blob in blobs_of(context, {**part, "created_at": part["at"]}))
    # Names in the trash have whole seconds: with no grace at all, what was just moved counts as old.
    moment = now + 1 if policy.grace <= 0 else now
    grace = min(young, sweep.MIN_GRACE)
    try:
        swept = sweep.sweep(content, live, now=now, grace=grace, dry_run=policy.dry_run)
    except StorageError:
        # A full disk has no room for the smaller copy of a pack, until what was moved before it is gone.
        freed = sweep.purge(content, now=moment, older_than=policy.grace)
        if not freed:
            raise
        collected.freed += freed
        swept = sweep.sweep(content, live, now=now, grace=grace, dry_run=policy.dry_run)
    collected.blobs += swept.blobs
    collected.kept_young = swept.young
    collected.kept_packed = swept.kept_bytes
    collected.litter += swept.litter
    if policy.dry_run:
        collected.freed = sweep.purge(content, now=moment, older_than=policy.grace, dry_run=True)
        if policy.grace <= 0:
            collected.freed += swept.bytes
        else:
            collected.trashed = swept.bytes
        return
    collected.litter += litter.remove_log_litter(context.root.path, now=now)
    collected.freed += sweep.purge(content, now=moment, older_than=policy.grace)
    collected.trashed += 0 if policy.grace <= 0 else swept.bytes
