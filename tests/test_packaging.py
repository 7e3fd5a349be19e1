"""The wheel and the source archive: complete, reproducible, and running where nothing else of the repository is."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest

from regcli import __version__

REPOSITORY = Path(__file__).parent.parent


def _build(target: Path, kind: str) -> Path:
    environment = {**os.environ, "SOURCE_DATE_EPOCH": "1700000000"}
    command = [sys.executable, "-m", "hatchling", "build", "-t", kind, "-d", str(target)]
    subprocess.run(command, cwd=REPOSITORY, env=environment, check=True, capture_output=True)
    (built,) = target.iterdir()
    return built


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _build(tmp_path_factory.mktemp("wheel"), "wheel")


def test_the_wheel_has_all_that_belongs_to_it(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    sources = {str(path.relative_to(REPOSITORY)) for path in (REPOSITORY / "regcli").rglob("*.py")}
    assert sources <= names
    data = f"regcli-{__version__}.data/data/share"
    assert {
        "regcli/py.typed",
        "regcli/store/FORMAT.md",
        f"{data}/man/man1/regcli.1",
        f"{data}/bash-completion/completions/regcli",
        f"{data}/zsh/site-functions/_regcli",
        f"{data}/fish/vendor_completions.d/regcli.fish",
        f"regcli-{__version__}.dist-info/licenses/LICENSE",
    } <= names
    topics = {f"regcli/docs/{path.name}" for path in (REPOSITORY / "regcli" / "docs").glob("*.md")}
    assert topics <= names
    assert not any("test" in name.split("/")[0] or "__pycache__" in name for name in names)


def test_the_wheel_is_reproducible(wheel: Path, tmp_path: Path) -> None:
    assert _build(tmp_path, "wheel").read_bytes() == wheel.read_bytes()


def test_the_source_archive_can_build_and_test(tmp_path: Path) -> None:
    with tarfile.open(_build(tmp_path, "sdist")) as tar:
        names = {name.partition("/")[2] for name in tar.getnames()}
    assert {"pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md", "completions/_regcli", "tests/conftest.py"} <= names
    assert {str(path.relative_to(REPOSITORY)) for path in (REPOSITORY / "regcli").rglob("*.py")} <= names


def test_the_installed_wheel_runs_without_the_repository(wheel: Path, tmp_path: Path) -> None:
    target = tmp_path / "installed"
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(target), str(wheel)]
    subprocess.run(command, check=True, capture_output=True)
    home = tmp_path / "home"
    home.mkdir()
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "LANG": "C.UTF-8",
        # The dependencies of this environment, but not the repository: -P keeps the working directory out as well.
        "PYTHONPATH": f"{target}:{sysconfig.get_path('purelib')}",
    }
    (home / "f.txt").write_text("content")

    def run(*arguments: str) -> str:
        command = [sys.executable, "-P", "-S", "-m", "regcli", *arguments]
        return subprocess.run(command, cwd=home, env=environment, check=True, capture_output=True, text=True).stdout

    assert run("--version") == f"regcli {__version__}\n"
    assert run("log", "f.txt", "-n", "a", "-t", "dataset", "-q") == "local/default/a:v0\n"
    assert run("ls", "a").startswith("local/default/a:v0\t")
    assert "complete" in run("completion", "bash")
    assert run("help", "references").strip()
    place = [sys.executable, "-P", "-S", "-c", "import regcli; print(regcli.__file__)"]
    assert str(target) in subprocess.run(place, env=environment, cwd=home, check=True, capture_output=True, text=True).stdout
