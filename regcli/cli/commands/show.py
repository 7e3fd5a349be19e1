"""`regcli show`: everything about one version."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from regcli.cli.context import session_of
from regcli.cli.output import Chips, Size, When, definitions
from regcli.cli.signing import AllowUnsigned

if TYPE_CHECKING:
    from regcli.cli.context import Session
    from regcli.cli.output import Cell
    from regcli.domain.sealing import Seal

app = typer.Typer()


@app.command()
def show(
    ctx: typer.Context,
    reference: Annotated[str, typer.Argument(metavar="REF", help="The version; default: the latest")],
    unsigned: AllowUnsigned = False,
) -> None:
    """Show everything about one version

    Examples:
        regcli show model/zoo:production
        regcli show zoo:v2 --json
    """
    session = session_of(ctx)
    session.allow_unsigned(unsigned)
    from regcli.domain.documents import version_document
    from regcli.domain.resolving import resolve

    version = resolve(session.context, reference)
    document = version_document(session.context, version)
    session.emit(
        {**document, "signature": version.seal and version.seal.document(), "seq": version.collection.snapshot.seq},
        definitions(
            ("Reference", document["ref"]),
            ("Type", document["type"]),
            ("Aliases", Chips(document["aliases"], document["protected_aliases"], document["signed_aliases"])),
            ("Signed by", _signature(version.seal)),
            ("Tags", ", ".join(document["tags"])),
            ("Description", document["description"]),
            ("Digest", f"{document['digest']} ({document['digest_algorithm']})"),
            ("Size", Size(document["size"])),
            ("Files", document["file_count"]),
            ("References", document["reference_count"] or ""),
            ("State", document["state"]),
            ("TTL", document["ttl"]),
            ("Expires", _expiry(session, document)),
            ("Source", document["source"] if document["is_link"] else ""),
            ("Link", document["links"]),
            ("Logged by", document["logged_by"]),
            ("Input", document["inputs"]),
            ("Used by", document["used_by"]),
            ("Metric", [f"{key} = {value}" for key, value in document["metrics"].items()]),
            ("Metadata", [f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in document["metadata"].items()]),
            ("Created", When(document["created_at"])),
            ("Created by", document["created_by"]),
            ("Updated", When(document["updated_at"])),
            ("Linked", When(document["linked_at"])),
            ("Linked by", document["linked_by"]),
        ),
    )


def _signature(seal: Seal | None) -> str:
    if seal is None:
        return ""
    told = seal.document()
    return f"{told['signer']} on {told['issued_at'][:10]}, good until {told['expires_at'][:10]}"


def _expiry(session: Session, document: dict[str, Any]) -> Cell:
    """Return when the version may go; to a person also in how long, and what keeps it all the same."""
    moment = When(document["expires_at"])
    if not moment.time or not session.is_terminal:
        return moment
    kept = ", but not while it has an alias" if any(alias != "latest" for alias in document["aliases"]) else ""
    return f"{moment.time[:19]}Z ({moment.age(session.context.clock())}){kept}"
