"""Runs: a unit of work that logs metrics, uses artifacts and logs artifacts."""

from __future__ import annotations

import os
import threading
import time

from regcli.api import session
from regcli.api.artifact import Artifact
from regcli.api.errors import translated
from regcli.api.mappings import RunMapping
from regcli.domain import runs
from regcli.domain.names import parse_aliases
from regcli.domain.resolving import resolve
from regcli.domain.run_history import RUNTIME, STEP, TIME, HistoryWriter, check_row
from regcli.domain.values import numbers, to_json
from regcli.errors import TypeMismatchError, UsageError
from regcli.model import quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import TracebackType
    from typing import Any, Self

    from regcli.api.pages import Pages
    from regcli.domain.context import Context
    from regcli.domain.log import LogRequest
    from regcli.domain.types import Chain, Snapshot

    StrPath = str | os.PathLike[str]


class Run:
    """A run of this process; `init` makes it, and it is a context manager.

    A run that is not finished when its process ends is finished then; when the process dies, others see it as `crashed`.

    Attributes:
        entity, project: where it is, and where bare names of artifacts are meant.
        id: its unique name in the project, which `regcli log --run` takes.
        job_type, group, notes: as given.
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
        self._history = HistoryWriter(chain.base, time.time)
        self._next = 0 if self._history.step is None else self._history.step + 1
        self._pending: dict[str, Any] = {}
        self._finished = False
        self.resumed = resumed
        self.entity: str = state["entity"]
        self.project: str = state["project"]
        self.id: str = state["name"]
        self.job_type: str | None = state["job_type"]
        self.group: str | None = state.get("group")
        self.notes: str | None = state.get("notes")
        self.tags: tuple[str, ...] = tuple(state.get("tags") or ())
        self._title: str = state.get("title") or state["name"]
        self._stored: dict[str, Any] = {"summary": state["summary"], "history": state.get("history")}
        self._own_summary: dict[str, Any] = dict(state["summary"]) if resumed else {}
        self.config = RunMapping(state["config"], lambda values: self._update({"config": values}))
        self.summary = RunMapping({**self._own_summary, **_plain(self._history.summary)}, self._summarize)

    # What it is

    @property
    def name(self) -> str:
        """How it is shown."""
        return self._title

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

    # Artifacts

    @translated
    def log_artifact(
        self,
        artifact_or_path: Artifact | StrPath,
        name: str | None = None,
        type: str | None = None,
        aliases: Sequence[str] | None = None,
        tags: Sequence[str] | None = None,
    ) -> Artifact:
        """Log an artifact, or files as one, as an output of this run. Returns it, logged.

        Content that equals the collection's latest version makes no new version; aliases and tags are applied to that one.

        Args:
            artifact_or_path: a draft, or the path of a file or directory, or a URI to be referenced.
            name: for a path: the artifact's name, by default `run-ID-BASENAME`.
            type: for a path: the artifact's type, by default `unspecified`.
            aliases: for the version; `latest` it has anyway.
            tags: for the version.

        Raises:
            ValueError: the name exists with another type, an alias or tag breaks the rules, or a file changed since it was
                added.
        """
        self._require_running("log_artifact")
        artifact = self._artifact_of(artifact_or_path, name, type)
        if not artifact.is_draft():
            self._apply(artifact, aliases, tags)
            return artifact
        artifact._log_by(self, artifact._request(aliases, tags))
        return artifact

    def _apply(self, artifact: Artifact, aliases: Any, tags: Any) -> None:
        """Log a logged artifact again: its content is there, so only aliases and tags are applied."""
        session.warn(f"{artifact.name} is logged already; its aliases and tags are applied")
        artifact.aliases = [*artifact.aliases, *map(str, parse_aliases(aliases))]
        if tags:
            artifact.tags = [*artifact.tags, *([tags] if isinstance(tags, str) else tags)]
        artifact.save()

    def _artifact_of(self, item: Artifact | StrPath, name: str | None, kind: str | None) -> Artifact:
        if isinstance(item, Artifact):
            if kind is not None and kind != item.type:
                raise TypeMismatchError(f"artifact {quote(item.name)} has type {quote(item.type)}, not {quote(kind)}")
            return item
        path = os.fspath(item)
        artifact = Artifact(name or _default_name(self.id, path), kind or "unspecified")
        if "://" in path:
            artifact.add_reference(path)
        elif os.path.isdir(path):
            artifact.add_dir(path)
        else:
            artifact.add_file(path)
        return artifact

    def _complete(self, request: LogRequest) -> None:
        """Add to a request what a version of this run records."""
        with self._lock:
            request.run = self.id
            request.history_step = self._step_now()
            request.metrics = numbers({**self.summary.as_dict(), **self._pending})
            self._flush()

    @translated
    def link_artifact(self, artifact: Artifact, target_path: str, aliases: Sequence[str] | None = None) -> Artifact:
        """Publish an artifact in a collection of a registry and return the link; a draft is logged first.

        Args:
            artifact: a draft, a logged artifact or a link.
            target_path: as for `Artifact.link`.
            aliases: for the link; `latest` it has anyway.

        Raises:
            CommError, ValueError: as for `Artifact.link`.
        """
        self._require_running("link_artifact")
        if artifact.is_draft():
            self.log_artifact(artifact)
        return artifact._link(self._derive("link_artifact"), target_path, aliases)

    @translated
    def use_artifact(
        self,
        artifact_or_name: Artifact | str,
        type: str | None = None,
        aliases: Sequence[str] | None = None,
        use_as: str | None = None,
    ) -> Artifact:
        """Record an artifact as an input of this run and return it; using it again changes nothing.

        Args:
            artifact_or_name: a path as for `Api.artifact`, or an artifact; a draft is logged first.
            type: the type that it must have.
            aliases: for a draft.
            use_as: deprecated, ignored.

        Raises:
            ValueError: it has another type. CommError: there is none, or the user may only look.
        """
        del use_as
        self._require_running("use_artifact")
        from regcli.domain.lineage import use
        from regcli.domain.paths import canonical_path

        context = self._derive("use_artifact")
        if isinstance(artifact_or_name, Artifact):
            artifact = artifact_or_name
            if artifact.is_draft():
                self.log_artifact(artifact, aliases=aliases)
            version = artifact._logged("use")
        else:
            path = canonical_path(context, artifact_or_name)
            version = resolve(context, path, action="use")
            artifact = Artifact._from_version(context, version, _selector_of(path))
        if type is not None and type != artifact.type:
            raise TypeMismatchError(f"artifact {quote(version.ref)} has type {quote(artifact.type)}, not {quote(type)}")
        use(context, version.ref, run=self.id)
        session.settle(context)
        return artifact

    @translated
    def upsert_artifact(
        self,
        artifact_or_path: Artifact | StrPath,
        name: str | None = None,
        type: str | None = None,
        aliases: Sequence[str] | None = None,
        distributed_id: str | None = None,
    ) -> Artifact:
        """Add this process's part of a version that several processes build; `finish_artifact` makes the version.

        Args:
            artifact_or_path: a draft or a path, as for `log_artifact`.
            name: for a path.
            type: for a path.
            aliases: for the version.
            distributed_id: what the parts have in common, by default the run's group.

        Raises:
            TypeError: neither `distributed_id` nor a group is given.
            ValueError: another part has another type. CommError: other content under one path; nothing was added.
        """
        from regcli.domain.distributed import add_part

        common = self._distributed_id(distributed_id)
        artifact = self._artifact_of(artifact_or_path, name, type)
        request = artifact._request(aliases)
        request.run = self.id
        add_part(self._derive("upsert_artifact"), request, common)
        artifact._distributed_id = common
        artifact.finalize()
        return artifact

    @translated
    def finish_artifact(
        self,
        artifact_or_path: Artifact | StrPath,
        name: str | None = None,
        type: str | None = None,
        aliases: Sequence[str] | None = None,
        distributed_id: str | None = None,
    ) -> Artifact:
        """Make the version of all parts that were added, this one included, as an output of this run.

        Later parts of the same id begin another version. Arguments and errors are those of `upsert_artifact`.
        """
        from regcli.domain.distributed import add_part, finish_parts

        common = self._distributed_id(distributed_id)
        context = self._derive("finish_artifact")
        artifact = self._artifact_of(artifact_or_path, name, type)
        request = artifact._request(aliases)
        if request.entries or request.sources:
            add_part(context, request, common)
        rest = artifact._request(aliases)
        rest.entries, rest.sources, rest.contents, rest.expected = [], [], {}, {}
        self._complete(rest)
        artifact._become(context, finish_parts(context, artifact.name, common, rest))
        return artifact

    def _distributed_id(self, given: str | None) -> str:
        self._require_running("upsert_artifact")
        common = given or self.group
        if not common:
            raise TypeError("upsert_artifact and finish_artifact need a distributed_id, or a run with a group")
        return common

    def logged_artifacts(self, per_page: int = 100) -> Pages[Artifact]:
        """Return the artifacts that it logged, oldest first."""
        from regcli.api.run_view import PublicRun

        return PublicRun(self._derive("logged_artifacts"), self._chain, self._chain.read()).logged_artifacts(per_page)

    def used_artifacts(self, per_page: int = 100) -> Pages[Artifact]:
        """Return the artifacts that it used, oldest first."""
        from regcli.api.run_view import PublicRun

        return PublicRun(self._derive("used_artifacts"), self._chain, self._chain.read()).used_artifacts(per_page)

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
            if self._finished or os.getpid() != self._pid:
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

    def _derive(self, command: str) -> Context:
        return self._session.context_for(f"Run.{command}", f"{self.entity}/{self.project}")

    def _require_running(self, what: str) -> None:
        if self._finished:
            raise UsageError(f"run {quote(self.id)} is finished; {what} is no longer possible", hint="begin another with init")

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Finish the run; `failed` when the block raised."""
        self.finish(0 if kind is None else 1)

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


def _selector_of(path: str) -> str | None:
    _, colon, selector = path.partition(":")
    return selector if colon and not selector.startswith("@") else None


def _default_name(run_id: str, path: str) -> str:
    base = os.path.basename(path.rstrip("/")) or "files"
    plain = "".join(c if c.isascii() and (c.isalnum() or c in "_-.") else "_" for c in base)
    return f"run-{run_id}-{plain}"[:128]
