"""A root with a signed alias, its signer and its reader; made once, copied for every test."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.conftest import Result, clean_environment
from tests.security.forgery import twins

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

GOOD, EVIL = twins()
ALICE = "alice@example.org"


def make_key(path: Path, comment: str = "") -> Path:
    """Make an SSH key without passphrase."""
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", str(path)], check=True)
    return path


class Place:
    """A root with its signer's key, the reader's home directory, and the program run in it.

    Attributes:
        root: `model/zoo:production` is `v0` (the file `model.bin` is GOOD), signed by alice; `v1` has other content.
        home: of a reader who trusts alice. alice, mallory: private keys.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.root = path / "root"
        self.home = path / "home"
        self.alice = path / "alice"
        self.mallory = path / "mallory"
        self.work = path / "work"
        self.log = self.root / "registries/model/collections/zoo/log"
        self.settings = self.root / "registries/model/settings"

    def run(self, *arguments: str | Path, home: Path | None = None, environment: Mapping[str, str] | None = None) -> Result:
        """Run the program in a process of its own."""
        return self._start("-m", "regcli", *map(str, arguments), home=home, environment=environment)

    def ask(self, script: str) -> Result:
        """Run a Python script that uses the library."""
        return self._start("-c", script)

    def _start(self, *words: str, home: Path | None = None, environment: Mapping[str, str] | None = None) -> Result:
        done = subprocess.run(
            [sys.executable, *words],
            cwd=self.work,
            env={**clean_environment(home or self.home, self.root), **(environment or {})},
            capture_output=True,
            encoding="utf-8",
            stdin=subprocess.DEVNULL,
            timeout=120,
            check=False,
        )
        return Result(done.returncode, done.stdout, done.stderr)

    def save(self, name: str) -> Path:
        """Keep a copy of the root."""
        return shutil.copytree(self.root, self.path / name)

    def restore(self, copy: Path) -> None:
        """Put a copy of the root in its place."""
        shutil.rmtree(self.root)
        shutil.copytree(copy, self.root)

    def fresh_home(self, name: str = "fresh") -> Path:
        """Return the home of another reader, who trusts alice and has seen nothing."""
        home = self.path / name
        home.mkdir()
        self.run("trust", "add", ALICE, f"{self.alice}.pub", home=home).ok()
        return home


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """Make the place once."""
    place = Place(tmp_path_factory.mktemp("signed"))
    place.home.mkdir()
    place.work.mkdir()
    make_key(place.alice, "alice")
    make_key(place.mallory, "mallory")
    (place.path / "model.bin").write_bytes(GOOD)
    place.run("log", place.path / "model.bin", "-n", "zoo", "-t", "model").ok()
    (place.path / "model.bin").write_bytes(b"the attacker's model")
    place.run("log", place.path / "model.bin", "-n", "zoo").ok()
    place.run("link", "zoo:v0", "model/zoo").ok()
    place.run("link", "zoo:v1", "model/zoo").ok()
    place.run("protect", "model", "production", "staging", "--require-signature").ok()
    place.run("trust", "add", ALICE, f"{place.alice}.pub").ok()
    place.run("alias", "add", "model/zoo:v0", "production", "--sign-key", place.alice).ok()
    return place


@pytest.fixture
def place(template: Place, tmp_path: Path, home: Path, work: Path) -> Place:
    """Return a place of this test's own, with what its reader has seen."""
    for name in ("root", "home", "work"):
        shutil.copytree(template.path / name, tmp_path / name, dirs_exist_ok=True)
    for name in ("alice", "mallory"):
        for path in (name, f"{name}.pub"):
            shutil.copy(template.path / path, tmp_path / path)
            os.chmod(tmp_path / path, 0o600)
    return Place(tmp_path)


@pytest.fixture
def regcli(place: Place, invoke: Callable[..., Result]) -> Callable[..., Result]:
    """Return a function that runs the program in this process, in the place: `invoke` has the same directories."""
    del place
    return invoke
