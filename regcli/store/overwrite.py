"""What a download would overwrite: local changes that would be lost, and files that an earlier version left."""

from __future__ import annotations

import os
import stat

from regcli.errors import StorageError
from regcli.model import quote
from regcli.store import blobs, files
from regcli.store.beneath import Beneath, LinkInTheWayError
from regcli.store.compare import hash_named
from regcli.store.manifest import REFERENCE
from regcli.store.statcache import make_key, no_section

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from regcli.store.content import Content
    from regcli.store.manifest import Entry
    from regcli.store.statcache import StatCache


class Overwritten:
    """What stands in a directory before a version is written into it.

    Attributes:
        lost: paths that the version replaces and whose content is stored nowhere, sorted.
        outdated: paths that the version does not have, with just the content of an earlier version, sorted.
    """

    __slots__ = ("lost", "outdated")

    def __init__(self) -> None:
        self.lost: list[str] = []
        self.outdated: list[str] = []


def survey(
    content: Content,
    entries: Iterable[Entry],
    target: str,
    *,
    earlier: Mapping[str, set[tuple[str, int]]],
    cache: StatCache | None = None,
) -> Overwritten:
    """Look at a directory before a version is written into it; nothing is changed.

    Args:
        content: where the blobs are.
        entries: the version's entries.
        target: the directory; it need not exist.
        earlier: path -> (digest, size) of other versions whose files may be left over.
        cache: answers for files that did not change since they were written or checked.

    Raises:
        LinkInTheWayError: a link or file stands where the version has a directory, or a directory where it has a file.
        StorageError: something cannot be read.
    """
    found = Overwritten()
    try:
        beneath = Beneath(target)
    except StorageError as error:
        if not os.path.lexists(target):
            return found
        if os.path.isdir(target):
            raise
        raise LinkInTheWayError(f"{quote(target)} is a file", hint="choose another directory") from error
    with beneath:
        known = (no_section() if cache is None else cache.section(target)).known
        look = _Look(content, beneath, known)
        unknown: dict[str, str] = {}
        wanted = set()
        for path, digest, size, flags, _ in entries:
            wanted.add(path)
            if flags != REFERENCE:
                there = look.digest_of(path, size, digest)
                if there not in (None, digest):
                    unknown[path] = there or ""
        stored = content.have({digest for digest in unknown.values() if digest})
        found.lost = sorted(path for path, digest in unknown.items() if digest not in stored)
        for path in sorted(earlier.keys() - wanted):
            for digest, size in earlier[path]:
                if look.digest_of(path, size, digest, blocked=True) == digest:
                    found.outdated.append(path)
                    break
    return found


class _Look:
    """Finds out what is at a path below a directory."""

    __slots__ = ("_beneath", "_content", "_known")

    def __init__(self, content: Content, beneath: Beneath, known: Mapping[bytes, bytes]) -> None:
        self._content = content
        self._beneath = beneath
        self._known = known

    def digest_of(self, path: str, size: int, digest: str, *, blocked: bool = False) -> str | None:
        """Return the digest of the file at a path, None where there is none, "" where there is none to know.

        `size` and `digest` are what is hoped for; with `blocked` a path that cannot be walked has no file.
        """
        directory, _, name = path.rpartition("/")
        try:
            parent = self._beneath.open(directory)
            status = os.stat(name, dir_fd=parent, follow_symlinks=False)
        except FileNotFoundError:
            return None
        except LinkInTheWayError:
            if blocked:
                return None
            raise
        except OSError as error:
            raise files.explain(error, f"cannot look at {self._beneath.path}/{path}") from error
        if stat.S_ISDIR(status.st_mode):
            if blocked:
                return None
            raise LinkInTheWayError(
                f"{quote(path)} is a directory in {self._beneath.path}, but a file in the version",
                hint="remove it, or choose another directory",
            )
        if stat.S_ISLNK(status.st_mode):
            own = os.path.abspath(blobs.blob_path(self._content.root, digest))
            return digest if os.readlink(name, dir_fd=parent) == own else ""
        if not stat.S_ISREG(status.st_mode):
            return ""
        value = self._known.get(make_key(status))
        if value is not None:
            return value.hex()
        if blocked and status.st_size != size:
            return ""
        return hash_named(parent, name, status.st_size)
