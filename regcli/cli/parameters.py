"""Options that several commands share, each spelled and explained once."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

Reason = Annotated[str | None, typer.Option("--message", "-m", metavar="REASON", help="Why, for the history")]
Jobs = Annotated[int | None, typer.Option("--jobs", "-j", metavar="N", min=1, max=64, help="How many files at once")]
LinkMode = Annotated[
    Literal["auto", "copy", "reflink", "hardlink", "symlink"],
    typer.Option(
        "--link-mode",
        metavar="auto|copy|reflink|hardlink|symlink",
        help="How files are made; hardlink and symlink are read-only",
    ),
]
AllowMissing = Annotated[bool, typer.Option("--allow-missing-references", help="Leave out references whose target is gone")]
