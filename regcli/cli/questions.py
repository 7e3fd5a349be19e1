"""Questions before something that cannot be undone, and checks of options that belong together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from regcli.cli import settings
from regcli.errors import RefusedError, UsageError

if TYPE_CHECKING:
    from regcli.cli.context import Session


def confirm_removal(session: Session, what: str, *, yes: bool) -> None:
    """Ask on a terminal whether to delete `what`, which says how much it is; without one, `-y` is needed.

    Raises:
        UsageError: nobody can be asked. RefusedError: the answer was no.
    """
    import sys

    if yes:
        return
    if not settings.is_terminal(sys.stdin) or not settings.is_terminal(sys.stderr):
        raise UsageError(f"deleting {what} cannot be undone and needs a yes", hint="give -y")
    if not session.confirm(f"Delete {what}?"):
        raise RefusedError("not confirmed; nothing was deleted")


def check_sharing(*, shared: bool, group: str | None) -> None:
    """Check that `--shared` and `--group` are given together.

    Raises:
        UsageError: one of them is missing.
    """
    if shared and group is None:
        raise UsageError("--shared needs --group", hint="name a group of the operating system that the users are in")
    if group is not None and not shared:
        raise UsageError("--group needs --shared")
