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
        files.replace_file(path, os.urandom(_SIZE))
    except OSError:
        return


def give_up_reserve(root: str) -> bool:
    """Make the room free where the disk has hardly any other; tell whether it was needed and there."""
    try:
        status = os.statvfs(root)
        if status.f_bavail * status.f_frsize > 4 * _SIZE and (status.f_favail > 64 or not status.f_files):
            return False
        os.unlink(_path(root))
    except OSError:
        return False
    return True


@contextmanager
def with_reserve(root: str) -> Iterator[None]:
    """Let what is done here use the room where the disk has hardly any other; what is left of it is set aside again."""
    given_up = give_up_reserve(root)
    try:
        yield
    finally:
        if given_up:
            keep_reserve(root)
