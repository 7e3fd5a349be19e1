"""The outbox: what has to be told to whom, noted in the same transaction as the change it is about.

A commit lists the notices that it gives rise to; a marker for each is written durably *before* the commit, so that nobody has
to search the logs for them. A marker whose commit never came, or came without it, stands for nothing and is removed.
Notices for the user's own commands lie in the user's own state directory: the root only learns that there is one.
"""

from __future__ import annotations

import os

from regcli.domain.automations import Automation, name_test, own_automations, sound
from regcli.domain.background import DEEPEST, chain_depth
from regcli.domain.events import METRIC, collection_events, settings_events, subject
from regcli.errors import RegcliError
from regcli.store import files, jsontext
from regcli.store.layout import is_collection_place

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any

    from regcli.domain.context import Context
    from regcli.store.chain import Chain, Snapshot

    Event = dict[str, Any]
    Operation = dict[str, Any]

PENDING = "pending"
DELIVERED = "delivered"
FAILED = "failed"
CANCELLED = "cancelled"
KEPT = 1000
# A marker is written just before its commit. One without a commit that is older than this stands for a writer that died.
ABANDONED = 7 * 86400.0
# Bytes of the records of tries: there are twenty at most, and others may have written them.
_MAX_TRIES = 1 << 20


class Announcement:
    """The notices of a commit that is about to be made: `entries` go into it, `paths` are the markers written before."""

    __slots__ = ("entries", "paths")

    def __init__(self) -> None:
        """Start empty."""
        self.entries: list[dict[str, Any]] = []
        self.paths: list[str] = []

    def withdraw(self) -> None:
        """Remove the markers: the commit was not made."""
        for path in self.paths:
            directory, name = os.path.split(path)
            files.remove_names(directory, [name], os.path.dirname(directory))


def shared_directory(context: Context) -> str:
    """Return the directory of the root's outbox."""
    return f"{context.root.path}/outbox"


def own_directory(context: Context) -> str | None:
    """Return the directory of notices for the user's own commands in this root, or None."""
    return f"{context.trust.state_path}/outbox/{context.root.id}" if context.trust.state_path is not None else None


def announce(context: Context, chain: Chain, snapshot: Snapshot, ops: Sequence[Operation]) -> Announcement | None:
    """Note who has to be told of a commit, before it is made; None when nobody has.

    Trouble with the notices never stands in the way of the change itself: it becomes a warning.
    """
    announcement = Announcement()
    try:
        place = chain.base[len(context.root.path) + 1 :]
        for automation, event in _matches(context, place, chain, snapshot, ops):
            _note(context, announcement, automation, event, place, snapshot.seq + 1)
    except (OSError, RegcliError) as error:
        context.warnings.append(f"not all automations could be told: {error}")
    return announcement if announcement.entries else None


def _matches(
    context: Context, place: str, chain: Chain, snapshot: Snapshot, ops: Sequence[Operation]
) -> Iterator[tuple[Automation, Event]]:
    parts = place.split("/")
    if is_collection_place(place):
        events = list(collection_events(context, place, snapshot, ops))
    elif chain.log.endswith("/settings") and parts[0] == "registries":
        events = list(settings_events(place, ops))
    else:
        return
    known: dict[str, list[Automation]] = {}
    for event in events:
        for automation in _candidates(context, event["place"], known):
            if automation.definition["event"] == event["event"] and _is_meant(automation, event):
                yield automation, {key: value for key, value in event.items() if key not in ("record", "shared")}


def _candidates(context: Context, place: str, known: dict[str, list[Automation]]) -> Iterator[Automation]:
    from regcli.domain.registries import open_registry_directory
    from regcli.domain.settings import root_settings

    if "." not in known:
        everywhere = [Automation(name, kept) for name, kept in sound(root_settings(context).state["automations"])]
        known["."] = everywhere + own_automations(context)
    yield from known["."]
    parts = place.split("/")
    if parts[0] == "registries":
        if parts[1] not in known:
            registry = open_registry_directory(context, parts[1])
            known[parts[1]] = [Automation(name, kept, registry) for name, kept in sound(registry.state["automations"])]
        yield from known[parts[1]]


