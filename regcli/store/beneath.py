"""Opening directories below a target without ever following a link out of it."""

from __future__ import annotations

import errno
import os
import stat

from regcli.errors import RefusedError
from regcli.model import quote
from regcli.store import files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Self

_OPEN = files.DIRECTORY | files.NOFOLLOW


class LinkInTheWayError(RefusedError):
    """Something that is no directory stands where a version has a directory, or the other way round."""

    kind = "in-the-way"


class Beneath:
    """A directory and the chain of open directories to where one is working below it.

    Each name is opened relative to its parent and without following links, so that nobody can lead the walk outside by
    swapping a directory for a link meanwhile. Not for several threads: each takes its own `fork`.

    Attributes:
        path: the directory's path, for messages.
        top: its descriptor.
    """

    __slots__ = ("_chain", "_is_owner", "path", "top")

    def __init__(self, path: str, top: int | None = None) -> None:
        """Open the directory itself, where links are the user's own choice; or share an open one."""
        self.path = path
        self._is_owner = top is None
        if top is None:
            try:
                top = os.open(path, files.DIRECTORY)
            except OSError as error:
                raise files.explain(error, f"cannot open {path}") from error
        self.top = top
        self._chain: list[tuple[str, int]] = []

    def fork(self) -> Beneath:
        """Return another walk below the same directory."""
        return Beneath(self.path, self.top)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close what was opened here."""
        while self._chain:
            os.close(self._chain.pop()[1])
        if self._is_owner and self.top >= 0:
            os.close(self.top)
            self.top = -1

    def open(self, directory: str, *, create: bool = False) -> int:
        """Return a descriptor of a directory below ("" is the top); valid until the next call.

        Raises:
            FileNotFoundError: it does not exist (and `create` is not set).
            LinkInTheWayError: a link or file is where a directory should be.
            StorageError: it cannot be opened or made.
        """
        names = directory.split("/") if directory else []
        chain = self._chain
        depth = 0
        while depth < len(chain) and depth < len(names) and chain[depth][0] == names[depth]:
            depth += 1
        while len(chain) > depth:
            os.close(chain.pop()[1])
        descriptor = chain[-1][1] if chain else self.top
        for position in range(depth, len(names)):
            descriptor = self._step(descriptor, names, position, create=create)
            chain.append((names[position], descriptor))
        return descriptor

    def _step(self, parent: int, names: list[str], position: int, *, create: bool) -> int:
        name = names[position]
        if name in ("", ".", "..") or "/" in name or "\0" in name:
            raise LinkInTheWayError(f"{quote('/'.join(names))} is no path below {self.path}")
        try:
            return os.open(name, _OPEN, dir_fd=parent)
        except FileNotFoundError:
            if not create:
                raise
        except OSError as error:
            raise self._explain(error, parent, names[: position + 1]) from error
        try:
            try:
                os.mkdir(name, dir_fd=parent)
            except FileExistsError:
                pass
            return os.open(name, _OPEN, dir_fd=parent)
        except OSError as error:
            raise self._explain(error, parent, names[: position + 1]) from error

    def _explain(self, error: OSError, parent: int, names: list[str]) -> Exception:
        path = f"{self.path}/{'/'.join(names)}"
        if error.errno in (errno.ELOOP, errno.ENOTDIR, errno.EEXIST):
            try:
                is_link = stat.S_ISLNK(os.stat(names[-1], dir_fd=parent, follow_symlinks=False).st_mode)
            except OSError:
                is_link = False
            what = "a symbolic link" if is_link else "a file"
            return LinkInTheWayError(
                f"{quote(path)} is {what}, but the version has a directory there",
                hint="remove it, or choose another directory",
            )
        return files.explain(error, f"cannot open {path}")
