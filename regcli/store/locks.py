"""Locks on files of the store, and of the user's own."""

from __future__ import annotations

import errno
import os

from regcli.errors import BusyError
from regcli.store import files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


class Lock:
    """A flock on a file of the store, shared or exclusive, held until `release` or process end.

    Correctness of adding never rests on it (it may silently do nothing on some file systems); it only keeps
    deletions apart from additions. The file is never deleted; the kernel drops the lock of a killed process.
    """

    __slots__ = ("_descriptor", "_dir_fd", "path")

    def __init__(self, path: str, *, dir_fd: int | None = None) -> None:
        """Name the file; with a descriptor of its directory the rest of the path is for messages."""
        self.path = path
        self._dir_fd = dir_fd
        self._descriptor = -1

    def acquire(
        self,
        *,
        exclusive: bool,
        wait: float,
        clock: Callable[[], float],
        sleep: Callable[[float], None],
        needed: bool | None = None,
    ) -> None:
        """Take the lock within `wait` seconds.

        Where the file system has no locks, one that is `needed` fails; unless that is said, an exclusive one is.

        Raises:
            BusyError: another process kept it for that long. StorageError: it cannot be taken.
        """
        try:
            import fcntl
        except ImportError:
            return
        try:
            self._descriptor = self._open()
        except OSError as error:
            raise files.explain(error, f"cannot open the lock {self.path}") from error
        mode = (fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH) | fcntl.LOCK_NB
        deadline = clock() + wait
        pause = 0.002
        while True:
            try:
                fcntl.flock(self._descriptor, mode)
            except BlockingIOError:
                if clock() >= deadline:
                    self.release()
                    raise BusyError(
                        f"the store is busy: {self.path} is locked by another process",
                        hint="try again, or wait longer with --wait SECONDS",
                    ) from None
                sleep(pause)
                # Who looks seldom loses against those who come and go.
                pause = min(pause * 1.5, 0.03)
            except OSError as error:
                is_needed = exclusive if needed is None else needed
                if error.errno in (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS) and not is_needed:
                    return
                self.release()
                raise files.explain(error, f"cannot lock {self.path}") from error
            else:
                return

    def _open(self) -> int:
        name = self.path if self._dir_fd is None else os.path.basename(self.path)
        try:
            return os.open(name, files.READ | os.O_RDWR | os.O_CREAT, 0o666, dir_fd=self._dir_fd)
        except OSError as error:
            try:
                return os.open(name, files.READ, dir_fd=self._dir_fd)
            except OSError:
                raise error from None

    def release(self) -> None:
        """Let go of the lock."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
