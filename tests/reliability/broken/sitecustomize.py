"""Deliberately broken variants of the store, for the negative controls: a suite that accepts one of them proves nothing.

Loaded by the interpreter at its start when this directory is on PYTHONPATH; `REGCLI_TEST_BROKEN` names the variants.
"""

from __future__ import annotations

import os
import time
from typing import Any


def commit_by_rename(files: Any) -> None:
    """The commit point overwrites instead of creating: two writers can have the same number."""

    def link_exclusive(source: str, target: str, **places: Any) -> bool:
        os.rename(source, target, **places)
        return True

    files.link_exclusive = link_exclusive


def commit_in_place(files: Any) -> None:
    """Commits are written under their own name, bit by bit."""
    create_exclusive = files.create_exclusive

    def create(path: str, data: bytes, *, mode: int = 0o444, root: str | None = None) -> Any:
        if not path.endswith(".json"):
            return create_exclusive(path, data, mode=mode, root=root)
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        except FileExistsError:
            return False
        for start in range(0, len(data), 64):
            os.write(descriptor, data[start : start + 64])
            time.sleep(0.0002)
        os.fsync(descriptor)
        os.close(descriptor)
        files.fsync_directory(os.path.dirname(path))
        return True

    files.create_exclusive = create


def no_directory_sync(files: Any) -> None:
    """Names are not made durable."""
    files.fsync_names = lambda *_: None


def no_file_sync(files: Any) -> None:
    """Bytes are not made durable."""
    files.fsync_file = lambda *_: None


def swallow_errors(files: Any) -> None:
    """What cannot be written counts as written."""
    create_exclusive = files.create_exclusive

    def create(path: str, data: bytes, **more: Any) -> Any:
        try:
            return create_exclusive(path, data, **more)
        except Exception:  # noqa: BLE001 - that is what is broken
            return True

    files.create_exclusive = create


def errors_are_absence(files: Any) -> None:
    """A blob that cannot be looked at counts as one that is not stored."""
    from regcli.errors import StorageError
    from regcli.store.content import Content

    look = Content._loose_size

    def careless(self: Any, digest: str) -> int | None:
        try:
            return look(self, digest)
        except StorageError:
            return None

    Content._loose_size = careless  # type: ignore[method-assign]


def trust_one_write(files: Any) -> None:
    """One call is believed to write everything."""
    files.write_all = os.write


def locks_do_nothing(files: Any) -> None:
    """Not a broken store but a broken file system: flock says yes to everybody."""
    import fcntl

    fcntl.flock = lambda *_: None


def gc_takes_no_lock(files: Any) -> None:
    """Deletions are not kept apart from additions: what is added while gc looks may be taken away."""
    from regcli.store.locks import Lock

    acquire = Lock.acquire

    def careless(self: Any, *, exclusive: bool, **more: Any) -> None:
        if not exclusive or "content" not in self.path:
            acquire(self, exclusive=exclusive, **more)

    Lock.acquire = careless  # type: ignore[method-assign]


def wait_for_ever(files: Any) -> None:
    """A busy store is waited for without an end."""
    from regcli.store.locks import Lock

    acquire = Lock.acquire

    def patient(self: Any, *, wait: float, **more: Any) -> None:
        acquire(self, wait=wait + 3600, **more)

    Lock.acquire = patient  # type: ignore[method-assign]


def a_day_later(files: Any) -> None:
    """Not a broken store but a later moment: what was made today is old enough for gc."""
    now = time.time
    time.time = lambda: now() + 86400


def ten_years_ago(files: Any) -> None:
    """A machine whose clock was never set."""
    now = time.time
    time.time = lambda: now() - 10 * 365 * 86400


def in_ten_years(files: Any) -> None:
    """A machine whose clock is far ahead."""
    now = time.time
    time.time = lambda: now() + 10 * 365 * 86400


def the_clock_decides(files: Any) -> None:
    """The order of changes is that of their times: what looks older than what came before it does not count."""
    from regcli.store import chain

    is_void = chain.Chain._is_void

    def comes_late(self: Any, snapshot: Any, commit: Any, path: str) -> bool:
        return commit["time"] < (snapshot.state.get("updated_at") or "") or is_void(self, snapshot, commit, path)

    chain.Chain._is_void = comes_late  # type: ignore[method-assign]
    chain.Chain._read_head = lambda _: None  # type: ignore[method-assign, assignment]


def believe_the_clock(files: Any) -> None:
    """Ages are counted from whatever time it is said to be."""
    from regcli.domain import retention

    retention.CLOCK_SLACK = float("inf")


def forget_what_was_done(files: Any) -> None:
    """An error tells only of itself, not of what was committed before it."""
    from regcli.domain.context import Context

    Context.made = property(lambda _: [], lambda *_: None)  # type: ignore[assignment, misc]


def slow_writes(files: Any) -> None:
    """Not a broken store but a slow disk: there is time to see what is written in between."""
    write = os.write

    def slow(descriptor: int, data: bytes) -> int:
        time.sleep(0.005)
        return write(descriptor, data)

    os.write = slow  # type: ignore[assignment]


def slow_syncs(files: Any) -> None:
    """Not a broken store but a slow disk: a commit has its name long before it is durable."""
    fsync_names = files.fsync_names

    def slow(descriptor: int) -> None:
        fsync_names(descriptor)
        time.sleep(0.05)

    files.fsync_names = slow


def forget_what_was_cut_short(files: Any) -> None:
    """What Ctrl-C ends in the middle of its commit counts as not done."""
    from regcli.store import chain

    chain.Chain.has_published = lambda *_: False  # type: ignore[method-assign]


def stale_reads(files: Any) -> None:
    """Now and then a reader is given the state of one commit ago, as from a cache."""
    from regcli.store import chain

    read = chain.Chain.read

    def sometimes_behind(self: Any) -> Any:
        last = self.last_number()
        return self.replay(last - 1) if last > 1 and os.urandom(1)[0] < 60 else read(self)

    chain.Chain.read = sometimes_behind  # type: ignore[method-assign]


def break_store(names: list[str]) -> None:
    from regcli.store import files

    for name in names:
        globals()[name](files)


if os.environ.get("REGCLI_TEST_BROKEN"):
    break_store(os.environ["REGCLI_TEST_BROKEN"].split(","))
