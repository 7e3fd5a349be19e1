"""Compare: the metrics of a collection's versions side by side, with what changed, the best, and the trend.

A version's metrics are those that were logged with it (`log --metric`), then those of the run that logged it (its
summary), then the numbers in its metadata; where a name occurs in several, the first counts.
"""

from __future__ import annotations

from regcli.domain import runs
from regcli.domain.catalog import reading
from regcli.domain.catalog_rows import Rows
from regcli.domain.collections import find_collection, require_right
from regcli.errors import NotFoundError, RegcliError, UsageError
from regcli.model import ArtifactName, ProjectRef, parse_collection, quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any

    from regcli.domain.catalog import Catalog
    from regcli.domain.context import Context

    Number = int | float

# Whole words of a metric's name that say that less is better.
LOWER_WORDS = frozenset((
    "loss", "error", "errors", "err", "time", "latency", "duration", "seconds", "ms", "rmse", "mse", "mae", "mape",
    "perplexity", "ppl", "wer", "cer", "fid", "eer", "regret", "misses", "failures", "cost", "memory",
))  # fmt: skip
SPARKS = "▁▂▃▄▅▆▇█"
LONGEST_TREND = 40
DEEPEST = 64


class Row:
    """One version: its reference, aliases, time, and for each metric the value and the change since the version before."""

    __slots__ = ("aliases", "created_at", "deltas", "index", "protected", "ref", "signed", "values")

    def __init__(
        self,
        ref: str,
        index: int,
        aliases: Sequence[str],
        protected: Sequence[str],
        signed: Sequence[str],
        created_at: str,
    ) -> None:
        """Start without values."""
        self.ref = ref
        self.index = index
        self.aliases = aliases
        self.protected = protected
        self.signed = signed
        self.created_at = created_at
        self.values: dict[str, Number] = {}
        self.deltas: dict[str, Number] = {}

    def document(self) -> dict[str, Any]:
        """Return the promised JSON fields."""
        return {
            "ref": self.ref,
            "version": f"v{self.index}",
            "aliases": self.aliases,
            "created_at": self.created_at,
            "metrics": self.values,
            "deltas": self.deltas,
        }


class Comparison:
    """The outcome: the collection's reference, names, rows, for each name the trend, and the best version where it is judged.

    Numbers in metadata are settings as often as results: of those none is the best, unless somebody said what is better.
    """

    __slots__ = ("best", "lower", "names", "ref", "rows", "total", "trends")

    def __init__(self, ref: str, names: list[str], lower: set[str], rows: list[Row], judged: set[str]) -> None:
        """Take the rows, oldest first, and find what is best of those judged and how each went."""
        self.ref = ref
        self.names = names
        self.lower = lower
        self.rows = rows
        self.total = len(rows)
        self.best: dict[str, int] = {}
        self.trends: dict[str, str] = {}
        for name in names:
            pairs = [(row.values[name], row.index) for row in rows if name in row.values]
            if pairs and name in judged:
                wanted = min(pairs)[0] if name in lower else max(pairs)[0]
                self.best[name] = next(index for value, index in pairs if value == wanted)
            self.trends[name] = sparkline([value for value, _ in pairs])

    def document(self) -> dict[str, Any]:
        """Return the promised JSON fields."""
        return {
            "ref": self.ref,
            "metrics": self.names,
            "lower_is_better": sorted(self.lower & set(self.names)),
            "versions": [row.document() for row in self.rows],
            "best": {name: f"v{index}" for name, index in self.best.items()},
            "trends": self.trends,
            "total": self.total,
        }


def compare(
    context: Context,
    text: str,
    *,
    metrics: Sequence[str] = (),
    lower: Sequence[str] = (),
    higher: Sequence[str] = (),
    sort: str | None = None,
    limit: int | None = None,
) -> Comparison:
    """Return the metrics of the versions of a collection, newest first unless sorted otherwise.

    Args:
        context: who asks, and where.
        text: a collection.
        metrics: only these, in this order; none given means all.
        lower: metrics of which less is better.
        higher: those of which more is, whatever their name says.
        sort: a metric (the best first), `version` or `created` (the newest first); a leading `-` turns it round.
        limit: at most so many versions; the trend and the best are of all.

    Raises:
        NotFoundError: no such collection, or a metric that no version has. RoleError: the user may not look.
    """
    collection = find_collection(context, parse_collection(text, context.project))
    require_right(context, collection, "view")
    values = MetricsOf(context)

    def rows_of(catalog: Catalog) -> list[Row]:
        return list(_rows(values, Rows(context, catalog, catalog.read(collection.base, collection.registry))))

    compared = reading(context, rows_of)[::-1]
    known = _names(compared)
    names = list(dict.fromkeys(_plain(name) for name in metrics)) or known
    less, more = set(map(_plain, lower)), set(map(_plain, higher))
    for name in [*names, *map(_plain, (*lower, *higher))]:
        if name not in known:
            raise _unknown(collection.ref, name, known)
    _fill_deltas(compared, names)
    low = {name for name in names if lower_is_better(name)} - more | less
    found = Comparison(collection.ref, names, low, compared, values.measured | less | more)
    found.rows = _sorted(found, sort)[:limit]
    return found


def _plain(name: str) -> str:
    for prefix in ("metrics.", "metadata.", "summary."):
        name = name.removeprefix(prefix)
    return name


