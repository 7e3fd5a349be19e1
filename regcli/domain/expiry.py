"""Expiry: which versions are due, by their TTL or because `gc` is told to keep only so much.

A version that is linked, that has a custom alias, or whose files another version refers to is never due, and the latest of a
collection only by its TTL. Links are due only where `gc` is pointed at a registry or its collection by name, and never those
with a custom alias.
"""

from __future__ import annotations

from regcli.domain.collections import LINK, SOURCE
from regcli.domain.deletion import dependents
from regcli.domain.lifetime import effective_ttl
from regcli.domain.linking import require_unlink_right
from regcli.domain.resolving import Version
from regcli.domain.settings import root_settings
from regcli.domain.survey import Survey, blobs_of, by_manifest, parse_time, shown_ref

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from regcli.domain.collections import Collection
    from regcli.domain.context import Context

    Record = dict[str, Any]

DEFAULT_GRACE = 86400.0

TTL = "ttl"
KEEP_LAST = "keep-last"
KEEP_WITHIN = "keep-within"
MAX_SIZE = "max-size"


class Policy:
    """What `gc` is asked to do.

    Attributes:
        grace: seconds that something deleted stays.
        keep_last: keep so many of the newest versions of each collection. keep_within: and those younger than so many seconds.
        max_size: bytes that content may take which only old versions without alias need.
        dry_run: say what would be done. offline: go on though the locks of this file system prove nothing.
    """

    __slots__ = ("dry_run", "grace", "keep_last", "keep_within", "max_size", "offline")

    def __init__(
        self,
        *,
        grace: float = DEFAULT_GRACE,
        keep_last: int | None = None,
        keep_within: float | None = None,
        max_size: int | None = None,
        dry_run: bool = False,
        offline: bool = False,
    ) -> None:
        """Take the options as given."""
        self.grace = grace
        self.keep_last = keep_last
        self.keep_within = keep_within
        self.max_size = max_size
        self.dry_run = dry_run
        self.offline = offline


class Expired:
    """A version that goes, or a link that is withdrawn.

    Attributes:
        version: which. reason: `ttl`, `keep-last`, `keep-within` or `max-size`. consumers: what used it as input.
    """

    __slots__ = ("consumers", "reason", "version")

    def __init__(self, version: Version, reason: str) -> None:
        """Name it."""
        self.version = version
        self.reason = reason
        self.consumers: list[str] = []

    def document(self) -> dict[str, Any]:
        """Return the JSON fields."""
        return {
            "ref": f"{shown_ref(self.version.collection)}:{self.version.version}",
            "reason": self.reason,
            "size": self.version.record["size"],
            "used_by": self.consumers,
        }


class Plan:
    """Which versions are to be deleted, and which links withdrawn."""

    __slots__ = ("deleted", "unlinked")

    def __init__(self) -> None:
        """Start with none."""
        self.deleted: list[Expired] = []
        self.unlinked: list[Expired] = []


def plan_expiry(
    context: Context, survey: Survey, scope: list[Collection], policy: Policy, now: float, *, by_name: bool
) -> Plan:
    """Return which versions and links of some collections are due.

    Args:
        context: who asks, and where.
        survey: every version of the root.
        scope: the collections that it is about.
        policy: what is to stay.
        now: seconds since the epoch.
        by_name: whether the collections were named, so that links may go.

    Raises:
        RoleError: links are due, but the user may not withdraw them.
    """
    plan = Plan()
    default_ttl: int | None = root_settings(context).state["ttl"]
    kept = survey.linked | survey.referred()
    old: list[Expired] = []
    for collection in scope:
        if not collection.exists:
            continue
        if collection.state["kind"] == SOURCE:
            for item in _due(collection, kept, policy, now, default_ttl):
                (old if item.reason == MAX_SIZE else plan.deleted).append(item)
        elif by_name:
            links = [item for item in _due(collection, kept, policy, now, None) if item.reason != MAX_SIZE]
            for item in links:
                require_unlink_right(context, item.version)
            plan.unlinked.extend(links)
    if policy.max_size is not None:
        plan.deleted.extend(_over_size(context, survey, old, plan.deleted, policy.max_size))
    for item in plan.deleted:
        item.consumers = dependents(context, [item.version.record["id"]])
    return plan


def _due(collection: Collection, kept: set[str], policy: Policy, now: float, default_ttl: int | None) -> Iterator[Expired]:
    """Yield the versions of a collection that are due, newest first; with `--max-size` also those that may be.

    `kept` are the ids of artifacts that something points to.
    """
    position = 0
    for index, record in collection.versions():
        position += 1
        version = Version(collection, index, record)
        is_link = collection.state["kind"] == LINK
        if [alias for alias in version.aliases if alias != "latest"]:
            continue
        if not is_link and record["id"] in kept:
            continue
        ttl = effective_ttl(collection, record["ttl"], default_ttl)
        age = now - parse_time(record["linked_at"] if is_link else record["created_at"])
        if ttl is not None and age >= ttl:
            yield Expired(version, TTL)
            continue
        if collection.state["latest"] == index:
            continue
        reason = _thinned(policy, position, age)
        if reason is not None:
            yield Expired(version, reason)
        elif policy.max_size is not None:
            yield Expired(version, MAX_SIZE)


def _thinned(policy: Policy, position: int, age: float) -> str | None:
    """Return which of the keep options lets a version go, or None; one that says keep is enough."""
    if policy.keep_last is None and policy.keep_within is None:
        return None
    if policy.keep_last is not None and position <= policy.keep_last:
        return None
    if policy.keep_within is not None and age < policy.keep_within:
        return None
    return KEEP_LAST if policy.keep_last is not None else KEEP_WITHIN


def _over_size(context: Context, survey: Survey, old: list[Expired], going: list[Expired], limit: int) -> Iterator[Expired]:
    """Yield the oldest of the versions in `old` until what only they need fits into `limit` bytes."""
    leaving = {item.version.record["id"] for item in [*old, *going]}
    needed: set[bytes] = set()
    for records in by_manifest(r for artifact, r in survey.live().items() if artifact not in leaving).values():
        needed.update(blobs_of(context, records[0]))
    total = 0
    for item in sorted(old, key=lambda item: (str(item.version.record["created_at"]), item.version.index), reverse=True):
        fresh = {blob: size for blob, size in blobs_of(context, item.version.record).items() if blob not in needed}
        total += sum(fresh.values())
        if total > limit:
            yield item
        else:
            needed.update(fresh)
