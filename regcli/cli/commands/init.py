"""`regcli init`: make a root."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated

import typer

from regcli.cli.context import session_of
from regcli.cli.questions import check_sharing
from regcli.cli.settings import Options, read_settings
from regcli.surroundings import DATA_DIRECTORY

if TYPE_CHECKING:
    from regcli.cli.context import Session

app = typer.Typer()


@app.command()
def init(
    ctx: typer.Context,
    directory: Annotated[
        str | None, typer.Argument(metavar="DIR", help="Where; default: the root that commands would use")
    ] = None,
    entity: Annotated[str | None, typer.Option("--entity", metavar="ENTITY", help="The default entity of plain names")] = None,
    personal: Annotated[bool, typer.Option("--personal", help="The entity is a person: its versions cannot be linked")] = False,
    ttl: Annotated[
        str | None, typer.Option("--ttl", metavar="DURATION", help="Default TTL of versions, such as 90d, or none")
    ] = None,
    shared: Annotated[
        bool, typer.Option("--shared", help="Let a group of the operating system add to it; needs --group")
    ] = False,
    group: Annotated[str | None, typer.Option("--group", metavar="GROUP", help="The group that it is shared with")] = None,
) -> None:
    """Make a root

    Nothing has to be set up before the first `regcli log`; this is for choosing the place and the default entity.
    Where there is a root already, nothing happens, except that an entity is recorded as a team or a person, and that its
    owner can set the default TTL: how long versions live that have no TTL of their own and whose collection has none.

    With --shared, everybody in the group can log and link, and the file system sees to it that nobody deletes or changes
    what others added; see `regcli help roles`. Done again, it mends the permissions.

    Examples:
        regcli init .regcli
        regcli init /shared/models --entity vision-team
        regcli init --entity alice --personal
        regcli init --ttl 90d
        regcli init /srv/models --shared --group ml
    """
    session = session_of(ctx)
    usual = session.settings.root
    check_sharing(shared=shared, group=group)
    if directory is not None:
        session.use_root(directory)
    from regcli.domain.amounts import parse_default_ttl
    from regcli.domain.settings import initialize

    root, made = initialize(
        session.context, entity, personal=personal, ttl=parse_default_ttl(ttl) if ttl is not None else "keep"
    )
    session.note(f"made a root at {root.path}" if made else f"there is a root at {root.path} already")
    if directory is not None:
        _say_how_to_use(session, root.path)
    elif not made and usual.origin == DATA_DIRECTORY:
        session.note("`regcli init .regcli` makes one here")
    if group is not None:
        from regcli.domain.sharing import share_root

        registries = share_root(session.context, group)
        session.note(f"shared it, with the registries {', '.join(registries)}, with group {group}")
    session.emit({"root": root.path, "id": root.id, "created": made, "entity": root.entity, "shared": root.shared}, [root.path])


def _say_how_to_use(session: Session, path: str) -> None:
    """Say how other commands find a root that they would not find from here by themselves."""
    if os.path.realpath(read_settings(Options()).root.value) != os.path.realpath(path):
        session.note("commands use it with --root or REGCLI_ROOT; they find a root by themselves where it is named .regcli")
