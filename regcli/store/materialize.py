"""From a manifest to files in a directory: only below it, only proven bytes, nothing half done."""

from __future__ import annotations

import os
import stat

from regcli.errors import IntegrityError, RegcliError, SignatureRefusedError, UsageError
from regcli.model import quote
from regcli.store import files, packs
from regcli.store.beneath import Beneath, LinkInTheWayError
from regcli.store.manifest import EXECUTABLE, REFERENCE, problem_in_paths
from regcli.store.statcache import KEY, make_key, no_section
from regcli.store.tasks import WORTH_A_THREAD, Setup, Task, locate_all, split_tasks
from regcli.store.writing import Writer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from regcli.store.content import Content
    from regcli.store.manifest import Entry
    from regcli.store.proofs import Proofs
    from regcli.store.statcache import Section, StatCache
    from regcli.store.tasks import Wanted

    Change = tuple[str, str, bool]  # path, "extra" or "modified", whether the store knows what is lost

LINK_MODES = ("auto", "copy", "hardlink", "symlink", "reflink")
_READ = files.READ
_SLICE = 1 << 15


class Materialized:
    """What was done.

    Attributes:
        files: files of the version.
        written, skipped: how many were written, how many had the right content.
        removed: paths that were taken away (only when pruning).
        bytes: bytes written.
    """

    __slots__ = ("bytes", "files", "removed", "skipped", "written")

    def __init__(self) -> None:
        self.files = 0
        self.written = 0
        self.skipped = 0
        self.removed: list[str] = []
        self.bytes = 0


def materialize(
    content: Content,
    entries: Iterable[Entry],
    target: str,
    *,
    link_mode: str = "auto",
    threads: int | None = None,
    prune: Callable[[list[Change]], None] | None = None,
    progress: Callable[[int, int], None] | None = None,
    cache: StatCache | None = None,
    proofs: Proofs | None = None,
    manifest: str | None = None,
) -> Materialized:
    """Write the files of a version into a directory, which is made when missing; references are the caller's.

    A file that has the right content stays as it is. Other files are replaced, whatever they are; a link is replaced, never
    followed. Bytes are proven before their name appears.

    Args:
        content: where the blobs are.
        entries: the version's entries.
        target: the directory.
        link_mode: `auto` and `reflink` share bytes where the file system can, else copy; `copy` never shares; `hardlink` and
            `symlink` give read-only files that are the store's own (a copy where that cannot be).
        threads: how many; by default two where it helps.
        prune: makes the directory exactly the version. Called once, before anything changes, with all that would be
            lost; whatever it raises stops everything.
        progress: called with files and bytes so far.
        cache: answers for files that did not change since they were written or checked.
        manifest: digest of the blob that says exactly these entries, to find the next time that all is in place.
        proofs: what a signature says the files must be; then everything is hashed with BLAKE3 too, also what is there.

    Raises:
        LinkInTheWayError: a link or file stands where a directory should be, or a directory where a file should be.
        IntegrityError: a blob is missing or damaged; what was written before is whole.
        StorageError: the disk is full, or something cannot be written.
        SignatureRefusedError: bytes are not what was signed.
    """
    if proofs is not None and link_mode in ("hardlink", "symlink"):
        raise SignatureRefusedError(
            f"the files of {proofs.ref} are signed, and a link to the store could be changed by whoever may write there",
            hint="leave out --link-mode",
        )
    if link_mode not in LINK_MODES:
        raise UsageError(f"unknown link mode {quote(link_mode)}", hint=", ".join(LINK_MODES))
    entries = list(entries)
    wanted = [entry for entry in entries if entry[3] != REFERENCE]
    if wanted and (problem := problem_in_paths([entry[0] for entry in wanted])):
        raise IntegrityError(f"the manifest is corrupt: {problem}")
    if os.name == "nt" and any("\\" in entry[0] or ":" in entry[0] for entry in wanted):
        raise UsageError("the version has a file whose name this file system does not allow")
    _make_target(target)
    wanted.sort(key=_path_of)
    with Beneath(target) as beneath:
        run = _Run(content, beneath, link_mode=link_mode, progress=progress, cache=cache, proofs=proofs)
        if prune is not None:
            from regcli.store.compare import prune_directory

            run.result.removed = prune_directory(content, entries, beneath, prune, known=run.section.known)
        # In slices: what is kept for each file while it is written is three times the entry itself.
        for start in range(0, len(wanted), _SLICE):
            run.scan(group_by_directory(wanted[start : start + _SLICE]))
            run.write(threads)
        run.save()
        if manifest is not None and cache is not None and not run.result.written and len(wanted) == len(entries):
            from regcli.store.inplace import remember_in_place

            remember_in_place(run.section, target, manifest, wanted)
        return run.result


