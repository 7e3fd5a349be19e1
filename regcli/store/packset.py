"""All packs of a root as one index, with derived files over many packs (FORMAT.md 3.2)."""

from __future__ import annotations

import errno
import os

from regcli.errors import IntegrityError, reason_of
from regcli.store import files, packs
from regcli.store.packindex import LOCATION, Index, encode_index, open_index

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

# So many rows of an index at once take about 60 MiB as objects.
_UNPACKED = 1 << 18


class _Part:
    """One loaded index: its file's name (or pack) and the packs that it speaks of, None for those that are gone."""

    __slots__ = ("index", "name", "packs")

    def __init__(self, name: str, index: Index, packs: list[bytes | None]) -> None:
        self.name = name
        self.index = index
        self.packs = packs


# What opening says of a directory, a link, a pipe or a socket in the place of a pack.
_NO_FILE = (errno.EISDIR, errno.ELOOP, errno.EMLINK, errno.ENXIO, errno.ENOTDIR)


def _by_use(part: _Part) -> tuple[int, int]:
    """Order index files: those about many packs first, of alike ones that with fewer rows."""
    return -len(part.packs), part.index.count


class PackSet:
    """All packs of a root as one index; loaded on first use, refreshed when asked.

    Attributes:
        directory: the packs' directory; need not exist.
        damaged: packs whose own index is damaged, with what is wrong. They are read by scanning.
        unreadable: those of them that could not be opened or read, with why; what is no file at all is only damaged.
    """

    __slots__ = ("_loaded", "_parts", "_root", "_stale", "_stamp", "damaged", "directory", "unreadable")

    def __init__(self, directory: str) -> None:
        self.directory = directory
        self.damaged: dict[bytes, str] = {}
        self.unreadable: dict[bytes, OSError] = {}
        self._parts: list[_Part] = []
        self._loaded = False
        self._stamp: tuple[int, int] = (0, 0)
        self._stale: list[str] = []
        self._root = os.path.dirname(directory)

    def refresh(self) -> bool:
        """Load what is there now; False when nothing changed since the last time."""
        stamp = self._current_stamp()
        if self._loaded and stamp == self._stamp:
            return False
        self.close()
        self._load()
        # The stamp from before loading: what appears meanwhile is seen by the next refresh.
        self._stamp = stamp
        self._loaded = True
        return True

    def distrust(self) -> None:
        """Load again from the packs alone: an index file said what is not so. The next `merge` replaces them all."""
        self.close()
        self._stamp = self._current_stamp()
        self._load(distrust=True)
        self._loaded = True

    def _current_stamp(self) -> tuple[int, int]:
        try:
            status = os.stat(self.directory)
        except (FileNotFoundError, NotADirectoryError):
            return (0, 0)
        except OSError as error:
            raise files.explain(error, f"cannot read {self.directory}") from error
        return status.st_ino, status.st_mtime_ns

    def _load(self, *, distrust: bool = False) -> None:
        # Index files before packs: an index file that names a pack made later than our listing would hide it as dead.
        indexes = sorted(name for name in files.scan_names(f"{self.directory}/index") if name.endswith(".idx"))
        present = self.pack_ids()
        loaded: list[_Part] = []
        for name in indexes:
            part = None if distrust else self._load_segment(name, present)
            if part is None:
                self._stale.append(name)
            else:
                loaded.append(part)
        covered: set[bytes | None] = {None}
        needed: list[_Part] = []
        for part in sorted(loaded, key=_by_use):
            if covered.issuperset(part.packs):
                # Others speak of all its packs: left by two processes that merged at once.
                self._stale.append(part.name)
                part.index.close()
            else:
                covered.update(part.packs)
                needed.append(part)
        loaded = needed
        loose = [(identity, self._load_pack(identity)) for identity in sorted(present - covered)]
        loaded += [_Part("", index, [identity]) for identity, index in loose if index is not None]
        # The largest first: most blobs are there.
        loaded.sort(key=lambda part: -part.index.count)
        self._parts = loaded

    def pack_ids(self) -> set[bytes]:
        """Return the ids of the packs that are there now."""
        found = set()
        for name in files.scan_names(self.directory):
            if len(name) == 37 and name.endswith(".pack"):
                try:
                    found.add(bytes.fromhex(name[:32]))
                except ValueError:
                    continue
        return found

    def _load_segment(self, name: str, present: set[bytes]) -> _Part | None:
        try:
            descriptor = os.open(f"{self.directory}/index/{name}", files.READ)
        except OSError:
            return None
        try:
            index = open_index(descriptor, 0, os.fstat(descriptor).st_size)
        except (OSError, IntegrityError):
            return None
        finally:
            os.close(descriptor)
        return _Part(name, index, [pack if pack in present else None for pack in index.packs])

    def _load_pack(self, identity: bytes) -> Index | None:
        path = self.pack_path(identity)
        try:
            descriptor = packs.open_pack(path)
        except FileNotFoundError:
            return None
        except OSError as error:
            self._give_up(identity, error)
            return None
        try:
            index = packs.read_trailer(descriptor, identity)[0]
            if index.count <= 4096:
                index.prove()
        except (packs.PackError, IntegrityError) as error:
            self.damaged[identity] = str(error)
            try:
                return packs.scanned_index(descriptor, identity)
            except OSError as unreadable:
                self._give_up(identity, unreadable)
        except OSError as error:
            self._give_up(identity, error)
        else:
            return index
        finally:
            os.close(descriptor)
        return None

    def _give_up(self, identity: bytes, error: OSError) -> None:
        """One pack that cannot be read must not spoil the others; a shortage in this process must not look like damage."""
        if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOMEM):
            raise files.explain(error, f"cannot open {self.pack_path(identity)}") from error
        self.damaged[identity] = reason_of(error)
        if error.errno not in _NO_FILE:
            self.unreadable[identity] = error

    def pack_path(self, identity: bytes) -> str:
        """Return the path of a pack."""
        return f"{self.directory}/{identity.hex()}.pack"

    def _drop(self, part: _Part) -> None:
        """Replace a damaged index file by the packs' own indexes, or a damaged pack index by a scan."""
        self._parts.remove(part)
        part.index.close()
        if part.name:
            self._stale.append(part.name)
            known = {pack for other in self._parts for pack in other.packs}
            for identity in part.packs:
                if identity is not None and identity not in known and (index := self._load_pack(identity)) is not None:
                    self._parts.append(_Part("", index, [identity]))
        elif (identity := part.packs[0]) is not None:
            self.damaged[identity] = "the index is damaged"
            descriptor = packs.open_pack(self.pack_path(identity))
            try:
                self._parts.append(_Part("", packs.scanned_index(descriptor, identity), [identity]))
            finally:
                os.close(descriptor)

    def find(self, digest: bytes) -> list[tuple[bytes, int, int]]:
        """Return (pack id, length, offset) of each place where a blob should be."""
        if not self._loaded:
            self.refresh()
        found = []
        for part in tuple(self._parts):
            try:
                rows = part.index.find(digest)
            except (IntegrityError, OSError):
                self._drop(part)
                return self.find(digest)
            for number, length, offset in rows:
                identity = part.packs[number] if number < len(part.packs) else None
                if identity is not None:
                    found.append((identity, length, offset))
        return found

    def places(self, digests: Iterable[bytes]) -> dict[bytes, tuple[bytes, int, int]]:
        """Return one (pack id, length, offset) for each of many digests that some pack has, as the first of `find`."""
        if not self._loaded:
            self.refresh()
        left = set(digests)
        found: dict[bytes, tuple[bytes, int, int]] = {}
        for part in tuple(self._parts):
            if not left:
                break
            count, ids = part.index.count, part.packs
            try:
                # Many against few: all rows are unpacked in C, unless that would take memory. Few against many: one by one.
                if None not in ids and count <= 4 * len(left) and count <= _UNPACKED:
                    rows = dict(part.index.rows())
                    some = [(digest, rows[digest]) for digest in left if digest in rows]
                else:
                    find = part.index.find
                    some = [(digest, row) for digest in left for row in find(digest)]
            except (IntegrityError, OSError):
                self._drop(part)
                return self.places(digests)
            for digest, (number, length, offset) in some:
                identity = ids[number] if number < len(ids) else None
                if identity is not None:
                    found[digest] = identity, length, offset
            left.difference_update(found)
        return found

    @property
    def count(self) -> int:
        """The number of rows: blobs, with those that are stored twice counted twice."""
        if not self._loaded:
            self.refresh()
        return sum(part.index.count for part in self._parts)

    def known(self, digests: set[bytes]) -> set[bytes]:
        """Return those of many digests that some pack has."""
        if not self._loaded:
            self.refresh()
        left = set(digests)
        for part in tuple(self._parts):
            if not left:
                break
            try:
                # Many against few: a set is built in C. Few against many: look each one up.
                if None not in part.packs and part.index.count <= 8 * len(left):
                    left.difference_update(part.index.digests())
                else:
                    find, ids = part.index.find, part.packs
                    left.difference_update(
                        [
                            digest
                            for digest in left
                            if any(row[0] < len(ids) and ids[row[0]] is not None for row in find(digest))
                        ]
                    )
            except (IntegrityError, OSError):
                self._drop(part)
                return self.known(digests)
        return digests - left if left else set(digests)

    def all_digests(self) -> set[bytes]:
        """Return every digest that some pack has."""
        if not self._loaded:
            self.refresh()
        found: set[bytes] = set()
        for part in tuple(self._parts):
            try:
                if None in part.packs:
                    return {digest for digest, _, _, _ in self.rows()}
                found.update(part.index.digests())
            except (IntegrityError, OSError):
                self._drop(part)
                return self.all_digests()
        return found

    def rows(self) -> list[tuple[bytes, bytes, int, int]]:
        """Return (digest, pack id, length, offset) of every row."""
        if not self._loaded:
            self.refresh()
        found = []
        for part in tuple(self._parts):
            try:
                rows = part.index.rows()
            except (IntegrityError, OSError):
                self._drop(part)
                return self.rows()
            for digest, (number, length, offset) in rows:
                identity = part.packs[number] if number < len(part.packs) else None
                if identity is not None:
                    found.append((digest, identity, length, offset))
        return found

    def rivals(self, has: Callable[[bytes], bool], ours: bytes) -> list[tuple[bytes, bytes, int, int]]:
        """Return (digest, pack, length, offset) of blobs that `has` knows, in packs that appeared since the last refresh."""
        known = {identity for part in self._parts for identity in part.packs} | {ours, *self.damaged}
        found = []
        for identity in self.pack_ids() - known:
            index = self._load_pack(identity)
            if index is not None:
                found += [(digest, identity, row[1], row[2]) for digest, row in index.rows() if has(digest)]
        return found

    def add(self, identity: bytes, index: Index) -> None:
        """Take in a pack that this process has just published."""
        if self._loaded:
            self._parts.append(_Part("", index, [identity]))

    def merge(self, *, most: int = 8) -> None:
        """Write a new index file when more than `most` packs are in none; old ones of similar size go into it.

        Best effort: it is derived, and a failure to write it changes nothing.
        """
        if not self._loaded:
            self.refresh()
        loose = [part for part in self._parts if not part.name and part.packs[0] not in self.damaged]
        if len(loose) <= most and not self._stale:
            return
        taken = loose if len(loose) > most else []
        rows = sum(part.index.count for part in taken)
        for part in sorted((part for part in self._parts if part.name), key=lambda part: part.index.count):
            if (taken and part.index.count <= 2 * rows) or None in part.packs:
                taken.append(part)
                rows += part.index.count
        try:
            self._write(taken)
        except OSError:
            return

    def _write(self, taken: list[_Part]) -> None:
        numbers: dict[bytes, int] = {}
        rows: set[tuple[bytes, bytes]] = set()
        try:
            for part in taken:
                # Two processes that merge at once leave two files about the same packs. Each pack is taken from one of them:
                # else its rows would double with every such race.
                places = {
                    number: numbers.setdefault(identity, len(numbers))
                    for number, identity in enumerate(part.packs)
                    if identity is not None and identity not in numbers
                }
                for digest, (number, length, offset) in part.index.rows() if places else ():
                    place = places.get(number)
                    if place is not None:
                        rows.add((digest, LOCATION.pack(place, length, offset)))
        except IntegrityError:
            return
        directory = f"{self.directory}/index"
        if rows:
            data = encode_index(rows, list(numbers))
            name = f"{files.random_hex(16)}.idx"
            try:
                files.replace_file(f"{directory}/{name}", data, mode=0o444, root=self._root)
            except FileNotFoundError:
                files.make_within(self._root, directory)
                files.replace_file(f"{directory}/{name}", data, mode=0o444, root=self._root)
            self._parts = [part for part in self._parts if part not in taken]
            self._parts.append(_Part(name, Index(data), list(numbers)))
        # Only now: until the new one is there, the old ones are what makes reading cheap.
        files.remove_names(directory, [part.name for part in taken if part.name] + self._stale, self._root)
        for part in taken:
            part.index.close()
        self._stale = []

    def close(self) -> None:
        """Forget what was loaded."""
        for part in self._parts:
            part.index.close()
        self._parts = []
        self._loaded = False
        self._stale = []
        self.damaged = {}
        self.unreadable = {}
