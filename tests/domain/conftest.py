"""What needs servers that are not installed is not collected, and said at the end of the run."""

from __future__ import annotations

import os
import shutil
import sys
from importlib.util import find_spec
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

collect_ignore: list[str] = []
_not_tested: list[str] = []


def _need(file: str, what: str, *missing: str) -> None:
    if missing:
        collect_ignore.append(file)
        _not_tested.append(f"{what} (missing: {', '.join(missing)})")


def _absent(*modules: str) -> list[str]:
    return [module for module in modules if find_spec(module) is None]


def find_azurite() -> str | None:
    """Return the program that plays Azure's blob storage, from PATH or beside the Python environment."""
    beside = os.path.join(sys.prefix, "node_modules", ".bin")
    return shutil.which("azurite-blob", path=f"{os.environ.get('PATH', '')}{os.pathsep}{beside}")


_need("test_s3_references.py", "references to S3, with moto", *_absent("obstore", "moto", "boto3", "flask", "flask_cors"))
_need("test_gs_references.py", "references to Google Cloud Storage", *_absent("obstore"))
_need(
    "test_azure_references.py",
    "references to Azure, with Azurite",
    *_absent("obstore"),
    *([] if find_azurite() else ["azurite"]),
)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for what in _not_tested:
        terminalreporter.write_line(f"NOT TESTED: {what}; see `test-cloud` in pyproject.toml", yellow=True)
