"""Real shells on a pseudo-terminal: type, press TAB, read the line back."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import subprocess
import termios
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

TAB = "\t"
# Bound in each shell to print the line being edited.
DUMP = "\x18\x04"
BEGIN, END, READY = "<<<", ">>>", "shell-is-ready"

STARTS = {
    "bash": """
PS1='$ '
bind 'set bell-style none'
bind 'set enable-bracketed-paste off'
bind 'set completion-query-items 0'
bind 'set show-all-if-ambiguous on'
bind 'set page-completions off'
_dump() { printf '\\n%s%s%s\\n' '<<' "<$READLINE_LINE" '>>>'; }
bind -x '"\\C-x\\C-d": _dump'
source COMPLETIONS/regcli.bash
echo shell-is-"ready"
""",
    "zsh": """
unsetopt zle_bracketed_paste 2>/dev/null
unset zle_bracketed_paste
PS1='$ '
setopt no_beep no_always_last_prompt
LISTMAX=10000
fpath=(COMPLETIONS $fpath)
autoload -Uz compinit && compinit -u -D
_dump() { print -r; print -r -- '<<'"<$BUFFER"'>>>'; zle reset-prompt }
zle -N _dump
bindkey '^X^D' _dump
echo shell-is-"ready"
""",
    "fish": """
function fish_prompt; echo '$ '; end
function fish_greeting; end
set -g fish_autosuggestion_enabled 0
bind \\cx\\cd 'echo; echo "<<""<"(commandline)">>>"; commandline -f repaint'
source COMPLETIONS/regcli.fish
echo shell-is-"ready"
""",
}
# What loads the script in each of them.
LOADS = {
    "bash": "source COMPLETIONS/regcli.bash\n",
    "zsh": "fpath=(COMPLETIONS $fpath)\n",
    "fish": "source COMPLETIONS/regcli.fish\n",
}
COMMANDS = {
    "bash": ["bash", "--noprofile", "--rcfile", "START", "-i"],
    "zsh": ["zsh", "-f", "-i"],
    "fish": ["fish", "--no-config", "-i", "-C", "source START"],
}


def _take_terminal() -> None:
    """Make standard input the controlling terminal; fish will not start without."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


class Shell:
    """An interactive shell in which the completion script is loaded."""

    def __init__(
        self, name: str, completions: Path, directory: Path, environment: dict[str, str], load: str | None = None
    ) -> None:
        """Start the shell; `load` are lines of its own that load the script, else that of `completions` is."""
        self.name = name
        start = directory / f"start.{name}"
        text = STARTS[name]
        if load is not None:
            first, _, rest = text.partition(LOADS[name])
            text = f"{first}{load}\n{rest}"
        start.write_text(text.replace("COMPLETIONS", str(completions)))
        self._controller, terminal = pty.openpty()
        self._seen = ""
        self._process = subprocess.Popen(
            # With --no-config fish would look for no completions of the user's.
            [word.replace("START", str(start)) for word in COMMANDS[name] if load is None or word != "--no-config"],
            stdin=terminal,
            stdout=terminal,
            stderr=terminal,
            cwd=directory,
            env={"TERM": "xterm", "LANG": "C.UTF-8", "COLUMNS": "200", "LINES": "50", **environment},
            start_new_session=True,
            preexec_fn=_take_terminal,  # noqa: PLW1509 - one ioctl, no lock that another thread could hold
        )
        os.close(terminal)
        if name == "zsh":
            self._send(f"source {start}\n")
        self._read_until(READY, 30)

    def complete(self, line: str) -> tuple[str, str]:
        """Type a line, press TAB; return the line after it and what was shown."""
        before = len(self._seen)
        self._send(line)
        time.sleep(0.05)
        self._send(TAB)
        # A shell takes one key after the other, so this is the line once the TAB was answered.
        self._send(DUMP)
        text = self._read_until(END, 15)
        shown = self._seen[before:]
        result = text[text.rindex(BEGIN) + len(BEGIN) : text.rindex(END)]
        self._send("\x15")  # clear the line
        self._settle(0.05)
        return result, shown

    def close(self) -> None:
        """End the shell."""
        self._process.kill()
        self._process.wait()
        os.close(self._controller)

    def _send(self, text: str) -> None:
        os.write(self._controller, text.encode())

    def _settle(self, quiet: float = 0.4, limit: float = 10) -> None:
        """Read until nothing has come for a while."""
        deadline = time.monotonic() + limit
        while time.monotonic() < deadline and self._read(quiet):
            pass

    def _read(self, wait: float) -> bool:
        ready, _, _ = select.select([self._controller], [], [], wait)
        if not ready:
            return False
        self._seen += os.read(self._controller, 65536).decode(errors="replace").replace("\r", "")
        return True

    def _read_until(self, mark: str, limit: float) -> str:
        before = len(self._seen)
        deadline = time.monotonic() + limit
        while mark not in self._seen[before:]:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{self.name} did not say {mark!r}: {self._seen!r}")
            self._read(0.2)
        return self._seen[before:]
