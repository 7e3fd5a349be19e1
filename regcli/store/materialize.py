"""From a manifest to files in a directory: only below it, only proven bytes, nothing half done."""

from __future__ import annotations

import errno
import os
import stat
from itertools import count

import xxhash

from regcli.errors import IntegrityError, NotFoundError, RegcliError, UsageError
from regcli.model import quote
from regcli.store import blobs, files, packs
from regcli.store.beneath import Beneath, LinkInTheWayError
from regcli.store.manifest import EXECUTABLE, REFERENCE, problem_in_paths
from regcli.store.statcache import KEY, make_key, no_section

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from regcli.store.content import Content
    from regcli.store.manifest import Entry
    from regcli.store.statcache import Section, StatCache

    Wanted = tuple[str, str, int, int]  # name, digest, size, flags
    Located = tuple[bytes, int, int, Wanted]  # pack, offset, size, row
    Change = tuple[str, str, bool]  # path, "extra" or "modified", whether the store knows what is lost

LINK_MODES = ("auto", "copy", "hardlink", "symlink", "reflink")
_CREATE = files.CREATE
_READ = files.READ
# Records of a pack that are this near are read with one call.
_GAP = 64 << 10
_WINDOW = 1 << 20
# Fewer files than this are written sooner than a thread is started.
_WORTH_A_THREAD = 64
_NO_LINK = (errno.EXDEV, errno.EPERM, errno.EMLINK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EACCES, errno.EROFS)


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

    Raises:
        LinkInTheWayError: a link or file stands where a directory should be, or a directory where a file should be.
        IntegrityError: a blob is missing or damaged; what was written before is whole.
        StorageError: the disk is full, or something cannot be written.
    """
    if link_mode not in LINK_MODES:
        raise UsageError(f"unknown link mode {quote(link_mode)}", hint=", ".join(LINK_MODES))
    entries = list(entries)
    wanted = [entry for entry in entries if entry[3] != REFERENCE]
    if wanted and (problem := problem_in_paths([entry[0] for entry in wanted])):
        raise IntegrityError(f"the manifest is corrupt: {problem}")
    if os.name == "nt" and any("\\" in entry[0] or ":" in entry[0] for entry in wanted):
        raise UsageError("the version has a file whose name this file system does not allow")
    _make_target(target)
    groups = group_by_directory(wanted)
    with Beneath(target) as beneath:
        run = _Run(content, beneath, link_mode=link_mode, progress=progress, cache=cache)
        if prune is not None:
            from regcli.store.compare import prune_directory

            run.result.removed = prune_directory(content, entries, beneath, prune, known=run.section.known)
        run.scan(groups)
        run.write(threads)
        run.save()
        return run.result


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


class _Task:
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

    def locate(self, content: Content) -> None:
        """Find out which files are in packs, and where."""
        find = content.index.find
        large = []
        for row in self.large:
            places = find(bytes.fromhex(row[1]))
            if places and places[0][1] == row[2]:
                self.small.append((places[0][0], places[0][2], row[2], row))
            else:
                large.append(row)
        # In the order of the pack: neighbours are read together.
        self.small.sort(key=_by_place)
        self.large = large


class _Run:
    """The state of one `materialize`."""

    __slots__ = (
        "_beneath",
        "_blob_section",
        "_cache",
        "_content",
        "_link_mode",
        "_progress",
        "_tasks",
        "failures",
        "number",
        "result",
        "section",
        "tag",
    )

    def __init__(
        self,
        content: Content,
        beneath: Beneath,
        *,
        link_mode: str,
        progress: Callable[[int, int], None] | None,
        cache: StatCache | None,
    ) -> None:
        self._content = content
        self._beneath = beneath
        self._link_mode = link_mode
        self._progress = progress
        self._cache = cache
        self.section: Section = no_section() if cache is None else cache.section(beneath.path)
        self._blob_section: Section | None = None
        self._tasks: list[_Task] = []
        self.failures: list[BaseException] = []
        self.result = Materialized()
        # Drawing the next number is one step, so threads never share a temporary name.
        self.number = count(1).__next__
        self.tag = f".tmp-{os.getpid()}-{files.random_hex(8)}"

    # Looking at what is there

    def scan(self, groups: dict[str, list[Wanted]]) -> None:
        """Find out which files have to be written."""
        result = self.result
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
                self._tasks.append(_Task(directory, rows, is_new=directory not in parents))
            elif left := self._scan_directory(directory, descriptor, rows):
                self._tasks.append(_Task(directory, left, is_new=False))
        result.skipped = result.files - sum(len(task.large) for task in self._tasks)

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
            return self._link_mode == "symlink" and self._is_our_link(descriptor, name, digest)
        if not stat.S_ISREG(status.st_mode) or status.st_size != size:
            return False
        try:
            opened = os.open(name, _READ, dir_fd=descriptor)
        except OSError:
            # Unreadable: it will be replaced, which needs no right to read it.
            return False
        try:
            if blobs.hash_file(opened)[0].hex() != digest:
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

    def _is_our_link(self, descriptor: int, name: str, digest: str) -> bool:
        if os.readlink(name, dir_fd=descriptor) != os.path.abspath(blobs.blob_path(self._content.root, digest)):
            return False
        opened = self._content.open_loose(digest)
        if opened is None:
            return False
        try:
            return self._is_proven(opened, digest)
        finally:
            os.close(opened)

    # Writing

    def write(self, threads: int | None) -> None:
        """Write all files; the first error stops all threads and is raised."""
        total = sum(len(task.large) for task in self._tasks)
        large = sum(1 for task in self._tasks for row in task.large if row[2] >= packs.SMALL)
        number = threads or min(2, os.cpu_count() or 1)
        if total < _WORTH_A_THREAD and large < 2:
            number = 1
        shares_files = self._link_mode in ("hardlink", "symlink")
        for task in self._tasks:
            if not shares_files:
                task.locate(self._content)
        tasks = _split(self._tasks) if number > 1 else self._tasks
        tasks.reverse()
        writers = [_Writer(self, self._beneath.fork(), threads=2 if number == 1 else 1) for _ in range(number)]
        if shares_files:
            self._extract(tasks)
        helpers = []
        if number > 1 and len(tasks) > 1:
            import threading

            helpers = [threading.Thread(target=self._work, args=(writer, tasks), daemon=True) for writer in writers[1:]]
            for thread in helpers:
                thread.start()
        self._work(writers[0], tasks)
        for thread in helpers:
            thread.join()
        if not self.failures:
            # What was not where the index said is looked up anew, by one thread.
            leftovers = [leftover for writer in writers for leftover in writer.leftovers]
            self._try(lambda: writers[0].write_again(leftovers))
        for writer in writers:
            self._count(writer)
        if self.failures:
            self.section.save(self.result.files)
            raise self.failures[0]

    def _work(self, writer: _Writer, tasks: list[_Task]) -> None:
        def work() -> None:
            while tasks and not self.failures:
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
            self.failures.append(error)

    def _extract(self, tasks: list[_Task]) -> None:
        """Give blobs in packs files of their own, which can be linked to; where that fails, copies are made."""
        from regcli.store.check import extract_blobs

        extract_blobs(self._content, {row[1] for task in tasks for row in task.large if row[3] != EXECUTABLE})

    def _count(self, writer: _Writer) -> None:
        self.result.written += writer.written
        self.result.bytes += writer.bytes
        self._learn(writer)
        writer.close()

    def report(self) -> None:
        """Tell how far it is (from the writers' own counts, so only roughly where there are two)."""
        if self._progress is not None:
            self._progress(self.result.skipped + self.result.written, self.result.bytes)

    @property
    def content(self) -> Content:
        """Where the blobs are."""
        return self._content

    @property
    def link_mode(self) -> str:
        """How files come from the store."""
        return self._link_mode

    @property
    def wants_status(self) -> bool:
        """Tell whether `done` needs a `stat`."""
        return self._cache is not None

    def _is_proven(self, descriptor: int, digest: str) -> bool:
        """Tell whether a large blob has its content: read once, afterwards by its unchanged `stat`.

        Only for files that share the store's bytes, where nothing is copied that could be hashed on the way.
        """
        if self._blob_section is None:
            self._blob_section = no_section() if self._cache is None else self._cache.section(f"{self._content.root}/blobs")
        status = os.fstat(descriptor)
        if self._blob_section.known.get(make_key(status)) == bytes.fromhex(digest):
            return True
        if blobs.hash_file(descriptor)[0].hex() != digest:
            return False
        self._blob_section.add(os.fstat(descriptor), bytes.fromhex(digest))
        return True

    def prove(self, descriptor: int, digest: str) -> None:
        """Refuse a large blob that is damaged.

        Raises:
            IntegrityError: it is.
        """
        if not self._is_proven(descriptor, digest):
            raise _corrupt(self._content, digest)

    def _learn(self, writer: _Writer) -> None:
        """Remember what was written, where a second look still finds it as it was just after writing."""
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
            # Giving the file its name changed its ctime, nothing else may have changed.
            if (before.st_ino, before.st_size, before.st_mtime_ns) == (after.st_ino, after.st_size, after.st_mtime_ns):
                self.section.add(after, bytes.fromhex(digest))

    def save(self) -> None:
        """Write the stat cache."""
        self.section.save(self.result.files)
        if self._blob_section is not None:
            self._blob_section.save(len(self._blob_section.known))


def _parents(directory: str) -> list[str]:
    found = []
    while directory:
        directory = directory.rpartition("/")[0]
        found.append(directory)
    return found


def _split(tasks: list[_Task]) -> list[_Task]:
    """Cut long lists, so that two threads share a flat directory; what fills a new directory stays together."""
    pieces: list[_Task] = []
    for task in tasks:
        if not task.is_new:
            for start in range(_WORTH_A_THREAD, len(task.small), _WORTH_A_THREAD):
                piece = _Task(task.directory, [], is_new=False)
                piece.small = task.small[start : start + _WORTH_A_THREAD]
                pieces.append(piece)
            del task.small[_WORTH_A_THREAD:]
        # After the small files: by then the directory is there.
        pieces += [_Task(task.directory, [row], is_new=False) for row in task.large[1:]]
        del task.large[1:]
    return tasks + pieces


def _corrupt(content: Content, digest: str) -> IntegrityError:
    path = blobs.blob_path(content.root, digest)
    return IntegrityError(f"blob {digest} is corrupt in {path}", hint="run `regcli verify` to see all damage")


class _Writer:
    """Writes files; one for each thread.

    Attributes:
        written, bytes: what was written.
        finished: (directory, name, stat after writing, digest), for the cache.
        leftovers: (directory, row) of files whose bytes were not where the index said.
    """

    __slots__ = ("_beneath", "_directory", "_place", "_run", "_threads", "bytes", "finished", "leftovers", "written")

    def __init__(self, run: _Run, beneath: Beneath, *, threads: int) -> None:
        self._run = run
        self._beneath = beneath
        self._threads = threads
        self._directory = -1
        self._place = ""
        self.written = 0
        self.bytes = 0
        self.finished: list[tuple[str, str, os.stat_result, str]] = []
        self.leftovers: list[tuple[str, Wanted]] = []

    def close(self) -> None:
        """Close the directories that are open."""
        self._beneath.close()

    def write(self, task: _Task) -> None:
        """Write all files of a task, or raise; files with their final names stay."""
        self._place = task.directory
        if task.is_new and task.small:
            self._fill_new(task.directory, task.small)
        elif task.small:
            self._directory = self._beneath.open(task.directory, create=True)
            self._write_small(task.small, direct=False)
        if task.large:
            self._directory = self._beneath.open(task.directory, create=True)
            for row in task.large:
                self._write_large(row)
                self._run.report()

    def write_again(self, leftovers: list[tuple[str, Wanted]]) -> None:
        """Write files whose blobs have to be looked up anew."""
        for directory, row in leftovers:
            self._place = directory
            self._directory = self._beneath.open(directory, create=True)
            self._write_bytes(row, self._read_whole(row), direct=False)

    def _done(self, name: str, status: os.stat_result | None, row: Wanted) -> None:
        self.written += 1
        self.bytes += row[2]
        if status is not None:
            self.finished.append((self._place, name, status, row[1]))

    def _fill_new(self, directory: str, small: list[Located]) -> None:
        """Fill a directory under another name, then give it its own: one renaming for all its files."""
        parent, _, name = directory.rpartition("/")
        outer = self._beneath.open(parent, create=True)
        temporary = self._temporary()
        path = f"{self._beneath.path}/{directory}"
        try:
            os.mkdir(temporary, dir_fd=outer)
            self._directory = os.open(temporary, os.O_RDONLY | files.CLOEXEC | files.NOFOLLOW, dir_fd=outer)
        except OSError as error:
            raise files.explain(error, f"cannot make {path}") from error
        done: list[str] = []
        try:
            self._write_small(small, direct=True, done=done)
            try:
                os.rename(temporary, name, src_dir_fd=outer, dst_dir_fd=outer)
            except OSError as error:
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
                    raise files.explain(error, f"cannot make {path}") from error
                self._move_out(directory, done)
            done = []
        finally:
            for left in done:
                _unlink(left, self._directory)
            os.close(self._directory)
            try:
                os.rmdir(temporary, dir_fd=outer)
            except OSError:
                pass

    def _move_out(self, directory: str, names: list[str]) -> None:
        """Somebody made the directory meanwhile: its files go in one by one."""
        inner = self._beneath.fork()
        try:
            descriptor = inner.open(directory, create=True)
            for name in names:
                os.rename(name, name, src_dir_fd=self._directory, dst_dir_fd=descriptor)
        except OSError as error:
            raise files.explain(error, f"cannot write to {self._beneath.path}/{directory}") from error
        finally:
            inner.close()

    def _write_small(self, rows: list[Located], *, direct: bool, done: list[str] | None = None) -> None:
        start = 0
        digest_of = xxhash.xxh3_128_hexdigest
        while start < len(rows):
            identity, first, length, _ = rows[start]
            end = start + 1
            limit = first + length
            while end < len(rows) and rows[end][0] == identity:
                offset, size = rows[end][1:3]
                if offset > limit + _GAP or offset + size > first + _WINDOW:
                    break
                limit = max(limit, offset + size)
                end += 1
            view = memoryview(self._read(identity, first, limit - first))
            for _, offset, size, row in rows[start:end]:
                data = view[offset - first : offset - first + size]
                if digest_of(data) != row[1]:
                    # Damaged or rewritten; there may be another copy.
                    self.leftovers.append((self._place, row))
                    continue
                if done is not None:
                    done.append(row[0])
                self._write_bytes(row, data, direct=direct)
            start = end
        self._run.report()

    def _read(self, identity: bytes, offset: int, size: int) -> bytes:
        try:
            descriptor, owned = self._run.content.pack_descriptor(identity)
            try:
                return packs.read_exactly(descriptor, size, offset)
            finally:
                if owned:
                    os.close(descriptor)
        except FileNotFoundError:
            # Rewritten by a sweep since the index was loaded: each blob is looked up anew.
            return b""
        except OSError as error:
            raise files.explain(error, f"cannot read {self._run.content.index.pack_path(identity)}") from error

    def _path(self, name: str) -> str:
        return f"{self._beneath.path}/{self._place}/{name}" if self._place else f"{self._beneath.path}/{name}"

    def _temporary(self) -> str:
        return f"{self._run.tag}-{self._run.number():x}"

    def _write_bytes(self, row: Wanted, data: memoryview | bytes, *, direct: bool) -> None:
        """Write proven bytes; `direct` in a directory that nobody sees yet."""
        name = row[0]
        directory = self._directory
        temporary = name if direct else self._temporary()
        status = None
        try:
            descriptor = os.open(temporary, _CREATE, 0o777 if row[3] == EXECUTABLE else 0o666, dir_fd=directory)
            try:
                if os.write(descriptor, data) != len(data):
                    os.lseek(descriptor, 0, os.SEEK_SET)
                    files.write_all(descriptor, data)
                if self._run.wants_status:
                    status = os.fstat(descriptor)
            except BaseException:
                _unlink(temporary, directory)
                raise
            finally:
                os.close(descriptor)
            if not direct:
                self._rename(temporary, name)
        except OSError as error:
            raise files.explain(error, f"cannot write {self._path(name)}") from error
        self._done(name, status, row)

    def _rename(self, temporary: str, name: str) -> None:
        try:
            os.rename(temporary, name, src_dir_fd=self._directory, dst_dir_fd=self._directory)
        except BaseException:
            _unlink(temporary, self._directory)
            raise

    # Large blobs, and links to the store

    def _write_large(self, row: Wanted) -> None:
        source = self._run.content.open_loose(row[1])
        if source is None:
            self.leftovers.append((self._place, row))
            return
        try:
            mode = self._run.link_mode
            if mode in ("hardlink", "symlink") and row[3] != EXECUTABLE and self._link(row, source, mode):
                return
            self._copy(row, source)
        finally:
            os.close(source)

    def _read_whole(self, row: Wanted) -> bytes:
        try:
            data = self._run.content.read(row[1])
        except NotFoundError as error:
            raise IntegrityError(
                f"the content of {quote(self._path(row[0]))} is missing from the store: blob {row[1]}", hint=error.hint
            ) from error
        if len(data) != row[2]:
            raise IntegrityError(f"the manifest says that {quote(row[0])} has {row[2]} bytes, but its blob has {len(data)}")
        return data

    def _link(self, row: Wanted, source: int, mode: str) -> bool:
        """Give the store's own file a name here; False where that cannot be."""
        self._run.prove(source, row[1])
        path = os.path.abspath(blobs.blob_path(self._run.content.root, row[1]))
        temporary = self._temporary()
        try:
            if mode == "hardlink":
                os.link(path, temporary, dst_dir_fd=self._directory, follow_symlinks=False)
            else:
                os.symlink(path, temporary, dir_fd=self._directory)
            self._rename(temporary, row[0])
            # Where both names were one file already, rename does nothing and leaves both.
            _unlink(temporary, self._directory)
        except OSError as error:
            if error.errno in _NO_LINK:
                return False
            raise files.explain(error, f"cannot write {self._path(row[0])}") from error
        self._done(row[0], None, row)
        return True

    def _copy(self, row: Wanted, source: int) -> None:
        name, digest, size, flags = row
        run = self._run
        mode = 0o777 if flags == EXECUTABLE else 0o666
        if run.link_mode in ("hardlink", "symlink"):
            mode &= 0o555
        temporary = self._temporary()
        status = None
        try:
            descriptor = os.open(temporary, _CREATE & ~os.O_WRONLY | os.O_RDWR, mode, dir_fd=self._directory)
            try:
                if run.link_mode in ("auto", "reflink") and blobs.clone(source, descriptor):
                    run.prove(source, digest)
                else:
                    found, copied = blobs.copy_hashing(source, descriptor, size, threads=self._threads)
                    if found.hex() != digest or copied != size:
                        raise _corrupt(run.content, digest)
                status = os.fstat(descriptor)
            except BaseException:
                _unlink(temporary, self._directory)
                raise
            finally:
                os.close(descriptor)
            self._rename(temporary, name)
        except OSError as error:
            raise files.explain(error, f"cannot write {self._path(name)}") from error
        self._done(name, status, row)


def _by_place(row: Located) -> tuple[bytes, int]:
    return row[0], row[1]


def _unlink(name: str, directory: int) -> None:
    try:
        os.unlink(name, dir_fd=directory)
    except OSError:
        pass
