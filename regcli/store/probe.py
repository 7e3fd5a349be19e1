"""What the file system of a root can do: tried out, since names and mount options tell only half."""

from __future__ import annotations

import os

from regcli.errors import RegcliError, reason_of
from regcli.store import blobs, files
from regcli.store.locktest import distrust_of_locks, file_system

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

LITTER_LIMIT = 1000


def probe_file_system(root: str) -> dict[str, Any]:
    """Return what was found out about the place of a root; without write permission only what can be read.

    Keys: `type` (as the system names it, or None), `free` and `size` in bytes, `writable`, and, where it is writable, `link`,
    `reflink`, `fsync` (booleans) and `locks` (None, or why they prove nothing); or `failed`, why it could not be tried.
    """
    found: dict[str, Any] = {"type": file_system(root), "free": None, "size": None, "writable": os.access(root, os.W_OK)}
    try:
        space = os.statvfs(root)
    except (OSError, AttributeError):
        pass
    else:
        found["free"] = space.f_bavail * space.f_frsize
        found["size"] = space.f_blocks * space.f_frsize
    if found["writable"]:
        first, second, third = (files.temporary_path(root) for _ in range(3))
        try:
            found.update(_try_out(first, second, third))
            found["locks"] = distrust_of_locks(root)
        except OSError as error:
            # A full disk, a quota, a permission: whoever is in need asks what is wrong.
            found["failed"] = reason_of(error)
        except RegcliError as error:
            found["failed"] = error.message
        finally:
            for path in (first, second, third):
                try:
                    os.unlink(path)
                except OSError:
                    continue
    return found


def _try_out(first: str, second: str, third: str) -> dict[str, bool]:
    source = os.open(first, (files.CREATE & ~os.O_WRONLY) | os.O_RDWR, 0o600)
    try:
        files.write_all(source, b"x" * 65536)
        synced = True
        try:
            files.fsync_file(source)
            files.fsync_directory(os.path.dirname(first))
        except OSError:
            synced = False
        target = os.open(third, files.CREATE, 0o600)
        try:
            cloned = blobs.clone(source, target)
        finally:
            os.close(target)
    finally:
        os.close(source)
    try:
        os.link(first, second)
        linked = True
    except OSError:
        linked = False
    return {"link": linked, "reflink": cloned, "fsync": synced}


def count_litter(root: str) -> int:
    """Count temporary files of writers that died, near the top of the root and beside content (at most 1000)."""
    count = 0
    for directory in (f"{root}/.", f"{root}/packs", f"{root}/blobs", f"{root}/locks"):
        for name in files.scan_names(directory):
            if name.startswith(".tmp-"):
                count += 1
                if count >= LITTER_LIMIT:
                    return count
    return count
