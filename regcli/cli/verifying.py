"""What `regcli verify` does between its options and the domain, for both lanes alike."""

from __future__ import annotations

from regcli.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from regcli.cli.context import Session
    from regcli.domain.report import Report


def perform_verify(
    session: Session,
    reference: str | None = None,
    directory: str | None = None,
    *,
    quick: bool = False,
    mend: bool = False,
    sources: Sequence[str] = (),
    unsigned: bool = False,
) -> int:
    """Check what the options say, print every problem, and return the exit code."""
    session.allow_unsigned(unsigned)
    from regcli.cli.output import human_count, human_size, table

    if sources and not mend:
        raise UsageError("--from needs --repair", hint="see `regcli verify --help`")
    if directory is not None:
        from regcli.domain.verification import verify_directory

        if mend:
            raise UsageError("--repair mends the root, not a directory", hint="use `regcli checkout` for the directory")
        if reference is None or quick:
            raise UsageError("--quick does not go with a directory")
        report = verify_directory(session.context, reference, directory)
    else:
        report = _check_root(session, reference, quick=quick, mend=mend, sources=sources)
        for what in report.repaired:
            session.note(f"mended {what}")
    session.note(
        f"checked {human_count(report.files, 'file')}, {human_size(report.bytes)}, {human_count(report.versions, 'version')}:"
        f" {human_count(len(report.problems), 'problem') if report.problems else 'all is well'}"
    )
    if directory is None and not sources and any(item.kind in ("corrupt", "missing") for item in report.problems):
        session.note("`regcli verify --repair --from PLACE` puts content back from another root, a directory or a file")
    session.verdict = 0 if report.ok else 1
    session.emit(
        report.document(),
        table(["Problem", "Where", "What"], [(item.kind, item.path, item.message) for item in report.problems]),
    )
    return session.verdict


def _check_root(session: Session, reference: str | None, *, quick: bool, mend: bool, sources: Sequence[str]) -> Report:
    from regcli.domain.verification import verify_root, verify_version

    def check() -> Report:
        if reference is not None:
            return verify_version(session.context, reference, quick=quick)
        return verify_root(session.context, quick=quick)

    if not mend:
        return check()
    from regcli.domain.repairing import repair

    return repair(session.context, check, list(sources))
