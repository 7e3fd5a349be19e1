"""`regcli undelete`: bring a deleted version back."""

from __future__ import annotations

from typing import Annotated

import typer

from regcli.cli.context import session_of
from regcli.cli.parameters import Reason

app = typer.Typer()


@app.command()
def undelete(
    ctx: typer.Context,
    reference: Annotated[str, typer.Argument(metavar="REF", help="The deleted version, as NAME:vN")],
    reason: Reason = None,
) -> None:
    """Bring a deleted version back

    Possible until `regcli gc` has purged it. Its custom aliases and links do not come back; `latest` is the highest
    version again. `regcli ls NAME --all` lists deleted versions too.

    Examples:
        regcli undelete zoo:v0
    """
    session = session_of(ctx)
    from regcli.domain.deletion import undelete_version
    from regcli.domain.documents import version_document

    restored = undelete_version(session.context, reference, reason=reason)
    session.note(f"{restored.version.ref} is back" if restored.changed else f"{restored.version.ref} was not deleted")
    session.emit({**version_document(session.context, restored.version), "seq": restored.seq}, [restored.version.ref])