def _is_meant(automation: Automation, event: Event) -> bool:
    if not automation.covers(event["place"], shared=event.get("shared", False)):
        return False
    pattern = automation.definition["match"]
    if event["event"] == METRIC:
        return _meets(pattern, event["record"])
    return pattern is None or name_test(pattern)(subject(event))


class _OneRow:
    """A new version's record, as `--where` looks at it."""

    count = 1

    def __init__(self, record: dict[str, Any]) -> None:
        self._record = record

    def column(self, path: tuple[str, ...]) -> Sequence[Any]:
        from regcli.domain.where import dig

        return [dig(self._record, path)]


def _meets(condition: str, record: dict[str, Any]) -> bool:
    from regcli.domain.where import parse_where

    return parse_where(condition, metrics=True).mask(_OneRow(record))[0]


def _note(context: Context, announcement: Announcement, automation: Automation, event: Event, place: str, seq: int) -> None:
    """Write the marker of one notice and add what the commit says of it."""
    depth = chain_depth(context.environment)
    if automation.is_own and depth >= DEEPEST:
        # A command whose change starts it again: whoever delivers, this was the last round.
        return
    event_id = files.random_hex(16)
    entry = {
        "event_id": event_id,
        "automation": automation.name,
        "store": automation.store,
        "definition": automation.definition["id"],
        "event": event,
    }
    marker = {
        "format": 1, "event_id": event_id, "automation": automation.name, "event": event["event"], "place": place, "seq": seq,
        "position": len(announcement.entries), "time": context.now(), "version": event["version"],
        "subject": event.get("alias") or event.get("tag"), "depth": depth,
    }  # fmt: skip
    if automation.is_own:
        directory = own_directory(context)
        if directory is None:
            return
        os.makedirs(directory, mode=0o700, exist_ok=True)
        marker["entry"] = entry
        # Others see that a notice was given, not to whom.
        entry = {"event_id": event_id}
    else:
        directory = shared_directory(context)
    path = f"{directory}/{event_id}.json"
    files.create_exclusive(path, jsontext.dumps(marker).encode() + b"\n", root=os.path.dirname(directory))
    announcement.paths.append(path)
    announcement.entries.append(entry)


class Notice:
    """One notice on its way, or one that is done.

    Attributes:
        directory: where it lies. event_id: its identity, the same on every try. marker: what was noted before the commit.
        tries: `{time, at, status, error, ms}` of every try so far, oldest first; `at` in seconds since the epoch.
        status: `pending`, `delivered`, `failed` or `cancelled`. records: names of the files that hold its tries.
    """

    __slots__ = ("directory", "event_id", "marker", "records", "status", "tries")

    def __init__(
        self,
        directory: str,
        marker: dict[str, Any],
        tries: list[dict[str, Any]],
        status: str = PENDING,
        records: Sequence[str] = (),
    ) -> None:
        """Bundle what was read."""
        self.records = {*records, _own_record(marker["event_id"])}
        self.directory = directory
        self.event_id: str = marker["event_id"]
        self.marker = marker
        self.tries = tries
        self.status = status

    @property
    def path(self) -> str:
        """The marker's path."""
        return f"{self.directory}/{self.event_id}.json"

    @property
    def _top(self) -> str:
        """What no link leads out of: the root, or the directory of the user's own that this one lies in."""
        return os.path.dirname(self.directory)

    def record(self, attempt: dict[str, Any]) -> None:
        """Keep the record of a try durably; each user's tries are in a file of their own."""
        self.tries.append(attempt)
        try:
            descriptor = files.open_to_append(f"{self.directory}/{_own_record(self.event_id)}", self._top, 0o644)
            try:
                if os.fstat(descriptor).st_size == 0:
                    # Whatever the umask: the others of a shared root read it too.
                    os.fchmod(descriptor, 0o644)
                files.write_all(descriptor, jsontext.dumps(attempt).encode() + b"\n")
                files.fsync_file(descriptor)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise files.explain(error, f"cannot record the try of event {self.event_id}") from error

    def finish(self, status: str) -> None:
        """Move the notice to those that are done."""
        self.status = status
        document = {**self.marker, "status": status, "tries": self.tries}
        try:
            files.make_within(self._top, f"{self.directory}/done")
            path = f"{self.directory}/done/{self.event_id}.json"
            files.create_exclusive(path, jsontext.dumps(document).encode() + b"\n", root=self._top)
        except OSError as error:
            raise files.explain(error, f"cannot record the outcome of event {self.event_id}") from error
        self.forget()

    def forget(self) -> None:
        """Remove the marker and the records of its tries."""
        files.remove_names(self.directory, [f"{self.event_id}.json", *self.records], self._top)


