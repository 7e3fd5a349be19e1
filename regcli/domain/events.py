"""Events that automations wait for: what a change means, in the words of `automation add --on`.

Made from the operations of a commit and the state before it; `domain/outbox.py` decides who is told.
"""

from __future__ import annotations

from regcli.model import fold

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any

    from regcli.domain.context import Context
    from regcli.store.chain import Snapshot

    Event = dict[str, Any]
    Operation = dict[str, Any]

METRIC = "metric"
# event -> what the W&B payload calls it, for a version and for a collection
EVENTS = {
    "version-created": "CREATE_ARTIFACT",
    "linked": "LINK_ARTIFACT",
    "unlinked": "UNLINK_ARTIFACT",
    "alias-added": "ADD_ARTIFACT_ALIAS",
    "alias-removed": "REMOVE_ARTIFACT_ALIAS",
    "tag-added": "ADD_ARTIFACT_TAG",
    "tag-removed": "REMOVE_ARTIFACT_TAG",
    "protection-changed": "CHANGE_PROTECTED_ALIASES",
    "version-deleted": "DELETE_ARTIFACT",
    METRIC: "METRIC_THRESHOLD",
}
_COLLECTION_TAGS = {"tag-added": "ADD_COLLECTION_TAG", "tag-removed": "REMOVE_COLLECTION_TAG"}


def event_type(event: Event) -> str:
    """Return the event's name in the payloads of W&B."""
    name: str = event["event"]
    if event.get("version") is None and name in _COLLECTION_TAGS:
        return _COLLECTION_TAGS[name]
    return EVENTS[name]


def subject(event: Event) -> str:
    """Return the name that `--match` is compared with: the alias, the tag, else the collection's name."""
    return str(event.get("alias") or event.get("tag") or event.get("collection") or "")


def collection_events(context: Context, place: str, snapshot: Snapshot, ops: Sequence[Operation]) -> Iterator[Event]:
    """Yield the events of a collection's commit.

    An event is `{event, place, collection, version, …}` with `alias`, `previous` or `tag` where it is about one, and
    `record` (not for keeping) where a version is new. `shared` marks what happened to a version through another of its
    memberships.
    """
    name = snapshot.state["name"]
    for op in ops:
        if op["op"] == "create":
            name = op["name"]
        for event in _of_operation(context, snapshot, op):
            yield {"place": place, "collection": name, **event}


def _of_operation(context: Context, snapshot: Snapshot, op: Operation) -> Iterator[Event]:
    kind = op["op"]
    version = f"v{op['version']}" if isinstance(op.get("version"), int) else None
    if kind in ("version", "link"):
        event = "linked" if kind == "link" else "version-created"
        yield {"event": event, "version": version}
        if op["record"].get("metrics"):
            # A link is not a new version of the root, but one of the registry it is made in.
            yield {"event": METRIC, "version": version, "record": op["record"], "shared": kind == "link"}
    elif kind == "unlink":
        yield {"event": "unlinked", "version": version}
    elif kind == "delete":
        yield {"event": "version-deleted", "version": version}
    elif kind == "remove":
        yield {"event": "version-deleted", "version": None}
    elif kind == "alias":
        yield _alias_event(op)
    elif kind == "tags":
        yield from _tag_events(context, snapshot, op, version)


def _alias_event(op: Operation) -> Event:
    before = f"v{op['before']}" if op["before"] is not None else None
    after = f"v{op['after']}" if op["after"] is not None else None
    if after is None:
        return {"event": "alias-removed", "version": before, "alias": op["alias"]}
    return {"event": "alias-added", "version": after, "alias": op["alias"], "previous": before}


def _tag_events(context: Context, snapshot: Snapshot, op: Operation, version: str | None) -> Iterator[Event]:
    before = {fold(tag): tag for tag in op["before"]}
    after = {fold(tag): tag for tag in op["after"]}
    found = [{"event": "tag-added", "tag": tag} for key, tag in after.items() if key not in before]
    found += [{"event": "tag-removed", "tag": tag} for key, tag in before.items() if key not in after]
    for event in found:
        yield {**event, "version": version}
    record = snapshot.records.get(op["version"]) if version is not None else None
    if record is None or "source" in record:
        return
    from regcli.domain.documents import links_of

    # The tags of a version are those of its links too: whoever watches a registry wants to know.
    for link in links_of(context, record["id"]):
        membership = {"place": link.collection.place, "collection": link.collection.name, "version": link.version}
        for event in found:
            yield {**event, **membership, "shared": True}


def settings_events(place: str, ops: Sequence[Operation]) -> Iterator[Event]:
    """Yield the events of a registry's settings."""
    for op in ops:
        if op["op"] in ("protect", "unprotect"):
            yield {
                "event": "protection-changed",
                "place": place,
                "collection": None,
                "version": None,
                "alias": op["alias"],
                "protected": op["after"] is not None,
            }
