"""Draws views on a terminal, with rich; imported only when there is a terminal to draw on.

Names are put into `Text` objects, so rich's markup in a name is shown, never obeyed; long names fold, none is cut.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from regcli.cli.output import Chips, Definitions, Size, Table, When, escape, human_size

if TYPE_CHECKING:
    from typing import TextIO

    from rich.console import Console, RenderableType
    from rich.text import Text

    from regcli.cli.output import Cell

_CHIP = "black on dark_orange"
_LOCKED = "white on grey39"
# Between two columns: a space on either side of the line that the box leaves blank.
_GAP = 3
_NARROW = 6


def draw(view: Table | Definitions, *, width: int, color: bool, unicode: bool, now: float) -> str:
    """Return a view as the text that a terminal of `width` columns shows.

    Args:
        view: what to draw.
        width: columns of the terminal.
        color: whether chips and headings are coloured; without, a protected alias reads `name (protected)`, and one that takes
            a signature `name (signed)`.
        unicode: whether the terminal takes more than ASCII.
        now: seconds since the epoch, for ages.
    """
    # The encoding tells rich which characters it may draw lines with.
    file = io.TextIOWrapper(io.BytesIO(), encoding="utf-8" if unicode else "ascii", errors="backslashreplace", newline="\n")
    painter = _Painter(width, color=color and unicode, now=now)
    console = _console(file, width, color=color)
    console.print(painter.table(view) if isinstance(view, Table) else painter.definitions(view))
    file.seek(0)
    return "".join(line.rstrip(" \n") + "\n" for line in file)


def _console(file: TextIO, width: int, *, color: bool) -> Console:
    from rich.console import Console

    return Console(
        file=file,
        force_terminal=True,
        color_system="auto" if color else None,
        no_color=not color,
        width=width,
        highlight=False,
        markup=False,
        emoji=False,
        legacy_windows=False,
    )


def _widths(columns: list[list[Text]], width: int) -> list[int] | list[None]:
    """Return how wide each column is, so that words, references above all, stay in one piece, the first columns' first.

    None for each where all of it fits, or nothing can be done.
    """
    room = width - _GAP * (len(columns) - 1)
    natural = [max(cell.cell_len for cell in column) for column in columns]
    widths = [min(size, _NARROW) for size in natural]
    spare = room - sum(widths)
    if sum(natural) <= room or spare < 0:
        return [None] * len(columns)
    for index, column in enumerate(columns):
        wanted = max((_cell_len(word) for cell in column for word in cell.plain.split()), default=0) - widths[index]
        if 0 < wanted <= spare:
            widths[index] += wanted
            spare -= wanted
    open_columns = sorted(range(len(columns)), key=lambda index: natural[index] - widths[index])
    for position, index in enumerate(open_columns):
        given = min(natural[index] - widths[index], spare // (len(open_columns) - position))
        widths[index] += given
        spare -= given
    return widths


def _cell_len(word: str) -> int:
    from rich.cells import cell_len

    return cell_len(word)


class _Painter:
    """Turns cells into rich's renderables."""

    def __init__(self, width: int, *, color: bool, now: float) -> None:
        self._width = width
        self._color = color
        self._now = now

    def table(self, view: Table) -> RenderableType:
        from rich.box import SIMPLE_HEAD
        from rich.table import Table as RichTable
        from rich.text import Text

        rows = list(view.rows)
        drawn = [[self._cell(cell) for cell in row] for row in rows]
        # On a screen, room for what is there counts for more than a title over nothing.
        shown = [index for index in range(len(view.columns)) if index == 0 or any(row[index].plain for row in drawn)]
        # A title may be the name of a metric: not markup, and nothing that steers the terminal.
        titles = [Text(escape(view.columns[index])) for index in shown]
        widths = _widths(
            [[title, *(row[index] for row in drawn)] for title, index in zip(titles, shown, strict=True)], self._width
        )
        grid = RichTable(box=SIMPLE_HEAD, pad_edge=False, show_edge=False, header_style="bold", padding=(0, 1))
        for title, index, width in zip(titles, shown, widths, strict=True):
            is_number = bool(rows) and isinstance(rows[0][index], (int, float, Size))
            grid.add_column(title, justify="right" if is_number else "left", overflow="fold", width=width)
        for row in drawn:
            grid.add_row(*(row[index] for index in shown))
        return grid

    def definitions(self, view: Definitions) -> RenderableType:
        from rich.table import Table as RichTable
        from rich.text import Text

        grid = RichTable.grid(padding=(0, 2))
        grid.add_column(overflow="fold", no_wrap=True)
        grid.add_column(overflow="fold")
        previous = None
        for label, cell in view.lines():
            grid.add_row(Text("" if label == previous else escape(label), style="bold"), self._cell(cell))
            previous = label
        return grid

    def _cell(self, cell: Cell) -> Text:
        from rich.text import Text

        if isinstance(cell, Chips):
            return self._chips(cell)
        if isinstance(cell, Size):
            return Text(human_size(cell.size))
        if isinstance(cell, When):
            return Text(cell.age(self._now))
        if isinstance(cell, int) and not isinstance(cell, bool):
            return Text(f"{cell:,}")
        return Text("" if cell is None else escape(str(cell)))

    def _chips(self, cell: Chips) -> Text:
        from rich.text import Text

        if not self._color:
            return Text(cell.plain())
        text = Text()
        for alias in cell.aliases:
            if text:
                text.append(" ")
            lock = cell.lock(alias)
            if lock:
                text.append(f" {lock} {escape(alias)} ", style=_LOCKED)
            else:
                text.append(f" {escape(alias)} ", style=_CHIP)
        return text
