"""What has to be written for a version: the files of each directory, where their bytes are, and what all writers share."""

from __future__ import annotations

import os
from itertools import count

from regcli.store import blobs, files
from regcli.store.statcache import blobs_section, make_key, no_section

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from regcli.store.content import Content
    from regcli.store.proofs import Proofs
    from regcli.store.statcache import StatCache

    Wanted = tuple[str, str, int, int]  # name, digest, size, flags
    Located = tuple[bytes, int, int, Wanted]  # pack, offset, size, row

# Fewer files than this are written sooner than a thread is started.
WORTH_A_THREAD = 64


class Task:
    """Files of one directory that have to be written.

    Attributes:
        directory: below the target, "" for the target itself.
        small: rows whose bytes are in packs, with pack, offset and length.
        large: the others.
        is_new: the directory does not exist and nothing but these files will be in it.
    """

    __slots__ = ("directory", "is_new", "large", "small")

    def __init__(self, directory: str, large: list[Wanted], *, is_new: bool) -> None:
        self.directory = directory
        self.large = large
        self.small: list[Located] = []
        self.is_new = is_new

    def locate(self, places: dict[bytes, tuple[bytes, int, int]]) -> None:
        """Find out which files are in packs: `places` says pack, length and offset of blobs."""
        get, from_hex = places.get, bytes.fromhex
        large = []
        for row in self.large:
            place = get(from_hex(row[1]))
            if place is not None and place[1] == row[2]:
                self.small.append((place[0], place[2], row[2], row))
            else:
                large.append(row)
        # In the order of the pack: neighbours are read together.
        self.small.sort(key=_by_place)
        self.large = large


def locate_all(tasks: list[Task], content: Content) -> None:
    """Find out which files are in packs, and where."""
    from_hex = bytes.fromhex
    places = content.index.places([from_hex(row[1]) for task in tasks for row in task.large])
    for task in tasks:
        task.locate(places)


def split_tasks(tasks: list[Task]) -> list[Task]:
    """Cut long lists, so that two threads share a flat directory; what fills a new directory stays together."""
    pieces: list[Task] = []
    for task in tasks:
        if not task.is_new:
            for start in range(WORTH_A_THREAD, len(task.small), WORTH_A_THREAD):
                piece = Task(task.directory, [], is_new=False)
                piece.small = task.small[start : start + WORTH_A_THREAD]
                pieces.append(piece)
            del task.small[WORTH_A_THREAD:]
        # After the small files: by then the directory is there.
        pieces += [Task(task.directory, [row], is_new=False) for row in task.large[1:]]
        del task.large[1:]
    return tasks + pieces


def _by_place(row: Located) -> tuple[bytes, int]:
    return row[0], row[1]


class Setup:
    """What the writers of one `materialize` share.

    Attributes:
        content: where the blobs are.
        link_mode: how files come from the store.
        shares_files: the files shall be the store's own, by link.
        wants_status: a `stat` of each file is wanted, for the cache.
        blobs_section: what the cache knows of large blobs.
        report: called now and then.
        failures: what went wrong, in whatever thread; then nobody goes on, however large the file that he is at.
        proofs: what a signature says the files must be, or None.
    """

    __slots__ = (
        "_number", "_tag", "blobs_section", "content", "failures", "link_mode", "proofs", "report", "shares_files",
        "wants_status",
    )  # fmt: skip

    def __init__(
        self,
        content: Content,
        link_mode: str,
        cache: StatCache | None,
        report: Callable[[], None],
        proofs: Proofs | None = None,
    ) -> None:
        self.content = content
        self.proofs = proofs
        self.link_mode = link_mode
        self.shares_files = link_mode in ("hardlink", "symlink")
        self.wants_status = cache is not None
        # Loading it is only worth while where bytes are shared instead of copied; no more than a stat otherwise.
        shares = cache is not None and link_mode != "copy"
        self.blobs_section = blobs_section(cache, content.root) if shares and cache is not None else no_section()
        self.report = report
        self.failures: list[BaseException] = []
        self._tag = f".tmp-{os.getpid()}-{files.random_hex(8)}"
        # Drawing the next number is one step, so threads never share a temporary name.
        self._number = count(1).__next__

    def temporary(self) -> str:
        """Return a fresh temporary name."""
        return f"{self._tag}-{self._number():x}"

    def has_content(self, descriptor: int, digest: str) -> bool:
        """Tell whether a file, read from its start, has a digest, and is what was signed."""
        if self.proofs is None:
            return blobs.hash_file(descriptor, stop=self.failures)[0].hex() == digest
        from regcli.store.proofs import new_hasher

        hasher = new_hasher()
        found, _ = blobs.hash_file(descriptor, hasher.update, stop=self.failures)
        return found.hex() == digest and self.proofs.is_right(digest, hasher.digest())

    def prove(self, descriptor: int, digest: str) -> bytes | None:
        """Return the key of a large blob that has its content, else None: read once, afterwards by its unchanged `stat`.

        Only for files that share the store's bytes, where nothing is copied that could be hashed on the way.
        """
        key = make_key(os.fstat(descriptor))
        binary = bytes.fromhex(digest)
        if self.blobs_section.known.get(key) == binary:
            return key
        if blobs.hash_file(descriptor, stop=self.failures)[0] != binary:
            return None
        self.linked(descriptor, digest, key)
        return key

    def linked(self, descriptor: int, digest: str, before: bytes) -> None:
        """Remember a proven blob, also when links to it have changed its ctime; `before` is its key from before the proof."""
        key = make_key(os.fstat(descriptor))
        # All but the ctime: anything else says that what was proven is not what is there now.
        if key[:-8] == before[:-8]:
            self.blobs_section.fresh += key + bytes.fromhex(digest)

    def is_own_link(self, name: str, directory: int, digest: str) -> bool:
        """Tell whether a symbolic link leads to the store's own, proven file with a blob."""
        if os.readlink(name, dir_fd=directory) != os.path.abspath(blobs.blob_path(self.content.root, digest)):
            return False
        descriptor = self.content.open_loose(digest)
        if descriptor is None:
            return False
        try:
            return self.prove(descriptor, digest) is not None
        finally:
            os.close(descriptor)
