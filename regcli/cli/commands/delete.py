"""`regcli delete`: take a version away."""

from __future__ import annotations

from typing import Annotated

import typer

from regcli.cli.context import session_of
from regcli.cli.parameters import Reason

app = typer.Typer()


@app.command()
def delete(
    ctx: typer.Context,
    reference: Annotated[str, typer.Argument(metavar="REF", help="The version, as it was logged")],
    delete_aliases: Annotated[
        bool, typer.Option("--delete-aliases", help="Also when it has aliases, which go with it")
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Also when it is linked (links are withdrawn first) or others refer to its files")
    ] = False,
    reason: Reason = None,
) -> None:
    """Delete a version

    Until `regcli gc` purges it, `regcli undelete` brings it back. Its number is not used again. A version whose link holds
    a protected alias is deleted by nobody; an admin has to remove that alias first. The same holds for the files that a
    protected version refers to. A link is not deleted but unlinked.

    Examples:
        regcli delete zoo:v0
        regcli delete zoo:v1 --delete-aliases --force
    """
    session = session_of(ctx)
    from regcli.domain.deletion import delete_version

    deleted = delete_version(session.context, reference, delete_aliases=delete_aliases, force=force, reason=reason)
    for link in deleted.unlinked:
        session.note(f"withdrew {link}")
    if deleted.consumers:
        session.warn(f"{deleted.version.ref} was used by {', '.join(deleted.consumers)}")
    if deleted.referrers:
        session.warn(f"references to {deleted.version.ref} lead nowhere now: {', '.join(deleted.referrers)}")
    session.note(f"deleted {deleted.version.ref}; `regcli undelete {deleted.version.ref}` brings it back")
    session.emit(
        {
            "ref": deleted.version.ref,
            "digest": deleted.version.digest,
            "aliases": deleted.aliases,
            "unlinked": deleted.unlinked,
            "used_by": deleted.consumers,
            "referred_by": deleted.referrers,
            "seq": deleted.seq,
        },
        [deleted.version.ref],
    )
