"""Fixtures of the reliability tests."""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture
def open_path() -> Iterator[Path]:
    """Return a directory that every user can reach (pytest keeps its own to itself)."""
    path = Path(tempfile.mkdtemp(prefix="regcli-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def not_done(capsys: pytest.CaptureFixture[str], request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Return a function that says what a test did not do here, and why: seen in every run, also a successful one."""

    def say(what: str) -> None:
        with capsys.disabled():
            sys.stdout.write(f"\n{request.node.name}: NOT DONE: {what}\n")

    return say
