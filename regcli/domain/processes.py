"""Which process does something, so that others can tell later whether it still lives."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_BOOT_ID = "/proc/sys/kernel/random/boot_id"


def describe_process(host: str, pid: int | None = None) -> dict[str, Any]:
    """Return `{host, boot, pid, started}` of a process of this machine, by default this one.

    `boot` changes when the machine starts anew; `started` tells a process from a later one of the same number. Both are
    None where the platform does not say.
    """
    number = os.getpid() if pid is None else pid
    return {"host": host, "boot": _read(_BOOT_ID), "pid": number, "started": _start_of(number)}


def is_dead(process: dict[str, Any] | None, host: str) -> bool:
    """Tell whether a described process has certainly ended; one of another machine is believed to live."""
    if not process or process.get("host") != host or not isinstance(process.get("pid"), int):
        return False
    boot = process.get("boot")
    if boot is not None and boot != _read(_BOOT_ID):
        return True
    try:
        os.kill(process["pid"], 0)
    except ProcessLookupError:
        return True
    except (PermissionError, OverflowError):
        # Somebody else's process: it lives, but perhaps it is another one by now.
        pass
    started = process.get("started")
    now = _start_of(process["pid"])
    return started is not None and now is not None and now != started


def is_alive(process: dict[str, Any] | None, host: str) -> bool:
    """Tell whether a described process of this machine has not ended; one of another machine cannot be asked."""
    if not process or process.get("host") != host or not isinstance(process.get("pid"), int):
        return False
    return not is_dead(process, host)


def _read(path: str) -> str | None:
    try:
        with open(path, encoding="ascii") as stream:
            return stream.read().strip()
    except (OSError, ValueError):
        return None


def _start_of(pid: int) -> int | None:
    """Return when a process began, in ticks since the machine started; None where it cannot be known."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as stream:
            text = stream.read()
    except OSError:
        return None
    # The command's name may hold spaces and brackets; what follows the last bracket is plain.
    fields = text.rpartition(b")")[2].split()
    if fields[:1] == [b"Z"]:
        return -1  # ended, and only waits for its parent to notice
    return int(fields[19]) if len(fields) > 19 else None
