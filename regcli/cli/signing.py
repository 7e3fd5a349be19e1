"""The options about signed aliases, which several commands share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from regcli.cli.context import Session

AllowUnsigned = Annotated[
    bool, typer.Option("--allow-unsigned", help="Take an alias whose signature is missing or not valid; a warning says so")
]
SignKey = Annotated[
    str | None,
    typer.Option("--sign-key", metavar="FILE", help="SSH key to sign with (REGCLI_SIGNING_KEY; else git's or the agent's)"),
]
Expires = Annotated[
    str | None, typer.Option("--expires", metavar="DURATION", help="How long the signature of a signed alias holds (90d)")
]


def choose_key(session: Session, key: str | None, expires: str | None = None) -> None:
    """Take `--sign-key` and `--expires`.

    Raises:
        UsageError: the duration is none.
    """
    trust = session.context.trust
    if key is not None:
        trust.sign_key = key
    if expires is not None:
        from regcli.domain.amounts import parse_duration
        from regcli.errors import UsageError

        seconds = int(parse_duration(expires, "--expires"))
        if not 60 <= seconds <= 3650 * 86400:
            raise UsageError("--expires takes one minute to ten years", hint="write 30d, 12h or 90d")
        trust.expires = seconds
