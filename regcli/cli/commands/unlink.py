"""`regcli unlink`: withdraw a version."""

from __future__ import annotations

from typing import Annotated

import typer

from regcli.cli.context import session_of
from regcli.cli.parameters import Reason
from regcli.cli.signing import SignKey, choose_key

app = typer.Typer()


@app.command()
def unlink(
    ctx: typer.Context,
    reference: Annotated[str, typer.Argument(metavar="REF", help="The link to withdraw")],
    reason: Reason = None,
    sign_key: SignKey = None,
) -> None:
    """Withdraw a version from a registry

    The version that was linked stays where it was logged. Its number in the collection is not used again.

    Examples:
        regcli unlink model/Zoo_Classifier_Models:v1
    """
    session = session_of(ctx)
    choose_key(session, sign_key)
    from regcli.domain.linking import unlink as withdraw
    from regcli.domain.resolving import source_of

    version, seq = withdraw(session.context, reference, reason=reason)
    source = source_of(session.context, version).ref
    session.note(f"withdrew {version.ref}; {source} stays")
    session.emit({"ref": version.ref, "source": source, "seq": seq}, [version.ref])
