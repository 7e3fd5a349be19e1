"""The metrics history of a run: one JSON object per line and step, appended beside the run's log (FORMAT.md 5.1).

A line reaches the operating system before `append` returns, so a process that dies loses nothing that it logged; it reaches
the disk every few seconds, when a version is logged and when the run ends. What a power cut leaves half written at the end
is left out by readers and cut off by the next writer.
"""

from __future__ import annotations

import os
import stat

from regcli.errors import BusyError, IntegrityError, RegcliError, UsageError
from regcli.model import quote
from regcli.store import files, jsontext
from regcli.store.trust import new_sha256

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    Row = dict[str, Any]

STEP = "_step"
TIME = "_timestamp"
RUNTIME = "_runtime"
_FLUSH_SECONDS = 5.0
MAX_LINE = 1 << 20
# For step and times, which every row has.
_MARGIN = 1024
_FEW = 1000


def history_path(run_base: str) -> str:
    """Return the file of a run's metrics."""
    return f"{run_base}/metrics.jsonl"


def check_row(values: Row) -> None:
    """Refuse metrics that no row can hold, before any of them is taken.

    Raises:
        UsageError: they take more than a megabyte.
    """
    if len(values) < _FEW and all(isinstance(value, (int, float)) for value in values.values()):
        return
    size = len(jsontext.dumps(values))
    if size > MAX_LINE - _MARGIN:
        raise UsageError(
            f"the metrics of one step take {size} bytes, more than {MAX_LINE - _MARGIN}", hint="log them as a file"
        )


class HistoryWriter:
    """Appends rows to one run's history; opened by the process that runs it.

    Attributes:
        step: the step of the last row, or None before the first.
        summary: the last value of every key.
        rows: how many rows there are. size: bytes of them.
    """

    __slots__ = ("_clock", "_descriptor", "_flushed", "_flushed_at", "_hash", "_unnamed", "rows", "size", "step", "summary")

    def __init__(self, run_base: str, root: str, clock: Callable[[], float]) -> None:
        """Open the history of a run of this root for appending; what earlier processes of the run wrote is kept.

        Raises:
            IntegrityError: it is no file of its own. StorageError: it cannot be opened. BusyError: another writer has it open.
        """
        path = history_path(run_base)
        try:
            self._descriptor = files.open_to_append(path, root, 0o666)
        except OSError as error:
            raise files.explain(error, f"cannot write {path}") from error
        try:
            _lock(self._descriptor, path)
            self._take_over(path, run_base, clock)
        except BaseException:
            os.close(self._descriptor)
            raise

    def _take_over(self, path: str, run_base: str, clock: Callable[[], float]) -> None:
        self._clock = clock
        # The name of a new file is made durable with its first rows.
        self._unnamed: str | None = run_base
        self.step: int | None = None
        self.summary: Row = {}
        self.rows = 0
        self.size = 0
        self._hash = new_sha256()
        for row, line in _scan(path):
            self.step = row[STEP]
            self.summary.update(row)
            self.rows += 1
            self.size += len(line)
            self._hash.update(line)
        try:
            if os.fstat(self._descriptor).st_size > self.size:
                os.ftruncate(self._descriptor, self.size)
        except OSError as error:
            raise files.explain(error, f"cannot write {path}") from error
        self._flushed_at = clock()
        self._flushed = self.size

    def append(self, row: Row) -> None:
        """Append one row; its `_step` must be above the last.

        Raises:
            UsageError: it is too large, or its step is not. StorageError: it could not be written; nothing of it is kept.
        """
        step = row[STEP]
        if self.step is not None and step <= self.step:
            raise UsageError(f"step {step} is not after step {self.step}", hint="steps only grow")
        data = jsontext.dumps(row).encode() + b"\n"
        if len(data) > MAX_LINE:
            raise UsageError(f"the metrics of step {step} take {len(data)} bytes, more than {MAX_LINE}")
        try:
            files.write_all(self._descriptor, data)
        except OSError as error:
            os.ftruncate(self._descriptor, self.size)
            raise files.explain(error, "cannot write the metrics of the run") from error
        self.step = step
        self.summary.update(row)
        self.rows += 1
        self.size += len(data)
        self._hash.update(data)
        now = self._clock()
        if now - self._flushed_at >= _FLUSH_SECONDS or now < self._flushed_at:
            self.flush()

    def facts(self) -> dict[str, Any] | None:
        """Return what the run's log records of the history as it is now; None while it is empty."""
        if not self.rows:
            return None
        return {"rows": self.rows, "step": self.step, "size": self.size, "sha256": self._hash.hexdigest()}

    def flush(self) -> None:
        """Make everything durable.

        Raises:
            StorageError: it could not be.
        """
        if self.size == self._flushed:
            return
        try:
            files.fsync_file(self._descriptor)
            if self._unnamed is not None:
                files.fsync_directory(self._unnamed)
                self._unnamed = None
        except OSError as error:
            raise files.explain(error, "cannot flush the metrics of the run") from error
        self._flushed = self.size
        self._flushed_at = self._clock()

    def close(self) -> None:
        """Close the file; what was appended stays."""
        if self._descriptor >= 0:
            # A child that was forked meanwhile has the file open too.
            _unlock(self._descriptor)
            os.close(self._descriptor)
            self._descriptor = -1


