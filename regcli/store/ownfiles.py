"""The user's own files, outside of every root, that several processes of the user may change at once.

Each change takes the lock beside the file, reads the file anew and replaces it whole. Without working locks the file stays
whole too, but of two changes at the same moment one may be lost.
"""

from __future__ import annotations

import os
import time

from regcli.errors import UsageError
from regcli.store import files
from regcli.store.locks import Lock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Self


class Changing:
    """Keeps the user's other processes from changing a file inside a `with` block; what it says is to be read inside.

    Raises:
        BusyError: another process kept it for `wait` seconds. StorageError: there can be no lock beside it.
    """

    __slots__ = ("_lock", "_sleep", "_wait")

    def __init__(self, path: str, *, wait: float, sleep: Callable[[float], None] = time.sleep) -> None:
        """Name the file, which need not exist, and how long others are waited for."""
        self._lock = Lock(f"{path}.lock")
        self._wait = wait
        self._sleep = sleep

    def __enter__(self) -> Self:
        """Wait for others."""
        directory = os.path.dirname(self._lock.path)
        try:
            os.makedirs(directory, mode=0o700, exist_ok=True)
        except OSError as error:
            raise files.explain(error, f"cannot make {directory}") from error
        # A home directory on a file system without locks is no reason to refuse a change.
        self._lock.acquire(exclusive=True, wait=self._wait, clock=time.monotonic, sleep=self._sleep, needed=False)
        return self

    def __exit__(self, *_: object) -> None:
        """Let others in."""
        self._lock.release()


def replace(path: str, data: bytes, limit: int = files.MAX_DOCUMENT) -> None:
    """Replace one of these files, durable and for no other user; `limit` is what its reader takes.

    Raises:
        UsageError: it would be too large to be read back; the old one stays.
        StorageError: it could not be written; the old one stays.
    """
    if len(data) > limit:
        raise UsageError(f"{path} would be larger than {limit} bytes", hint="remove what is not needed any more from it")
    files.replace_own_file(path, data)
