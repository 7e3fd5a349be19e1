"""The nearest existing name, for "did you mean"."""

from __future__ import annotations

from regcli.model import fold

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable


def nearest(name: str, candidates: Iterable[str]) -> str | None:
    """Return the candidate most like `name`, or None when none is like it."""
    import difflib

    by_key = {fold(candidate): candidate for candidate in candidates}
    found = difflib.get_close_matches(fold(name), by_key, n=1, cutoff=0.6)
    return by_key[found[0]] if found else None
