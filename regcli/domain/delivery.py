"""Delivery: notices of the outbox are sent until the receiver has taken them, or has failed for about a day and a half.

At least once: a notice is done only after its receiver said so, and a process that dies in between leaves it to the next, which
sends the same `event_id` again. A lock on each notice keeps two deliverers from sending it at the same time.
"""

from __future__ import annotations

import os

from regcli.domain import outbox, released
from regcli.domain.automations import COMMAND, SLACK, Automation, find_automation, own_automations, sound
from regcli.domain.background import DEPTH, chain_depth
from regcli.domain.facts import facts_of, require_signed
from regcli.domain.released import URL_FROM
from regcli.errors import RegcliError, SignatureRefusedError
from regcli.model import quote
from regcli.store import files, jsontext

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from regcli.domain.context import Context
    from regcli.domain.outbox import Notice
    from regcli.domain.webhooks import Outcome
    from regcli.store.chain import Chain

    Facts = dict[str, Any]

MAX_TRIES = 20
# After so many notices in a row that a receiver did not answer at all, its others wait for the next round.
PATIENCE = 5
LONGEST_PAUSE = 6 * 3600.0
# Variables with this prefix may be read for automations that somebody else defined.
COMMON_PREFIX = "REGCLI_HOOK_"


class _NotOursError(Exception):
    """The notice needs a secret that only its author's own process may read."""


class Report:
    """What a delivery did: notices delivered, failed in this round, given up, and still waiting for their time."""

    __slots__ = ("cancelled", "delivered", "failed", "silent", "waiting")

    def __init__(self) -> None:
        """Start empty."""
        self.delivered: list[Notice] = []
        self.failed: list[Notice] = []
        self.cancelled: list[Notice] = []
        self.waiting: list[Notice] = []
        # Automations whose receivers did not answer, and how often.
        self.silent: dict[str, int] = {}

    def document(self, context: Context) -> dict[str, Any]:
        """Return the promised JSON fields."""
        every = [*self.delivered, *self.failed, *self.cancelled, *self.waiting]
        return {
            "delivered": len(self.delivered),
            "failed": len(self.failed),
            "cancelled": len(self.cancelled),
            "waiting": len(self.waiting),
            "deliveries": notice_documents(context, every),
        }


def notice_documents(context: Context, notices: Sequence[Notice]) -> list[dict[str, Any]]:
    """Return notices as JSON shows them."""
    refs: dict[str, str] = {}
    clock = context.clock()
    found = []
    for notice in notices:
        place = notice.marker["place"]
        if place not in refs:
            refs[place] = _ref_at(context, place)
        version = notice.marker.get("version")
        found.append(_document(notice, f"{refs[place]}:{version}" if version else refs[place], clock))
    return found


def _ref_at(context: Context, place: str) -> str:
    """Return the reference of the collection or registry at a place, or the place where it cannot be read."""
    from regcli.domain.collections import open_place
    from regcli.domain.registries import directory_at, open_registry_directory

    directory = directory_at(place)
    try:
        if directory is not None:
            return open_registry_directory(context, directory).name
        return open_place(context, place).ref
    except (RegcliError, TypeError):
        return place


def _document(notice: Notice, ref: str, clock: float) -> dict[str, Any]:
    marker = notice.marker
    last = notice.tries[-1] if notice.tries else {}
    return {
        "event_id": notice.event_id,
        "automation": marker["automation"],
        "event": marker["event"],
        "time": marker["time"],
        "ref": ref,
        "subject": marker.get("subject"),
        "seq": marker["seq"],
        "status": notice.status,
        "tries": [{key: item.get(key) for key in ("time", "status", "error", "ms", "user")} for item in notice.tries],
        "error": last.get("error"),
        "next_try_in": max(0.0, due_at(notice) - clock) if notice.status == outbox.PENDING else None,
    }


def due_at(notice: Notice) -> float:
    """Return when a notice may be tried next, in seconds since the epoch: 1, 2, 4, … seconds after its last try."""
    if not notice.tries:
        return 0.0
    pause = min(2.0 ** (len(notice.tries) - 1), LONGEST_PAUSE)
    return float(notice.tries[-1]["at"]) + pause


def is_due(notice: Notice, clock: float) -> bool:
    """Tell whether a notice may be tried now; a clock that went back does not hold it up."""
    return due_at(notice) <= clock or bool(notice.tries and float(notice.tries[-1]["at"]) > clock)


