"""What a root still tells of collections and registries whose directories are gone.

Nothing that regcli does takes such a directory away: what was deleted or renamed keeps its log for ever. So whatever was
written only after a directory had its first commit is a witness, and without the directory proof of damage.
"""

from __future__ import annotations

import os

from regcli.domain.registries import BUILT_IN, directory_at
from regcli.domain.report import Problem
from regcli.errors import IntegrityError, RegcliError
from regcli.model import quote
from regcli.store import files
from regcli.store.backrefs import LINK
from regcli.store.layout import encode_name, is_collection_place

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from regcli.domain.context import Context
    from regcli.domain.report import Report

    Commit = dict[str, Any]


# They are there without a file until something is done with them.
_BUILT_IN = frozenset(f"registries/{name}" for name in BUILT_IN)


class Witnesses:
    """Gathers who tells of which place, the first for each, while the rest of the root is checked."""

    __slots__ = ("_root", "_told")

    def __init__(self, root_path: str) -> None:
        """Take the root; nothing is read."""
        self._root = root_path
        self._told: dict[str, str] = {}

    def note(self, place: object, words: str) -> None:
        """Take note that somebody tells of a place, which may be that of a registry or of a collection."""
        if isinstance(place, str) and place not in self._told and _is_proper(place):
            self._told[place] = words

    def hear_commit(self, commit: Commit, place: str) -> None:
        """Take note of what a commit of the log at `place` tells of other places.

        What an import repeats speaks of places of another root.
        """
        if commit.get("origin") is not None:
            return
        try:
            self._hear(commit, place)
        except (KeyError, TypeError, AttributeError, ValueError):
            # Malformed, which is reported where the log is replayed.
            return

    def _hear(self, commit: Commit, place: str) -> None:
        for entry in commit.get("outbox") or ():
            words = f"{place} had an automation told of it"
            self.note(entry.get("store"), words)
            self.note((entry.get("event") or {}).get("place"), words)
        for op in commit["ops"]:
            name = op["op"]
            if name in ("version", "link"):
                record = op["record"]
                source = record.get("source")
                if source is not None:
                    self.note(source["place"], f"{place} has links to it")
                for item in record["inputs"]:
                    self.note(item["place"], f"{place}:v{op['version']} was made from it")
            elif name in ("use", "output"):
                self.note(op["after"]["place"], f"{place} {'used' if name == 'use' else 'logged'} a version of it")
            elif name == "redirect":
                self.note(f"{os.path.dirname(place)}/{op['to']}", f"{place} gives its name to it")
            elif name == "rename":
                # Before a rename the new name's directory has a commit that gives the name away.
                self.note(f"{os.path.dirname(place)}/{encode_name(op['after'])}", f"{place} was renamed to it")

    def hear_marker(self, kind: str, place: str, number: int) -> None:
        """Take note of what the marker of a pointer tells.

        It is written before its commit, which may never have come: version 0 proves no collection. But a registry was there
        before anything could be linked into it.
        """
        words = f"a marker ({kind}) in backrefs/ tells of v{number} of {place}"
        if number > 0:
            self.note(place, words)
        registry = "/".join(place.split("/")[:2])
        if kind == LINK and registry not in _BUILT_IN:
            self.note(registry, words)

    def hear_memory(self, context: Context, report: Report) -> None:
        """Take note of what the catalog and the deliveries that are done tell, which were written after commits."""
        try:
            if files.is_there(f"{self._root}/cache"):
                from regcli.domain.catalog import remembered

                for place, seq in remembered(context):
                    self.note(place, f"cache/ tells of its commit {seq}")
            if files.is_there(f"{self._root}/outbox"):
                from regcli.domain import outbox

                for notice in outbox.done_in(outbox.shared_directory(context)):
                    self.note(notice.marker["place"], "outbox/done/ tells of what happened there")
        except IntegrityError as error:
            report.problems.append(Problem("index", context.root.path, error.message))
        except RegcliError:
            # Others may be kept from reading these; then they tell nothing.
            return

    def report(self, report: Report) -> None:
        """Report what is told of and not there, a registry once with all that is known of its collections."""
        known = [problem.path for problem in report.problems]
        gone = sorted(place for place in self._told if not self._is_there(place))
        registries = {place for place in gone if place.count("/") == 1}
        for place in gone:
            registry = "/".join(place.split("/")[:2])
            if place.startswith("registries/") and registry not in _BUILT_IN and not self._is_there(registry):
                registries.add(registry)
        for place in sorted(registries):
            collections = [other for other in gone if other.startswith(f"{place}/")]
            words = self._told.get(place) or self._told[collections[0]]
            lost = f", with {', '.join(_name_of(other) for other in collections)}" if collections else ""
            self._add(report, known, place, "settings", f"registry {_name_of(place)} is gone{lost}, but {words}")
        for place in gone:
            if place.count("/") > 1 and "/".join(place.split("/")[:2]) not in registries:
                words = f"collection {_name_of(place)} is gone, but {self._told[place]}"
                self._add(report, known, place, "log", words)

    def _add(self, report: Report, known: list[str], place: str, log: str, words: str) -> None:
        path = f"{self._root}/{place}/{log}"
        # A head that remembers more has been believed already.
        if not any(other == path or other.startswith(f"{path}/") for other in known):
            report.problems.append(Problem("history", path, f"{path} is missing: {words}"))

    def _is_there(self, place: str) -> bool:
        log = "settings" if place.count("/") == 1 else "log"
        try:
            return any(name.endswith(".json") for name in files.scan_names(f"{self._root}/{place}/{log}"))
        except RegcliError:
            # Not knowing is not absence; what cannot be read is told where it is read.
            return True


def _is_proper(place: str) -> bool:
    """Tell whether this is the place of a registry or collection; anybody may have written the log that it stands in."""
    if place.count("/") != 1:
        return is_collection_place(place)
    directory = directory_at(place)
    return directory is not None and not directory.startswith(".") and "\0" not in directory


def _name_of(place: str) -> str:
    """Return the first name of a collection or registry, after which its directory is called."""
    from urllib.parse import unquote

    return quote("/".join(unquote(part) for part in place.split("/")[1:] if part != "collections"))
