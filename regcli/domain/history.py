"""History: the commits, read as events. There is no second record that could disagree."""

from __future__ import annotations

from regcli.domain import roles
from regcli.domain.collections import Collection, given_to, locate, open_collection_directory, open_place, require_right
from regcli.domain.registries import Registry, open_registry_directory, registry_directories
from regcli.domain.resolving import resolve
from regcli.domain.runs import chain_of, run_ref
from regcli.errors import IntegrityError, NotFoundError, RegcliError, UsageError
from regcli.model import parse_collection, quote, split_reference
from regcli.store.layout import collection_paths, part_paths, project_paths, run_paths

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from regcli.domain.context import Context
    from regcli.domain.listing import Project
    from regcli.store.chain import Chain

    Event = dict[str, Any]

_ACTIONS = {
    "version": "version-created",
    "link": "linked",
    "unlink": "unlinked",
    "delete": "version-deleted",
    "undelete": "version-restored",
    "purge": "version-purged",
    "tags": "tags-changed",
    "rename": "renamed",
    "remove": "collection-deleted",
    "redirect": "name-given-away",
    "protect": "protected",
    "unprotect": "unprotected",
    "member": "role-changed",
    "automation": "automation-changed",
    "entity": "entity-changed",
    "use": "version-used",
    "output": "version-logged",
    "part": "part-added",
    "finish": "parts-finished",
    "reserve": "numbers-reserved",
}
# Fields of collections, versions, registries, the root and runs that one operation changes.
_FIELDS = (
    "config", "description", "history", "job_type", "metadata", "notes", "process", "shared", "state", "summary", "ttl", "type",
    "types", "visibility",
)  # fmt: skip
ACTIONS = frozenset((
    *_ACTIONS.values(), *(f"{field}-changed" for field in _FIELDS), "alias-added", "alias-moved", "alias-removed",
    "alias-signed", "collection-created", "parts-begun", "registry-created", "registry-deleted", "run-created",
))  # fmt: skip


def _label(value: Any) -> Any:
    return f"v{value}" if isinstance(value, int) and not isinstance(value, bool) else value


def _action(op: dict[str, Any]) -> str:
    name = op["op"]
    if name == "alias":
        if op["after"] is None:
            return "alias-removed"
        if op["before"] == op["after"]:
            return "alias-signed"
        return "alias-added" if op["before"] is None else "alias-moved"
    if name in ("edit", "set"):
        return f"{op['field']}-changed"
    if name == "create":
        if "distributed_id" in op:
            return "parts-begun"
        return "registry-created" if "settings" in op else "run-created" if "job_type" in op else "collection-created"
    if name == "remove" and "version" not in op:
        return "registry-deleted"
    return _ACTIONS.get(name, str(name))


def _version_summary(record: dict[str, Any]) -> dict[str, Any]:
    source = record.get("source")
    summary = {"digest": record["digest"], "size": record["size"], "file_count": record["file_count"]}
    if source is not None:
        summary["source"] = f"{source['entity']}/{source['project']}/{source['name']}:v{source['version']}"
    return summary


def _values(op: dict[str, Any]) -> tuple[Any, Any]:
    name = op["op"]
    if name == "alias":
        return _label(op["before"]), _label(op["after"])
    if name in ("version", "link"):
        return None, _version_summary(op["record"])
    if name == "create":
        return None, op.get("settings") or {
            key: op[key] for key in ("name", "type", "kind", "description", "distributed_id") if key in op
        }
    if name in ("delete", "unlink", "purge"):
        return f"v{op['version']}", None
    if name == "undelete":
        return None, f"v{op['version']}"
    if name == "part":
        return None, {key: op["after"][key] for key in ("manifest", "run")}
    if name == "set" and op["field"] == "history":
        return _steps(op["before"]), _steps(op["after"])
    return op.get("before"), op.get("after")


def _steps(history: Any) -> str | None:
    """Say how much a run had logged; what `HistoryWriter.facts` records."""
    return f"{history['rows']} steps" if history else None


def events_of(chain: Chain, ref: str) -> Iterator[tuple[Event, dict[str, Any]]]:
    """Yield (event, operation) of one log, oldest first.

    An event is `{seq, time, user, host, command, action, ref, before, after, reason}`, and `alias`, `member` or
    `automation` where it is about one.
    """
    for commit, path in chain.commits():
        try:
            yield from list(_events_in(commit, ref))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise IntegrityError(f"{path} is corrupt: {error!r}", hint="run `regcli verify` to see all damage") from error


