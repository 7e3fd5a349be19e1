"""Fixtures of all tests: a fresh root, the program in a process and in this one, and real data."""

from __future__ import annotations

import compileall
import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings

import regcli
from regcli.__main__ import main
from tests.optional import collect_ignore, pytest_terminal_summary

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

# Names that pytest looks for in this module.
__all__ = ["collect_ignore", "pytest_terminal_summary"]
# A busy machine is no failure.
settings.register_profile("regcli", deadline=None)
settings.load_profile("regcli")

DATA = Path(__file__).parent / "data"


class Result:
    """What one run of the program left: exit code and output."""

    def __init__(self, code: int, stdout: str, stderr: str) -> None:
        self.code = code
        self.stdout = stdout
        self.stderr = stderr

    @property
    def json(self) -> dict[str, Any]:
        """The JSON document on standard output; with `--json` there is nothing else."""
        document: dict[str, Any] = json.loads(self.stdout)
        assert document["schema_version"] == 1
        return document

    @property
    def error(self) -> dict[str, Any]:
        """The error object on standard error."""
        error: dict[str, Any] = json.loads(self.stderr)["error"]
        return error

    @property
    def lines(self) -> list[str]:
        """The lines of standard output."""
        return self.stdout.splitlines()

    def ok(self) -> Result:
        """Return itself after making sure that the command succeeded."""
        assert self.code == 0, f"exit {self.code}\n{self.stderr}\n{self.stdout}"
        return self

    def __repr__(self) -> str:
        return f"Result({self.code}, stdout={self.stdout!r}, stderr={self.stderr!r})"


def clean_environment(home: Path, root: Path | None) -> dict[str, str]:
    """Return the environment of a user who has set nothing but a home directory and perhaps a root."""
    environment = {"PATH": os.environ["PATH"], "HOME": str(home), "LANG": "C.UTF-8"}
    if root is not None:
        environment["REGCLI_ROOT"] = str(root)
    return environment


def pytest_sessionstart(session: pytest.Session) -> None:
    """Compile the package once: the thousands of processes that the tests start would each do it anew.

    They may not write bytecode themselves, since what they write is looked at.
    """
    if not hasattr(session.config, "workerinput"):
        compileall.compile_dir(os.path.dirname(regcli.__file__), quiet=2)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """An empty home directory."""
    path = tmp_path / "home"
    path.mkdir()
    return path


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """An empty working directory."""
    path = tmp_path / "work"
    path.mkdir()
    return path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The path of a root that does not exist yet."""
    return tmp_path / "root"


@pytest.fixture
def run(home: Path, work: Path, root: Path) -> Callable[..., Result]:
    """Return a function that runs `regcli ARGUMENTS…` in a process of its own, in `work`, on `root`.

    `environment` is added to the clean one, `input` goes to standard input, `timeout` is in seconds.
    """

    def run_program(
        *arguments: str | Path,
        cwd: Path | None = None,
        environment: Mapping[str, str] | None = None,
        input: str | None = None,  # noqa: A002 - as subprocess calls it
        timeout: float = 120,
    ) -> Result:
        done = subprocess.run(
            [sys.executable, "-m", "regcli", *map(str, arguments)],
            cwd=cwd or work,
            env={**clean_environment(home, root), **(environment or {})},
            input=input,
            capture_output=True,
            encoding="utf-8",
            errors="surrogateescape",
            timeout=timeout,
            check=False,
        )
        return Result(done.returncode, done.stdout, done.stderr)

    return run_program


@pytest.fixture
def invoke(home: Path, work: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Return a function that runs `regcli ARGUMENTS…` in this process, in `work`, on `root`: much faster than `run`."""
    for name in list(os.environ):
        if name.startswith(("REGCLI_", "XDG_")) or name in ("NO_COLOR", "FORCE_COLOR", "CLICOLOR_FORCE"):
            monkeypatch.delenv(name)
    for name, value in clean_environment(home, root).items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(work)

    def invoke_program(*arguments: str | Path, cwd: Path | None = None, input: str = "") -> Result:  # noqa: A002 - as subprocess
        stdout = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", errors="surrogateescape")
        stderr = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", errors="surrogateescape")
        with monkeypatch.context() as patch:
            patch.setattr(sys, "stdin", io.StringIO(input))
            patch.setattr(sys, "stdout", stdout)
            patch.setattr(sys, "stderr", stderr)
            patch.chdir(cwd or work)
            code = main([str(argument) for argument in arguments])
        return Result(code, _read_back(stdout), _read_back(stderr))

    return invoke_program


def _read_back(stream: io.TextIOWrapper) -> str:
    stream.flush()
    stream.seek(0)
    return stream.read()


@pytest.fixture
def zoo(work: Path) -> Path:
    """The Zoo data set, `zoo.csv` in the working directory; see tests/data/README.md."""
    return Path(shutil.copy(DATA / "zoo.csv", work))
