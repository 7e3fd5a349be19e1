"""A large real directory: the Python standard library, logged and brought back."""

from __future__ import annotations

import os
import shutil
import subprocess
import sysconfig
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import Result

    Run = Callable[..., Result]


@pytest.fixture
def library(work: Path) -> Path:
    """A part of the standard library with some thousand files, an executable and an empty file among them."""
    target = work / "lib"
    source = Path(sysconfig.get_path("stdlib"))
    skipped = shutil.ignore_patterns("site-packages", "__pycache__", "dist-packages", "config-*", "lib-dynload", "idle_test")
    shutil.copytree(source, target, symlinks=False, ignore=skipped)
    (target / "run-me.sh").write_text("#!/bin/sh\necho hello\n")
    (target / "run-me.sh").chmod(0o755)
    (target / "empty.txt").write_bytes(b"")
    (target / "name with spaces, ü and 动物.txt").write_text("x")
    assert sum(len(files) for _, _, files in os.walk(target)) > 500
    return target


def test_the_standard_library_comes_back_as_it_was(run: Run, library: Path, work: Path) -> None:
    logged = run("log", library, "-n", "stdlib", "-t", "dataset", "--json").ok().json
    assert logged["file_count"] == sum(len(files) for _, _, files in os.walk(library))
    first = run("download", "stdlib", "-o", "out", "--json").ok().json
    assert first["written"] == logged["file_count"]
    assert subprocess.run(["diff", "-r", library, work / "out"], check=False, capture_output=True).stdout == b""
    assert os.access(work / "out" / "run-me.sh", os.X_OK)
    assert not os.access(work / "out" / "empty.txt", os.X_OK) or os.stat(work / "out" / "empty.txt").st_mode & 0o111 == 0

    times = {path: path.stat().st_mtime_ns for path in (work / "out").rglob("*")}
    second = run("download", "stdlib", "-o", "out", "--json").ok().json
    assert (second["written"], second["skipped"]) == (0, logged["file_count"])
    assert {path: path.stat().st_mtime_ns for path in (work / "out").rglob("*")} == times

    again = run("log", library, "-n", "stdlib", "-t", "dataset", "--json").ok().json
    assert again["created"] is False
    assert again["ref"] == logged["ref"]
    assert run("verify", "stdlib", "out").code == 0
    assert run("verify").code == 0


def test_checkout_makes_the_directory_exactly_the_version(run: Run, library: Path, work: Path) -> None:
    run("log", library / "json", "-n", "lib", "-t", "code").ok()
    run("log", library / "email", "-n", "lib").ok()
    run("checkout", "lib:v0", "tree").ok()
    switched = run("checkout", "lib:v1", "tree", "--json").ok().json
    assert switched["removed"] > 0
    assert subprocess.run(["diff", "-r", library / "email", work / "tree"], check=False, capture_output=True).stdout == b""
    (work / "tree" / "mine.txt").write_text("not stored anywhere")
    refused = run("checkout", "lib:v0", "tree")
    assert refused.code == 5
    assert "mine.txt" in refused.stderr
    assert (work / "tree" / "mine.txt").read_text() == "not stored anywhere"
    assert subprocess.run(["diff", "-r", library / "email", work / "tree"], check=False, capture_output=True).returncode == 1
    run("checkout", "lib:v0", "tree", "--force").ok()
    assert subprocess.run(["diff", "-r", library / "json", work / "tree"], check=False, capture_output=True).stdout == b""


def test_a_moved_or_copied_root_works(run: Run, library: Path, work: Path, root: Path) -> None:
    run("log", library / "json", "-n", "lib", "-t", "code").ok()
    run("link", "lib", "model/lib").ok()
    copied = work / "elsewhere"
    shutil.copytree(root, copied)
    shutil.rmtree(root)
    assert run("--root", copied, "resolve", "model/lib").ok().stdout == "model/lib:v0\n"
    assert run("--root", copied, "verify").code == 0
    run("--root", copied, "download", "model/lib", "-o", "out").ok()
    assert subprocess.run(["diff", "-r", library / "json", work / "out"], check=False, capture_output=True).stdout == b""
