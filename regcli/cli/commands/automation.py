"""`regcli automation`: tell somebody when something happens."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from regcli.cli.context import session_of
from regcli.cli.output import When, definitions, table
from regcli.cli.parameters import Reason
from regcli.errors import MissingPathError, StorageError, UsageError, reason_of
from regcli.model import quote

if TYPE_CHECKING:
    from regcli.cli.context import Session

app = typer.Typer(help="Tell webhooks, Slack or your own commands what happens")


@app.command("add")
def add(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="What to call it; unique in the root")],
    event: Annotated[str, typer.Option("--on", metavar="EVENT", help="The event it waits for, such as linked or alias-added")],
    scope: Annotated[
        str, typer.Option("--scope", metavar="PLACE", help="A registry, a project, a collection, or . for the whole root")
    ] = ".",
    match: Annotated[
        str | None,
        typer.Option(
            "--match", metavar="PATTERN", help="Only aliases, tags or collections of such names; a condition for 'metric'"
        ),
    ] = None,
    webhook: Annotated[
        str | None, typer.Option("--webhook", metavar="URL", help="Post the event as JSON (env:VARIABLE keeps the URL secret)")
    ] = None,
    slack: Annotated[
        str | None, typer.Option("--slack", metavar="URL", help="Post a message to an incoming webhook of Slack")
    ] = None,
    command: Annotated[
        str | None,
        typer.Option("--command", metavar="CMD", help="Run this, without a shell, after changes of your own"),
    ] = None,
    template: Annotated[
        str | None, typer.Option("--template", metavar="FILE", help="The payload, with variables such as ${alias}")
    ] = None,
    token_env: Annotated[
        str | None, typer.Option("--token-env", metavar="VARIABLE", help="Send the value of this variable as bearer token")
    ] = None,
    secret_env: Annotated[
        str | None, typer.Option("--secret-env", metavar="VARIABLE", help="Sign the payload with the value of this variable")
    ] = None,
    reason: Reason = None,
) -> None:
    """Add an automation

    Tokens and secrets are read when something is delivered, from the environment or from a file of the variable's name in
    `secrets/` of your configuration directory; they are never stored. `regcli help automations` tells everything.

    Examples:
        regcli automation add deploy --on alias-added --scope model/ --match production --webhook https://ci.example.com/hook
        regcli automation add tell-us --on linked --scope model/zoo --slack env:SLACK_URL
        regcli automation add good --on metric --match 'accuracy > 0.95' --command 'notify-send regcli'
    """
    session = session_of(ctx)
    from regcli.domain.automations import Request, add_automation

    request = Request(event, scope)
    request.match = match
    request.webhook = webhook
    request.slack = slack
    request.command = command
    request.template = _read_template(template) if template is not None else None
    request.token_env = token_env
    request.secret_env = secret_env
    automation, seq = add_automation(session.context, name, request, reason=reason)
    document = automation.document(session.context)
    session.emit({**document, "seq": seq}, _definitions(document))


def _read_template(path: str) -> str:
    try:
        with open(path, encoding="utf-8") as file:
            return file.read(1 << 20)
    except (FileNotFoundError, NotADirectoryError):
        raise MissingPathError(f"there is no file {quote(path)}") from None
    except OSError as error:
        raise UsageError(f"cannot read {quote(path)}: {reason_of(error)}") from None
    except UnicodeDecodeError:
        raise UsageError(f"{quote(path)} is not UTF-8 text") from None


def _definitions(document: dict[str, Any]) -> Any:
    labels = (
        ("Automation", "name"),
        ("On", "event"),
        ("Scope", "scope"),
        ("Match", "match"),
        ("Action", "action"),
        ("URL", "url"),
        ("Command", "command"),
        ("Token from", "token_env"),
        ("Secret from", "secret_env"),
        ("Added by", "created_by"),
    )
    return definitions(*((label, document[key] or "") for label, key in labels))


@app.command("ls")
def ls(
    ctx: typer.Context,
    place: Annotated[str | None, typer.Argument(metavar="PLACE", help="Only those of this place; default: all")] = None,
) -> None:
    """List automations

    Examples:
        regcli automation ls
        regcli automation ls model/
    """
    session = session_of(ctx)
    from regcli.domain.automations import list_automations

    documents = [item.document(session.context) for item in list_automations(session.context, place)]
    session.emit(
        {"automations": documents},
        table(
            ["Name", "On", "Scope", "Match", "Action", "Target", "Added by"],
            [
                (
                    row["name"],
                    row["event"],
                    row["scope"],
                    row["match"],
                    row["action"],
                    row["url"] or row["command"],
                    row["created_by"],
                )
                for row in documents
            ],
        ),
    )


@app.command("rm")
def rm(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The automation")],
    reason: Reason = None,
) -> None:
    """Remove an automation

    What it still had to deliver is given up.

    Examples:
        regcli automation rm deploy
    """
    session = session_of(ctx)
    from regcli.domain.automations import remove_automation

    automation, seq = remove_automation(session.context, name, reason=reason)
    session.note(f"removed {automation.name}; what it still had to deliver is given up")
    session.emit({"name": automation.name, "removed": True, "seq": seq}, [automation.name])


@app.command("test")
def test(ctx: typer.Context, name: Annotated[str, typer.Argument(metavar="NAME", help="The automation")]) -> None:
    """Send an example of an automation's event now

    The payload says `"test": true`. Exits 8 when the receiver does not take it.

    Examples:
        regcli automation test deploy
    """
    session = session_of(ctx)
    from regcli.domain.delivery import try_out

    outcome = try_out(session.context, name)
    if outcome.error is not None:
        raise StorageError(f"automation {quote(name)} could not deliver: {outcome.error}")
    session.emit({"name": name, "delivered": True, "status": outcome.status}, [f"delivered ({outcome.status})"])


@app.command("log")
def log(
    ctx: typer.Context,
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="Only those of this automation")] = None,
    limit: Annotated[int, typer.Option("--limit", metavar="N", min=1, help="At most this many, the newest first")] = 100,
) -> None:
    """Show what was delivered, and every try

    Examples:
        regcli automation log
        regcli automation log deploy --json
    """
    session = session_of(ctx)
    from regcli.domain.delivery import log_of, notice_documents

    documents = notice_documents(session.context, log_of(session.context, name, limit))
    session.emit({"deliveries": documents}, _deliveries(documents))


def _deliveries(documents: list[dict[str, Any]]) -> Any:
    return table(
        ["When", "Automation", "Event", "On", "Subject", "Status", "Tries", "Last answer", "Event id"],
        [
            (
                When(row["time"]),
                row["automation"],
                row["event"],
                row["ref"],
                row["subject"],
                row["status"],
                len(row["tries"]),
                row["error"] or (row["tries"][-1]["status"] if row["tries"] else None),
                row["event_id"],
            )
            for row in documents
        ],
    )


@app.command("deliver")
def deliver(
    ctx: typer.Context,
    now: Annotated[bool, typer.Option("--now", help="Also what waits because an earlier try failed")] = False,
    linger: Annotated[float, typer.Option("--linger", metavar="SECONDS", min=0, help="Go on for so long with what fails")] = 0,
) -> int:
    """Send what is waiting in the outbox

    Every command that changes something starts this in the background. Run it from cron for receivers that were away longer.
    Exits 8 when a receiver failed.

    Examples:
        regcli automation deliver
        regcli automation deliver --now --json
    """
    session = session_of(ctx)
    from regcli.domain.delivery import deliver as send

    # Nobody watches the background, so there is no need to wait for another process that does the same.
    report = send(session.context, now=now, linger=linger, wait=not linger)
    document = report.document(session.context)
    _say(session, document)
    session.emit(document, _deliveries([row for row in document["deliveries"] if row["status"] != "pending" or row["tries"]]))
    return StorageError.exit_code if report.failed else 0


def _say(session: Session, document: dict[str, Any]) -> None:
    words = [f"{document[word]} {word}" for word in ("delivered", "failed", "cancelled", "waiting") if document[word]]
    session.note(", ".join(words) or "nothing to deliver")