def deliver(context: Context, *, now: bool = False, linger: float = 0.0, wait: bool = True) -> Report:
    """Send what is due.

    Args:
        context: who delivers, and where.
        now: also what would have to wait because an earlier try failed.
        linger: go on for so many seconds with what fails, as it becomes due again.
        wait: wait for another process that is sending the same notice (else it is left to that process).
    """
    report = Report()
    deadline = context.clock() + linger
    while True:
        report.waiting = []
        report.silent = {}
        failed: list[Notice] = []
        for notice in outbox.pending(context):
            _handle(context, notice, report, failed, now=now, wait=wait)
        # What waits though it is due waits for somebody else: another process, or the automation's author.
        times = [due_at(notice) for notice in failed + report.waiting]
        soonest = min((moment for moment in times if moment > context.clock()), default=None)
        if soonest is None or soonest > deadline:
            report.failed.extend(failed)
            break
        now = False
        context.sleep(max(0.05, soonest - context.clock()))
    outbox.prune(context)
    return report


def _handle(context: Context, notice: Notice, report: Report, failed: list[Notice], *, now: bool, wait: bool) -> None:
    is_silent = report.silent.get(notice.marker["automation"], 0) >= PATIENCE
    if is_silent or not _may_finish(notice) or not (now or is_due(notice, context.clock())):
        report.waiting.append(notice)
        return
    lock = _Lock(notice.path)
    if not lock.take(context, wait=wait):
        report.waiting.append(notice)
        return
    try:
        current = outbox.reread(notice)
        if current is None:
            # Whoever held the lock has brought it to an end.
            ended = next((item for item in outbox.done(context) if item.event_id == notice.event_id), None)
            if ended is not None and ended.status == outbox.DELIVERED:
                report.delivered.append(ended)
            return
        if len(current.tries) > len(notice.tries) and not now and not is_due(current, context.clock()):
            report.waiting.append(current)
            return
        _attempt(context, current, report, failed)
    except RegcliError as error:
        # One that cannot be recorded must not hold up the others.
        context.warnings.append(error.message)
        failed.append(notice)
    finally:
        lock.release()


def _attempt(context: Context, notice: Notice, report: Report, failed: list[Notice]) -> None:
    """Try one notice and record what came of it."""
    import time

    from regcli.domain.webhooks import Outcome

    commit, entry = _find(context, notice)
    if entry is None or commit is None:
        _drop(context, notice, came=commit is not None)
        return
    automation = _definition(context, entry)
    if automation is None:
        notice.record(_record(context, None, "the automation was removed", 0))
        notice.finish(outbox.CANCELLED)
        report.cancelled.append(notice)
        return
    begun = time.monotonic()
    try:
        if entry["event"]["event"] != automation.definition["event"]:
            raise ValueError("the notice is about another event")
        require_signed(context, entry["event"], commit)
        facts = facts_of(context, notice, commit, entry, automation)
        outcome = send(context, automation, {**facts, "depth": notice.marker.get("depth", 0)})
    except SignatureRefusedError as error:
        # Left to somebody who trusts the signer; where nobody does, it is nothing to tell.
        context.warnings.append(f"{notice.event_id} is not told: {error.message}")
        report.waiting.append(notice)
        return
    except _NotOursError:
        report.waiting.append(notice)
        if automation.definition["created_by"] == context.user:
            context.warnings.append(_not_released(automation))
        return
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        outcome = Outcome(None, f"the notice or the automation is malformed: {error!r:.300}")
    notice.record(_record(context, outcome.status, outcome.error, round((time.monotonic() - begun) * 1000)))
    if outcome.error is None:
        notice.finish(outbox.DELIVERED)
        report.delivered.append(notice)
    elif len(notice.tries) >= MAX_TRIES:
        notice.finish(outbox.FAILED)
        report.failed.append(notice)
    else:
        failed.append(notice)
    if outcome.error is not None and outcome.status is None:
        report.silent[automation.name] = report.silent.get(automation.name, 0) + 1


def _record(context: Context, status: int | None, error: str | None, milliseconds: int) -> dict[str, Any]:
    at = context.clock()
    return {"at": at, "time": context.now(), "status": status, "error": error, "ms": milliseconds, "user": context.user}


def _drop(context: Context, notice: Notice, *, came: bool) -> None:
    """Remove a marker that stands for nothing; one whose commit may still be on its way is left alone for a week."""
    if not came:
        try:
            if context.clock() - os.lstat(notice.path).st_mtime < outbox.ABANDONED:
                return
        except OSError:
            return
    notice.forget()


def _chain_at(context: Context, place: str) -> Chain:
    from regcli.domain.collections import open_place
    from regcli.domain.registries import directory_at, open_chain

    directory = directory_at(place)
    if directory is not None:
        return open_chain(context, directory)
    return open_place(context, place).chain