def _unknown(ref: str, name: str, known: Sequence[str]) -> NotFoundError:
    from regcli.domain.nearest import nearest

    close = nearest(name, known)
    hint = f"did you mean {quote(close)}?" if close else f"there are: {', '.join(known) or 'none'}"
    return NotFoundError(f"no version of {quote(ref)} has a metric {quote(name)}", hint=hint)


def _rows(metrics: MetricsOf, rows: Rows) -> Iterator[Row]:
    """Yield the versions, newest first, with every metric they have."""
    columns = [rows.column((name,)) for name in ("ref", "aliases", "protected_aliases", "signed_aliases", "created_at")]
    data = [rows.column((name,)) for name in ("metrics", "metadata", "logged_by")]
    for number, index in enumerate(rows.versions()):
        ref, *rest = (column[number] for column in columns)
        row = Row(ref, index, *rest)
        row.values = metrics.of(*(column[number] for column in data))
        yield row


class MetricsOf:
    """Gathers the metrics of versions; each run is read once.

    Attributes:
        measured: names of those that were logged as metrics, by a version or its run; the others are metadata.
    """

    __slots__ = ("_context", "_summaries", "measured")

    def __init__(self, context: Context) -> None:
        """Take the surroundings; nothing is read."""
        self._context = context
        self._summaries: dict[str, dict[str, Number]] = {}
        self.measured: set[str] = set()

    def of(self, metrics: dict[str, Any] | None, metadata: dict[str, Any] | None, run: str | None) -> dict[str, Number]:
        """Return the metrics of a version from its own, its metadata, and the reference of the run that logged it."""
        found = dict(numbers(metrics or {}))
        if run:
            found = {**self._summary(run), **found}
        self.measured.update(found)
        for name, value in numbers(metadata or {}):
            found.setdefault(name, value)
        return found

    def _summary(self, run: str) -> dict[str, Number]:
        known = self._summaries.get(run)
        if known is None:
            known = {}
            parts = run.split("/")
            try:
                if len(parts) == 3:
                    chain = runs.run_chain(self._context, ProjectRef(parts[0], parts[1]), ArtifactName.parse(parts[2]))
                    state = runs.read_place(self._context, runs.place_of(chain))
                    known = dict(numbers(state["summary"] or {})) if state is not None else {}
            except RegcliError as error:
                self._context.warnings.append(error.message)
            self._summaries[run] = known
        return known


def numbers(document: dict[str, Any], prefix: str = "", depth: int = 0) -> Iterator[tuple[str, Number]]:
    """Yield (dotted name, number) of every number in nested objects; names that begin with `_` are internal.

    Below `DEEPEST` objects nothing is looked for: a name of so many parts is none that somebody gave.
    """
    for key, value in document.items():
        if key.startswith("_"):
            continue
        if isinstance(value, dict):
            if depth < DEEPEST:
                yield from numbers(value, f"{prefix}{key}.", depth + 1)
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            yield f"{prefix}{key}", value


def _names(rows: Sequence[Row]) -> list[str]:
    names: dict[str, None] = {}
    for row in reversed(rows):
        names.update(dict.fromkeys(row.values))
    return list(names)


def _fill_deltas(rows: Sequence[Row], names: Sequence[str]) -> None:
    """Set the change of each metric since the nearest version before that has it; rows are oldest first."""
    last: dict[str, Number] = {}
    for row in rows:
        row.values = {name: row.values[name] for name in names if name in row.values}
        for name, value in row.values.items():
            if name in last:
                row.deltas[name] = value - last[name]
            last[name] = value


def lower_is_better(name: str) -> bool:
    """Tell from a metric's name whether less is better."""
    spaced = "".join(c if c.isalnum() else " " for c in name)
    # valLoss counts as val loss, while a run of capitals such as RMSE stays one word.
    words = "".join(
        f" {c}" if c.isupper() and position and spaced[position - 1].islower() else c for position, c in enumerate(spaced)
    )
    return not LOWER_WORDS.isdisjoint(words.lower().split())


def _sorted(comparison: Comparison, sort: str | None) -> list[Row]:
    newest = comparison.rows[::-1]
    if sort is None:
        return newest
    backwards = sort.startswith("-")
    name = _plain(sort.lstrip("+-"))
    if name in ("version", "created"):
        return comparison.rows if backwards else newest
    if name not in comparison.names:
        raise UsageError(
            f"cannot sort by {quote(name)}",
            hint=f"sort by version, created or a metric: {', '.join(comparison.names) or 'none'}",
        )
    with_value = [row for row in newest if name in row.values]
    without = [row for row in newest if name not in row.values]
    with_value.sort(key=lambda row: row.values[name], reverse=(name not in comparison.lower) is not backwards)
    return with_value + without


def sparkline(values: Sequence[Number]) -> str:
    """Return a line of bars, oldest first; a long series shows its last 40 values."""
    shown = values[-LONGEST_TREND:]
    if not shown:
        return ""
    low, high = min(shown), max(shown)
    if high == low:
        return SPARKS[3] * len(shown)
    # Divided before subtracting would overflow for values near the largest float.
    scale = [(value / 2 - low / 2) / (high / 2 - low / 2) for value in shown]
    return "".join(SPARKS[int(part * (len(SPARKS) - 1) + 0.5 + 1e-9)] for part in scale)
