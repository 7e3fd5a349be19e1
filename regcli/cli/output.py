"""What commands print: safe text, human figures, and views that read well on a terminal and whole in a pipe.

A view (`Table`, `Definitions`) holds cells, not text. On a terminal `cli/render.py` draws it with rich; otherwise
`plain_lines` gives one complete line per row, tab-separated, without header and never cut: sizes in bytes, times as
RFC 3339. rich is not imported here.
"""

from __future__ import annotations

from regcli.model import is_unprintable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence
    from typing import Any

_ANSI = {
    "error": "1;31",
    "warning": "1;33",
    "heading": "1",
    "name": "36",
    "dim": "2",
    "chip": "30;48;5;208",
    "locked": "97;48;5;241",
}
LOCK = "\N{LOCK}"
SIGNED = "\N{LOCK WITH INK PEN}"


def escape(text: str) -> str:
    r"""Return text as one line that cannot steer a terminal: controls, overrides and lone surrogates as `\x1b`."""
    if text.isprintable():
        return text
    return "".join(repr(c)[1:-1] if is_unprintable(c) else c for c in text)


def paint(text: str, style: str, *, color: bool) -> str:
    """Return text in a named style where colour is wanted."""
    return f"\x1b[{_ANSI[style]}m{text}\x1b[0m" if color else text


def human_size(size: int) -> str:
    """Return a size with three digits or less: `0 B`, `4.8 kB`, `120 MB` (1 kB is 1000 bytes)."""
    if size < 1000:
        return f"{size} B"
    amount = float(size)
    for unit in ("kB", "MB", "GB", "TB", "PB"):
        amount /= 1000
        if amount < 9.95:
            return f"{amount:.1f} {unit}"
        if amount < 999.5 or unit == "PB":
            return f"{amount:.0f} {unit}"
    raise AssertionError("unreachable")


_AGES = ((60, "second"), (60, "minute"), (24, "hour"), (7, "day"), (4.35, "week"), (12, "month"))


def human_age(seconds: float) -> str:
    """Return how long ago something was: `just now`, `3 days ago`; a moment in the future is `in 2 hours`."""
    amount = abs(seconds)
    if amount < 10:
        return "just now"
    name = "year"
    for limit, unit in _AGES:
        if amount < limit:
            name = unit
            break
        amount /= limit
    text = human_count(int(amount), name)
    return f"{text} ago" if seconds > 0 else f"in {text}"


def human_count(number: int, singular: str, plural: str | None = None) -> str:
    """Return `1 file`, `2 files`, `1,234 files`."""
    return f"{number:,} {singular if number == 1 else plural or singular + 's'}"


def json_text(value: Any) -> str:
    """Return a value that may be of any type as text: texts as they are, nothing for None, else JSON."""
    if value is None or isinstance(value, str):
        return value or ""
    import json

    return json.dumps(value, ensure_ascii=False)


class Chips:
    """A cell of aliases: orange chips on a terminal, gray with a lock for protected ones, else `name (protected)`.

    One that takes a signature, and so is protected too, has a lock with a pen, else it reads `name (signed)`: that is what is
    demanded of it, and no proof that it was met.
    """

    __slots__ = ("aliases", "protected", "signed")

    def __init__(self, aliases: Iterable[str], protected: Collection[str] = (), signed: Collection[str] = ()) -> None:
        self.aliases = tuple(aliases)
        self.protected = frozenset(protected)
        self.signed = frozenset(signed)

    def lock(self, alias: str) -> str:
        """Return the sign of what protects an alias, empty where nothing does."""
        return SIGNED if alias in self.signed else LOCK if alias in self.protected else ""

    def plain(self) -> str:
        """Return the aliases without colour."""
        words = {SIGNED: " (signed)", LOCK: " (protected)", "": ""}
        return ", ".join(escape(alias) + words[self.lock(alias)] for alias in self.aliases)

    def colored(self) -> str:
        """Return the aliases as chips in ANSI colours."""
        return " ".join(
            paint(f" {lock} {escape(alias)} ", "locked", color=True)
            if (lock := self.lock(alias))
            else paint(f" {escape(alias)} ", "chip", color=True)
            for alias in self.aliases
        )


class Size:
    """A cell with a size in bytes: `4.8 kB` on a terminal, the number in a pipe."""

    __slots__ = ("size",)

    def __init__(self, size: int) -> None:
        self.size = size


class When:
    """A cell with a time (RFC 3339): `3 days ago` on a terminal, the time itself in a pipe."""

    __slots__ = ("time",)

    def __init__(self, time: str | None) -> None:
        self.time = time or ""

    def age(self, now: float) -> str:
        """Return how long ago it was at `now` (seconds since the epoch), or the text where it is no time."""
        from datetime import datetime

        try:
            return human_age(now - datetime.fromisoformat(self.time).timestamp())
        except (ValueError, OverflowError, OSError):
            return escape(self.time)


