"""Runs as others see them: read from the store, whoever ran them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from regcli.api.errors import translated
from regcli.api.pages import Pages
from regcli.domain import runs
from regcli.domain.run_history import read_history
from regcli.errors import NotFoundError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from regcli.api.artifact import Artifact
    from regcli.domain.context import Context
    from regcli.domain.types import Chain, Snapshot


class PublicRun:
    """A run that was stored.

    Attributes:
        entity, project: where it is.
        id: its unique name in the project. name: how it is shown.
        job_type, group, notes, tags, config, summary: as recorded.
        created_at: when it began, RFC 3339 in UTC. user: who began it.
    """

    def __init__(self, context: Context, chain: Chain, snapshot: Snapshot) -> None:
        """Show a run's state as it was read."""
        state = snapshot.state
        self._context = context
        self._chain = chain
        self._state = state
        self.entity: str = state["entity"]
        self.project: str = state["project"]
        self.id: str = state["name"]
        self.name: str = state.get("title") or state["name"]
        self.job_type: str | None = state["job_type"]
        self.group: str | None = state.get("group")
        self.notes: str | None = state.get("notes")
        self.tags: list[str] = list(state.get("tags") or ())
        self.config: dict[str, Any] = dict(state["config"])
        self.created_at: str = state["created_at"]
        self.user: str = state["created_by"]

    @classmethod
    def _find(cls, context: Context, ref: str | None) -> PublicRun | None:
        """Return the run of a reference, or None where there is none."""
        if ref is None:
            return None
        try:
            return cls(context, *runs.read_run(context, ref))
        except NotFoundError:
            return None

    @property
    def state(self) -> str:
        """`running`, `finished`, `failed` or `crashed`."""
        return runs.run_state(self._context, self._state)

    @property
    def path(self) -> list[str]:
        """Entity, project and id."""
        return [self.entity, self.project, self.id]

    @property
    def url(self) -> str:
        """A `file:` URL of where the store keeps it."""
        from urllib.parse import quote

        return f"file://{quote(self._chain.base)}"

    @property
    def summary(self) -> dict[str, Any]:
        """The last value of each metric; of a run that is running or crashed, as far as its history goes."""
        summary = dict(self._state["summary"])
        if self._state["state"] == runs.RUNNING:
            for row in self.scan_history():
                summary.update({key: value for key, value in row.items() if not key.startswith("_")})
        return summary

    @property
    def lastHistoryStep(self) -> int:  # noqa: N802 - the documented name
        """The last step, -1 before the first."""
        last = -1
        for row in self.scan_history():
            last = row["_step"]
        return last

    def scan_history(
        self,
        keys: Sequence[str] | None = None,
        page_size: int = 1000,
        min_step: int = 0,
        max_step: int | None = None,
        use_cache: bool = True,
    ) -> Iterator[dict[str, Any]]:
        """Yield the rows of the metrics history: `_step`, `_timestamp` and `_runtime` (both in seconds), and the metrics.

        Args:
            keys: only these, and only rows that have all of them.
            page_size: accepted for the original's scripts.
            min_step: only rows from this step on.
            max_step: only rows below this step.
            use_cache: accepted for the original's scripts.
        """
        del page_size, use_cache
        for row in read_history(self._chain.base):
            if row["_step"] < min_step or (max_step is not None and row["_step"] >= max_step):
                continue
            if keys is None:
                yield row
            elif all(key in row for key in keys):
                yield {key: row[key] for key in keys}

    @translated
    def history(self, samples: int = 500, keys: Sequence[str] | None = None, pandas: bool = False) -> Any:
        """Return rows of the history, at most `samples` of them, evenly chosen.

        Args:
            samples: how many at most.
            keys: only these.
            pandas: return a pandas data frame instead of a list of dictionaries.
        """
        rows = list(self.scan_history(keys))
        if len(rows) > samples > 0:
            rows = [rows[index * len(rows) // samples] for index in range(samples)]
        if not pandas:
            return rows
        from pandas import DataFrame  # type: ignore[import-not-found,import-untyped,unused-ignore]

        return DataFrame(rows)

    def logged_artifacts(self, per_page: int = 100) -> Pages[Artifact]:
        """Return the artifacts that it logged, oldest first; those that are gone are left out."""
        return self._artifacts("logged", per_page)

    def used_artifacts(self, per_page: int = 100) -> Pages[Artifact]:
        """Return the artifacts that it used, oldest first; those that are gone are left out."""
        return self._artifacts("used", per_page)

    def _artifacts(self, edges: str, per_page: int) -> Pages[Artifact]:
        from regcli.api.artifact import Artifact

        def rows(after: str | None) -> Iterator[tuple[str, Artifact]]:
            for number, item in enumerate(self._state[edges]):
                if after is not None and number <= int(after):
                    continue
                version = runs.edge_version(self._context, item)
                if version is not None:
                    yield str(number), Artifact._from_version(self._context, version)

        return Pages(rows, per_page=per_page)

    def __repr__(self) -> str:
        """Show where it is and how it ended."""
        return f"<Run {'/'.join(self.path)} ({self.state})>"
