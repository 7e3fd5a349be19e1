"""Deliberately broken variants of the store, for the negative controls: a suite that accepts one of them proves nothing.

Loaded by the interpreter at its start when this directory is on PYTHONPATH; `REGCLI_TEST_BROKEN` names the variants.
"""

from __future__ import annotations

import os
import time


def commit_by_rename(files):
    """The commit point overwrites instead of creating: two writers can have the same number."""

    def link_exclusive(temporary, path):
        os.rename(temporary, path)
        return True

    files.link_exclusive = link_exclusive


def commit_in_place(files):
    """Commits are written under their own name, bit by bit."""
    create_exclusive = files.create_exclusive

    def create(path, data, *, mode=0o444):
        if not path.endswith(".json"):
            return create_exclusive(path, data, mode=mode)
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


def no_directory_sync(files):
    """Names are not made durable."""
    files.fsync_directory = lambda path: None
    files.fsync_recent = lambda path: None


def no_file_sync(files):
    """Bytes are not made durable."""
    files.fsync_file = lambda descriptor: None


def swallow_errors(files):
    """What cannot be written counts as written."""
    create_exclusive = files.create_exclusive

    def create(path, data, *, mode=0o444):
        try:
            return create_exclusive(path, data, mode=mode)
        except Exception:
            return True

    files.create_exclusive = create


def trust_one_write(files):
    """One call is believed to write everything."""
    files.write_all = lambda descriptor, data: os.write(descriptor, data)


def locks_do_nothing(files):
    """Not a broken store but a broken file system: flock says yes to everybody."""
    import fcntl

    fcntl.flock = lambda descriptor, operation: None


def gc_takes_no_lock(files):
    """Deletions are not kept apart from additions: what is added while gc looks may be taken away."""
    acquire = files.Lock.acquire

    def careless(self, *, exclusive, wait, clock, sleep):
        if not exclusive or "content" not in self.path:
            acquire(self, exclusive=exclusive, wait=wait, clock=clock, sleep=sleep)

    files.Lock.acquire = careless


def a_day_later(files):
    """Not a broken store but a later moment: what was made today is old enough for gc."""
    now = time.time
    time.time = lambda: now() + 86400


def no_waiting_limit(files):
    """A busy store is waited for without end (as far as a test can see)."""
    acquire = files.Lock.acquire

    def patient(self, *, exclusive, wait, clock, sleep):
        acquire(self, exclusive=exclusive, wait=wait + 5, clock=clock, sleep=sleep)

    files.Lock.acquire = patient


def stale_reads(files):
    """Now and then a reader is given the state of one commit ago, as from a cache."""
    from regcli.store import chain

    read = chain.Chain.read

    def sometimes_behind(self):
        last = self.last_number()
        return self.replay(last - 1) if last > 1 and os.urandom(1)[0] < 60 else read(self)

    chain.Chain.read = sometimes_behind


def break_store(names):
    from regcli.store import files

    for name in names:
        globals()[name](files)


if os.environ.get("REGCLI_TEST_BROKEN"):
    break_store(os.environ["REGCLI_TEST_BROKEN"].split(","))
