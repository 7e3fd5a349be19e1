"""`regcli history`: who changed what, and when."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from regcli.cli.context import session_of
from regcli.cli.output import When, json_text, markdown_lines, table

app = typer.Typer()


@app.command()
def history(
    ctx: typer.Context,
    reference: Annotated[
        str | None, typer.Argument(metavar="REF", help="A registry, project, collection or version; default: all")
    ] = None,
    since: Annotated[
        str | None, typer.Option("--since", metavar="TIME", help="Only later ones: 2026-11-30, or 7d for the last week")
    ] = None,
    user: Annotated[str | None, typer.Option("--user", metavar="USER", help="Only this user's")] = None,
    action: Annotated[str | None, typer.Option("--action", metavar="ACTION", help="Only these, such as alias-moved")] = None,
    limit: Annotated[int | None, typer.Option("--limit", metavar="N", min=1, help="At most this many, the newest")] = None,
    markdown: Annotated[bool, typer.Option("--md", help="Print a Markdown table, for a CI job's summary")] = False,
) -> None:
    """Show who changed what, and when

    Oldest first. The history is the store's own chain of commits, which `regcli verify` checks.

    Examples:
        regcli history model/zoo
        regcli history model/ --action alias-moved --since 30d
        regcli history --limit 20
        regcli history --json
        regcli history model/ --since 1d --md
    """
    session = session_of(ctx)
    from regcli.domain.history import history as read
    from regcli.domain.history import parse_since

    moment = parse_since(since, session.context) if since is not None else None
    events = read(session.context, reference, since=moment, user=user, action=action)
    total = len(events)
    if limit is not None:
        events = events[-limit:]
        session.note_more(total - len(events))
    if not total:
        session.note("nothing found")
    to_people = session.is_terminal and not markdown
    rows = [
        (
            event["seq"],
            When(event["time"]),
            event["user"],
            event["action"],
            event["ref"],
            _value(event, "before", to_people=to_people),
            _value(event, "after", to_people=to_people),
            event["reason"] or "",
        )
        for event in events
    ]
    view = table(["Seq", "When", "User", "Action", "On", "Before", "After", "Reason"], rows)
    session.emit({"events": events, "total": total}, markdown_lines(view) if markdown else view)


def _value(event: dict[str, Any], side: str, *, to_people: bool) -> str:
    """Return a value as text, that of an alias after its name; to people, in words instead of JSON."""
    value = event[side]
    text = _words(value) if to_people else json_text(value)
    return f"{event['alias']} {text}" if "alias" in event and text else text


def _words(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(_words, value))
    if not isinstance(value, dict):
        return json_text(value)
    # A digest in its short form, which a reference may have too.
    pairs = [(key, value[key][:12] if key == "digest" else json_text(value[key])) for key in value]
    return ", ".join(f"{key} {text}" for key, text in pairs if text)