def _own_record(event_id: str) -> str:
    return f"{event_id}.tries-{os.geteuid() if hasattr(os, 'geteuid') else 0}"


def directories(context: Context) -> list[str]:
    """Return the directories that may hold notices."""
    own = own_directory(context)
    return [shared_directory(context), *([own] if own is not None else [])]


def pending(context: Context) -> list[Notice]:
    """Return the notices that are still to be delivered, oldest first."""
    found = []
    for directory in directories(context):
        names = list(files.scan_names(directory))
        tries: dict[str, list[str]] = {}
        for name in names:
            event_id, dot, _ = name.partition(".tries-")
            if dot:
                tries.setdefault(event_id, []).append(name)
        for name in names:
            if name.endswith(".json") and not name.startswith("."):
                notice = _read(directory, name, tries.get(name[:-5], []))
                if notice is not None:
                    found.append(notice)
    return sorted(found, key=age)


def age(notice: Notice) -> tuple[str, int, str]:
    """Return what notices are ordered by: time, and their order within one commit."""
    position = notice.marker.get("position")
    return str(notice.marker["time"]), position if isinstance(position, int) else 0, notice.event_id


def reread(notice: Notice) -> Notice | None:
    """Return a notice as it is now, or None when it is no longer pending."""
    return _read(notice.directory, f"{notice.event_id}.json", sorted(notice.records))


def done(context: Context) -> list[Notice]:
    """Return the notices that are done, oldest first."""
    return sorted([notice for directory in directories(context) for notice in done_in(directory)], key=age)


def done_in(directory: str) -> Iterator[Notice]:
    """Yield the notices of one directory that are done."""
    for name in files.scan_names(f"{directory}/done"):
        document = _document(f"{directory}/done/{name}") if name.endswith(".json") else None
        if document is not None:
            tries = document.get("tries")
            known = [item for item in tries if _is_try(item)] if isinstance(tries, list) else []
            yield Notice(directory, document, known, str(document.get("status")))


def _document(path: str) -> dict[str, Any] | None:
    try:
        document = jsontext.loads(files.read_document(path, 1 << 24), path)
    except (OSError, RegcliError):
        return None
    if not isinstance(document, dict) or f"/{document.get('event_id')}.json" != path[path.rindex("/") :]:
        return None
    # In a shared root anybody may have written it.
    texts = [document.get(key) for key in ("place", "automation", "event", "time")]
    if not all(isinstance(text, str) and "\0" not in text for text in texts) or not isinstance(document.get("seq"), int):
        return None
    return document


def _is_try(item: object) -> bool:
    return isinstance(item, dict) and isinstance(item.get("at"), (int, float))


def _read(directory: str, name: str, tries: Sequence[str]) -> Notice | None:
    marker = _document(f"{directory}/{name}")
    if marker is None:
        return None
    found: list[dict[str, Any]] = []
    for file in tries:
        try:
            lines = files.read_document(f"{directory}/{file}", _MAX_TRIES).splitlines()
        except (OSError, RegcliError):
            continue
        for line in lines:
            try:
                attempt = jsontext.loads(line, file)
            except RegcliError:
                continue  # the last line of a process that was killed while writing it
            if _is_try(attempt):
                found.append(attempt)
    return Notice(directory, marker, sorted(found, key=lambda attempt: float(attempt["at"])), records=tries)


def prune(context: Context) -> None:
    """Keep the newest thousand of the notices that are done."""
    for directory in directories(context):
        names = list(files.scan_names(f"{directory}/done"))
        if len(names) <= KEPT + KEPT // 10:
            continue
        aged = []
        for name in names:
            try:
                aged.append((os.lstat(f"{directory}/done/{name}").st_mtime, name))
            except OSError:
                continue
        files.remove_names(f"{directory}/done", [name for _, name in sorted(aged)[:-KEPT]], os.path.dirname(directory))
