"""`regcli gc`: delete what is due, and free the space of what nothing needs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from regcli.cli.context import session_of
from regcli.cli.output import definitions, human_count, human_size
from regcli.cli.progress import progress

if TYPE_CHECKING:
    from regcli.cli.context import Session
    from regcli.domain.retention import Collected

app = typer.Typer()


@app.command()
def gc(
    ctx: typer.Context,
    reference: Annotated[
        str | None, typer.Argument(metavar="REF", help="A collection, REGISTRY/ or ENTITY/PROJECT/; default: all of the root")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", "-n", help="Only say what would be done")] = False,
    grace: Annotated[
        str, typer.Option("--grace", metavar="DURATION", help="How long what was deleted stays, in two steps")
    ] = "24h",
    keep_last: Annotated[
        int | None, typer.Option("--keep-last", metavar="N", min=1, help="Keep the N newest versions of each collection")
    ] = None,
    keep_within: Annotated[
        str | None, typer.Option("--keep-within", metavar="DURATION", help="Keep versions younger than this, such as 30d")
    ] = None,
    max_size: Annotated[
        str | None, typer.Option("--max-size", metavar="SIZE", help="Bytes that old versions without alias may take: 10GB")
    ] = None,
    offline: Annotated[
        bool, typer.Option("--offline", help="Nobody else works on this root: go on where locks prove nothing")
    ] = False,
) -> None:
    """Free the space of what no version needs

    Versions whose TTL is over are deleted. With --keep-last or --keep-within, so are older ones that neither keeps, and with
    --max-size the oldest beyond that size. A version that is linked or has an alias stays, and `latest` goes only by TTL.
    Links go only where REF names a registry or a collection of one, and never those with an alias.

    What was deleted longer ago than --grace is purged and its content moved to the trash; what has lain in the trash for as
    long is removed. `--grace 0` does all of it at once.

    Examples:
        regcli gc --dry-run
        regcli gc zoo --keep-last 5 --keep-within 30d
        regcli gc --max-size 50GB --grace 0
    """
    session = session_of(ctx)
    from regcli.domain.amounts import parse_duration, parse_size
    from regcli.domain.expiry import Policy
    from regcli.domain.retention import collect_garbage

    policy = Policy(
        grace=parse_duration(grace, "--grace"),
        keep_last=keep_last,
        keep_within=parse_duration(keep_within, "--keep-within") if keep_within is not None else None,
        max_size=parse_size(max_size, "--max-size") if max_size is not None else None,
        dry_run=dry_run,
        offline=offline,
    )
    with progress(session, "reading manifests") as update:
        collected = collect_garbage(session.context, reference, policy, progress=update)
    for item in collected.deleted:
        if item.consumers:
            session.warn(f"{item.version.ref} was used by {', '.join(item.consumers)}")
    _emit(session, collected)


def _emit(session: Session, collected: Collected) -> None:
    document = collected.document()
    would = collected.dry_run
    if collected.waiting:
        session.note(f"{human_count(collected.waiting, 'deleted version')} can still be undeleted")
    if collected.kept_young:
        session.note(f"{human_count(collected.kept_young, 'blob')} left alone for now, being young")
    session.emit(
        document,
        definitions(
            ("Would delete" if would else "Deleted", [f"{item['ref']} ({item['reason']})" for item in document["deleted"]]),
            ("Would unlink" if would else "Unlinked", [f"{item['ref']} ({item['reason']})" for item in document["unlinked"]]),
            ("Would purge" if would else "Purged", document["purged"]),
            ("Would trash" if would else "To the trash", _bytes(collected.trashed) if collected.trashed else ""),
            ("Would free" if would else "Freed", _bytes(collected.freed)),
        ),
    )


def _bytes(size: int) -> str:
    return f"{size:,} bytes ({human_size(size)})" if size >= 1000 else human_count(size, "byte")
