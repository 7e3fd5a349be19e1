"""A progress bar for work that lasts: files, bytes, rate and remaining time, on standard error.

It appears only on a terminal and only after about a second; otherwise counting costs two additions.
"""

from __future__ import annotations

import sys
import time

from regcli.cli import settings
from regcli.cli.output import escape, human_count

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.progress import Progress, TaskID

    from regcli.cli.context import Session

DELAY = 1.0
_INTERVAL = 0.1


class progress:  # noqa: N801 - used like a function, `with progress(session, "hashing") as update:`
    """Show the progress of the work in the `with` block.

    The block gets `update(files, bytes)`, to be called with how much more was done; any thread may. A class of its own, since
    `contextlib` would cost the fast commands more than the bar they do not show.

    Args:
        session: the running command; `--quiet`, `--json` and `--no-progress` show nothing.
        label: what is being done, such as `hashing`.
        total_files: how many files there are, if known.
        total_bytes: how many bytes there are, if known; without it there is no remaining time.
    """

    __slots__ = ("_bar",)

    def __init__(self, session: Session, label: str, total_files: int | None = None, total_bytes: int | None = None) -> None:
        options = session.options
        silent = options.quiet or options.json or not options.progress or not settings.is_terminal(sys.stderr)
        self._bar = None if silent else _Bar(label, total_files, total_bytes, color=session.wants_color(sys.stderr))

    def __enter__(self) -> Callable[[int, int], None]:
        return _ignore if self._bar is None else self._bar.update

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()


def steps(update: Callable[[int, int], None]) -> Callable[[int, int], None]:
    """Return a function of running totals that calls `update` with what was added since.

    Totals that went down are those of a new piece of work, counted from its beginning.
    """
    before = [0, 0]

    def report(files: int, size: int) -> None:
        if files < before[0] or size < before[1]:
            before[:] = 0, 0
        update(files - before[0], size - before[1])
        before[:] = files, size

    return report


def _ignore(files: int, size: int) -> None:
    """Count nothing."""


class _Bar:
    """Counts, and draws once the work has lasted longer than `DELAY`."""

    def __init__(self, label: str, total_files: int | None, total_bytes: int | None, *, color: bool) -> None:
        from threading import Lock

        self._label = escape(label)
        self._total_files = total_files
        self._total_bytes = total_bytes
        self._color = color
        self._files = 0
        self._size = 0
        self._lock = Lock()
        self._started_at = time.monotonic()
        self._next_at = self._started_at + DELAY
        self._progress: Progress | None = None
        self._task: TaskID | None = None

    def update(self, files: int, size: int) -> None:
        """Add to what is done."""
        with self._lock:
            self._files += files
            self._size += size
            now = time.monotonic()
            if now >= self._next_at:
                self._next_at = now + _INTERVAL
                self._draw()

    def close(self) -> None:
        """Take the bar off the terminal."""
        with self._lock:
            if self._progress is not None:
                self._progress.stop()

    def _draw(self) -> None:
        if self._progress is None:
            self._start()
        if self._progress is not None and self._task is not None:
            self._progress.update(self._task, completed=self._size, files=self._files_text())

    def _files_text(self) -> str:
        if self._total_files is None:
            return human_count(self._files, "file")
        return f"{self._files:,} of {human_count(self._total_files, 'file')}"

    def _start(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

        console = Console(file=sys.stderr, color_system="auto" if self._color else None, no_color=not self._color, emoji=False)
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=None),
            TextColumn("{task.fields[files]}", markup=False),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            expand=True,
        )
        self._task = self._progress.add_task(
            self._label, total=self._total_bytes, completed=self._size, files=self._files_text()
        )
        self._progress.start()
