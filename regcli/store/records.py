"""The version records of one collection: the newest in the head, older ones in pages that are derived and immutable.

A head stays small however many versions there are: at most `RECENT` records, the few older ones that changed since their
page was written, and the list of pages. Pages of `SMALL` records are merged into pages of `LARGE`, so the list is short.
"""

from __future__ import annotations

from regcli.errors import RegcliError
from regcli.store import files, jsontext

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    Record = dict[str, Any]

RECENT = 32
SMALL = 32
LARGE = 256
MAX_CHANGED = 48
# Of the names of pages, before `.json`.
_NAME = frozenset("0123456789abcdef-")


class Records:
    """Version records by index.

    Attributes:
        recent: index -> record, the newest.
        changed: index -> record, those in pages that changed since.
        pages: `[first, last, file name]`, oldest first, without overlap.
    """

    __slots__ = ("_cache", "_check", "_damaged", "_directory", "_replay", "_replayed", "_root", "changed", "pages", "recent")

    def __init__(
        self,
        directory: str,
        root: str,
        replay: Callable[[], Records],
        document: dict[str, Any] | None = None,
        check: Callable[[Any], None] | None = None,
    ) -> None:
        """Open the records that a head's `document` lists; `replay` rebuilds all of them from the log.

        Pages lie in `directory`, which lies in `root`. `check` raises ValueError for what is no record.

        Raises:
            ValueError, TypeError, AttributeError, KeyError: the document is malformed.
        """
        self._check = check
        self._directory = directory
        self._root = root
        self._replay = replay
        self._replayed: Records | None = None
        self._cache: dict[str, dict[str, Record]] = {}
        self._damaged: set[str] = set()
        document = document or {}
        self.recent: dict[str, Record] = document.get("recent", {})
        self.changed: dict[str, Record] = document.get("changed", {})
        self.pages: list[list[Any]] = document.get("pages", [])
        if document:
            _check_document(self, check)

    def copy(self) -> Records:
        """Return records that change without changing these; single records and pages are shared, since they are replaced."""
        other = Records(self._directory, self._root, self._replay, check=None)
        other._check = self._check
        other._replayed = self._replayed
        other._cache = self._cache
        other._damaged = set(self._damaged)
        other.recent = dict(self.recent)
        other.changed = dict(self.changed)
        other.pages = list(self.pages)
        return other

    def document(self) -> dict[str, Any]:
        """Return what the head keeps."""
        return {"recent": self.recent, "changed": self.changed, "pages": self.pages}

    def get(self, index: int) -> Record | None:
        """Return the record of version `index`, or None when there never was one."""
        key = str(index)
        record = self.recent.get(key) or self.changed.get(key)
        if record is not None:
            return record
        for page in reversed(self.pages):
            if page[0] <= index <= page[1]:
                return self._load(page).get(key)
        return None

    def put(self, index: int, record: Record) -> None:
        """Set the record of version `index`."""
        key = str(index)
        if not self.pages or index > self.pages[-1][1]:
            self.recent[key] = record
        else:
            self.changed[key] = record

    def descending(self, below: int | None = None) -> Iterator[tuple[int, Record]]:
        """Yield (index, record), newest first; only those under `below` when given."""
        for key in sorted(self.recent, key=int, reverse=True):
            if below is None or int(key) < below:
                yield int(key), self.recent[key]
        for page in reversed(self.pages):
            if below is not None and page[0] >= below:
                continue
            records = self._load(page)
            for key in sorted(records, key=int, reverse=True):
                if below is None or int(key) < below:
                    yield int(key), self.changed.get(key) or records[key]

    def ascending(self) -> Iterator[tuple[int, Record]]:
        """Yield (index, record), oldest first."""
        for page in self.pages:
            records = self._load(page)
            for key in sorted(records, key=int):
                yield int(key), self.changed.get(key) or records[key]
        for key in sorted(self.recent, key=int):
            yield int(key), self.recent[key]

    def _load(self, page: list[Any]) -> dict[str, Record]:
        """Return the records of one page; a damaged page is replayed from the log."""
        first, last, name = page
        cached = self._cache.get(name)
        if cached is not None:
            return cached
        records = self._read(name)
        if records is None:
            self._damaged.add(name)
            if self._replayed is None:
                self._replayed = self._replay()
            records = {key: record for key, record in self._replayed.recent.items() if first <= int(key) <= last}
        self._cache[name] = records
        return records

    def _read(self, name: str) -> dict[str, Record] | None:
        """Return what a page file holds, or None when it is not the very page that its name says."""
        try:
            data = files.read_document(f"{self._directory}/{name}")
        except (OSError, RegcliError):
            return None
        if _checksum_of(data) != name[22:38]:
            return None
        document = jsontext.unseal(data)
        records = document.get("records") if document is not None else None
        if not isinstance(records, dict):
            return None
        try:
            _check_records(records, self._check)
        except (KeyError, TypeError, ValueError, AttributeError):
            return None
        return records

    @property
    def damaged(self) -> bool:
        """Whether a page that was looked at could not be used; the next head that is written lists a new one."""
        return bool(self._damaged)

    def settle(self) -> list[str]:
        """Move old records into pages, merge small pages, rewrite what changed; returns page files no longer listed.

        Called before a head is written.
        """
        before = {page[2] for page in self.pages}
        if len(self.changed) > MAX_CHANGED or self._damaged:
            self._rewrite_changed()
        while len(self.recent) > RECENT + SMALL:
            keys = sorted(self.recent, key=int)[:SMALL]
            self.pages.append(self._write({key: self.recent[key] for key in keys}))
            for key in keys:
                del self.recent[key]
        self._merge()
        # Also those that were written here and merged at once.
        return sorted((before | self._cache.keys()) - {page[2] for page in self.pages})

    def _rewrite_changed(self) -> None:
        for position, page in enumerate(self.pages):
            touched = [key for key in self.changed if page[0] <= int(key) <= page[1]]
            if not touched and page[2] not in self._damaged:
                continue
            records = dict(self._load(page))
            for key in touched:
                records[key] = self.changed.pop(key)
            self.pages[position] = self._write(records)
        self._damaged.clear()

    def _merge(self) -> None:
        """Merge the small pages at the end once there are enough of them for a large one."""
        small = len(self.pages)
        while small and self.pages[small - 1][1] - self.pages[small - 1][0] < LARGE - 1:
            small -= 1
        together = LARGE // SMALL
        while len(self.pages) - small >= together:
            records: dict[str, Record] = {}
            for page in self.pages[small : small + together]:
                records.update(self._load(page))
            self.pages[small : small + together] = [self._write(records)]
            small += 1

    def _write(self, records: dict[str, Record]) -> list[Any]:
        indexes = [int(key) for key in records]
        first, last = min(indexes), max(indexes)
        data = jsontext.seal({"format": 1, "records": records})
        name = f"{first:010d}-{last:010d}-{_checksum_of(data)}.json"
        files.make_within(self._root, self._directory)
        files.replace_file(f"{self._directory}/{name}", data, durable=True, root=self._root)
        self._cache[name] = records
        return [first, last, name]

    def remove_pages(self, names: list[str]) -> None:
        """Delete page files that no head lists any more; a reader with an older head replays the log instead."""
        files.remove_names(self._directory, names, self._root)


def _check_document(records: Records, check: Callable[[Any], None] | None) -> None:
    _check_records(records.recent, check)
    _check_records(records.changed, check)
    if type(records.pages) is not list:
        raise ValueError("pages are malformed")
    for first, last, name in records.pages:
        if type(first) is not int or type(last) is not int or type(name) is not str or name[-5:] != ".json":
            raise ValueError("a page is malformed")
        if not _NAME.issuperset(name[:-5]):
            raise ValueError("a page is malformed")


def _check_records(records: dict[str, Record], check: Callable[[Any], None] | None) -> None:
    for key, record in records.items():
        if not key.isdecimal() or len(key) > 20:
            raise ValueError("a record has no number")
        if check is not None:
            check(record)


def _checksum_of(data: bytes) -> str:
    """Return the first half of a sealed document's checksum: what binds a page to the head that lists it."""
    return data[13:29].decode("ascii", "replace")
