"""Walking a directory that is to be logged: every file with its `stat`, a directory at a time."""

from __future__ import annotations

import os
import stat

from regcli.errors import SourceChangedError, StorageError, UsageError
from regcli.model import quote
from regcli.store import files
from regcli.store.ignore import Ignore, excludes, read_ignore_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    Files = list[tuple[str, os.stat_result]]
    Identity = tuple[int, int]
    # (path below the start with final slash or "", patterns that hold there, the directories above it)
    Pending = tuple[str, Ignore | None, frozenset[Identity]]

# A stat_result has 700 bytes: a directory of a million files must not be held at once.
CHUNK = 8192
_REGULAR = stat.S_IFREG
_DIRECTORY = stat.S_IFDIR
_KINDS = {stat.S_IFSOCK: "a socket", stat.S_IFIFO: "a FIFO", stat.S_IFCHR: "a device", stat.S_IFBLK: "a device"}


class DanglingLinkError(UsageError):
    """A link in a directory that is logged leads nowhere."""

    kind = "dangling-link"


class Walk:
    """One walk over a directory.

    Attributes:
        top: the directory.
        skipped_links: links to directories that were not followed, relative to `top`.
    """

    __slots__ = ("_always", "_avoid", "_follow", "skipped_links", "top")

    def __init__(
        self,
        top: str,
        *,
        exclude: Sequence[str] = (),
        follow_directory_links: bool = False,
        avoid: Identity | None = None,
    ) -> None:
        """Prepare a walk; `avoid` is (device, inode) of a directory to leave out: the store itself."""
        self.top = top.rstrip("/") or "/"
        self._follow = follow_directory_links
        self._avoid = avoid
        self._always = Ignore(exclude) if exclude else None
        self.skipped_links: list[str] = []

    def directories(self) -> Iterator[tuple[str, int, Files]]:
        """Yield (prefix, descriptor, files) for each directory, large ones in parts.

        `prefix` is the directory's path below the start with a final slash, or "". The descriptor is valid until the next
        directory is asked for. A `stat` is the file's own, where a link was followed too. Files come in the file system's
        order, which stays while the directory does.

        Raises:
            UsageError: a dangling link, socket, FIFO or device is in the way.
            StorageError: a directory cannot be read.
        """
        try:
            top = os.open(self.top, files.DIRECTORY)
        except OSError as error:
            raise files.explain(error, f"cannot read {self.top}") from error
        try:
            # A stack of its own: trees may be deeper than Python's.
            above = frozenset((_identity(os.fstat(top)),)) if self._follow else frozenset()
            pending: list[Pending] = [("", None, above)]
            while pending:
                prefix, scope, above = pending.pop()
                descriptor = self._open(top, prefix)
                try:
                    if lines := self._read_ignore_file(descriptor, prefix):
                        scope = Ignore(lines, prefix, scope)
                    below: list[Pending] = []
                    for found in self._list(descriptor, prefix, scope, above, below):
                        yield prefix, descriptor, found
                finally:
                    os.close(descriptor)
                # "a/" sorts where its files belong in the order of whole paths: the final sort has little to do.
                below.sort(reverse=True, key=_prefix_of)
                pending += below
        finally:
            os.close(top)

    def _read_ignore_file(self, descriptor: int, prefix: str) -> list[str]:
        try:
            return read_ignore_file(descriptor, f"{self.top}/{prefix}")
        except StorageError as error:
            # It was opened relative to its directory, and so named.
            raise StorageError(f"{error.message} (in {self.top}/{prefix})", hint=error.hint) from error

    def _open(self, top: int, prefix: str) -> int:
        try:
            return os.open(prefix or ".", files.DIRECTORY, dir_fd=top)
        except FileNotFoundError as error:
            raise self._vanished(prefix.rstrip("/")) from error
        except OSError as error:
            raise files.explain(error, f"cannot read {self.top}/{prefix}") from error

    def _list(
        self, descriptor: int, prefix: str, scope: Ignore | None, above: frozenset[Identity], below: list[Pending]
    ) -> Iterator[Files]:
        found: Files = []
        add = found.append
        is_filtered = scope is not None or self._always is not None
        name = ""
        try:
            with os.scandir(descriptor) as entries:
                for entry in entries:
                    name = entry.name
                    status = entry.stat(follow_symlinks=False)
                    mode = status.st_mode
                    if is_filtered:
                        shown = f"{prefix}{name}/" if mode & 0o170000 == _DIRECTORY else f"{prefix}{name}"
                        if excludes(self._always, scope, shown):
                            continue
                    if mode & 0o170000 != _REGULAR:
                        other = self._special(descriptor, prefix, name, status)
                        if other is None:
                            continue
                        if other.st_mode & 0o170000 == _DIRECTORY:
                            self._descend(f"{prefix}{name}/", other, scope, above, below)
                            continue
                        status = other
                    add((name, status))
                    if len(found) >= CHUNK:
                        yield found
                        found = []
                        add = found.append
        except FileNotFoundError as error:
            raise self._vanished(f"{prefix}{name}") from error
        except OSError as error:
            raise files.explain(error, f"cannot read {self.top}/{prefix}") from error
        yield found

    def _vanished(self, path: str) -> SourceChangedError:
        return SourceChangedError(f"{self.top}/{path} vanished while it was read", hint="log it when nothing writes to it")

    def reopen(self, prefix: str) -> int:
        """Open a directory again that was walked through; the descriptor is the caller's.

        Raises:
            StorageError: it cannot be opened any more.
        """
        top = os.open(self.top, files.DIRECTORY)
        try:
            return self._open(top, prefix)
        finally:
            os.close(top)

    def _descend(
        self, prefix: str, status: os.stat_result, scope: Ignore | None, above: frozenset[Identity], below: list[Pending]
    ) -> None:
        identity = _identity(status)
        if identity == self._avoid:
            return
        if not self._follow:
            below.append((prefix, scope, above))
        elif identity not in above:
            # A link to a directory above would lead in circles.
            below.append((prefix, scope, above | {identity}))

    def _special(self, descriptor: int, prefix: str, name: str, status: os.stat_result) -> os.stat_result | None:
        """Return the `stat` of a directory or of what a link leads to; None to leave it out."""
        if stat.S_ISDIR(status.st_mode):
            return status
        path = f"{self.top}/{prefix}{name}"
        if stat.S_ISLNK(status.st_mode):
            try:
                status = os.stat(name, dir_fd=descriptor)
            except OSError as error:
                raise DanglingLinkError(
                    f"{quote(path)} is a link that leads nowhere", hint="remove it, or leave it out with --exclude"
                ) from error
            if stat.S_ISDIR(status.st_mode):
                if self._follow:
                    return status
                self.skipped_links.append(f"{prefix}{name}")
                return None
        refuse_special(path, status.st_mode)
        return status


def refuse_special(path: str, mode: int) -> None:
    """Refuse what is neither file nor directory.

    Raises:
        UsageError: naming the path and what it is.
    """
    if not stat.S_ISREG(mode):
        kind = _KINDS.get(stat.S_IFMT(mode), "not a regular file")
        raise UsageError(f"{quote(path)} is {kind}, which cannot be logged", hint="leave it out with --exclude")


def _identity(status: os.stat_result) -> Identity:
    return status.st_dev, status.st_ino


def _prefix_of(row: tuple[str, *tuple[object, ...]]) -> str:
    return row[0]
