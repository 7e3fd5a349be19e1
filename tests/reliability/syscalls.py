"""Recording a command's system calls with strace, and running it again with one of them killed, failed or cut short."""

from __future__ import annotations

import re
import signal
from typing import TYPE_CHECKING

from tests.reliability.harness import LONG, Run, run, tool

if TYPE_CHECKING:
    from pathlib import Path

# Whatever changes files or finds them.
CHANGING = (
    "openat", "mkdir", "mkdirat", "write", "pwrite64", "fsync", "fdatasync", "syncfs", "link", "linkat", "rename",
    "renameat", "renameat2", "unlink", "unlinkat", "ftruncate", "fallocate", "fchmod", "chmod", "utimensat", "flock",
    "copy_file_range", "sendfile", "rmdir",
)  # fmt: skip
READING = ("read", "pread64", "getdents64", "newfstatat", "statfs")
_LINE = re.compile(r"^(?:\[pid +\d+\] |\d+ +)?(\w+)\((.*?)\) += (-?\d+|\?)")


class Point:
    """One system call of a recorded command that touches the root: its name and the how-manieth of that name it is."""

    def __init__(self, name: str, when: int, text: str, result: str) -> None:
        self.name = name
        self.when = when
        self.text = text
        self.result = result

    def __repr__(self) -> str:
        return f"{self.name}#{self.when} {self.text[:160]}"


def is_available() -> bool:
    return tool("strace") is not None


def _strace(output: Path, calls: tuple[str, ...], *more: str) -> list[str]:
    return [str(tool("strace")), "-f", "--seccomp-bpf", "-qq", "-y", "-o", str(output), "-e", f"trace={','.join(calls)}", *more]


def record(
    arguments: list[str], *, env: dict[str, str], cwd: Path, root: Path, trace: Path, calls: tuple[str, ...] = CHANGING
) -> tuple[Run, list[Point]]:
    """Run a command; returns what it left, and its system calls that name a path below the root."""
    done = run(*arguments, env=env, cwd=cwd, before=_strace(trace, calls))
    points = []
    counts: dict[str, int] = {}
    for line in trace.read_text(errors="replace").splitlines():
        match = _LINE.match(line)
        if match is None:
            continue
        name, text, result = match.groups()
        counts[name] = counts.get(name, 0) + 1
        if str(root) in text or str(root) in line:
            points.append(Point(name, counts[name], text, result))
    return done, points


def signal_at(point: Point, name: str, arguments: list[str], *, env: dict[str, str], cwd: Path, trace: Path) -> Run:
    """Run the command again and send it a signal on entry to that call."""
    inject = f"inject={point.name}:signal={name}:when={point.when}"
    before = _strace(trace, (point.name,), "-e", inject)
    # With the filter in the kernel strace does not deliver signals.
    before.remove("--seccomp-bpf")

    def heed() -> None:
        # Whoever started the tests may have told them to ignore it.
        signal.signal(signal.Signals[name], signal.SIG_DFL)

    return run(*arguments, env=env, cwd=cwd, before=before, preexec_fn=None if name == "SIGKILL" else heed)


def fail_at(point: Point, error: str, arguments: list[str], *, env: dict[str, str], cwd: Path, trace: Path) -> Run:
    """Run the command again and let that call fail with an error."""
    inject = f"inject={point.name}:error={error}:when={point.when}"
    return run(*arguments, env=env, cwd=cwd, before=_strace(trace, (point.name,), "-e", inject))


def was_hit(trace: Path, root: Path) -> bool:
    """Tell whether the call that failed was one that touches the root: the program's own imports make the same calls."""
    return any("(INJECTED)" in line and str(root) in line for line in trace.read_text(errors="replace").splitlines())


def sampled(points: list[Point], count: int) -> list[Point]:
    """Return `count` of the points, evenly; all of them in the long form."""
    if LONG or len(points) <= count:
        return points
    return [points[index * len(points) // count] for index in range(count)]
