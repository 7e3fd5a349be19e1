"""The session: what a command may use besides its own parameters, and the only way it prints.

A command gets it with `session_of(ctx)`. Results go to standard output by `emit`; remarks go to standard error by
`note` (not with `--quiet`) and `warn`.
"""

from __future__ import annotations

import os
import sys
import time

from regcli.cli import settings as place
from regcli.cli.output import Definitions, Table, escape, paint, plain_lines
from regcli.errors import StorageError, reason_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import IO, Any, AnyStr, TextIO

    import typer

    from regcli.cli.output import View
    from regcli.cli.settings import Options, Settings
    from regcli.domain.context import Context

SCHEMA_VERSION = 1
# A rich table of ten thousand rows takes 17 seconds.
TERMINAL_LIMIT = 50
_BATCH = 1000


class Session:
    """One run of the program.

    Attributes:
        options: the global options as given.
        command: the sub-command's name, such as `alias add`.
        warnings: what `warn` said, for the JSON document.
        verdict: exit code of a command that looks for something wrong; set before the result is printed, since it holds also
            where nobody reads that to its end.
    """

    def __init__(self, options: Options) -> None:
        self.options = options
        self.command = ""
        self.warnings: list[str] = []
        self._told: set[str] = set()
        self.verdict = 0
        self._settings: Settings | None = None
        self._context: Context | None = None

    @property
    def settings(self) -> Settings:
        """Which root, which project, how long to wait; read at first use, when all options are known."""
        if self._settings is None:
            self._settings = place.read_settings(self.options)
        return self._settings

    @property
    def context(self) -> Context:
        """What domain functions work with: the root, the user, the clock."""
        if self._context is None:
            self._context = place.make_context(self.options, self.settings, self.command)
        return self._context

    @property
    def made(self) -> list[tuple[str, int]]:
        """Place and number of every commit that was made so far."""
        return self._context.made if self._context is not None else []

    @property
    def is_json(self) -> bool:
        """Whether one JSON document is wanted."""
        return self.options.json

    @property
    def is_terminal(self) -> bool:
        """Whether a person reads standard output."""
        return place.is_terminal(sys.stdout)

    def allow_unsigned(self, allowed: bool) -> None:
        """Note whether `--allow-unsigned` was typed; what is taken so is told before the work, once each."""
        self.context.trust.allow_unsigned = allowed
        self.context.trust.tell = self._warn_once

    def _warn_once(self, text: str) -> None:
        if text not in self._told:
            self._told.add(text)
            self.warn(text)

    def use_root(self, directory: str) -> None:
        """Work with the root in this directory, whatever the settings say."""
        self.options.root = directory
        self._settings = None

    def wants_color(self, stream: TextIO | None) -> bool:
        """Whether to colour what goes to `stream`."""
        return place.wants_color(self.options.color, stream)

    def emit(self, document: dict[str, Any], view: View = ()) -> None:
        """Print the result: `document` with `--json`, else `view`.

        Args:
            document: the promised fields (README, "JSON"); `schema_version` is put first.
            view: a `table`, `definitions`, or lines of text. Lines may come from a generator: it does not run
                with `--json`.

        Raises:
            StorageError: standard output is closed or full.
        """
        self.pass_warnings_on()
        if self.is_json:
            self._write([self._json(document)])
        elif isinstance(view, (Table, Definitions)) and self.is_terminal:
            from regcli.cli.render import draw

            self._write(
                [
                    draw(
                        view,
                        width=terminal_width(),
                        color=self.wants_color(sys.stdout),
                        unicode=speaks_unicode(sys.stdout),
                        now=time.time(),
                    )
                ]
            )
        else:
            color = self.wants_color(sys.stdout)
            self._write(line + "\n" for line in plain_lines(view, color=color))

    def emit_page(self, document: dict[str, Any], page: str) -> None:
        """Print a page that was laid out, and made safe, already: `document` with `--json`, else `page`.

        Raises:
            StorageError: standard output is closed or full.
        """
        self._write([self._json(document) if self.is_json else page.rstrip("\n") + "\n"])

    def write_bytes(self, chunks: Iterable[bytes]) -> None:
        """Write raw bytes to standard output, as `cat` does.

        Raises:
            StorageError: standard output is closed or full.
        """
        stream = _standard_output()
        for chunk in chunks:
            deliver(stream.buffer, chunk)
        deliver(stream.buffer, b"")

    def put_bytes(self, data: bytes, *, flush: bool = False) -> None:
        """Write a part of what is worth nothing unless all of it arrives; the last part is to be flushed.

        Raises:
            StorageError: standard output is closed or full, or its reader went away.
        """
        try:
            deliver(_standard_output().buffer, data, flush=flush)
        except BrokenPipeError as error:
            drop_standard_output()
            raise StorageError("cannot write to standard output: whoever reads it went away before the end") from error

    def note(self, text: str) -> None:
        """Say something in passing, on standard error; silent with `--quiet` and `--json`."""
        if not self.options.quiet and not self.is_json:
            self._remark(escape(text))

    def warn(self, text: str) -> None:
        """Say what is wrong though the command goes on; with `--json` it becomes a field of the document."""
        if self.is_json:
            self.warnings.append(text)
        else:
            self._remark(paint("warning:", "warning", color=self.wants_color(sys.stderr)) + " " + escape(text))

    def start_delivery(self) -> None:
        """Have automations told of what was committed, in a process that nobody waits for."""
        if self._context is not None and self._context.announced:
            from regcli.domain.background import start_delivery

            start_delivery(self._context)

    def pass_warnings_on(self, known: str = "") -> None:
        """Say what the domain found wrong on its way; what an error already says, `known`, is left out."""
        if self._context is not None:
            for text in dict.fromkeys(self._context.warnings):
                if text != known:
                    self.warn(text)
            self._context.warnings.clear()

    def terminal_limit(self, limit: int | None) -> int | None:
        """Return how many rows to show: as many as asked for, else 50 to a person and all to a program."""
        return TERMINAL_LIMIT if limit is None and self.is_terminal and not self.is_json else limit

    def note_more(self, hidden: int) -> None:
        """Say how many rows a limit hides, if any."""
        if hidden > 0:
            self.note(f"{hidden} more; raise --limit to see them")

    def confirm(self, question: str) -> bool:
        """Ask on the terminal; False without one, or without a clear yes."""
        if not place.is_terminal(sys.stdin) or not place.is_terminal(sys.stderr):
            return False
        sys.stderr.write(escape(question) + " [y/N] ")
        sys.stderr.flush()
        return sys.stdin.readline().strip().lower() in ("y", "yes")

    def _json(self, document: dict[str, Any]) -> str:
        import json

        whole = {"schema_version": SCHEMA_VERSION, **document}
        if self.warnings:
            whole["warnings"] = self.warnings
            self.warnings = []
        # ASCII only: no byte of a name reaches a terminal as a control sequence. DEL is ASCII and needs its own escape.
        text = json.dumps(whole, allow_nan=False, indent=2 if self.is_terminal else None)
        return text.replace("\x7f", "\\u007f") + "\n"

    def _write(self, pieces: Iterable[str]) -> None:
        stream = _standard_output()
        batch: list[str] = []
        for piece in pieces:
            batch.append(piece)
            if len(batch) >= _BATCH:
                deliver(stream, "".join(batch))
                batch.clear()
        deliver(stream, "".join(batch))

    def _remark(self, text: str) -> None:
        write_error(text + "\n")


