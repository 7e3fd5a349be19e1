"""Changes by the library start automations and are signed where they must be, as those of the command line."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

from regcli import Api, Artifact, CommError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Logged = Callable[..., Artifact]
    Invoke = Callable[..., Any]


def test_a_link_by_the_library_starts_an_automation(logged: Logged, invoke: Invoke, tmp_path: Path) -> None:
    told = tmp_path / "told"
    invoke("init").ok()
    invoke(
        "automation", "add", "tell", "--on", "linked", "--scope", "model", "--command", f"cp /dev/stdin {told}"
    ).ok()  # fmt: skip
    logged().link("wandb-registry-model/Zoo")
    deadline = time.monotonic() + 60
    while not told.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert told.exists()


def test_a_signed_alias_needs_a_key_in_the_library_too(logged: Logged, invoke: Invoke) -> None:
    link = logged().link("wandb-registry-model/Zoo")
    invoke("protect", "model", "production", "--require-signature").ok()
    link.aliases.append("production")
    link.tags = ["x"]
    with pytest.raises(CommError) as caught:
        link.save()
    assert caught.value.exit_code == 5
    assert Api().artifact("data").tags == []
