"""Programs on a pseudo-terminal, as a person sees them."""

from __future__ import annotations

import os
import pty
import subprocess
import sys


def on_terminal(*arguments: str, environment: dict[str, str] | None = None, keys: str = "") -> str:
    """Run Python with these arguments on a pseudo-terminal and return all it shows; `keys` are typed at the start."""
    controller, terminal = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, *arguments],
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        env={
            "PATH": os.environ["PATH"],
            "HOME": "/nonexistent",
            "LANG": "C.UTF-8",
            "TERM": "xterm-256color",
            **(environment or {}),
        },
    )
    os.close(terminal)
    os.write(controller, keys.encode())
    shown = b""
    while True:
        try:
            data = os.read(controller, 65536)
        except OSError:  # Linux ends a pseudo-terminal so
            break
        if not data:
            break
        shown += data
    process.wait()
    os.close(controller)
    return shown.decode().replace("\r\n", "\n")
