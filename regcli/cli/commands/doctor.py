"""`regcli doctor`: what is here, and what is wrong with it."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from regcli.cli.context import session_of
from regcli.cli.output import definitions, human_size

app = typer.Typer()


def _yes(value: bool | None) -> str:
    return "" if value is None else "yes" if value else "no"


def _versions() -> dict[str, str]:
    """Return the versions of what regcli runs on; None of these is imported."""
    import platform
    from importlib import metadata

    from regcli import __version__

    found = {"regcli": __version__, "python": platform.python_version()}
    for name in ("typer", "rich", "xxhash", "platformdirs", "tomli-w", "pathspec", "blake3", "obstore"):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


@app.command()
def doctor(
    ctx: typer.Context,
    strict: Annotated[bool, typer.Option("--strict", help="Exit 1 when there is a problem")] = False,
) -> int:
    """Show which root is used and why, and what is wrong with it

    Tries out what the root's file system can do (links, reflinks, fsync, locks), and names problems with what mends them.
    `regcli verify` reads every file; this does not.

    Examples:
        regcli doctor
        regcli doctor --json
    """
    session = session_of(ctx)
    from regcli.domain.doctor import examine

    found = examine(session.context)
    settings = session.settings
    versions = _versions()
    system: dict[str, Any] = found.file_system
    document = {
        "root": settings.root.value,
        "origin": settings.root.origin,
        "exists": found.root is not None,
        "about": found.root,
        "project": str(session.context.project),
        "user": session.context.user,
        "file_system": system,
        "counts": found.counts,
        "versions": versions,
        "findings": [finding.document() for finding in found.findings],
        "ok": found.ok,
    }
    space = f"{human_size(system['free'])} of {human_size(system['size'])}" if system.get("free") is not None else ""
    session.emit(
        document,
        definitions(
            ("Root", settings.root.value),
            ("Chosen by", settings.root.origin),
            ("Root id", found.root["id"] if found.root else "there is none yet"),
            ("Project", str(session.context.project)),
            ("User", session.context.user),
            ("File system", system.get("type")),
            ("Free", space),
            ("Writable", _yes(system.get("writable"))),
            ("Hard links", _yes(system.get("link"))),
            ("Reflinks", _yes(system.get("reflink"))),
            ("Sync", _yes(system.get("fsync"))),
            ("Locks", "" if "locks" not in system else system["locks"] or "yes"),
            ("Holds", ", ".join(f"{number} {name}" for name, number in found.counts.items())),
            ("Runs on", ", ".join(f"{name} {version}" for name, version in versions.items())),
            *((finding.level.capitalize(), f"{finding.message}: {finding.help}") for finding in found.findings),
            ("All in all", "all is well" if found.ok else "see the problems above"),
        ),
    )
    return 1 if strict and not found.ok else 0
