"""An independent reading of a root's logs, and the checks that a recorded history of commands is put to.

It is written from FORMAT.md, shares no code with the program, and is as simple as it can be.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

Event = dict[str, Any]


class DamageError(AssertionError):
    """A log is not what it must be after any crash: whole commits, numbered without a gap, each naming the one before."""


def read_log(directory: Path) -> list[dict[str, Any]]:
    """Return the commits of a log, in order."""
    names = sorted(path.name for path in directory.glob("*.json")) if directory.is_dir() else []
    commits: list[dict[str, Any]] = []
    previous = "0" * 64
    for number, name in enumerate(names, 1):
        data = (directory / name).read_bytes()
        if name != f"{number:010d}.json":
            raise DamageError(f"{directory}: {name} is there, but not number {number}")
        try:
            commit = json.loads(data)
        except ValueError:
            raise DamageError(f"{directory}/{name} is not JSON: {data[:80]!r}") from None
        if commit["seq"] != number or commit["prev"] != previous:
            raise DamageError(f"{directory}/{name} does not follow the one before it")
        previous = hashlib.sha256(data).hexdigest()
        commits.append(commit)
    return commits


class States:
    """What the commits of one collection add up to, after each of them."""

    def __init__(self, commits: list[dict[str, Any]]) -> None:
        self.commits = commits
        self.aliases: list[dict[str, int]] = [{}]
        self.live: list[frozenset[int]] = [frozenset()]
        self.records: list[dict[int, dict[str, Any]]] = [{}]
        aliases: dict[str, int] = {}
        live: set[int] = set()
        records: dict[int, dict[str, Any]] = {}
        for commit in commits:
            records = dict(records)
            for op in commit["ops"]:
                version = op.get("version")
                if op["op"] in ("version", "link"):
                    live.add(version)
                    records[version] = op["record"]
                elif op["op"] == "undelete":
                    live.add(version)
                elif op["op"] in ("delete", "unlink", "purge"):
                    live.discard(version)
                elif op["op"] == "alias" and op["after"] is None:
                    aliases.pop(op["alias"].casefold(), None)
                elif op["op"] == "alias":
                    aliases[op["alias"].casefold()] = op["after"]
                elif op["op"] == "edit" and version is not None:
                    records[version] = {**records[version], op["field"]: op["after"]}
                elif op["op"] == "tags" and version is not None:
                    records[version] = {**records[version], "tags": op["after"]}
            self.aliases.append(dict(aliases))
            self.live.append(frozenset(live))
            self.records.append(records)

    def find(self, seq: int, selector: str) -> int | None:
        """Return the version that a selector means after commit `seq`."""
        if selector == "latest":
            return max(self.live[seq], default=None)
        return self.aliases[seq].get(selector.casefold())


def place_of(reference: str) -> tuple[str, str]:
    """Return the log's directory, relative to the root, and the selector of a canonical reference (names are plain here)."""
    name, _, selector = reference.partition(":")
    parts = name.split("/")
    if len(parts) == 3:
        return f"projects/{parts[0]}/{parts[1]}/collections/{parts[2]}/log", selector
    return f"registries/{parts[0]}/collections/{parts[1]}/log", selector


def log_of(answer: dict[str, Any]) -> str:
    """Return the log that an answer's `seq` is about."""
    if "registry" in answer and "ref" not in answer:
        return f"registries/{answer['registry']}/settings"
    return place_of(answer["ref"])[0]


def all_logs(root: Path) -> list[Path]:
    """Return the directory of every log in a root."""
    found = [path for path in root.rglob("log") if path.is_dir()]
    return sorted(found + [path for path in root.rglob("settings") if path.is_dir()])


def acknowledged(events: Iterable[Event]) -> list[Event]:
    """Return the commands that answered with success and a `seq`."""
    return [event for event in events if event["code"] == 0 and "seq" in event["answer"]]


