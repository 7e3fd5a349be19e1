"""What `regcli sync` and the git hooks do with a lock."""

from __future__ import annotations

from typing import TYPE_CHECKING

from regcli.cli.output import human_count, human_size
from regcli.cli.progress import progress, steps

if TYPE_CHECKING:
    from regcli.cli.context import Session
    from regcli.domain.download import Downloaded
    from regcli.domain.lockfile import Pin


def sync_lock(
    session: Session, base: str, *, frozen: bool = False, force: bool = False, link_mode: str = "auto", jobs: int | None = None
) -> list[tuple[Pin, Downloaded]]:
    """Bring the versions of the lock in a directory, and say what was done and what has moved since."""
    from regcli.domain.caches import stat_cache
    from regcli.domain.download import DownloadOptions
    from regcli.domain.locking import STALE, check_lock, require_lock, sync

    require_lock(base)
    with progress(session, "downloading") as update:
        options = DownloadOptions(
            link_mode=link_mode,
            threads=jobs,
            cache=stat_cache(session.context, session.settings.cache_path),
            progress=steps(update),
        )
        done = sync(session.context, base, options, frozen=frozen, force=force)
    for _, item in done:
        session.note(
            f"{item.version.ref}: {human_count(item.written, 'file')} written ({human_size(item.bytes)}),"
            f" {item.skipped} already there, {item.removed} removed"
        )
    if not frozen and not session.options.quiet:
        for state in check_lock(session.context, [pin for pin, _ in done]):
            if state.state == STALE:
                # Where the reference means nothing that can be had, there is no new one to take.
                advice = "; `regcli lock --update` takes the new one" if state.now is not None else ""
                session.note(f"{state.message}{advice}")
    return done
