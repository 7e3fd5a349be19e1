"""The documented error classes, their bases, and that each is also the program's own."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING

import pytest

import regcli
import regcli.errors
from regcli.api.errors import documented
from regcli.errors import RegcliError

if TYPE_CHECKING:
    from collections.abc import Callable


def test_the_bases_are_those_of_the_original() -> None:
    assert issubclass(regcli.ArtifactNotLoggedError, regcli.ArtifactStatusError)
    assert issubclass(regcli.ArtifactFinalizedError, regcli.ArtifactStatusError)
    assert issubclass(regcli.ArtifactStatusError, AttributeError)
    assert issubclass(regcli.CommError, regcli.Error)
    assert issubclass(regcli.WaitTimeoutError, regcli.Error)
    assert issubclass(regcli.Error, RegcliError)


def test_they_are_found_in_the_module_of_errors_too() -> None:
    for name in ("CommError", "Error", "ArtifactNotLoggedError", "WaitTimeoutError"):
        assert getattr(regcli.errors, name) is getattr(regcli, name)
    with pytest.raises(AttributeError):
        regcli.errors.NothingError  # noqa: B018


OWN = [
    kind
    for kind in vars(regcli.errors).values()
    if isinstance(kind, type) and issubclass(kind, RegcliError) and kind is not RegcliError
]


@pytest.mark.parametrize("kind", OWN, ids=[kind.__name__ for kind in OWN])
def test_every_error_of_the_program_is_a_documented_one_too(kind: type[RegcliError]) -> None:
    made = documented(kind("what happened", hint="what to do"))
    assert isinstance(made, kind)
    assert isinstance(made, (ValueError, TypeError, FileNotFoundError, regcli.CommError))
    assert (str(made), made.exit_code, made.kind) == ("what happened", kind.exit_code, kind.kind)
    assert documented(made) is made
    again = pickle.loads(pickle.dumps(made))
    assert (type(again), str(again), again.hint) == (type(made), "what happened", "what to do")


@pytest.mark.parametrize("kind", [regcli.ArtifactNotLoggedError, regcli.ArtifactFinalizedError, regcli.ArtifactStatusError])
def test_errors_of_status_come_back_from_other_processes(kind: type[Exception]) -> None:
    error = kind("Artifact.version")
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again)) == (kind, str(error))


def test_the_hint_is_shown_in_a_traceback() -> None:
    made = documented(regcli.errors.NotFoundError("gone", hint="look there"))
    assert made.__notes__ == ["hint: look there"]


def test_an_error_keeps_its_cause(logged: Callable[..., regcli.Artifact]) -> None:
    logged()
    with pytest.raises(regcli.CommError) as caught:
        regcli.Api().artifact("data:nope")
    assert type(caught.value.__cause__) is regcli.errors.NotFoundError
    assert caught.value.exit_code == 3


def test_a_tag_that_is_too_long_is_called_so() -> None:
    from regcli.domain.names import parse_tags

    with pytest.raises(ValueError, match="longer than 128 characters"):
        regcli.api.errors.translated(parse_tags)("x" * 129)


def test_empty_metadata_may_be_an_empty_text() -> None:
    assert regcli.Artifact("data", "dataset", metadata="").metadata == {}