def session_of(ctx: typer.Context) -> Session:
    """Return the session of the running command."""
    session: Session = ctx.obj
    return session


def terminal_width() -> int:
    """Return the columns of the terminal."""
    import shutil

    return max(shutil.get_terminal_size().columns, 20)


def speaks_unicode(stream: TextIO | None) -> bool:
    """Tell whether a stream takes more than ASCII."""
    return (getattr(stream, "encoding", None) or "ascii").lower().replace("-", "").startswith("utf")


def write_error(text: str) -> None:
    """Write to standard error; where that fails nobody can be told."""
    if sys.stderr is None:
        return
    try:
        sys.stderr.write(text)
        sys.stderr.flush()
    except (OSError, ValueError):
        return


def _standard_output() -> TextIO:
    if sys.stdout is None:
        raise StorageError("cannot write to standard output: it is closed")
    return sys.stdout


def deliver(stream: IO[AnyStr], data: AnyStr, *, flush: bool = True) -> None:
    """Write and flush; only what fails here is a failure of standard output, not of whoever made the data."""
    try:
        stream.write(data)
        if flush:
            stream.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        # The stream keeps what it could not write and would fail again at exit, over the message.
        drop_standard_output()
        raise StorageError(f"cannot write to standard output: {reason_of(error)}") from error


def drop_standard_output() -> None:
    """Let all further output vanish, so that the interpreter's own flush at exit cannot fail."""
    try:
        descriptor = os.open(os.devnull, os.O_WRONLY)
        os.dup2(descriptor, sys.stdout.fileno())
        os.close(descriptor)
    except (OSError, ValueError, AttributeError):
        return
