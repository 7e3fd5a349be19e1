"""Fixtures of the library's tests: the library in this process, on a fresh root, as a user of it would have it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

import regcli

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture(autouse=True)
def library(home: Path, work: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Work in an empty directory, with an empty home, on a root that does not exist yet."""
    for name in list(os.environ):
        if name.startswith(("REGCLI_", "XDG_", "WANDB_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("REGCLI_ROOT", str(root))
    monkeypatch.chdir(work)
    regcli.teardown()
    yield
    regcli.teardown()


@pytest.fixture
def draft(work: Path) -> Callable[..., regcli.Artifact]:
    """Return a function that makes a draft with files of the given contents."""

    def make(
        name: str = "data",
        files: dict[str, str] | None = None,
        type: str = "dataset",  # noqa: A002 - as the class calls it
        **options: object,
    ) -> regcli.Artifact:
        artifact = regcli.Artifact(name, type, **options)  # type: ignore[arg-type]
        for path, text in ({"file1.txt": "hello"} if files is None else files).items():
            with artifact.new_file(path) as stream:
                stream.write(text)
        return artifact

    return make


@pytest.fixture
def logged(draft: Callable[..., regcli.Artifact]) -> Callable[..., regcli.Artifact]:
    """Return a function that makes such an artifact and logs it, without a run of its own."""

    def make(name: str = "data", files: dict[str, str] | None = None, **options: object) -> regcli.Artifact:
        artifact = draft(name, files, **options)
        artifact.save()
        return artifact

    return make
