"""`regcli lock`: pin references to versions in `regcli.lock`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated

import typer

from regcli.cli.context import session_of
from regcli.cli.output import Size, human_count, table
from regcli.cli.signing import AllowUnsigned
from regcli.errors import UsageError

if TYPE_CHECKING:
    from regcli.cli.context import Session
    from regcli.domain.lockfile import Pin

app = typer.Typer()


@app.command()
def lock(
    ctx: typer.Context,
    references: Annotated[list[str] | None, typer.Argument(metavar="REF", help="What to pin")] = None,
    output: Annotated[
        str | None, typer.Option("--output", "-o", metavar="DIR", help="Where it goes, below here; default: artifacts/NAME:vN")
    ] = None,
    check: Annotated[bool, typer.Option("--check", help="Change nothing; exit 1 if an alias has moved")] = False,
    update: Annotated[bool, typer.Option("--update", help="Pin anew what the lock has, all of it or each REF")] = False,
    remove: Annotated[bool, typer.Option("--rm", help="Take each REF out of the lock; its files stay")] = False,
    unsigned: AllowUnsigned = False,
) -> int | None:
    """Pin references to versions in regcli.lock

    The lock lies in the current directory and is meant for version control. It says for each reference which version it
    meant, its digest and size, and where its files go; `regcli sync` brings exactly those.

    Examples:
        regcli lock model/zoo:production dataset/animals:latest
        regcli lock model/zoo:production -o models/zoo
        regcli lock --check
        regcli lock --update model/zoo:production
        regcli lock --rm model/zoo:production
    """
    session = session_of(ctx)
    session.allow_unsigned(unsigned)
    if remove and (check or update or output is not None):
        raise UsageError("--rm takes references and nothing else", hint="see `regcli lock --help`")
    if check and (update or references or output is not None):
        raise UsageError("--check checks the whole lock and takes nothing else", hint="see `regcli lock --help`")
    if output == "":
        raise UsageError("the name of the directory is empty", hint="`.` is the current one")
    if update and output is not None:
        raise UsageError("--update keeps each directory", hint="give a new one with `regcli lock REF -o DIR`")
    if check:
        return _check(session)
    if update:
        _update(session, references or [])
        return None
    if not references:
        raise UsageError("REF is missing", hint="`regcli lock REF` pins, `--check` checks and `--update` pins anew")
    if remove:
        _remove(session, references)
        return None
    from regcli.domain.lockfile import lock_path
    from regcli.domain.locking import lock_references

    base = os.getcwd()
    pins = lock_references(session.context, base, references, output)
    session.emit({"path": lock_path(base), "pins": [pin.document() for pin in pins]}, table(_COLUMNS, map(_row, pins)))
    return None


_COLUMNS = ("Reference", "Version", "Size", "Directory")


def _row(pin: Pin) -> tuple[str, str, Size, str]:
    return pin.reference, pin.version, Size(pin.size), pin.directory


def _check(session: Session) -> int:
    from regcli.domain.locking import OK, check_lock, require_lock

    states = check_lock(session.context, require_lock(os.getcwd()))
    wrong = sum(state.state != OK for state in states)
    session.verdict = 1 if wrong else 0
    session.emit(
        {"ok": not wrong, "pins": [state.document() for state in states]},
        table(("Reference", "Locked", "State", ""), ((s.pin.reference, s.pin.version, s.state, s.message) for s in states)),
    )
    session.note(f"{human_count(len(states), 'pin')}, {wrong or 'none'} out of date")
    return session.verdict


def _remove(session: Session, references: list[str]) -> None:
    from regcli.domain.lockfile import lock_path
    from regcli.domain.locking import remove_pins

    base = os.getcwd()
    gone = remove_pins(session.context, base, references)
    session.note(f"{human_count(len(gone), 'pin')} taken out; the files stay")
    session.emit({"path": lock_path(base), "removed": [pin.document() for pin in gone]}, table(_COLUMNS, map(_row, gone)))


def _update(session: Session, references: list[str]) -> None:
    from regcli.domain.lockfile import lock_path
    from regcli.domain.locking import update_lock

    base = os.getcwd()
    changes = update_lock(session.context, base, references)
    session.note("nothing has moved" if not changes else f"{human_count(len(changes), 'pin')} updated")
    session.emit(
        {"path": lock_path(base), "updated": [{"before": old.document(), "after": new.document()} for old, new in changes]},
        table(("Reference", "Before", "Now"), [(new.reference, old.version, new.version) for old, new in changes])
        if changes
        else (),
    )
