"""Temporary files beside logs and heads that killed processes left."""

from __future__ import annotations

import os
import stat

from regcli.errors import RegcliError
from regcli.store import files, jsontext

_LITTER = ".tmp-"
_OLD = 3600.0


def remove_log_litter(root: str, *, now: float) -> int:
    """Remove temporary files older than an hour outside the content; return how many.

    A writer finishes its temporary file within seconds, so an hour tells a dead one's from a live one's.
    """
    removed = 0
    for top in ("registries", "projects", "settings", "backrefs", "locks", "cache", "outbox"):
        # What lies below is walked without following links; a link in the place of the top would be.
        for directory, _, names in os.walk(f"{root}/{top}") if not os.path.islink(f"{root}/{top}") else ():
            if directory.endswith("/pages"):
                removed += _remove(root, directory, _unlisted(directory, names), now)
            removed += _remove(root, directory, names, now, prefix=_LITTER)
    return removed + _remove(root, root, os.listdir(root), now, prefix=_LITTER)


def _unlisted(directory: str, names: list[str]) -> list[str]:
    """Return the pages that a killed writer left before a head listed them; a reader with an older head replays the log."""
    try:
        head = jsontext.unseal(files.read_document(f"{os.path.dirname(directory)}/head.json"))
        listed = {page[2] for page in (head or {})["records"]["pages"]}
    except (OSError, RegcliError, KeyError, TypeError, IndexError):
        return []
    return [name for name in names if name not in listed and not name.startswith(_LITTER)]


def _remove(root: str, directory: str, names: list[str], now: float, *, prefix: str = "") -> int:
    old = []
    for name in names:
        if not name.startswith(prefix):
            continue
        try:
            status = os.lstat(f"{directory}/{name}")
        except OSError:
            continue
        if status.st_ctime < now - _OLD and stat.S_ISREG(status.st_mode):
            old.append(name)
    return len(files.remove_names(directory, old, root)) if old else 0
