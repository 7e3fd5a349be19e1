"""Files of the user's that a batch shares with the store, and what gives them back as they were when it comes to nothing.

Sharing makes a file read-only. Once its blob has a name, others may rest on it, whatever becomes of this batch: then the store
gets bytes of its own before the user may write to the file again.
"""

from __future__ import annotations

import os
import stat

from regcli.errors import RegcliError
from regcli.store import blobs, files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


def shared_mode(mode: int) -> int:
    """Return the permissions that a file has while it is shared."""
    return stat.S_IMODE(mode) & 0o555 | 0o444


class Lent:
    """The files of one batch.

    Args:
        root: the path of the root.
        create: makes an empty temporary file among the blobs; returns its path and a descriptor that reads and writes it.
    """

    __slots__ = ("_create", "_files", "_root")

    def __init__(self, root: str, create: Callable[[], tuple[str, int]]) -> None:
        self._root = root
        self._create = create
        # path -> device, inode and mode, and the digest under which it is staged.
        self._files: dict[str, tuple[int, int, int, bytes | None]] = {}

    def note(self, path: str, before: os.stat_result) -> None:
        """Note what a file is that will be shared."""
        self._files.setdefault(path, (before.st_dev, before.st_ino, before.st_mode, None))

    def stage(self, path: str, digest: bytes) -> None:
        """Note that a file is staged as a blob, which will perhaps be published."""
        self._files[path] = (*self._files[path][:3], digest)

    def keep(self) -> None:
        """Let the store have for good what it shares; a file whose bytes others stored meanwhile it does not share."""
        for path, (device, inode, _, digest) in list(self._files.items()):
            try:
                if digest is None or not self._is_published(digest, device, inode):
                    self.give_back(path)
            except OSError:
                continue
        self._files.clear()

    def give_back(self, path: str, *, stored: bytes | None = None) -> bool:
        """Make a file what it was, as far as that can be; False where it stays read-only, since the store shares it.

        `stored` is the digest of what the store had before; a file that it shares since then stays so, and so does one that
        is staged: it has come again under another name that leads to it.
        """
        if stored is not None and self._files[path][3] is not None:
            return False
        done = self._give_back(path, *self._files[path], stored)
        # Only now: what Ctrl-C cuts short is tried again at the end.
        del self._files[path]
        return done

    def _give_back(self, path: str, device: int, inode: int, mode: int, digest: bytes | None, stored: bytes | None) -> bool:
        try:
            descriptor = os.open(path, files.READ)
        except OSError:
            # It was moved away or removed meanwhile.
            return True
        try:
            status = os.fstat(descriptor)
            if (status.st_dev, status.st_ino) != (device, inode):
                return True
            if stored is not None and self._is_published(stored, device, inode):
                return False
            if digest is not None and self._is_published(digest, device, inode):
                self._copy(descriptor, status.st_size, digest)
            if status.st_mode != mode and stat.S_IMODE(status.st_mode) == shared_mode(mode):
                os.fchmod(descriptor, stat.S_IMODE(mode))
        except (OSError, RegcliError):
            return False
        finally:
            os.close(descriptor)
        return True

    def give_all_back(self) -> list[str]:
        """Do it for all of them; return those that stay read-only."""
        return [path for path in list(self._files) if not self.give_back(path)]

    def _is_published(self, digest: bytes, device: int, inode: int) -> bool:
        try:
            blob = os.lstat(blobs.blob_path(self._root, digest.hex()))
        except FileNotFoundError:
            return False
        return (blob.st_dev, blob.st_ino) == (device, inode)

    def _copy(self, descriptor: int, size: int, digest: bytes) -> None:
        """Put a copy of a shared file in the place of its blob.

        Raises:
            OSError, RegcliError: that cannot be, or the file is not what it was.
        """
        directory, name = os.path.split(blobs.blob_path(self._root, digest.hex()))
        place = files.open_within(self._root, directory)
        temporary = ""
        try:
            temporary, copy = self._create()
            try:
                is_clone = blobs.clone(descriptor, copy)
                found, _ = blobs.hash_file(copy) if is_clone else blobs.copy_hashing(descriptor, copy, size)
                if found != digest:
                    raise OSError(0, "changed")
                os.fchmod(copy, 0o444)
                files.fsync_file(copy)
            finally:
                os.close(copy)
            os.replace(temporary, name, dst_dir_fd=place)
            files.fsync_names(place)
        finally:
            os.close(place)
            files.unlink_quietly(temporary)