def _path_of(entry: Entry) -> str:
    return entry[0]


def _make_target(target: str) -> None:
    try:
        os.makedirs(target, exist_ok=True)
    except FileExistsError as error:
        raise LinkInTheWayError(f"{quote(target)} is a file", hint="choose another directory") from error
    except OSError as error:
        raise files.explain(error, f"cannot make {target}") from error


def group_by_directory(entries: Sequence[Entry]) -> dict[str, list[Wanted]]:
    """Return the entries of each directory."""
    groups: dict[str, list[Wanted]] = {}
    get = groups.get
    for path, digest, size, flags, _ in entries:
        directory, _, name = path.rpartition("/")
        group = get(directory)
        if group is None:
            groups[directory] = group = []
        group.append((name, digest, size, flags))
    return groups


class _Run:
    """The state of one `materialize`."""

    __slots__ = ("_beneath", "_progress", "_setup", "_tasks", "_writers", "result", "section")

    def __init__(
        self,
        content: Content,
        beneath: Beneath,
        *,
        link_mode: str,
        progress: Callable[[int, int], None] | None,
        cache: StatCache | None,
        proofs: Proofs | None,
    ) -> None:
        self._beneath = beneath
        self._progress = progress
        self._setup = Setup(content, link_mode, cache, self.report, proofs)
        self.section: Section = no_section() if cache is None else cache.section(beneath.path)
        self._tasks: list[Task] = []
        self._writers: list[Writer] = []
        self.result = Materialized()

    # Looking at what is there

    def scan(self, groups: dict[str, list[Wanted]]) -> None:
        """Find out which files have to be written."""
        result = self.result
        before = result.files
        self._tasks = []
        # Directories that others lie in: made in place, the rest may be filled under another name.
        parents = {parent for directory in groups for parent in _parents(directory)}
        missing = ""
        for directory in sorted(groups):
            rows = groups[directory]
            result.files += len(rows)
            descriptor = None
            # Below a directory that is missing, everything is.
            if not missing or not directory.startswith(missing):
                try:
                    descriptor = self._beneath.open(directory)
                except FileNotFoundError:
                    missing = f"{directory}/"
            if descriptor is None:
                self._tasks.append(Task(directory, rows, is_new=directory not in parents))
            elif left := self._scan_directory(directory, descriptor, rows):
                self._tasks.append(Task(directory, left, is_new=False))
        result.skipped += result.files - before - sum(len(task.large) for task in self._tasks)

    def _scan_directory(self, directory: str, descriptor: int, rows: list[Wanted]) -> list[Wanted]:
        try:
            with os.scandir(descriptor) as listing:
                present = {entry.name: entry for entry in listing}
                if not present:
                    return rows
                left = []
                get, key_of = self.section.known.get, KEY.pack
                for row in rows:
                    entry = present.get(row[0])
                    if entry is None:
                        left.append(row)
                        continue
                    status = entry.stat(follow_symlinks=False)
                    size = status.st_size
                    value = get(key_of(status.st_dev, status.st_ino, size, status.st_mtime_ns, status.st_ctime_ns))
                    if (
                        value is not None
                        # What is remembered is an XXH3-128, which proves nothing to a signature.
                        and self._setup.proofs is None
                        and value.hex() == row[1]
                        and size == row[2]
                        and (status.st_mode & 0o100 != 0) == (row[3] == EXECUTABLE)
                    ):
                        continue
                    if not self._is_right(directory, descriptor, row, status):
                        left.append(row)
                return left
        except OSError as error:
            raise files.explain(error, f"cannot read {self._beneath.path}/{directory}") from error

    def _is_right(self, directory: str, descriptor: int, row: Wanted, status: os.stat_result) -> bool:
        """Tell whether a file that the cache does not know has the right content; its mode is put right."""
        name, digest, size, flags = row
        path = f"{self._beneath.path}/{directory}/{name}" if directory else f"{self._beneath.path}/{name}"
        if stat.S_ISDIR(status.st_mode):
            raise LinkInTheWayError(
                f"{quote(path)} is a directory, but the version has a file there", hint="remove it, or choose another directory"
            )
        if stat.S_ISLNK(status.st_mode):
            return self._setup.link_mode == "symlink" and self._setup.is_own_link(name, descriptor, digest)
        if not stat.S_ISREG(status.st_mode) or status.st_size != size:
            return False
        if self._setup.proofs is not None and status.st_nlink > 1:
            # It may be the store's own file, which somebody can write to later.
            return False
        try:
            opened = os.open(name, _READ, dir_fd=descriptor)
        except OSError:
            # Unreadable: it will be replaced, which needs no right to read it.
            return False
        try:
            if not self._setup.has_content(opened, digest):
                return False
            mode = status.st_mode & 0o777
            if (mode & 0o100 != 0) != (flags == EXECUTABLE):
                try:
                    os.fchmod(opened, mode | (mode & 0o444) >> 2 if flags == EXECUTABLE else mode & ~0o111)
                except OSError:
                    return False
            after = os.fstat(opened)
            if after.st_mtime_ns == status.st_mtime_ns and after.st_ino == status.st_ino:
                self.section.add(after, bytes.fromhex(digest))
        finally:
            os.close(opened)
        return True

    # Writing

    def write(self, threads: int | None) -> None:
        """Write all files; the first error stops all threads and is raised."""
        total = sum(len(task.large) for task in self._tasks)
        large = sum(1 for task in self._tasks for row in task.large if row[2] >= packs.SMALL)
        number = threads or min(2, os.cpu_count() or 1)
        if total < WORTH_A_THREAD and large < 2:
            number = 1
        if not self._setup.shares_files:
            locate_all(self._tasks, self._setup.content)
        tasks = split_tasks(self._tasks) if number > 1 else self._tasks
        tasks.reverse()
        self._writers = writers = [
            Writer(self._setup, self._beneath.fork(), threads=2 if number == 1 else 1) for _ in range(number)
        ]
        if self._setup.shares_files:
            self._extract(tasks)
        if number > 1 and len(tasks) > 1:
            self._work_together(writers, tasks)
        else:
            self._work(writers[0], tasks)
        if not self._setup.failures:
            # What was not where the index said is looked up anew, by one thread.
            leftovers = [leftover for writer in writers for leftover in writer.leftovers]
            self._try(lambda: writers[0].write_again(leftovers))
        self._writers = []
        for writer in writers:
            self._count(writer)
        if self._setup.failures:
            self.section.save(self.result.files)
            raise self._setup.failures[0]

    def _work_together(self, writers: list[Writer], tasks: list[Task]) -> None:
        import threading
        from _queue import SimpleQueue

        ended: list[Writer] = []
        news: SimpleQueue[None] = SimpleQueue()

        def work(writer: Writer) -> None:
            self._work(writer, tasks)
            ended.append(writer)
            news.put(None)

        def wait() -> None:
            while len(ended) < len(writers) - 1:
                news.get()

        for writer in writers[1:]:
            threading.Thread(target=work, args=(writer,), daemon=True).start()
        self._work(writers[0], tasks)
        # Not `join`: in Python 3.11 a thread counts as ended once Ctrl-C has interrupted that.
        self._try(wait)
        # After Ctrl-C the others stop in the file they are at, and leave nothing half done; a second one is obeyed at once.
        wait()

    def _work(self, writer: Writer, tasks: list[Task]) -> None:
        def work() -> None:
            while tasks and not self._setup.failures:
                try:
                    task = tasks.pop()
                except IndexError:
                    break
                writer.write(task)

        self._try(work)

    def _try(self, work: Callable[[], object]) -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001
            # Raised again by `write`, when the other threads have stopped.
            self._setup.failures.append(error)

    def _extract(self, tasks: list[Task]) -> None:
        """Give blobs in packs files of their own, which can be linked to; where that fails, copies are made."""
        from regcli.store.check import extract_blobs

        extract_blobs(self._setup.content, {row[1] for task in tasks for row in task.large if row[3] != EXECUTABLE})

    def _count(self, writer: Writer) -> None:
        self.result.written += writer.written
        self.result.bytes += writer.bytes
        self._learn(writer)
        writer.close()

    def report(self) -> None:
        """Tell how far it is."""
        if self._progress is not None:
            result, writers = self.result, self._writers
            self._progress(
                result.skipped + result.written + sum([writer.written for writer in writers]),
                result.bytes + sum([writer.bytes for writer in writers]),
            )

    def _learn(self, writer: Writer) -> None:
        """Remember what was written, where a second look still finds it as it was just after writing."""
        self.section.fresh += writer.learned
        here, descriptor = None, -1
        for directory, name, before, digest in writer.finished:
            if directory != here:
                try:
                    descriptor = self._beneath.open(directory)
                except (OSError, RegcliError):
                    # Somebody changed the directory meanwhile; then there is nothing to remember.
                    continue
                here = directory
            try:
                after = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
            except OSError:
                continue
            # Giving the file its name changed its ctime (the last part), nothing else may have changed.
            if before[:-8] == make_key(after)[:-8]:
                self.section.add(after, bytes.fromhex(digest))

    def save(self) -> None:
        """Write the stat cache."""
        self.section.save(self.result.files)
        self._setup.blobs_section.save()


def _parents(directory: str) -> list[str]:
    found = []
    while directory:
        directory = directory.rpartition("/")[0]
        found.append(directory)
    return found
