"""Where the stat cache of a user lies: outside the root, so that a root can be read-only and shared."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from regcli.cli.settings import Settings
    from regcli.domain.context import Context
    from regcli.store.statcache import StatCache


def stat_cache(context: Context, settings: Settings) -> StatCache:
    """Return the cache for work with this root; it is made when it is first written."""
    from regcli.store.statcache import StatCache

    return StatCache(f"{settings.cache_path}/stat/{context.root.id}")
