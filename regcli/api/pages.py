"""Results in pages: fetched as they are needed, with a cursor to go on from later."""

from __future__ import annotations

import base64
from itertools import islice
from typing import TYPE_CHECKING, Any, Generic, TypeVar, overload

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    Rows = Callable[[str | None], Iterable[tuple[str, Any]]]

from regcli.errors import RegcliError

T = TypeVar("T")


class Pages(Generic[T]):
    """A lazy list of results; iterating it again begins at the start.

    Attributes:
        per_page: how many results are fetched at a time.
    """

    def __init__(self, rows: Rows, *, per_page: int = 50, start: str | None = None, resumable: bool = True) -> None:
        """Take where results come from.

        Args:
            rows: called with the key to go on after (or None), yields (key, result); keys tell where a result stands.
            per_page: how many to fetch at a time, at least 1.
            start: the `cursor` of an earlier query.
            resumable: whether the order allows going on later.

        Raises:
            ValueError: `start` is no cursor, or `per_page` is under 1.
        """
        if per_page < 1:
            raise ValueError(f"per_page must be a positive number, not {per_page!r}")
        if start is not None and not resumable:
            raise ValueError("an ordered query cannot be resumed from a cursor")
        self.per_page = per_page
        self._rows = rows
        self._after = _decode(start) if start is not None else None
        self._resumable = resumable
        self._source: Iterator[tuple[str, Any]] | None = None
        self._key: str | None = None
        self._items: list[T] = []
        self._ended = False
        self._position = -1

    @property
    def cursor(self) -> str | None:
        """Where the last fetched page ended; pass it as `start=` to go on there. None before the first page."""
        if not self._resumable or self._key is None:
            return None
        return _encode(self._key)

    @property
    def more(self) -> bool:
        """Whether there may be results that were not fetched yet."""
        return not self._ended

    @property
    def length(self) -> int | None:
        """How many results there are, when all were fetched; else None."""
        return len(self._items) if self._ended else None

    def _load_page(self) -> bool:
        """Fetch one page; False when there was nothing left."""
        from regcli.api.errors import documented

        if self._ended:
            return False
        try:
            if self._source is None:
                self._source = iter(self._rows(self._after))
            page = list(islice(self._source, self.per_page))
        except RegcliError as error:
            raise documented(error) from error
        if page:
            self._key = page[-1][0]
            self._items.extend(item for _, item in page)
        self._ended = len(page) < self.per_page
        return bool(page)

    def _load_to(self, count: int | None) -> None:
        while (count is None or len(self._items) < count) and self._load_page():
            pass

    def __iter__(self) -> Iterator[T]:
        """Yield all results from the first on, fetching pages where needed."""
        position = 0
        while True:
            self._load_to(position + 1)
            if position >= len(self._items):
                return
            yield self._items[position]
            position += 1

    def __next__(self) -> T:
        """Return the result after the one that `next` returned last, fetching a page where needed."""
        self._position += 1
        self._load_to(self._position + 1)
        if self._position >= len(self._items):
            raise StopIteration
        return self._items[self._position]

    def next(self) -> T:
        """Return the next result; StopIteration at the end."""
        return self.__next__()

    def __len__(self) -> int:
        """Fetch everything and count it."""
        self._load_to(None)
        return len(self._items)

    def __bool__(self) -> bool:
        """Whether there is any result; fetches at most one page."""
        self._load_to(1)
        return bool(self._items)

    @overload
    def __getitem__(self, index: int) -> T: ...
    @overload
    def __getitem__(self, index: slice) -> list[T]: ...
    def __getitem__(self, index: int | slice) -> T | list[T]:
        """Return one result or a part of them, fetching what is needed."""
        if isinstance(index, slice):
            self._load_to(index.stop if index.stop is not None and index.stop >= 0 else None)
            return self._items[index]
        self._load_to(index + 1 if index >= 0 else None)
        return self._items[index]

    def __repr__(self) -> str:
        """Say how many results were fetched."""
        return f"<{type(self).__name__} {len(self._items)}{'' if self._ended else '+'} results>"


def _encode(key: str) -> str:
    return base64.urlsafe_b64encode(f"regcli:{key}".encode()).decode()


def _decode(cursor: str) -> str:
    try:
        text = base64.b64decode(cursor.encode(), altchars=b"-_", validate=True).decode()
    except (ValueError, AttributeError):
        text = ""
    if not text.startswith("regcli:"):
        raise ValueError(f"{cursor!r} is not a cursor of an earlier query")
    return text.removeprefix("regcli:")
