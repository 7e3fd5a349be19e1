"""What the reliability tests share: running the program, telling what a run left, and saying what was not done."""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LONG = os.environ.get("REGCLI_RELIABILITY") == "long"
HERE = Path(__file__).resolve().parent
CHECKOUT = HERE.parent.parent
# A command that takes longer hangs, however busy the machine is.
PATIENCE = 120


def scaled(short: int, long: int) -> int:
    """Return how often to do something: `short` in the default run, `long` with `python -m tests.reliability --long`."""
    return long if LONG else short


class Run:
    """What one run of the program left."""

    def __init__(self, arguments: tuple[str, ...], code: int, stdout: str, stderr: str) -> None:
        self.arguments = arguments
        self.code = code
        self.stdout = stdout
        self.stderr = stderr

    @property
    def json(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(self.stdout)
        return document

    @property
    def error(self) -> dict[str, Any]:
        """The error object, or one made up of what was printed where there is none."""
        for line in reversed(self.stderr.splitlines()):
            if line.startswith("{") and '"error"' in line:
                error: dict[str, Any] = json.loads(line)["error"]
                return error
        return {"code": self.code, "kind": "?", "message": self.stderr, "hint": None}

    @property
    def is_clean(self) -> bool:
        """Whether it ended in a way that is documented: an exit code of the table, and no traceback."""
        return self.code in (0, 1, 2, 3, 4, 5, 6, 7, 8, 130, -signal.SIGKILL) and "Traceback" not in self.stderr

    def ok(self) -> Run:
        assert self.code == 0, repr(self)
        return self

    def __repr__(self) -> str:
        return f"regcli {' '.join(self.arguments)}: exit {self.code}\n{self.stdout}{self.stderr}"


def environment(root: Path | str, home: Path | str, broken: str | None = None, **more: str) -> dict[str, str]:
    """Return the environment of a run.

    `broken` names a deliberately broken variant of the store (`broken/sitecustomize.py`): the negative controls.
    """
    values = {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "LANG": "C.UTF-8",
        "REGCLI_ROOT": str(root),
        "PYTHONHASHSEED": "0",
        "PYTHONDONTWRITEBYTECODE": "1",
        # What is under test is the package that is installed where the tests run, not the working directory's.
        "PYTHONSAFEPATH": "1",
        **more,
    }
    if broken is not None:
        values["PYTHONPATH"] = str(HERE / "broken")
        values["REGCLI_TEST_BROKEN"] = broken
    return values


def command(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-m", "regcli", *map(str, arguments)]


def run(
    *arguments: str | Path,
    env: dict[str, str],
    cwd: Path | str,
    before: list[str] | None = None,
    timeout: float = PATIENCE,
    **options: Any,
) -> Run:
    """Run `regcli ARGUMENTS…` in a process of its own; `before` is put in front of the command line (strace)."""
    done = subprocess.run(
        [*(before or ()), *command(*arguments)],
        env=env,
        cwd=cwd,
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        timeout=timeout,
        check=False,
        **options,
    )
    return Run(tuple(map(str, arguments)), done.returncode, done.stdout, done.stderr)


class HangError(Exception):
    """A command did not come to an end."""


def inside(*arguments: str | Path, root: Path | str, cwd: Path | str, patience: int = 20, **variables: str) -> Run:
    """Run `regcli ARGUMENTS…` in this process: the same program, without the start of an interpreter.

    `variables` are added to the environment of the run.

    Raises:
        HangError: it took longer than `patience` seconds.
    """
    from regcli.__main__ import main

    def give_up(*_: object) -> None:
        raise HangError(f"regcli {' '.join(map(str, arguments))} does not end")

    out = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", errors="surrogateescape", write_through=True)
    err = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", errors="surrogateescape", write_through=True)
    here = Path.cwd()
    before = signal.signal(signal.SIGALRM, give_up)
    words = [str(argument) for argument in arguments]
    settings = {name: os.environ[name] for name in os.environ if name.startswith(("REGCLI_", "XDG_", "HOME"))}
    for name in settings:
        del os.environ[name]
    os.environ.update({"HOME": f"{root}.home-{os.geteuid()}", **variables})
    signal.alarm(patience)
    try:
        os.chdir(cwd)
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = main([words[0], *words[1:], "--root", str(root)])
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
        os.chdir(here)
        for name in variables:
            del os.environ[name]
        os.environ.update(settings)
    texts = [stream.buffer.getvalue().decode("utf-8", "replace") for stream in (out, err)]
    return Run(tuple(words), code, *texts)


def inside_as_nobody(*arguments: str | Path, root: Path | str, cwd: Path | str) -> Run:
    """Run `inside` in a forked process with no rights but what every user has; only root can."""
    read_end, write_end = os.pipe()
    child = os.fork()
    if not child:
        code = 1
        try:
            os.setgroups([])
            os.setresgid(65534, 65534, 65534)
            os.setresuid(65534, 65534, 65534)
            done = inside(*arguments, root=root, cwd=cwd)
            with os.fdopen(write_end, "w") as pipe:
                json.dump([done.code, done.stdout, done.stderr], pipe)
            code = 0
        finally:
            os._exit(code)
    os.close(write_end)
    with os.fdopen(read_end) as pipe:
        text = pipe.read()
    assert os.waitpid(child, 0)[1] == 0, f"{arguments} in a forked process: {text}"
    return Run(tuple(map(str, arguments)), *json.loads(text))


def copy_root(source: Path, target: Path) -> Path:
    """Copy a root; a target that exists is replaced."""
    if target.exists():
        remove_tree(target)
    shutil.copytree(source, target, symlinks=True)
    return target


def remove_tree(path: Path) -> None:
    shutil.rmtree(path, ignore_errors=True)


def has_command(name: str) -> bool:
    """Tell whether the program has a command."""
    from regcli.cli.commands import COMMANDS

    return any(name == entry[0] for entry in COMMANDS)


def is_root() -> bool:
    return os.geteuid() == 0


def tool(name: str) -> str | None:
    """Return the path of a system tool, also where only an administrator's PATH has it."""
    return shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")


@contextlib.contextmanager
def mounted(arguments: list[str], target: Path) -> Iterator[bool]:
    """Mount something at `target` for the block; yields False where that is not allowed."""
    target.mkdir(exist_ok=True)
    done = subprocess.run(["mount", *arguments, str(target)], capture_output=True, check=False) if is_root() else None
    if done is None or done.returncode:
        yield False
        return
    try:
        yield True
    finally:
        subprocess.run(["umount", "-l", str(target)], capture_output=True, check=False)


def until(condition: Callable[[], bool], what: str, patience: float = PATIENCE) -> None:
    """Wait until something is so."""
    deadline = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not happen"
        time.sleep(0.005)
