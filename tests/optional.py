"""Tests that need what may not be installed: they are not collected then, and the end of the run says so, line by line."""

from __future__ import annotations

import os
import shutil
import sys
from importlib.util import find_spec
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest


def find_azurite() -> str | None:
    """Return the program that plays Azure's blob storage, from PATH or beside the Python environment."""
    beside = os.path.join(sys.prefix, "node_modules", ".bin")
    return shutil.which("azurite-blob", path=f"{os.environ.get('PATH', '')}{os.pathsep}{beside}")


def find_program(name: str) -> str | None:
    """Return a program that tests need besides Python modules, or None."""
    return find_azurite() if name == "azurite" else shutil.which(name)


PROGRAMS = ("azurite", "ssh-keygen")
# Test file -> what it tests, what it needs: modules, or programs by the function that finds them.
NEEDS = {
    "domain/test_s3_references.py": ("references to S3, with moto", ("obstore", "moto", "boto3", "flask", "flask_cors")),
    "domain/test_gs_references.py": ("references to Google Cloud Storage", ("obstore",)),
    "domain/test_azure_references.py": ("references to Azure, with Azurite", ("obstore", "azurite")),
    "security/test_signed_aliases.py": ("signed aliases, with OpenSSH", ("blake3", "ssh-keygen")),
    "security/test_signing_topic.py": ("the commands of `regcli help signing`", ("blake3", "ssh-keygen")),
    "security/test_no_program_runs.py": ("that no program is run", ("blake3", "ssh-keygen")),
    "api/test_codecs_numpy.py": ("arrays and images", ("numpy", "PIL")),
    "api/test_codecs_frames.py": ("data frames", ("pandas", "polars", "pyarrow")),
    "api/test_codecs_figures.py": ("figures", ("numpy", "PIL", "matplotlib", "plotly", "bokeh")),
}


def missing(needs: tuple[str, ...]) -> list[str]:
    """Return what is not there."""
    return [name for name in needs if (find_program(name) if name in PROGRAMS else find_spec(name)) is None]


collect_ignore = [file for file, (_, needs) in NEEDS.items() if missing(needs)]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say what was not tested."""
    for file in collect_ignore:
        what, needs = NEEDS[file]
        line = f"NOT TESTED: {what} (missing: {', '.join(missing(needs))}); see the extras test-cloud and test-objects"
        terminalreporter.write_line(line, yellow=True)
