"""`regcli diff`: what changed between two versions."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from regcli.cli.context import session_of
from regcli.cli.output import markdown_lines, table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from regcli.domain.diffing import Difference

app = typer.Typer()


def _rows(found: Difference) -> Iterator[tuple[str, str, Any, Any]]:
    for entry in found.added:
        yield "added", entry[0], "", entry[2]
    for entry in found.removed:
        yield "removed", entry[0], entry[2], ""
    for before, after in found.changed:
        yield "changed", after[0], before[2], after[2]
    for key, change in found.metadata.items():
        before_text = json.dumps(change["before"], ensure_ascii=False) if "before" in change else ""
        after_text = json.dumps(change["after"], ensure_ascii=False) if "after" in change else ""
        yield "metadata", key, before_text, after_text


@app.command()
def diff(
    ctx: typer.Context,
    first: Annotated[str, typer.Argument(metavar="REF", help="The version before")],
    second: Annotated[str, typer.Argument(metavar="REF", help="The version after")],
    markdown: Annotated[bool, typer.Option("--md", help="Print a Markdown table, for a CI job's summary")] = False,
    exit_code: Annotated[bool, typer.Option("--exit-code", help="Exit 1 when they differ")] = False,
) -> int:
    """Compare two versions

    Files that were added, removed or changed (sizes in bytes before and after), and metadata keys.

    Examples:
        regcli diff zoo:v1 zoo:v2
        regcli diff model/zoo:production zoo:latest --exit-code
        regcli diff zoo:v1 zoo:v2 --md >> "$GITHUB_STEP_SUMMARY"
    """
    session = session_of(ctx)
    from regcli.domain.diffing import diff as compare

    found = compare(session.context, first, second)
    view = table(["Change", "What", "Before", "After"], list(_rows(found)))
    session.verdict = 1 if exit_code and not found.is_empty else 0
    session.emit(found.document(), markdown_lines(view) if markdown else view)
    if found.is_empty:
        session.note(f"{found.a.ref} and {found.b.ref} are the same")
    return session.verdict
