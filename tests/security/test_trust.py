"""What a reader is told about the keys that are believed: in time, and why one is not."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from tests.security.conftest import ALICE

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import Result
    from tests.security.conftest import Place

    Run = Callable[..., Result]

REF = "model/zoo:production"


@pytest.mark.parametrize(
    "time", ["20301332", "20300230", "2030", "203001012460", "\u0662\u0660\u0662\u06660101", "20300101z", ""]
)
def test_a_time_that_no_calendar_has_is_refused_before_it_is_listed(place: Place, regcli: Run, time: str) -> None:
    before = (place.home / ".config/regcli/allowed_signers").read_bytes()
    done = regcli("trust", "add", ALICE, f"{place.alice}.pub", "--valid-before", time)
    assert done.code == 2
    assert "is not a time" in done.stderr
    assert (place.home / ".config/regcli/allowed_signers").read_bytes() == before


def test_a_span_that_is_over_before_it_begins_is_refused(place: Place, regcli: Run) -> None:
    key = f"{place.alice}.pub"
    assert regcli("trust", "add", ALICE, key, "--valid-after", "20300101", "--valid-before", "20200101").code == 2
    regcli("resolve", REF).ok()


def test_a_span_may_begin_and_end_on_one_day(place: Place, regcli: Run) -> None:
    key = f"{place.alice}.pub"
    regcli("trust", "add", ALICE, key, "--valid-after", "20300101Z", "--valid-before", "203001011200Z").ok()
    assert regcli("trust", "add", ALICE, key, "--valid-after", "203001011200", "--valid-before", "20300101120000Z").code == 2


def test_the_list_shows_how_long_a_key_is_believed(place: Place, regcli: Run) -> None:
    regcli("trust", "add", ALICE, f"{place.alice}.pub", "--valid-after", "20200101", "--valid-before", "209901012359Z").ok()
    assert 'valid-after="20200101", valid-before="209901012359Z"' in regcli("trust", "ls").ok().stdout
    regcli("resolve", REF).ok()


@pytest.mark.parametrize("what", ["the key", "no list"])
def test_a_revoked_key_is_called_revoked(place: Place, regcli: Run, what: str) -> None:
    revoked = place.home / ".config/regcli/revoked_keys"
    if what == "the key":
        shutil.copy(f"{place.alice}.pub", revoked)
    else:
        revoked.write_text("nothing that is a key")
    done = regcli("resolve", REF)
    assert done.code == 5
    assert f"revoked by {revoked}" in done.stderr


def test_verify_says_that_it_cannot_check_signatures(place: Place, regcli: Run) -> None:
    regcli("trust", "rm", ALICE).ok()
    done = regcli("verify").ok()
    assert "signatures of aliases were not checked" in done.stderr


@pytest.mark.parametrize("which", ["signers", "seen"])
def test_verify_reports_other_damage_though_lists_cannot_be_used(place: Place, regcli: Run, which: str) -> None:
    regcli("resolve", REF).ok()
    if which == "signers":
        (place.home / ".config/regcli/allowed_signers").chmod(0o666)
    else:
        for path in (place.home / ".local/state/regcli/seen").glob("*.json"):
            path.write_text("{")
    for pack in (place.root / "packs").glob("*.pack"):
        pack.unlink()
    done = regcli("verify", "--json")
    assert done.code == 1, done
    kinds = {problem["kind"] for problem in done.json["problems"]}
    assert {"history", "missing"} <= kinds, done.json["problems"]


def test_where_nothing_can_be_checked_the_signature_is_not_blamed(place: Place) -> None:
    for path in (place.home / ".local/state/regcli/seen").glob("*.json"):
        path.unlink()
    (place.path / "no-programs").mkdir()
    done = place.run("resolve", REF, environment={"PATH": str(place.path / "no-programs")})
    assert done.code == 5
    assert "no signature can be checked: ssh-keygen cannot be run" in done.stderr
    assert "is not valid" not in done.stderr


def test_a_key_that_only_an_agent_could_have_is_named(place: Place) -> None:
    words = (place.path / "alice.pub").read_text()
    settings = place.path / "gitconfig"
    settings.write_text(f"[gpg]\n\tformat = ssh\n[user]\n\tsigningkey = key::{words}")
    environment = {"GIT_CONFIG_GLOBAL": str(settings), "SSH_AUTH_SOCK": str(place.path / "no-agent")}
    done = place.run("alias", "add", "model/zoo:v1", "production", environment=environment)
    assert done.code == 5
    assert "cannot sign with the key SHA256:" in done.stderr
    assert "regcli-" not in done.stderr
