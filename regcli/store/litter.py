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
                removed += _remove_unlisted(directory, names, now)
            for name in names:
                if name.startswith(_LITTER):
                    removed += _remove(f"{directory}/{name}", now)
    for name in os.listdir(root):
        if name.startswith(_LITTER):
            removed += _remove(f"{root}/{name}", now)
    return removed


def _remove_unlisted(directory: str, names: list[str], now: float) -> int:
    """Remove pages that a killed writer left before a head listed them; a reader with an older head replays the log."""
    try:
        head = jsontext.unseal(files.read_document(f"{os.path.dirname(directory)}/head.json"))
        listed = {page[2] for page in (head or {})["records"]["pages"]}
    except (OSError, RegcliError, KeyError, TypeError, IndexError):
        return 0
    return sum(_remove(f"{directory}/{name}", now) for name in names if name not in listed and not name.startswith(_LITTER))


def _remove(path: str, now: float) -> int:
    try:
        status = os.lstat(path)
        if status.st_ctime >= now - _OLD or not stat.S_ISREG(status.st_mode):
            return 0
        os.unlink(path)
    except OSError:
        return 0
    return 1
