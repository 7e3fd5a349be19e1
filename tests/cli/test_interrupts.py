"""Ctrl-C, at whatever moment: silence or one line, exit 130, and nothing lost."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from regcli.cli import interrupts

if TYPE_CHECKING:
    from pathlib import Path

# It tells when the program reads its arguments: what the interpreter answers before our first line is not ours to choose.
PROGRAM = """
import os, sys
from regcli.__main__ import main

class Arguments(list):
    def __getitem__(self, which):
        os.write(TOLD, b".")
        return super().__getitem__(which)

sys.argv = Arguments(sys.argv)
sys.exit(main())
"""
COMMANDS = ["resolve zoo", "ls", "log data.txt -n zoo", "download zoo -o out"]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A directory with a root that has one version."""
    (tmp_path / "data.txt").write_text("data")
    assert start(tmp_path, "log data.txt -n zoo -t dataset").finish()[0] == 0
    return tmp_path


class Started:
    """A command that reads its arguments."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process

    def interrupt(self, after: float) -> None:
        time.sleep(after)
        self.process.send_signal(signal.SIGINT)

    def finish(self) -> tuple[int, str, str]:
        out, err = self.process.communicate(timeout=60)
        return self.process.returncode, out, err


def start(place: Path, line: str, disposition: signal.Handlers = signal.SIG_DFL) -> Started:
    reading, writing = os.pipe()
    process = subprocess.Popen(
        [sys.executable, "-c", f"TOLD = {writing}\n{PROGRAM}", *line.split()],
        cwd=place, env={"HOME": str(place), "REGCLI_ROOT": str(place / "root"), "LANG": "C.UTF-8"},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, pass_fds=[writing],
        # Whoever started the tests may have told them to ignore it.
        preexec_fn=lambda: signal.signal(signal.SIGINT, disposition),  # noqa: PLW1509 - no threads here
    )  # fmt: skip
    os.close(writing)
    with open(reading, "rb") as begun:
        assert begun.read(1) == b"."
    return Started(process)


@pytest.mark.parametrize("line", COMMANDS)
def test_control_c_at_any_moment_is_silent_and_exit_130(line: str, place: Path) -> None:
    for moment in range(0, 150, 10):
        started = start(place, line)
        started.interrupt(moment / 1000)
        code, _, err = started.finish()
        # A command that was done already has the exit code it came to.
        assert code in (130, 0), (moment, code, err)
        assert "Traceback" not in err, (moment, err)
        assert "Exception ignored" not in err, (moment, err)
        if code == 130:
            assert err in ("", "error: interrupted\n"), (moment, err)


def test_who_ignores_control_c_still_ignores_it(place: Path) -> None:
    started = start(place, "resolve zoo", signal.SIG_IGN)
    for _ in range(10):
        started.interrupt(0.005)
    assert started.finish() == (0, "local/default/zoo:v0\n", "")


CALLBACK = """
import os, signal, time, weakref
from regcli.cli import interrupts

class Lock: ...

names = {"os": os, "signal": signal}
source = "def cb(reference): os.kill(os.getpid(), signal.SIGINT)"
exec(compile(source, "<frozen importlib._bootstrap>", "exec"), names)
interrupts.leave_when_interrupted()
interrupts.raise_when_interrupted()
try:
    lock = Lock()
    reference = weakref.ref(lock, names["cb"])
    del lock
    time.sleep(30)
except KeyboardInterrupt:
    print("raised")
"""


def test_control_c_in_the_callback_of_an_import_is_not_lost() -> None:
    done = subprocess.run(
        [sys.executable, "-c", CALLBACK], capture_output=True, text=True, check=False,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, "raised\n", "")


def test_a_handler_of_another_program_is_left_alone() -> None:
    def mine(number: int, frame: object) -> None:
        raise AssertionError

    before = signal.signal(signal.SIGINT, mine)
    try:
        interrupts.leave_when_interrupted()
        interrupts.raise_when_interrupted()
        assert signal.getsignal(signal.SIGINT) is mine
    finally:
        signal.signal(signal.SIGINT, before)
