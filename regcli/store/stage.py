"""Blobs on their way in: packs and temporary files, which get their names when all of them are on the disk."""

from __future__ import annotations

import os

from regcli.store import blobs, files, packs
from regcli.store.lent import shared_mode

# Up to here an fsync per file is cheaper than waiting for everybody's data on the file system.
_SYNC_EACH = 16


class PackStage:
    """The packs that the small blobs of one batch are written to.

    All methods raise OSError where the disk does not do as it is told. Attributes:
        writer: the pack that is being written; None before the first blob.
        finished: packs that are full, or complete.
    """

    __slots__ = ("_root", "finished", "writer")

    def __init__(self, root: str) -> None:
        self._root = root
        self.writer: packs.PackWriter | None = None
        self.finished: list[packs.PackWriter] = []

    def add(self, digest: bytes, data: bytes) -> None:
        """Stage a blob, in another pack where this one is full."""
        writer = self.writer
        if writer is None:
            writer = self._begin()
        elif writer.size + len(data) > packs.MAX_PACK or len(writer.rows) >= packs.MAX_ROWS:
            self.finish()
            writer = self._begin()
        writer.add(digest, data)

    def _begin(self) -> packs.PackWriter:
        try:
            self.writer = packs.PackWriter(self._root)
        except FileNotFoundError:
            files.make_within(self._root, f"{self._root}/packs")
            self.writer = packs.PackWriter(self._root)
        return self.writer

    def finish(self) -> None:
        """Complete the pack that is being written."""
        if self.writer is not None:
            self.writer.finish()
            self.finished.append(self.writer)
            self.writer = None

    def all(self) -> list[packs.PackWriter]:
        """Return the packs, the one that is being written last."""
        return self.finished if self.writer is None else [*self.finished, self.writer]

    def discard(self) -> None:
        """Drop the packs."""
        for writer in self.all():
            writer.close(drop=True)
        self.writer = None
        self.finished = []


class LargeStage:
    """The large blobs of one batch.

    All methods raise OSError where the disk does not do as it is told. Attributes:
        paths: digest -> temporary file of each blob that is to be published.
    """

    __slots__ = ("_foreign", "_open", "_pending", "_place", "_root", "paths")

    def __init__(self, root: str) -> None:
        self.paths: dict[bytes, str] = {}
        self._root = root
        self._open: list[int] = []
        # Those whose file others can write to, or have made.
        self._foreign: set[bytes] = set()
        # The last temporary file, which Ctrl-C may keep from being staged.
        self._pending = ""
        # Of the directory that temporary files are made in.
        self._place = -1

    def _open_place(self) -> int:
        if self._place < 0:
            self._place = files.open_or_make(self._root, f"{self._root}/blobs")
        return self._place

    def create(self) -> tuple[str, int]:
        """Make an empty temporary file; return its path and a descriptor that reads and writes it."""
        name = files.temporary_name()
        flags = files.CREATE & ~os.O_WRONLY | os.O_RDWR
        self._pending = f"{self._root}/blobs/{name}"
        return self._pending, os.open(name, flags, 0o600, dir_fd=self._open_place())

    def link(self, source: str, before: os.stat_result) -> str | None:
        """Make the source itself a temporary file, read-only from now on; None where it cannot be linked."""
        place, name = self._open_place(), files.temporary_name()
        self._pending = temporary = f"{self._root}/blobs/{name}"
        try:
            os.link(source, name, dst_dir_fd=place)
            linked = os.open(name, files.READ, dir_fd=place)
            try:
                # Not by its name, which somebody may have given to something else.
                if not os.path.samestat(os.fstat(linked), before):
                    raise OSError(0, "replaced")
                os.fchmod(linked, shared_mode(before.st_mode))
            finally:
                os.close(linked)
        except OSError:
            files.unlink_quietly(temporary)
            return None
        return temporary

    def add_bytes(self, digest: bytes, data: bytes) -> None:
        """Stage a blob from memory."""
        path = ""
        try:
            path, descriptor = self.create()
            self._keep_open(descriptor)
            files.write_all(descriptor, data)
            os.fchmod(descriptor, 0o444)
        except OSError:
            files.unlink_quietly(path)
            raise
        self.paths[digest] = path

    def add(self, digest: bytes, temporary: str, owned: int) -> None:
        """Stage a temporary file; `owned`, its descriptor, now belongs to the stage (negative for a link, which has none)."""
        if owned >= 0:
            os.fchmod(owned, 0o444)
            self._keep_open(owned)
        else:
            self._keep_open(os.open(temporary, files.READ))
            self._foreign.add(digest)
        self.paths[digest] = temporary

    def _keep_open(self, descriptor: int) -> None:
        """Keep a few descriptors for their fsync; beyond that the whole file system is synced."""
        self._open.append(descriptor)
        if len(self._open) > _SYNC_EACH + 1:
            os.close(self._open.pop(0))

    def sync(self) -> None:
        """Make the bytes of all that is staged durable."""
        if not self.paths:
            return
        if len(self.paths) > _SYNC_EACH and blobs.sync_file_system(f"{self._root}/blobs"):
            return
        if len(self._open) == len(self.paths):
            for descriptor in self._open:
                files.fsync_file(descriptor)
            return
        for path in self.paths.values():
            descriptor = os.open(path, files.READ)
            try:
                files.fsync_file(descriptor)
            finally:
                os.close(descriptor)

    def name(self) -> list[str]:
        """Give the staged files their names; return the directories that changed, for `sync_names`.

        Raises:
            DigestCollisionError: another content has got a name meanwhile.
        """
        touched = set()
        for digest, temporary in self.paths.items():
            path = blobs.blob_path(self._root, digest.hex())
            directory = os.path.dirname(path)
            if directory not in touched:
                files.make_within(self._root, directory)
                touched.add(directory)
            place = files.open_within(self._root, directory)
            try:
                if not files.link_exclusive(temporary, os.path.basename(path), dst_dir_fd=place):
                    from regcli.store.rivals import settle_blob

                    if not settle_blob(digest, temporary, path, place):
                        self._foreign.add(digest)
            finally:
                os.close(place)
        return sorted(touched)

    def sync_names(self, directories: list[str]) -> None:
        """Make the new names in these directories durable."""
        if len(directories) <= _SYNC_EACH or not blobs.sync_file_system(f"{self._root}/blobs"):
            for directory in directories:
                files.fsync_directory(directory)

    def own(self) -> list[bytes]:
        """Return the staged blobs whose files nobody else can write to or has made."""
        return [digest for digest in self.paths if digest not in self._foreign]

    def discard(self) -> None:
        """Drop the temporary files and descriptors; blobs that have their names stay."""
        while self._open:
            os.close(self._open.pop())
        for path in (*self.paths.values(), self._pending):
            if path:
                files.unlink_quietly(path)
        self.paths, self._pending = {}, ""
        if self._place >= 0:
            os.close(self._place)
            self._place = -1


def read_file(path: str) -> bytes:
    """Return the bytes of a file.

    Raises:
        OSError: it cannot be read.
    """
    descriptor = os.open(path, files.READ)
    try:
        return packs.read_exactly(descriptor, os.fstat(descriptor).st_size, 0)
    finally:
        os.close(descriptor)
