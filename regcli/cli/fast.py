"""The fast lane: commands that scripts and shells run all the time, answered without importing Typer.

Only exact shapes are served here. For anything unusual (an option it does not know, an error, a missing root)
`try_fast` returns None and the full program runs with the same arguments, so that messages exist only once.
Nothing but built-in modules and our own light ones is imported; `tests/cli/test_startup.py` counts them.
"""

from __future__ import annotations

import sys

from regcli import __version__

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


def try_fast(argv: list[str]) -> int | None:
    """Answer `argv` and return the exit code, or return None to leave it to the full program."""
    if not argv:
        return None
    serve = _LANES.get(argv[0])
    return None if serve is None else serve(argv[1:])


def answer(text: str) -> int | None:
    """Write the whole answer to standard output and return 0; None where the full program must explain a failure.

    Nothing has been written when None is returned, or what was written could not be delivered anyway.
    """
    if sys.stdout is None:
        return None
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except (OSError, ValueError):
        return None
    return 0


def _version(rest: list[str]) -> int | None:
    return None if rest else answer(f"regcli {__version__}\n")


_LANES: dict[str, Callable[[list[str]], int | None]] = {
    "--version": _version,
}
