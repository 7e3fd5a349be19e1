"""All states that a power cut may leave of one recorded command, in a pessimistic model of a file system.

Nothing is durable but what was synced: the bytes of a file by an fsync of the file, a name in a directory by an fsync of the
directory (POSIX promises no more). What is pending at the moment of the cut may be on the disk or not, each piece by itself:
all, none, each alone, and all but each are tried at every moment. A file whose bytes were not synced is empty.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.reliability import syscalls
from tests.reliability.harness import run

if TYPE_CHECKING:
    from collections.abc import Iterator

CALLS = (*syscalls.CHANGING, "close")
_PATHS = re.compile(r'(?:(?:AT_FDCWD|\d+)(?:<([^>]*)>)?, )?"([^"]*)"')
_DESCRIPTOR = re.compile(r"^(\d+)<([^>]*)>")

Operation = tuple[Any, ...]


def record(arguments: list[str], *, env: dict[str, str], cwd: Path, root: Path, trace: Path) -> list[Operation]:
    """Run a command; returns what it did to the files below the root, in order, and `("answer",)` where it printed."""
    before = syscalls._strace(trace, CALLS, "-s", "4096")
    run(*arguments, env=env, cwd=cwd, before=before)
    operations: list[Operation] = []
    for line in trace.read_text(errors="replace").splitlines():
        match = syscalls._LINE.match(line)
        if match is not None and (match[3] == "?" or int(match[3]) >= 0):
            operations += _interpret(match[1], match[2], str(root))
    return operations


def _interpret(name: str, text: str, root: str) -> list[Operation]:
    if name == "write" and text.startswith("1<"):
        return [("answer",)]
    on = _DESCRIPTOR.match(text)
    if on is not None and name in (
        "write",
        "pwrite64",
        "fsync",
        "fdatasync",
        "syncfs",
        "copy_file_range",
        "sendfile",
        "ftruncate",
    ):
        target = on[2] if name != "copy_file_range" else text.split("<")[2].split(">", maxsplit=1)[0]
        if not target.startswith(root):
            return []
        kind = {"fsync": "sync", "fdatasync": "sync", "syncfs": "sync-all"}.get(name, "write")
        return [(kind, target)]
    paths = [os.path.join(base or "", path) for base, path in _PATHS.findall(text)]
    if not paths or not all(path.startswith(root) for path in paths):
        return []
    if name == "openat":
        return [("create", paths[0])] if "O_CREAT" in text else []
    simple = {
        "mkdir": "mkdir", "mkdirat": "mkdir", "link": "link", "linkat": "link", "rename": "rename", "renameat": "rename",
        "renameat2": "rename", "unlink": "unlink", "unlinkat": "unlink", "rmdir": "unlink",
    }  # fmt: skip
    return [(simple[name], *paths)] if name in simple else []


class Disk:
    """A file tree, what of it is durable, and what is pending."""

    def __init__(self, before: Path, root: Path, after: Path) -> None:
        """Begin with `before` lying durably at `root`; bytes of files that come are looked up in `after`."""
        self.root = str(root)
        self.kinds: list[str] = []
        self.bytes: dict[int, bytes] = {}
        self.now: dict[int, dict[str, int]] = {}
        self.durable: dict[int, dict[str, int]] = {}
        # (directory, name, file or None), or two of them for a rename: applied together or not at all.
        self.pending: list[tuple[tuple[int, str, int | None], ...]] = []
        self.dirty: set[int] = set()
        self.after = after
        self.top = self._load(before)

    def _new(self, kind: str) -> int:
        self.kinds.append(kind)
        number = len(self.kinds) - 1
        if kind == "directory":
            self.now[number], self.durable[number] = {}, {}
        return number

    def _load(self, path: Path) -> int:
        if not path.is_dir():
            number = self._new("file")
            self.bytes[number] = path.read_bytes()
            return number
        number = self._new("directory")
        for child in sorted(path.iterdir()):
            self.now[number][child.name] = self._load(child)
        self.durable[number] = dict(self.now[number])
        return number

    def _find(self, path: str) -> tuple[int, str]:
        """Return the directory that a path's last name is in."""
        parts = path[len(self.root) :].strip("/").split("/")
        place = self.top
        for part in parts[:-1]:
            place = self.now[place][part]
        return place, parts[-1]

    def _file(self, path: str) -> int | None:
        if path.rstrip("/") == self.root:
            return self.top
        try:
            place, name = self._find(path)
        except KeyError:
            return None
        return self.now[place].get(name)

    def _change(self, *changes: tuple[int, str, int | None]) -> None:
        for place, name, number in changes:
            if number is None:
                self.now[place].pop(name, None)
            else:
                self.now[place][name] = number
        self.pending.append(changes)

    def apply(self, operation: Operation) -> None:
        kind, *paths = operation
        if kind in ("create", "mkdir"):
            if self._file(paths[0]) is None:
                number = self._new("directory" if kind == "mkdir" else "file")
                self._change((*self._find(paths[0]), number))
        elif kind == "write":
            written = self._file(paths[0])
            if written is not None:
                self.dirty.add(written)
        elif kind == "link":
            self._change((*self._find(paths[1]), self._file(paths[0])))
        elif kind == "rename":
            self._change((*self._find(paths[1]), self._file(paths[0])), (*self._find(paths[0]), None))
        elif kind == "unlink":
            self._change((*self._find(paths[0]), None))
        elif kind == "sync":
            self._sync(self._file(paths[0]))
        elif kind == "sync-all":
            self.dirty.clear()
            for number in self.now:
                self._sync(number)

    def _sync(self, number: int | None) -> None:
        if number is None:
            return
        self.dirty.discard(number)
        if self.kinds[number] == "file":
            return
        kept = []
        for changes in self.pending:
            if any(place == number for place, _, _ in changes):
                self._settle(changes, self.durable)
            else:
                kept.append(changes)
        self.pending = kept

    @staticmethod
    def _settle(changes: tuple[tuple[int, str, int | None], ...], entries: dict[int, dict[str, int]]) -> None:
        for place, name, number in changes:
            if number is None:
                entries[place].pop(name, None)
            else:
                entries[place][name] = number

    def fill(self) -> None:
        """Take the bytes of the files that the command made from what it left."""
        self._fill(self.top, self.after)

    def _fill(self, number: int, path: Path) -> None:
        for name, child in self.now[number].items():
            if self.kinds[child] == "directory":
                self._fill(child, path / name)
            elif (path / name).is_file():
                self.bytes[child] = (path / name).read_bytes()

    def crash_states(self) -> Iterator[dict[str, int | None]]:
        """Yield what a cut now may leave: path -> file (a negative number: its bytes are lost), None for a directory."""
        pieces: list[Any] = [*self.pending, *sorted(self.dirty)]
        chosen: list[list[Any]] = [pieces, []]
        if len(pieces) > 1:
            chosen += [[piece] for piece in pieces]
            chosen += [[other for other in pieces if other is not piece] for piece in pieces]
        for choice in chosen:
            entries = {number: dict(names) for number, names in self.durable.items()}
            for piece in choice:
                if not isinstance(piece, int):
                    self._settle(piece, entries)
            empty = self.dirty - {piece for piece in choice if isinstance(piece, int)}
            yield dict(self._walk(self.top, "", entries, empty))

    def _walk(
        self, number: int, path: str, entries: dict[int, dict[str, int]], empty: set[int]
    ) -> Iterator[tuple[str, int | None]]:
        for name, child in sorted(entries[number].items()):
            where = f"{path}/{name}"
            if self.kinds[child] == "directory":
                yield where, None
                yield from self._walk(child, where, entries, empty)
            else:
                yield where, -child - 1 if child in empty else child

    def build(self, state: dict[str, int | None], target: Path) -> None:
        """Make a state real."""
        target.mkdir()
        for where, number in state.items():
            path = f"{target}{where}"
            if number is None:
                os.mkdir(path)
            else:
                Path(path).write_bytes(b"" if number < 0 else self.bytes.get(number, b""))


def crash_states(
    before: Path, root: Path, operations: list[Operation]
) -> tuple[Disk, list[tuple[dict[str, int | None], bool]]]:
    """Return every different state that a cut at any moment may leave, and whether the command had answered by then."""
    disk = Disk(before, root, root)
    seen: set[tuple[Any, ...]] = set()
    states = []
    answered = False
    for operation in [*operations, ("end",)]:
        for state in disk.crash_states():
            key = (answered, tuple(state.items()))
            if key not in seen:
                seen.add(key)
                states.append((state, answered))
        if operation[0] == "answer":
            answered = True
        else:
            disk.apply(operation)
    disk.fill()
    return disk, states