if TYPE_CHECKING:
    Cell = str | int | float | Chips | Size | When | None


class Table:
    """Rows under column titles; a cell is text, a number, `Chips`, `Size`, `When` or None."""

    __slots__ = ("columns", "rows")

    def __init__(self, columns: Sequence[str], rows: Iterable[Sequence[Cell]]) -> None:
        self.columns = columns
        self.rows = rows


class Definitions:
    """Labelled values, as `show` prints them; an empty value is left out, a list takes one line per element."""

    __slots__ = ("pairs",)

    def __init__(self, pairs: Iterable[tuple[str, Cell | Sequence[Cell]]]) -> None:
        self.pairs = pairs

    def lines(self) -> Iterator[tuple[str, Cell]]:
        """Yield label and cell of each line; the lines of a list share their label."""
        for label, value in self.pairs:
            for cell in value if isinstance(value, (list, tuple)) else (value,):
                if cell is not None and cell != "" and not _is_empty(cell):
                    yield label, cell


if TYPE_CHECKING:
    View = Table | Definitions | Iterable[str]


def _is_empty(cell: Cell) -> bool:
    return (isinstance(cell, Chips) and not cell.aliases) or (isinstance(cell, When) and not cell.time)


def table(columns: Sequence[str], rows: Iterable[Sequence[Cell]]) -> Table:
    """Return a view of rows; column titles are shown on a terminal only."""
    return Table(columns, rows)


def collection_table(rows: Iterable[dict[str, Any]]) -> Table:
    """Return the table of collections, one row for each element of `collections` in the JSON."""
    columns = ["Collection", "Type", "Versions", "Latest", "Tags", "Updated", "Description"]
    return Table(
        columns,
        [
            (
                row["ref"],
                row["type"],
                row["versions"],
                row["latest"],
                ", ".join(row["tags"]),
                When(row["updated_at"]),
                row["description"].partition("\n")[0],
            )
            for row in rows
        ],
    )


def markdown_lines(view: Table) -> Iterator[str]:
    """Yield a table as Markdown, for the summary of a CI job; nothing in a cell can break out of it."""
    yield f"| {' | '.join(view.columns)} |"
    yield f"|{' --- |' * len(view.columns)}"
    for row in view.rows:
        yield f"| {' | '.join(map(markdown_cell, row))} |"


def markdown_cell(cell: Cell) -> str:
    """Return a cell as Markdown that says what it says: no link, no markup, no end of the cell comes out of it."""
    text = plain_cell(cell)
    for character in "\\`*_[]<>|":
        text = text.replace(character, f"\\{character}")
    return text


def definitions(*pairs: tuple[str, Cell | Sequence[Cell]]) -> Definitions:
    """Return a view of labelled values."""
    return Definitions(pairs)


def tree(label: str, children: Iterable[tuple[str, Iterable[object]]], *, ascii_only: bool = False) -> Iterator[str]:
    """Yield the lines of a tree; each child is `(label, children)`, as deep as there are children."""
    yield label
    yield from _branches(children, "", ("|-- ", "`-- ", "|   ") if ascii_only else ("├── ", "└── ", "│   "))


def _branches(children: Iterable[object], indent: str, guides: tuple[str, str, str]) -> Iterator[str]:
    nodes: list[tuple[str, Iterable[object]]] = list(children)  # type: ignore[arg-type]
    for position, (label, below) in enumerate(nodes, 1):
        last = position == len(nodes)
        yield f"{indent}{guides[1] if last else guides[0]}{label}"
        yield from _branches(below, indent + ("    " if last else guides[2]), guides)


def plain_cell(cell: Cell, *, color: bool = False) -> str:
    """Return a cell as complete text on one line."""
    if cell is None:
        return ""
    if isinstance(cell, str):
        return escape(cell)
    if isinstance(cell, Chips):
        return cell.colored() if color else cell.plain()
    if isinstance(cell, Size):
        return str(cell.size)
    if isinstance(cell, When):
        return escape(cell.time)
    return str(cell)


def plain_lines(view: View, *, color: bool = False) -> Iterator[str]:
    """Yield the lines of a view for a pipe or a file."""
    if isinstance(view, Table):
        for row in view.rows:
            yield "\t".join(plain_cell(cell, color=color) for cell in row)
    elif isinstance(view, Definitions):
        for label, cell in view.lines():
            yield f"{label}\t{plain_cell(cell, color=color)}"
    else:
        for line in view:
            yield line if line.isprintable() else "\t".join(map(escape, line.split("\t")))