def lost(root: Path, events: Iterable[Event]) -> list[str]:
    """Return every acknowledged change that is not in the root: what was promised and is gone."""
    problems = []
    logs: dict[str, list[dict[str, Any]]] = {}
    for event in acknowledged(events):
        place = log_of(event["answer"])
        if place not in logs:
            logs[place] = read_log(root / place)
        seq = event["answer"]["seq"]
        if seq > len(logs[place]):
            problems.append(f"{event['argv']} was answered with seq {seq}, but {place} ends at {len(logs[place])}")
        elif event["token"] is not None and not carries(logs[place][seq - 1], event["token"]):
            problems.append(f"{event['argv']} was answered with seq {seq}, which is another change in {place}")
    return problems


def carries(commit: dict[str, Any], token: str) -> bool:
    """Tell whether a commit is the one that a command with this unique word made."""
    return token in json.dumps(commit)


def unacknowledged(root: Path, events: Iterable[Event]) -> int:
    """Return how many commits are in the root that no command was answered with (`gc` makes many and names none)."""
    known = {(log_of(event["answer"]), event["answer"]["seq"]) for event in acknowledged(events)}
    count = 0
    for directory in all_logs(root):
        place = str(directory.relative_to(root))
        count += sum((place, commit["seq"]) not in known and commit["command"] != "gc" for commit in read_log(directory))
    return count


def not_linearizable(root: Path, events: Iterable[Event]) -> list[str]:
    """Return what contradicts that each log's commands took effect one after the other, each between its call and its answer.

    Every answer carries the number of the commit it rests on, so one pass is enough: nothing answered before a call may be
    newer than what the call saw, no two changes have one number, and what was read is what the commits up to it say.
    """
    problems: list[str] = []
    by_log: dict[str, list[Event]] = {}
    for event in acknowledged(events):
        by_log.setdefault(log_of(event["answer"]), []).append(event)
    for place, group in by_log.items():
        problems += _out_of_order(place, group)
        if not place.startswith("registries/model/settings"):
            states = States(read_log(root / place))
            problems += [f"{place}: {words}" for event in group if (words := _contradiction(states, event))]
    return problems


def _out_of_order(place: str, group: list[Event]) -> list[str]:
    problems = []
    answered = sorted(group, key=lambda event: event["returned"])
    position, newest = 0, 0
    writers: dict[int, Event] = {}
    for event in sorted(group, key=lambda event: event["called"]):
        while position < len(answered) and answered[position]["returned"] < event["called"]:
            newest = max(newest, answered[position]["answer"]["seq"])
            position += 1
        seq = event["answer"]["seq"]
        if seq < newest or (seq == newest and event["changed"]):
            problems.append(f"{place}: {event['argv']} saw {seq}, though {newest} had been answered before it began")
        if event["changed"]:
            if seq in writers:
                problems.append(f"{place}: {event['argv']} and {writers[seq]['argv']} were both answered with {seq}")
            writers[seq] = event
    return problems


def _contradiction(states: States, event: Event) -> str | None:
    """Compare an answer with the state that it says it rests on."""
    answer, verb = event["answer"], event["argv"][0]
    seq = answer["seq"]
    if seq >= len(states.live):
        return f"{event['argv']} saw {seq}, but the log ends before it"
    version = int(answer["version"][1:]) if "version" in answer else None
    if verb == "resolve":
        selector = event["argv"][1].partition(":")[2] or "latest"
        if states.find(seq, selector) != version:
            return f"{event['argv']} answered v{version} at {seq}, where the log says {states.find(seq, selector)}"
    elif version is not None and verb in ("log", "link"):
        if version not in states.live[seq] or states.records[seq][version]["digest"] != answer["digest"]:
            return f"{event['argv']} answered v{version} at {seq}, which the log does not say"
    elif verb == "alias" and event["argv"][1] == "add":
        index = int(answer["ref"].rpartition(":v")[2])
        held = sorted(alias for alias, holder in states.aliases[seq].items() if holder == index)
        said = sorted(alias.casefold() for alias in answer["aliases"] if alias != "latest")
        if held != said:
            return f"{event['argv']} answered {said} at {seq}, where the log says {held}"
    return None
