"""Where the stat cache of a user lies: outside the root, so that a root can be read-only and shared."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from regcli.domain.context import Context
    from regcli.store.statcache import StatCache


def stat_cache(context: Context, cache_path: str) -> StatCache:
    """Return the cache, below the user's cache directory, for work with this root; it is made when it is first written."""
    from regcli.store.statcache import StatCache

    return StatCache(f"{cache_path}/stat/{context.root.id}")
