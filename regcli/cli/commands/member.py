"""`regcli member`: who may do what in a registry."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from regcli.cli.context import session_of
from regcli.cli.output import table
from regcli.cli.parameters import Reason
from regcli.model import RegistryName

if TYPE_CHECKING:
    from regcli.cli.context import Session
    from regcli.domain.context import Change

app = typer.Typer(help="List, add or remove the members of a registry")

Registry = Annotated[str, typer.Argument(metavar="REGISTRY", help="Which registry")]
User = Annotated[str, typer.Argument(metavar="USER", help="The operating system's name of the user")]


def _emit(session: Session, change: Change, user: str, role: str | None) -> None:
    if change.commit is None:
        session.note("nothing to change")
    members = [{"user": name, "role": value} for name, value in sorted(change.snapshot.state["members"].items())]
    session.emit(
        {"registry": change.snapshot.state["name"], "user": user, "role": role, "members": members, "seq": change.seq},
        [f"{user}\t{role or ''}".rstrip()],
    )


@app.command("add")
def add(
    ctx: typer.Context,
    registry: Registry,
    user: User,
    role: Annotated[
        Literal["restricted_viewer", "viewer", "member", "admin"],
        typer.Option("--role", "-r", metavar="restricted_viewer|viewer|member|admin", help="What the user may do"),
    ],
    reason: Reason = None,
) -> None:
    """Give a user a role in a registry, or another one

    A role decides also where it is less than what everybody has. `regcli help roles` has the table of roles.

    Examples:
        regcli member add model alice --role admin
        regcli member add secret bob --role viewer
    """
    session = session_of(ctx)
    from regcli.domain.members import is_known_user, set_member

    change = set_member(session.context, RegistryName.parse(registry), user, role, reason=reason)
    if not is_known_user(user):
        session.warn(f"this system knows no user {user}")
    _emit(session, change, user, role)


@app.command("rm")
def remove(ctx: typer.Context, registry: Registry, user: User, reason: Reason = None) -> None:
    """Take a user's role in a registry away

    In a registry with visibility `organization` the user can still do what everybody can. The last admin stays.

    Examples:
        regcli member rm secret bob
    """
    session = session_of(ctx)
    from regcli.domain.members import remove_member

    _emit(session, remove_member(session.context, RegistryName.parse(registry), user, reason=reason), user, None)


@app.command("ls")
def ls(ctx: typer.Context, registry: Registry) -> None:
    """List the members of a registry

    Examples:
        regcli member ls model
        regcli member ls model --json
    """
    session = session_of(ctx)
    from regcli.domain.members import list_members

    name, members, everybody = list_members(session.context, RegistryName.parse(registry))
    session.note(f"everybody else: {everybody or 'no access'}")
    session.emit(
        {"registry": name, "members": members, "everybody": everybody},
        table(["User", "Role"], [(row["user"], row["role"]) for row in members]),
    )
