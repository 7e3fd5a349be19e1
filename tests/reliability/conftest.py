"""Fixtures of the reliability tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture
def not_done(capsys: pytest.CaptureFixture[str], request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Return a function that says what a test did not do here, and why: seen in every run, also a successful one."""

    def say(what: str) -> None:
        with capsys.disabled():
            print(f"\n{request.node.name}: NOT DONE: {what}")

    return say
