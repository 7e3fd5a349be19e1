"""How long a version lives, and when that is over."""

from __future__ import annotations

from regcli.domain.collections import LINK
from regcli.errors import RegcliError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from regcli.domain.catalog import Entry
    from regcli.domain.collections import Collection
    from regcli.domain.context import Context

    Record = dict[str, Any]


def effective_ttl(collection: Collection | Entry, ttl: int | str | None, default_ttl: int | None) -> int | None:
    """Return the seconds that a version or link lives, or None for ever.

    A version's own TTL (`ttl`) counts; one that inherits has its collection's, else the root's (`default_ttl`). A link has
    its collection's, else its registry's.
    """
    own = collection.state["ttl"]
    if collection.state["kind"] == LINK:
        if own is None and collection.registry is not None:
            own = collection.registry.state["ttl"]
        return own if isinstance(own, int) else None
    if ttl == "inherit":
        ttl = default_ttl if own is None else own
    return ttl if isinstance(ttl, int) else None


class Lifetimes:
    """Tells when the TTL of versions is over; the root's default is read when the first one inherits it."""

    __slots__ = ("_context", "_default", "_is_known")

    def __init__(self, context: Context) -> None:
        """Read nothing yet."""
        self._context = context
        self._default: int | None = None
        self._is_known = False

    def end(self, collection: Collection | Entry, ttl: int | str | None, created_at: str) -> str | None:
        """Return the time at which a version of a source collection may go, in the form that times are stored in.

        None means never, or after the year 9999.
        """
        inherits = ttl == "inherit" and collection.state["ttl"] is None
        seconds = effective_ttl(collection, ttl, self._root_default() if inherits else None)
        if seconds is None:
            return None
        from datetime import datetime, timedelta

        try:
            moment = datetime.fromisoformat(created_at) + timedelta(seconds=seconds)
        except (ValueError, OverflowError):
            return None
        return f"{moment.replace(tzinfo=None).isoformat(timespec='microseconds')}Z"

    def _root_default(self) -> int | None:
        if not self._is_known:
            from regcli.domain.settings import root_settings

            self._is_known = True
            try:
                self._default = root_settings(self._context).state["ttl"]
            except RegcliError as error:
                # What is shown of a version must not hang on the settings of the root.
                self._context.warnings.append(error.message)
        return self._default