def _find(context: Context, notice: Notice) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
    """Return the commit that a marker was written for and what it says of the notice; None for what is not there."""
    marker = notice.marker
    try:
        chain = _chain_at(context, marker["place"])
        path = chain.commit_path(marker["seq"])
        commit = jsontext.loads(files.read_document(path, 1 << 25), path)
    except (OSError, RegcliError):
        return None, None
    if marker["seq"] in chain.voids or not isinstance(commit, dict):
        return {}, None
    listed = commit.get("outbox")
    for entry in listed if isinstance(listed, list) else ():
        if isinstance(entry, dict) and entry.get("event_id") == notice.event_id:
            # A notice of one's own is known to the commit by its id only, and lies where nobody else could have put it.
            if "event" not in entry:
                own = marker.get("entry") if notice.directory == outbox.own_directory(context) else None
                return commit, own if isinstance(own, dict) else None
            return commit, entry if entry.get("store") != "user" else None
    return commit, None


def _definition(context: Context, entry: dict[str, Any]) -> Automation | None:
    """Return the automation as it is defined now, or None when it was removed."""
    from regcli.domain.registries import directory_at, open_registry_directory
    from regcli.domain.settings import root_settings

    store = str(entry.get("store"))
    name = str(entry.get("automation"))
    found: list[Automation] = []
    if store == "user":
        found = own_automations(context)
    elif store == ".":
        found = [Automation(key, kept) for key, kept in sound(root_settings(context).state["automations"])]
    else:
        directory = directory_at(store)
        if directory is None:
            return None
        registry = open_registry_directory(context, directory)
        if registry.exists:
            found = [Automation(key, kept, registry) for key, kept in sound(registry.state["automations"])]
    return next((item for item in found if item.name == name and item.definition["id"] == entry.get("definition")), None)


def send(context: Context, automation: Automation, facts: Facts) -> Outcome:
    """Send one message and return what came of it.

    Raises:
        _NotOursError: it needs a secret that only the automation's author may read.
    """
    import json

    from regcli.domain import payloads
    from regcli.domain.webhooks import Outcome, post, run_command

    kept = automation.definition
    if (kept["action"] == COMMAND) is not automation.is_own:
        return Outcome(None, "a command that is not in your own configuration is never run")
    if automation.is_own:
        body = json.dumps(payloads.default_payload(facts), sort_keys=True).encode()
        environment = {**context.environment, **_command_variables(context, facts)}
        return run_command(kept["command"], body, environment, context.trust.config_path or "/")
    try:
        url = (
            _value(context, automation, kept["url"].removeprefix(URL_FROM)) if kept["url"].startswith(URL_FROM) else kept["url"]
        )
        token = _value(context, automation, kept["token_env"]) if kept.get("token_env") else None
        secret = _value(context, automation, kept["secret_env"]) if kept.get("secret_env") else None
    except KeyError as error:
        return Outcome(None, str(error.args[0]))
    secrets = {
        name: value for name, value in ((kept.get("token_env"), token), (kept.get("secret_env"), secret)) if name and value
    }
    if kept.get("template"):
        text = payloads.render(kept["template"], payloads.variables(facts, secrets, token))
    else:
        text = json.dumps(payloads.slack_payload(facts) if kept["action"] == SLACK else payloads.default_payload(facts))
    body = text.encode()
    headers = {"User-Agent": "regcli", "X-Regcli-Event-Id": str(facts["event_id"])}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    if secret:
        headers["X-Wandb-Signature"] = headers["X-Regcli-Signature"] = payloads.signature(secret, body)
    if not url.startswith(("http://", "https://")):
        return Outcome(None, "the URL is neither http nor https")
    return post(url, body, headers)


def _command_variables(context: Context, facts: Facts) -> dict[str, str]:
    names = ("event_id", "event", "ref", "collection", "version", "alias", "tag", "user", "digest")
    # Of this process or of the one that made the change, whichever is deeper: any deliverer may take up any notice.
    before = facts.get("depth", 0)
    depth = {DEPTH: str(max(chain_depth(context.environment), before if isinstance(before, int) else 0) + 1)}
    return {**{f"REGCLI_{name.upper()}": str(facts[name]) for name in names if facts.get(name) is not None}, **depth}


