"""Doctor: which root this is and why, what its file system can do, what is wrong and how to mend it."""

from __future__ import annotations

import os
import stat

from regcli.domain.collections import list_collections
from regcli.domain.listing import list_projects
from regcli.domain.registries import list_registries
from regcli.domain.registry_settings import hand_edits
from regcli.errors import NotFoundError, RegcliError
from regcli.model import quote
from regcli.store.probe import count_litter, probe_file_system
from regcli.store.sweep import trash_names

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from regcli.domain.context import Context
    from regcli.domain.outbox import Notice

LOW_SPACE = 1 << 30
# A delivery in the background takes up what is new within seconds, and goes on for ten.
_LONG = 60.0


class Finding:
    """Something worth knowing: `level` is `problem` or `hint`, then what it is and what helps."""

    __slots__ = ("help", "level", "message")

    def __init__(self, level: str, message: str, help: str) -> None:  # noqa: A002 - the word that is shown
        """Bundle the finding."""
        self.level = level
        self.message = message
        self.help = help

    def document(self) -> dict[str, str]:
        """Return it as JSON."""
        return {"level": self.level, "message": self.message, "help": self.help}


class Examination:
    """What `doctor` found: the root (None where there is none), counts, the file system, and findings."""

    __slots__ = ("counts", "file_system", "findings", "root")

    def __init__(self) -> None:
        """Start with nothing found."""
        self.root: dict[str, Any] | None = None
        self.counts: dict[str, int] = {}
        self.file_system: dict[str, Any] = {}
        self.findings: list[Finding] = []

    @property
    def ok(self) -> bool:
        """Whether there is no problem (hints do not count)."""
        return all(finding.level != "problem" for finding in self.findings)


def examine(context: Context) -> Examination:
    """Look at the root without changing it; only a few files are read, `verify` reads all of them."""
    found = Examination()
    try:
        root = context.root
    except NotFoundError as error:
        found.findings.append(Finding("hint", error.message, error.hint or ""))
        return found
    except RegcliError as error:
        found.findings.append(Finding("problem", error.message, error.hint or "run `regcli verify`"))
        return found
    found.root = {
        "path": root.path,
        "id": root.id,
        "owner": root.owner,
        "created_at": root.created_at,
        "entity": root.entity,
        "personal": root.personal,
    }
    found.file_system = probe_file_system(root.path)
    _judge_file_system(found)
    _judge_owner(found, root.path, context.uid)
    for judge in (_count, _judge_settings, _judge_deliveries, _judge_litter, _count_trash):
        try:
            judge(context, found)
        except RegcliError as error:
            # What is wrong with one part of the root is not the last that is found.
            context.warnings.append(error.message)
    for message in dict.fromkeys(context.warnings):
        found.findings.append(Finding("problem", message, "`regcli verify` names all damage"))
    context.warnings.clear()
    return found


def _judge_file_system(found: Examination) -> None:
    system = found.file_system
    if not system["writable"]:
        found.findings.append(Finding("hint", "the root is read-only for you", "reading works; logging needs write permission"))
    if system["free"] is not None and system["free"] < LOW_SPACE:
        found.findings.append(Finding("problem", "less than 1 GiB is free", "`regcli gc` and `regcli du` help to make room"))
    if system.get("failed"):
        found.findings.append(
            Finding(
                "problem", f"writing fails: {system['failed']}", "make room with `regcli gc`, or check permissions in the root"
            )
        )
    if system.get("link") is False:
        found.findings.append(
            Finding(
                "problem",
                "the file system has no hard links, which make a commit visible",
                "move the root to another file system",
            )
        )
    if system.get("fsync") is False:
        found.findings.append(
            Finding(
                "problem", "fsync fails: nothing here survives a power cut for certain", "move the root to another file system"
            )
        )
    if system.get("locks"):
        found.findings.append(
            Finding(
                "hint",
                f"locks prove nothing: {system['locks']}",
                "logging is safe all the same; run `regcli gc` while nobody writes",
            )
        )


