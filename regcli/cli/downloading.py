"""What `regcli download` and `regcli checkout` do between their options and the domain, for both lanes alike."""

from __future__ import annotations

from regcli.cli.progress import progress, steps
from regcli.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from regcli.cli.context import Session
    from regcli.domain.download import Downloaded, DownloadOptions


def perform_download(
    session: Session,
    reference: str,
    *,
    output: str | None = None,
    path_prefix: str | None = None,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    link_mode: str = "auto",
    jobs: int | None = None,
    allow_missing: bool = False,
    stamp: str | None = None,
    depfile: str | None = None,
    unsigned: bool = False,
) -> None:
    """Download what the options say, and print where it is."""
    session.allow_unsigned(unsigned)
    if output == "-":
        raise UsageError(
            "a version is a directory, which does not go to standard output",
            hint="`regcli cat REF ENTRY` prints one file; a directory of that name is -o ./-",
        )
    if depfile is not None and stamp is None:
        raise UsageError("--depfile needs --stamp", hint="its rules say that the files are made with the stamp")
    from regcli.cli.output import human_count, human_size
    from regcli.domain.download import download

    with progress(session, "downloading") as update:
        options = _options(session, update, link_mode=link_mode, jobs=jobs, allow_missing=allow_missing)
        done = download(session.context, reference, output, options, prefix=path_prefix, include=include, exclude=exclude)
    if stamp is not None:
        _tell_make(session, done, output, stamp, depfile)
    session.note(
        f"{done.version.ref}: {human_count(done.written, 'file')} written ({human_size(done.bytes)}),"
        f" {done.skipped} already there"
    )
    session.emit(done.document(), [done.path])


def perform_checkout(
    session: Session,
    reference: str,
    directory: str,
    *,
    force: bool = False,
    link_mode: str = "auto",
    allow_missing: bool = False,
    unsigned: bool = False,
) -> None:
    """Make a directory the version, and print what changed."""
    session.allow_unsigned(unsigned)
    from regcli.cli.output import human_count
    from regcli.domain.download import checkout

    with progress(session, "checking out") as update:
        options = _options(session, update, link_mode=link_mode, jobs=None, allow_missing=allow_missing)
        done = checkout(session.context, reference, directory, options, force=force)
    session.note(
        f"{done.version.ref}: {human_count(done.written, 'file')} written, {done.skipped} already there, {done.removed} removed"
    )
    session.emit(done.document(), [done.path])


def _options(
    session: Session, update: Callable[[int, int], None], *, link_mode: str, jobs: int | None, allow_missing: bool
) -> DownloadOptions:
    from regcli.domain.caches import stat_cache
    from regcli.domain.download import DownloadOptions

    return DownloadOptions(
        link_mode=link_mode,
        threads=jobs,
        allow_missing_references=allow_missing,
        cache=stat_cache(session.context, session.settings.cache_path),
        progress=steps(update),
    )


def _tell_make(session: Session, done: Downloaded, output: str | None, stamp: str, depfile: str | None) -> None:
    """Write the stamp, and the rules about the files; the stamp last, since it says that all is done."""
    from regcli.domain.download import default_directory
    from regcli.domain.stamps import write_depfile, write_stamp

    if depfile is not None:
        directory = output if output is not None else default_directory(done.version)
        for name in write_depfile(depfile, stamp, directory, done.list_names()):
            session.warn(f"Make cannot name the file {name}; it is left out of {depfile}")
    write_stamp(stamp, done.version.digest)
