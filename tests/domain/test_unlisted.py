"""A directory that cannot be listed is one problem among others: `verify` goes on, and touches nothing."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.conftest import Result

    Invoke = Callable[..., Result]

LOCAL = "projects/local/default"
DIRECTORIES = (
    "projects", "projects/local", f"{LOCAL}/collections", f"{LOCAL}/collections/zoo/log", f"{LOCAL}/runs",
    f"{LOCAL}/runs/train/log", "registries", "registries/model/collections", "registries/model/collections/zoo/log",
    "registries/team/settings", "blobs", "backrefs",
)  # fmt: skip


@pytest.mark.parametrize("directory", DIRECTORIES)
def test_verify_goes_on_behind_a_link_in_the_place_of_a_directory(
    invoke: Invoke, root: Path, work: Path, tmp_path: Path, directory: str
) -> None:
    (work / "large").write_bytes(b"x" * (2 << 20))
    invoke("log", "large", "-n", "zoo", "-t", "model", "--run", "train", "--link", "model/zoo").ok()
    invoke("registry", "create", "team").ok()
    (root / "stranger").write_text("damage of another kind")
    (root / directory).rename(tmp_path / "elsewhere")
    (root / directory).symlink_to(tmp_path / "elsewhere")
    before = sorted(root.rglob("*"))

    done = invoke("verify", "--json")

    assert done.code == 1, done
    found = [(problem["kind"], problem["message"]) for problem in done.json["problems"]]
    assert any(str(root / directory) in words for _, words in found), found
    assert any(kind == "extra" for kind, _ in found), found
    assert sorted(root.rglob("*")) == before
    # Mending cannot put it right, but ends no sooner for it.
    again = invoke("verify", "--repair", "--json")
    assert again.code == 1, again
    assert sorted(root.rglob("*")) == before
    (root / directory).unlink()
    shutil.move(tmp_path / "elsewhere", root / directory)
    (root / "stranger").unlink()
    invoke("verify").ok()
