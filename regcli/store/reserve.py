"""A little room that only `delete` and `gc` may use, so that they work on a full disk: freeing begins with writing a commit."""

from __future__ import annotations

import os
from contextlib import contextmanager

from regcli.store import files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

# Enough for some dozen commits with their directories; random bytes, since some file systems store zeros nowhere.
_SIZE = 256 * 1024


def _path(root: str) -> str:
    return f"{root}/locks/reserve"


def keep_reserve(root: str) -> None:
    """Set the room aside unless it is there; that there is none is not worth a failure."""
    path = _path(root)
    try:
        if os.stat(path).st_size == _SIZE:
            return
    except OSError:
        pass
    try:
        files.replace_file(path, os.urandom(_SIZE), root=root)
    except OSError:
        return


def _give_up_reserve(root: str) -> None:
    """Make the room free where the disk has hardly any other."""
    try:
        status = os.statvfs(root)
        if status.f_bavail * status.f_frsize > 4 * _SIZE and (status.f_favail > 64 or not status.f_files):
            return
        files.remove_names(os.path.dirname(_path(root)), ["reserve"], root)
    except OSError:
        return


@contextmanager
def with_reserve(root: str) -> Iterator[None]:
    """Let what is done here use the room where the disk has hardly any other; afterwards it is set aside again if it can be."""
    _give_up_reserve(root)
    try:
        yield
    finally:
        keep_reserve(root)