def _judge_owner(found: Examination, path: str, uid: int) -> None:
    status = os.stat(path)
    if uid >= 0 and status.st_uid not in (uid, 0):
        found.findings.append(
            Finding(
                "hint", f"the root belongs to another user (uid {status.st_uid})", "trust its content as far as you trust them"
            )
        )
    if status.st_mode & stat.S_IWOTH and not status.st_mode & stat.S_ISVTX:
        found.findings.append(
            Finding(
                "problem", "everybody may write to the root's directory", f"take the right away with `chmod o-w {quote(path)}`"
            )
        )


def _count(context: Context, found: Examination) -> None:
    registries = list_registries(context)
    projects = list_projects(context)
    collections = [item for registry in registries for item in list_collections(context, registry.base, registry)]
    collections += [item for project in projects for item in list_collections(context, project.base, None)]
    found.counts.update(
        registries=len(registries),
        projects=len(projects),
        collections=len(collections),
        versions=sum(collection.state["count"] for collection in collections),
    )


def _count_trash(context: Context, found: Examination) -> None:
    found.counts["trash"] = len(trash_names(context.root.path))


def _judge_litter(context: Context, found: Examination) -> None:
    litter = count_litter(context.root.path)
    if litter:
        what = f"{litter} temporary file{'s' if litter > 1 else ''} of commands that were killed"
        found.findings.append(Finding("hint", what, "`regcli gc` removes them once they are an hour old"))


def _judge_settings(context: Context, found: Examination) -> None:
    for name, path in hand_edits(context):
        found.findings.append(
            Finding(
                "problem",
                f"{path} was edited by hand and does not say what the settings of {quote(name)} are",
                f"an admin takes the changes in with `regcli registry apply {quote(path)}`",
            )
        )


def _judge_deliveries(context: Context, found: Examination) -> None:
    """Name the automations whose receivers do not take what they are sent, or that nobody delivers for."""
    from regcli.domain.automations import list_automations
    from regcli.domain.delivery import log_of
    from regcli.domain.outbox import DELIVERED, FAILED, PENDING

    known = {automation.name for automation in list_automations(context)}
    failing: dict[str, list[Notice]] = {}
    waiting: dict[str, list[Notice]] = {}
    works: set[str] = set()
    for notice in log_of(context):
        name = notice.marker["automation"]
        if name not in known:
            continue
        if notice.status == DELIVERED:
            # What was given up before this is over.
            works.add(name)
        elif notice.status == FAILED:
            if name not in works and notice.tries:
                failing.setdefault(name, []).append(notice)
        elif notice.status == PENDING and notice.tries:
            failing.setdefault(name, []).append(notice)
        elif notice.status == PENDING and _is_old(notice, context.clock()):
            waiting.setdefault(name, []).append(notice)
    for name, notices in sorted(failing.items()):
        last = max(notices, key=_last_try).tries[-1]
        given_up = sum(notice.status == FAILED for notice in notices)
        what = f"automation {quote(name)} has not delivered {_events(notices)}"
        what += f" ({given_up} given up)" if given_up else ""
        reason = last.get("error") or f"status {last.get('status')}"
        helps = f"`regcli automation log {quote(name)}` shows every try"
        if given_up < len(notices):
            helps += "; `regcli automation deliver --now` tries again"
        found.findings.append(Finding("problem", f"{what}: {reason}", helps))
    for name, notices in sorted(waiting.items()):
        found.findings.append(
            Finding(
                "hint",
                f"{_events(notices)} of automation {quote(name)} still to be delivered",
                "`regcli automation deliver` sends what is waiting, and says what it cannot send",
            )
        )


def _is_old(notice: Notice, clock: float) -> bool:
    try:
        return clock - os.lstat(notice.path).st_mtime > _LONG
    except OSError:
        # Delivered meanwhile.
        return False


def _last_try(notice: Notice) -> float:
    return float(notice.tries[-1]["at"])


def _events(notices: list[Notice]) -> str:
    return f"{len(notices)} event{'s' if len(notices) > 1 else ''}"