def _value(context: Context, automation: Automation, variable: str) -> str:
    """Return a secret from the environment, or from the file of that name in the user's configuration.

    Raises:
        _NotOursError: this user did not name the variable: nobody else's automation must send our secrets to their receiver.
        KeyError: there is none; its argument is the sentence that says so.
    """
    if not variable.startswith(COMMON_PREFIX) and not released.is_released(context, automation):
        raise _NotOursError
    value = context.environment.get(variable)
    if value:
        return _clean(variable, value)
    path = f"{context.trust.config_path}/secrets/{variable}" if context.trust.config_path is not None else None
    if path is None or not os.path.lexists(path):
        raise KeyError(f"variable {variable} is not set, and there is no file {path}")
    try:
        status = os.stat(path, follow_symlinks=False)
        if hasattr(os, "geteuid") and (status.st_mode & 0o077 or status.st_uid != os.geteuid()):
            raise KeyError(f"{path} must be readable by you alone (chmod 600)")
        return _clean(variable, files.read_document(path, 65536).decode())
    except (OSError, RegcliError, UnicodeDecodeError) as error:
        raise KeyError(f"cannot read {path}: {error}") from None


def _clean(variable: str, value: str) -> str:
    value = value.strip()
    if not value.isprintable() or not value.isascii():
        raise KeyError(f"the value of {variable} cannot be sent: it is not plain printable text")
    return value


def try_out(context: Context, name: str) -> Outcome:
    """Send an example of an automation's event at once; nothing is put into the outbox.

    Raises:
        NotFoundError: there is no such automation.
    """
    from regcli.domain.payloads import example
    from regcli.domain.webhooks import Outcome

    automation = find_automation(context, name)
    facts = {
        **example(automation.definition["event"]),
        "automation": name,
        "event_id": files.random_hex(16),
        "time": context.now(),
        "user": context.user,
        "host": context.host,
        "match": automation.definition["match"],
        "test": True,
    }
    try:
        return send(context, automation, facts)
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        return Outcome(None, f"the automation is malformed: {error!r:.300}")
    except _NotOursError:
        author = automation.definition["created_by"]
        if author == context.user:
            return Outcome(None, _not_released(automation))
        return Outcome(None, f"it needs a secret of {author}'s, who alone can send it")


def _not_released(automation: Automation) -> str:
    return (
        f"automation {quote(automation.name)} gets none of your secrets here, since it was not added with this configuration:"
        " `regcli automation add` with the same options lets it have them"
    )


def log_of(context: Context, name: str | None = None, limit: int | None = None) -> list[Notice]:
    """Return the notices that the user may know of, newest first, done or not; only those of one automation if named."""
    from regcli.domain.registries import open_registry_directory, visible

    seen: dict[str, bool] = {}

    def may_see(place: str) -> bool:
        parts = place.split("/")
        if parts[0] != "registries" or len(parts) < 2:
            return True
        if parts[1] not in seen:
            try:
                seen[parts[1]] = visible(context, open_registry_directory(context, parts[1]))
            except RegcliError:
                seen[parts[1]] = False
        return seen[parts[1]]

    every = {notice.event_id: notice for notice in [*outbox.pending(context), *outbox.done(context)]}
    found = [
        notice
        for notice in every.values()
        if (name is None or notice.marker["automation"] == name) and may_see(notice.marker["place"])
    ]
    found.sort(key=outbox.age, reverse=True)
    return found[:limit]


def _may_finish(notice: Notice) -> bool:
    """Tell whether this user could remove the marker afterwards: in a sticky directory only its owner can."""
    if not hasattr(os, "geteuid") or os.geteuid() == 0:
        return True
    try:
        folder, file = os.stat(notice.directory), os.lstat(notice.path)
    except OSError:
        return False
    if folder.st_mode & 0o1000 and os.geteuid() not in (folder.st_uid, file.st_uid):
        return False
    return os.access(notice.directory, os.W_OK)


class _Lock:
    """A flock on the marker itself; where locks do not work a notice may be sent twice, which is allowed."""

    __slots__ = ("_descriptor", "_path")

    def __init__(self, path: str) -> None:
        self._path = path
        self._descriptor = -1

    def take(self, context: Context, *, wait: bool) -> bool:
        """Take the lock; False when another process keeps it."""
        try:
            import fcntl

            self._descriptor = os.open(self._path, files.READ)
        except (ImportError, OSError):
            return True
        deadline = context.clock() + (context.wait if wait else 0.0)
        flock: Callable[[int, int], None] = fcntl.flock
        while True:
            try:
                flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if context.clock() >= deadline:
                    self.release()
                    return False
                context.sleep(0.02)
            except OSError:
                return True
            else:
                return True

    def release(self) -> None:
        """Let go of the lock."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