def _events_in(commit: dict[str, Any], ref: str) -> Iterator[tuple[Event, dict[str, Any]]]:
    origin = commit.get("origin")
    made = commit if origin is None else origin
    for op in commit["ops"]:
        before, after = _values(op)
        index = op.get("version")
        if op["op"] == "alias":
            index = op["after"] if op["after"] is not None else op["before"]
        event: Event = {
            "seq": commit["seq"],
            "time": made["time"],
            "user": made["user"],
            "host": made["host"],
            "command": made["command"],
            "action": _action(op),
            "ref": f"{ref}:v{index}" if isinstance(index, int) else ref,
            "before": before,
            "after": after,
            "reason": made.get("reason"),
        }
        if origin is not None:
            # What another root says of itself, repeated here by whoever imported it.
            event["imported"] = {key: commit[key] for key in ("time", "user", "host")} | {"root": origin["root"]}
        for key in ("alias", "member"):
            if key in op:
                event[key] = op[key]
        if op["op"] == "automation":
            event["automation"] = op["name"]
        yield event, op


def collection_events(context: Context, collection: Collection) -> list[Event]:
    """Return the events of a collection; for links also those of their sources' shared fields, in the order of time."""
    own = [event for event, _ in events_of(collection.chain, collection.ref)]
    if collection.state["kind"] != "link":
        return own
    return _merge([own, *_shared_events(context, collection)])


def _shared_events(context: Context, collection: Collection) -> Iterator[list[Event]]:
    """Yield, for each source collection, the edits of tags, metadata, description and TTL of versions linked here."""
    linked: dict[str, set[int]] = {}
    for _, record in collection.versions(deleted=True):
        if record["source"] is None:
            # From before the collection was removed and made again, of the other kind.
            continue
        linked.setdefault(record["source"]["place"], set()).add(record["source"]["version"])
    for place, indexes in linked.items():
        source = open_place(context, place)
        yield [
            event
            for event, op in events_of(source.chain, source.ref)
            if op["op"] in ("tags", "edit") and op.get("version") in indexes
        ]


def _merge(streams: list[list[Event]]) -> list[Event]:
    """Merge events of several logs by time; within a log the order of its numbers stands."""
    import heapq

    keyed = []
    for number, stream in enumerate(streams):
        latest = ""
        rows: list[tuple[str, int, int, int, Event]] = []
        for event in stream:
            latest = max(latest, event["time"])  # a clock that went back must not reorder one log's own events
            rows.append((latest, number, event["seq"], len(rows), event))
        keyed.append(rows)
    return [row[-1] for row in heapq.merge(*keyed, key=lambda row: row[:4])]


def _registry_events(context: Context, registry: Registry) -> list[Event]:
    streams = [[event for event, _ in events_of(registry.chain, registry.name)]]
    streams.extend(_collection_streams(context, registry.base, registry))
    return _merge(streams)


def _collection_streams(context: Context, owner: str, registry: Registry | None) -> Iterator[list[Event]]:
    """Yield the events of every collection that is or was there: deleting one must not hide what was done with it."""
    for base in collection_paths(owner):
        try:
            collection = open_collection_directory(context, base, registry)
            if collection.state["name"] is not None:
                yield [event for event, _ in events_of(collection.chain, collection.ref)]
        except RegcliError as error:
            context.warnings.append(error.message)


def _project_streams(context: Context, base: str) -> Iterator[list[Event]]:
    """Yield the events of a project's collections, runs, and parts of versions that several processes build."""
    yield from _collection_streams(context, base, None)
    yield from _part_streams(context, base)
    for path in run_paths(base):
        try:
            chain = chain_of(context, path)
            state = chain.read().state
            if state["name"] is not None:
                yield [event for event, _ in events_of(chain, run_ref(state))]
        except RegcliError as error:
            context.warnings.append(error.message)


def _part_streams(context: Context, base: str) -> Iterator[list[Event]]:
    from urllib.parse import unquote

    from regcli.domain import distributed

    project = "/".join(unquote(name) for name in base.split("/")[-2:])
    for path in part_paths(base):
        try:
            chain = distributed.chain_of(context, path)
            name = chain.read().state["name"]
            if name is not None:
                yield _part_events(chain, f"{project}/{name}")
        except RegcliError as error:
            context.warnings.append(error.message)


