"""`regcli sync`: bring exactly the versions of `regcli.lock`."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from regcli.cli.context import session_of
from regcli.cli.parameters import Jobs, LinkMode
from regcli.cli.pinning import sync_lock
from regcli.cli.signing import AllowUnsigned

app = typer.Typer()


@app.command()
def sync(
    ctx: typer.Context,
    frozen: Annotated[bool, typer.Option("--frozen", help="Fail, and bring nothing, if an alias has moved since")] = False,
    force: Annotated[bool, typer.Option("--force", "-f", help="Lose local changes that are stored nowhere")] = False,
    link_mode: LinkMode = "auto",
    jobs: Jobs = None,
    unsigned: AllowUnsigned = False,
) -> None:
    """Bring exactly the versions of regcli.lock

    All locked versions are found and checked before the first file is written. What is there already and right is left
    alone; files that another version left behind are removed; local changes are refused without --force. Prints the
    directories.

    Examples:
        regcli sync
        regcli sync --frozen -q
        regcli sync --link-mode hardlink
    """
    session = session_of(ctx)
    session.allow_unsigned(unsigned)
    done = sync_lock(session, os.getcwd(), frozen=frozen, force=force, link_mode=link_mode, jobs=jobs)
    session.emit({"synced": [{**pin.document(), **item.document()} for pin, item in done]}, [item.path for _, item in done])
