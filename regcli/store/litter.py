"""Temporary files beside logs and heads that killed processes left."""

from __future__ import annotations

import os
import stat

_LITTER = ".tmp-"
_OLD = 3600.0


def remove_log_litter(root: str, *, now: float) -> int:
    """Remove temporary files older than an hour outside the content; return how many.

    A writer finishes its temporary file within seconds, so an hour tells a dead one's from a live one's.
    """
    removed = 0
    for top in ("registries", "projects", "settings", "backrefs", "locks"):
        for directory, _, names in os.walk(f"{root}/{top}"):
            for name in names:
                if name.startswith(_LITTER):
                    removed += _remove(f"{directory}/{name}", now)
    for name in os.listdir(root):
        if name.startswith(_LITTER):
            removed += _remove(f"{root}/{name}", now)
    return removed


def _remove(path: str, now: float) -> int:
    try:
        status = os.lstat(path)
        if status.st_ctime >= now - _OLD or not stat.S_ISREG(status.st_mode):
            return 0
        os.unlink(path)
    except OSError:
        return 0
    return 1