def _part_events(chain: Chain, ref: str) -> list[Event]:
    """Return the events, without the parts that a finish hands on to the next version: those were added before."""
    events: list[Event] = []
    for event, op in events_of(chain, ref):
        is_kept = (
            op["op"] == "part" and events and (events[-1]["seq"], events[-1]["action"]) == (event["seq"], "parts-finished")
        )
        if not is_kept:
            events.append(event)
    return events


def _root_events(context: Context) -> list[Event]:
    from regcli.domain.settings import root_chain

    streams = [[event for event, _ in events_of(root_chain(context), ".")]]
    for name in registry_directories(context):
        try:
            registry = open_registry_directory(context, name)
        except RegcliError as error:
            context.warnings.append(error.message)
            continue
        if registry.state["name"] is not None and roles.allows(registry.state, context.user, "view"):
            streams.append(_registry_events(context, registry))
    for base in project_paths(context.root.path):
        streams.extend(_project_streams(context, base))
    return _merge(streams)


def history(
    context: Context, text: str | None, *, since: str | None = None, user: str | None = None, action: str | None = None
) -> list[Event]:
    """Return the events of the root, a registry, a project, a collection or a version, oldest first.

    Args:
        context: who asks, and where.
        text: what, or None for the whole root.
        since: RFC 3339 time; only events at or after it.
        user: only this user's.
        action: only these.

    Raises:
        NotFoundError: there is no such place. RoleError: the user may not look.
        UsageError: there is no such action.
    """
    found = _find(context, text)
    # A newer program may have written others.
    if action is not None and action not in ACTIONS and not any(event["action"] == action for event in found):
        raise _unknown_action(action)
    return [
        event
        for event in found
        if (since is None or event["time"] >= since)
        and (user is None or event["user"] == user)
        and (action is None or event["action"] == action)
    ]


def _unknown_action(action: str) -> UsageError:
    from regcli.domain.nearest import nearest

    close = nearest(action, ACTIONS)
    hint = f"did you mean {quote(close)}?" if close else f"use one of {', '.join(sorted(ACTIONS))}"
    return UsageError(f"action {quote(action)} is unknown", hint=hint)


def _find(context: Context, text: str | None) -> list[Event]:
    if text is None:
        return _root_events(context)
    head, tail = split_reference(text)
    if tail is not None:
        version = resolve(context, text, deleted=True)
        events = collection_events(context, version.collection)
        refs = {version.ref}
        if version.is_link:
            source = version.record["source"]
            place = open_place(context, source["place"])
            refs.add(place.version_ref(source["version"]))
        return [event for event in events if event["ref"] in refs or ("alias" in event and event["before"] == version.version)]
    named = _find_place(context, head)
    if isinstance(named, Registry):
        roles.require(named.state, context.user, "view")
        return _registry_events(context, named)
    if isinstance(named, Collection):
        require_right(context, named, "view")
        return collection_events(context, named)
    return _merge(list(_project_streams(context, named.base)))


def _find_place(context: Context, text: str) -> Registry | Project | Collection:
    """Return what a reference names; a collection that was deleted still has its history."""
    from regcli.domain.listing import find_place

    try:
        return find_place(context, text)
    except NotFoundError:
        if not text.endswith("/"):
            named = locate(context, parse_collection(text, context.project))
            gone = named if named.state["name"] is not None else given_to(context, named)
            if gone is not None and gone.state["name"] is not None:
                return gone
        raise


def parse_since(text: str, context: Context) -> str:
    """Return the stored form of `--since`: a duration before now (`7d`, `12h`), a date, or an RFC 3339 time.

    Raises:
        UsageError: it is none of these.
    """
    from datetime import UTC, datetime

    from regcli.domain.amounts import UNITS
    from regcli.domain.context import format_time

    if text[:-1].isdigit() and text[-1:] in UNITS:
        return format_time(context.clock() - int(text[:-1]) * UNITS[text[-1]])
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(f"{quote(text)} is not a time", hint="write 7d, 2026-11-30 or 2026-11-30T08:00:00Z") from None
    if moment.tzinfo is None:
        moment = moment.astimezone()
    return format_time(moment.astimezone(UTC).timestamp())