def _lock(descriptor: int, path: str) -> None:
    """Keep other writers out while the file is open; where there are no locks, the run's log alone tells."""
    try:
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise BusyError(
            f"{path} is being written by another process or another object of the run",
            hint="give each process a run of its own in one group",
        ) from None
    except (ImportError, OSError):
        return


def _unlock(descriptor: int) -> None:
    try:
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_UN)
    except (ImportError, OSError):
        return


def read_history(run_base: str) -> Iterator[Row]:
    """Yield the rows of a run, in the order of their steps; a row that is still being written is left out.

    Raises:
        IntegrityError: a row that is not the last is damaged.
    """
    for row, _ in _scan(history_path(run_base)):
        yield row


def find_damage(run_base: str, facts: dict[str, Any] | None) -> str | None:
    """Return what is wrong with a history, compared with what the run's log recorded of it, or None."""
    path = history_path(run_base)
    hasher = new_sha256()
    left = facts["size"] if facts is not None else 0
    try:
        for _, line in _scan(path):
            if left > 0:
                hasher.update(line[:left])
                left -= len(line)
    except RegcliError as error:
        return error.message
    if facts is not None and left > 0:
        return f"{path} lacks {left} bytes of metrics that were recorded"
    if facts is not None and hasher.hexdigest() != facts["sha256"]:
        return f"{path} is not what was recorded: its SHA-256 differs"
    return None


def _open_unfollowed(path: str, flags: int) -> int:
    return os.open(path, flags | files.READ)


def _scan(path: str) -> Iterator[tuple[Row, bytes]]:
    """Yield each row with its line."""
    try:
        # Neither a link nor a pipe that somebody put there.
        stream = open(path, "rb", opener=_open_unfollowed)  # noqa: SIM115 - closed below, a missing file is an empty history
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        raise files.explain(error, f"cannot read {path}") from error
    with stream:
        if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
            raise IntegrityError(f"{path} is not a regular file")
        offset = 0
        last: int | None = None
        # A line that never ends must not be held in memory.
        while line := stream.readline(MAX_LINE + 1):
            if not line.endswith(b"\n"):
                if len(line) > MAX_LINE:
                    raise IntegrityError(f"{path} is corrupt at byte {offset}: a line is longer than {MAX_LINE} bytes")
                return
            offset += len(line)
            row = jsontext.loads(line, path)
            if not isinstance(row, dict) or not isinstance(row.get(STEP), int) or (last is not None and row[STEP] <= last):
                raise IntegrityError(
                    f"{path} is corrupt at byte {offset - len(line)}: {quote(line[:40].decode('ascii', 'replace'))}"
                )
            last = row[STEP]
            yield row, line
