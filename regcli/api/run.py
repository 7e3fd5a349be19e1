"""Runs: a unit of work that logs metrics, uses artifacts and logs artifacts."""

from __future__ import annotations

import os
import threading
import time

from regcli.api import ending, session
from regcli.api.errors import translated
from regcli.api.mappings import RunMapping
from regcli.api.run_artifacts import RunArtifacts
from regcli.domain import runs
from regcli.domain.run_history import RUNTIME, STEP, TIME, HistoryWriter, check_row
from regcli.domain.values import numbers, to_json, to_optional_text, to_text
from regcli.errors import UsageError
from regcli.model import quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import TracebackType
    from typing import Any, Self

    from regcli.domain.log_request import LogRequest
    from regcli.domain.types import Chain, Snapshot


class Run(RunArtifacts):
    """A run of this process; `init` makes it, and it is a context manager.

    A run that is not finished when its process ends is finished then; when the process dies, others see it as `crashed`.

    Attributes:
        entity, project: where it is, and where bare names of artifacts are meant.
        id: its unique name in the project, which `regcli log --run` takes.
        job_type, group: as given.
        config: its settings, a dictionary with attributes; changes are stored at once.
        summary: the last value of each metric, a dictionary with attributes; values set here win.
    """

    def __init__(self, chain: Chain, snapshot: Snapshot, *, resumed: bool) -> None:
        """Take over a run that was begun; use `init`."""
        state = snapshot.state
        self._session = session.session()
        self._chain = chain
        self._lock = threading.RLock()
        self._pid = os.getpid()
        self._began = time.time()
        self._history = HistoryWriter(chain.base, chain.root, time.time)
        self._next = 0 if self._history.step is None else self._history.step + 1
        self._pending: dict[str, Any] = {}
        self._finished = False
        self.resumed = resumed
        self.entity: str = state["entity"]
        self.project: str = state["project"]
        self.id: str = state["name"]
        self.job_type: str | None = state["job_type"]
        self.group: str | None = state.get("group")
        self._notes: str | None = state.get("notes")
        self._tags: tuple[str, ...] = tuple(state.get("tags") or ())
        self._title: str = state.get("title") or state["name"]
        self._stored: dict[str, Any] = {"summary": state["summary"], "history": state.get("history")}
        self._own_summary: dict[str, Any] = dict(state["summary"]) if resumed else {}
        self.config = RunMapping(state["config"], lambda values: self._update({"config": values}))
        self.summary = RunMapping({**self._own_summary, **_plain(self._history.summary)}, self._summarize)

    # What it is

    @property
    def name(self) -> str:
        """How it is shown; another can be assigned and is stored at once."""
        return self._title

    @name.setter
    @translated
    def name(self, name: str) -> None:
        title = to_text(name, "the run's name")
        self._update({"title": title})
        self._title = title

    @property
    def notes(self) -> str | None:
        """Free text; what is assigned is stored at once."""
        return self._notes

    @notes.setter
    @translated
    def notes(self, notes: str | None) -> None:
        text = to_optional_text(notes, "the run's notes")
        self._update({"notes": text})
        self._notes = text

    @property
    def tags(self) -> tuple[str, ...]:
        """Words to find it by; what is assigned is stored at once."""
        return self._tags

    @tags.setter
    @translated
    def tags(self, tags: Sequence[str] | str | None) -> None:
        words = tuple(to_text(tag, "a tag") for tag in ([tags] if isinstance(tags, str) else tags or ()))
        self._update({"tags": list(words)})
        self._tags = words

    @property
    def path(self) -> str:
        """`ENTITY/PROJECT/ID`."""
        return f"{self.entity}/{self.project}/{self.id}"

    @property
    def url(self) -> str:
        """A `file:` URL of where the store keeps it."""
        from urllib.parse import quote as quote_url

        return f"file://{quote_url(self._chain.base)}"

    @property
    def step(self) -> int:
        """The step that the next metrics are logged at."""
        return self._next

    @property
    def start_time(self) -> float:
        """When this process began it, in seconds since the epoch."""
        return self._began

    @property
    def state(self) -> str:
        """`running`, `finished` or `failed`."""
        return "running" if not self._finished else self._end

    _end = runs.FINISHED

    # Metrics

    @translated
    def log(self, data: Mapping[str, Any], step: int | None = None, commit: bool | None = None) -> None:
        """Log metrics of one step.

        Args:
            data: values by name: numbers, strings, lists, nested dictionaries, NumPy and PyTorch scalars.
            step: the step they belong to, never below the last; by default one more each time.
            commit: whether the step is complete. By default it is, unless `step` is given: then when a later step begins.

        Raises:
            TypeError: a key is no string, or a value has no form in JSON; nothing is logged.
            ValueError: the run is finished.
        """
        if not hasattr(data, "items") or any(not isinstance(key, str) for key in data):
            raise TypeError("metrics must be a dictionary with strings as keys")
        values = to_json(data, keep_special=True)
        with self._lock:
            self._require_running("log")
            if step is not None:
                step = _checked_step(step)
                if step < self._next:
                    session.warn(f"step {step} is below the current step {self._next}; its metrics are ignored")
                    return
                if step > self._next:
                    self._write_pending()
                    self._next = step
            check_row({**self._pending, **values})
            self._pending.update(values)
            if commit if commit is not None else step is None:
                self._write_pending()

    def _write_pending(self) -> None:
        if not self._pending:
            return
        now = time.time()
        row = {STEP: self._next, TIME: now, RUNTIME: now - self._began, **self._pending}
        self._history.append(row)
        self._next += 1
        self.summary._values.update({**self._pending, **self._own_summary})
        self._pending = {}

    def _summarize(self, values: dict[str, Any]) -> None:
        self._own_summary.update({key: value for key, value in values.items() if self.summary.get(key) != value})

    def _step_now(self) -> int | None:
        return self._next if self._pending else self._history.step

    # What a version of it records

    def _complete(self, request: LogRequest) -> None:
        """Add to a request what a version of this run records."""
        with self._lock:
            request.run = self.id
            request.history_step = self._step_now()
            request.metrics = numbers({**self.summary.as_dict(), **self._pending})
            self._flush()

    # The end

    @translated
    def finish(self, exit_code: int | None = None, quiet: bool | None = None) -> None:
        """End the run; doing it again changes nothing.

        Args:
            exit_code: 0 or None for `finished`, anything else for `failed`.
            quiet: accepted for the original's scripts.
        """
        del quiet
        with self._lock:
            if self._finished or not self._is_ours():
                return
            self._write_pending()
            self._history.flush()
            end = runs.FAILED if exit_code else runs.FINISHED
            self._update({"state": end, **self._facts()})
            self._end = end
            self._finished = True
            self._history.close()
        if self._session.run is self:
            self._session.run = None

    def _flush(self) -> None:
        """Make durable what was logged so far."""
        self._history.flush()
        facts = self._facts()
        if facts != self._stored:
            self._update(facts)
            self._stored = facts

    def _facts(self) -> dict[str, Any]:
        return {"summary": self.summary.as_dict(), "history": self._history.facts()}

    def _update(self, fields: dict[str, Any]) -> None:
        runs.update_run(self._derive("run"), self._chain, fields)

    def _require_running(self, what: str) -> None:
        if self._finished:
            raise UsageError(f"run {quote(self.id)} is finished; {what} is no longer possible", hint="begin another with init")
        if not self._is_ours():
            raise UsageError(
                f"run {quote(self.id)} belongs to process {self._pid}, not to this one, which was forked from it",
                hint="log what it did from there, or begin a run here with init(group=…)",
            )
        ending.goes_on()

    def _is_ours(self) -> bool:
        """Whether this process began it; a forked one did not."""
        return os.getpid() == self._pid

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Finish the run; `failed` when the block raised, unless it was `sys.exit` without a failure."""
        failed = ending.means_failure(error.code) if isinstance(error, SystemExit) else kind is not None
        self.finish(1 if failed else 0)

    def __repr__(self) -> str:
        """Show where it is."""
        return f"<Run {self.path} ({self.state})>"


def _checked_step(step: Any) -> int:
    try:
        number = int(step)
    except (TypeError, ValueError, OverflowError):
        number = -1
    if number < 0 or number > 1 << 53:
        raise UsageError(f"a step must be a whole number from 0 on, not {step!r}")
    return number


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in row.items() if key not in (STEP, TIME, RUNTIME)}
