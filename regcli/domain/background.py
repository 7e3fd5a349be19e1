"""Starts the delivery of what a command put into the outbox, in a process of its own that nobody waits for."""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from subprocess import Popen

    from regcli.domain.context import Context

# `REGCLI_AUTOMATIONS=manual` leaves delivery to `regcli automation deliver`.
SWITCH = "REGCLI_AUTOMATIONS"
MANUAL = "manual"
LINGER = 10
# A command may change something that starts it again: after so many rounds nothing is started any more.
DEPTH = "REGCLI_AUTOMATION_DEPTH"
DEEPEST = 5


def chain_depth(environment: Mapping[str, str]) -> int:
    """Return how many automations have led to this process, one after the other."""
    text = environment.get(DEPTH, "0")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 9 else DEEPEST


def start_delivery(context: Context) -> bool:
    """Start a detached process that delivers if the context's commits gave rise to notices; tells whether it did.

    It imports the program from where this process did, never from the current directory, and failing to start it is harmless:
    the notices stay in the outbox.
    """
    if not context.announced or context.environment.get(SWITCH) == MANUAL or chain_depth(context.environment) >= DEEPEST:
        return False
    import subprocess

    words = ["--root", context.root_path, "automation", "deliver", "--linger", str(LINGER)]
    paths = [path for path in sys.path if path]
    program = f"import sys; sys.path[:] = {paths!r}; from regcli.__main__ import main; sys.exit(main({words!r}))"
    try:
        process = subprocess.Popen(
            [sys.executable, "-c", program], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            cwd="/", start_new_session=True, env=dict(context.environment) or None,
        )  # fmt: skip
    except (OSError, ValueError):
        return False
    _remember(process)
    context.announced.clear()
    return True


_started: list[Popen[bytes]] = []


def _remember(process: Popen[bytes]) -> None:
    """Collect those that have ended, so that a program that lives on gathers no zombies, and forget the others at its end."""
    if not _started:
        import atexit

        atexit.register(_forget)
    _started[:] = [started for started in _started if started.poll() is None]
    _started.append(process)


def _forget() -> None:
    """Let go of what still runs: nobody waits for it, and the interpreter would warn about it."""
    for process in _started:
        if process.poll() is None:
            process.returncode = 0
