"""`regcli verify`: find all damage."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from regcli.cli.context import session_of
from regcli.cli.output import human_count, human_size, table
from regcli.cli.signing import AllowUnsigned, allow_unsigned
from regcli.errors import UsageError

if TYPE_CHECKING:
    from regcli.cli.context import Session
    from regcli.domain.verification import Report

app = typer.Typer()


@app.command()
def verify(
    ctx: typer.Context,
    reference: Annotated[str | None, typer.Argument(metavar="REF", help="A version; without it the whole root")] = None,
    directory: Annotated[str | None, typer.Argument(metavar="DIR", help="Compare this directory with the version")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Content only by presence and size")] = False,
    mend: Annotated[bool, typer.Option("--repair", help="Put back what is damaged or missing from intact copies")] = False,
    sources: Annotated[
        list[str] | None,
        typer.Option("--from", metavar="PATH", help="With --repair: another root, a directory or a file (repeatable)"),
    ] = None,
    unsigned: AllowUnsigned = False,
) -> int:
    """Check a root, a version or a directory for damage

    Reports every problem, never just the first, and exits 1 when there is one. Without arguments it reads every commit of
    every history and every stored byte. With --repair it looks for intact copies, first in the root itself and its trash, then
    in every place given with --from; it exits 0 when all is mended, and else says what is not.

    Examples:
        regcli verify
        regcli verify model/zoo:production
        regcli verify model/zoo:production artifacts/zoo:v2
        regcli verify --repair --from /backup/root
    """
    session = session_of(ctx)
    allow_unsigned(session, unsigned)
    from regcli.domain import verification

    if sources and not mend:
        raise UsageError("--from needs --repair", hint="see `regcli verify --help`")
    if directory is not None:
        if mend:
            raise UsageError("--repair mends the root, not a directory", hint="use `regcli checkout` for the directory")
        if reference is None or quick:
            raise UsageError("--quick does not go with a directory")
        report = verification.verify_directory(session.context, reference, directory)
    else:
        report = _check_root(session, reference, quick=quick, mend=mend, sources=sources or [])
        for what in report.repaired:
            session.note(f"mended {what}")
    session.note(
        f"checked {human_count(report.files, 'file')}, {human_size(report.bytes)}, {human_count(report.versions, 'version')}:"
        f" {human_count(len(report.problems), 'problem') if report.problems else 'all is well'}"
    )
    session.emit(
        report.document(),
        table(["Problem", "Where", "What"], [(item.kind, item.path, item.message) for item in report.problems]),
    )
    return 0 if report.ok else 1


def _check_root(session: Session, reference: str | None, *, quick: bool, mend: bool, sources: list[str]) -> Report:
    from regcli.domain.verification import verify_root, verify_version

    def check() -> Report:
        if reference is not None:
            return verify_version(session.context, reference, quick=quick)
        return verify_root(session.context, quick=quick)

    if not mend:
        return check()
    from regcli.domain.repairing import repair

    return repair(session.context, check, sources)
