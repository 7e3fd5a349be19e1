"""Locks and git hooks: what was pinned by a signed alias is held to the signature, whatever the root says by then."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.conftest import clean_environment
from tests.security.forgery import read_log, rewrite, write_log
from tests.security.test_signed_aliases import (
    REF,
    canonical,
    drop_the_requirement,
    forged,
    give_the_name_to_a_registry_of_another_name,
    move,
    record_of,
    sign_by,
    swapped,
    take_the_protection_off,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from tests.conftest import Result
    from tests.security.conftest import Place

    Run = Callable[..., Result]


def git(place: Place, *arguments: str) -> None:
    subprocess.run(
        ["git", *arguments], cwd=place.work, env=clean_environment(place.home, place.root), check=True, capture_output=True
    )  # fmt: skip


def pin_another_version(place: Place, regcli: Run) -> None:
    """Make the lock name v1, which nobody ever signed."""
    lock = place.work / "regcli.lock"
    old, new = (regcli("show", f"model/zoo:{name}", "--json").ok().json["digest"] for name in ("v0", "v1"))
    lock.write_text(lock.read_text().replace('"v0"', '"v1"').replace(old, new))


@pytest.fixture
def locked(place: Place, regcli: Run) -> Place:
    """Return a place whose working directory is a repository, with a lock of the signed alias in the index."""
    regcli("lock", REF, "-o", "out").ok()
    git(place, "init", "-q", "-b", "main")
    git(place, "add", "regcli.lock")
    return place


@pytest.mark.parametrize("hook", ["pre-commit", "verify"])
def test_a_hook_passes_what_was_signed(locked: Place, regcli: Run, hook: str) -> None:
    assert locked.run("hook", "run", hook).ok().stdout == ""
    # A lock keeps on purpose what the alias meant once.
    regcli("alias", "add", "model/zoo:v1", "production", "--sign-key", locked.alice).ok()
    locked.run("hook", "run", hook).ok()


@pytest.mark.parametrize("hook", ["pre-commit", "verify"])
def test_a_hook_refuses_what_was_never_signed(locked: Place, regcli: Run, hook: str) -> None:
    pin_another_version(locked, regcli)
    git(locked, "add", "regcli.lock")
    done = locked.run("hook", "run", hook, "--json")
    assert done.code == 1
    [problem] = done.json["problems"]
    assert problem["reference"] == REF
    assert "no signed statement sets it to model/zoo:v1" in problem["message"]


@pytest.mark.parametrize("hook", ["pre-commit", "verify"])
def test_a_hook_reads_the_bytes_that_were_signed(locked: Place, hook: str) -> None:
    swapped(locked)
    done = locked.run("hook", "run", hook)
    assert done.code == 1
    assert "regcli.lock: " in done.stdout
    assert "BLAKE3" in done.stdout


def test_a_hook_that_syncs_refuses_too(locked: Place, regcli: Run) -> None:
    pin_another_version(locked, regcli)
    assert locked.run("hook", "run", "post-merge").code == 5
    assert not (locked.work / "out").exists()


def test_a_lock_says_that_its_alias_was_signed(place: Place, regcli: Run) -> None:
    pins = regcli("lock", REF, "model/zoo:v1", "--json").ok().json["pins"]
    assert [pin["signed"] for pin in pins] == [True, False]
    assert (place.work / "regcli.lock").read_text().count("signed = true") == 1
    assert "signed = false" not in (place.work / "regcli.lock").read_text()


def test_a_pin_with_a_digest_says_so_too(place: Place, regcli: Run) -> None:
    digest = regcli("resolve", REF, "--digest").ok().stdout.strip()
    [pin] = regcli("lock", f"{REF}@xxh128:{digest[:12]}", "--json").ok().json["pins"]
    assert pin["signed"]
    regcli("sync").ok()


@pytest.mark.parametrize("value", ['"true"', "1", "[]"])
def test_signed_is_true_or_false(place: Place, regcli: Run, value: str) -> None:
    regcli("lock", REF, "-o", "out").ok()
    lock = place.work / "regcli.lock"
    lock.write_text(lock.read_text().replace("signed = true", f"signed = {value}"))
    assert regcli("sync").code == 2


@pytest.mark.parametrize("forgery", [drop_the_requirement, take_the_protection_off], ids=lambda forgery: forgery.__name__)
def test_whoever_sees_the_root_first_is_told_by_the_lock(locked: Place, regcli: Run, forgery: Callable[[Place], None]) -> None:
    """A runner of CI that has seen nothing of the root: its settings do not demand a signature any more."""
    pin_another_version(locked, regcli)
    git(locked, "add", "regcli.lock")
    forgery(locked)
    home = locked.fresh_home()
    # Without the lock's word the root would be believed.
    assert locked.run("resolve", REF, home=home).ok().lines == ["model/zoo:v1"]
    for command in (("sync",), ("sync", "--frozen"), ("lock", "--update"), ("lock", REF), ("hook", "run", "post-merge")):
        done = locked.run(*command, home=home)
        assert done.code == 5, command
        assert not (locked.work / "out").exists()
    for command in (("lock", "--check"), ("hook", "run", "pre-commit")):
        assert locked.run(*command, home=home).code == 1, command
    done = locked.run("lock", "--update", "--allow-unsigned", home=home).ok()
    assert "taken without a valid signature" in done.stderr
    assert "signed" not in (locked.work / "regcli.lock").read_text()
    locked.run("sync", home=home).ok()


def test_sync_frozen_says_that_the_alias_was_forged(locked: Place, regcli: Run) -> None:
    move(locked, None)
    done = regcli("sync", "--frozen")
    assert done.code == 5
    assert "not what was signed" in done.stderr
    assert not (locked.work / "out").exists()
    assert regcli("lock", "--check").code == 1


def test_a_name_that_leads_to_a_registry_of_another_name_is_not_locked(place: Place, regcli: Run) -> None:
    """The lock writes the name that the registry has, where nobody has ever seen anything signed."""
    give_the_name_to_a_registry_of_another_name(place)
    first: dict[str, Any] = read_log(place.settings)[0]
    redirect = {**first, "place": "registries/innocent", "ops": [{"op": "redirect", "to": "models", "id": "c" * 32}]}
    (place.root / "registries/innocent/settings").mkdir(parents=True)
    write_log(place.root / "registries/innocent/settings", [redirect])
    home = place.fresh_home()
    assert place.run("resolve", "innocent/zoo:production", home=home).ok().lines == ["innocent/zoo:v1"]
    for command in (("lock", REF), ("resolve", REF), ("resolve", "innocent/zoo:production")):
        done = regcli(*command)
        assert done.code == 5, command
    assert not (place.work / "regcli.lock").exists()
    script = "import regcli\nprint(regcli.Api().registry('model').versions(filter={'alias': 'production'})[0].version)\n"
    asked = place.ask(script)
    assert "must be signed" in asked.stderr
    assert asked.stdout == ""


# What a signer is led to sign


@pytest.mark.parametrize("alias", ["staging", "production"])
def test_a_forged_alias_does_not_say_what_is_signed_next(place: Place, regcli: Run, alias: str) -> None:
    """Promoting what is in production signs the attacker's version, where nobody looks who put the alias there."""
    move(place, None)
    before = read_log(place.log)
    assert regcli("alias", "add", REF, alias, "--sign-key", place.alice).code == 5
    assert read_log(place.log) == before
    regcli("alias", "add", "model/zoo:v0", "production", "--sign-key", place.alice).ok()
    assert regcli("alias", "add", REF, "staging", "--sign-key", place.alice).ok().lines == ["model/zoo:v0\tproduction, staging"]


def test_only_a_signer_s_own_statement_asks_to_be_renewed(place: Place, regcli: Run) -> None:
    """An attacker's statement that looks expired must not come with the advice to sign it again."""
    move(place, forged(place, place.mallory, issued="2020-01-01T00:00:00.000000Z", expires="2020-02-01T00:00:00.000000Z"))
    done = regcli("resolve", REF)
    assert done.code == 5
    assert "is not valid" in done.stderr
    assert "alias add" not in done.stderr


@pytest.mark.parametrize(
    "command",
    [
        ("alias", "add", REF, "staging"),
        ("alias", "add", "model/zoo:v0", "staging"),
        ("alias", "add", "model/zoo:v0", "production", "--expires", "90d"),
        ("link", REF, "model/other", "-a", "production"),
    ],
    ids=" ".join,
)
def test_swapped_bytes_are_not_signed_again(place: Place, regcli: Run, command: tuple[str, ...]) -> None:
    """A new signature over what lies in the store would make the attacker's bytes the signer's."""
    swapped(place)
    done = regcli(*command, "--sign-key", place.alice)
    assert done.code == 5
    assert "BLAKE3 differs" in done.stderr
    assert len([op for commit in read_log(place.log) for op in commit["ops"] if "signature" in op]) == 1
    assert not (place.log.parent.parent / "other").exists()


def test_a_statement_of_nobody_does_not_keep_a_signer_from_signing(place: Place, regcli: Run) -> None:
    """Whoever may write to the root could put one there about any version."""
    signature = forged(place, place.mallory)
    statement = json.loads(signature["statement"])
    text = canonical({**statement, "files": {**statement["files"], "blake3": "0" * 64}})
    move(place, {"statement": text, "signature": sign_by(place.mallory, text)})
    regcli("alias", "add", "model/zoo:v1", "staging", "--sign-key", place.alice).ok()


def test_swapped_bytes_are_not_exported(place: Place, regcli: Run) -> None:
    swapped(place)
    assert regcli("export", REF, "-o", "bundle.tar").code == 5
    assert not (place.work / "bundle.tar").exists()


def test_the_link_that_a_signed_version_was_given_is_held_to_it(place: Place) -> None:
    swapped(place)
    script = "import regcli\nregcli.Api().artifact('model/zoo:production').link('model/other').download('out')\n"
    done = place.ask(script)
    assert "not what was signed" in done.stderr
    assert not (place.work / "out/model.bin").exists()


def test_a_link_that_was_altered_is_not_taken_for_its_source(place: Place, regcli: Run) -> None:
    """The version comes from a signed alias; the link of it that is there already says something else of its content."""
    regcli("link", "zoo:v0", "model/other").ok()
    log = place.log.parent.parent / "other/log"
    evil = record_of(place, 1)

    def change(commits: list[dict[str, Any]]) -> None:
        for commit in commits:
            for op in commit["ops"]:
                if op["op"] == "link":
                    op["record"].update({key: evil[key] for key in ("manifest", "manifest_sha256", "digest", "size")})

    rewrite(log, change)
    done = regcli("link", REF, "model/other", "-a", "production", "--sign-key", place.alice)
    assert done.code == 6
    assert "different content" in done.stderr


def test_what_was_seen_under_a_former_name_can_be_forgotten(place: Place, regcli: Run) -> None:
    """Another registry got the name, and another name after that: who writes the old one still gets there."""
    regcli("registry", "create", "gold").ok()
    regcli("protect", "gold", "production", "--require-signature").ok()
    regcli("link", "zoo:v0", "gold/zoo", "-a", "production", "--sign-key", place.alice).ok()
    regcli("alias", "rm", "gold/zoo", "production", "--sign-key", place.alice).ok()
    regcli("registry", "rm", "gold", "-y").ok()
    regcli("registry", "create", "silver").ok()
    regcli("registry", "edit", "silver", "--rename", "gold").ok()
    regcli("registry", "edit", "gold", "--rename", "bronze").ok()
    regcli("link", "zoo:v1", "bronze/zoo", "-a", "production").ok()
    assert regcli("resolve", "bronze/zoo:production").code == 5
    assert regcli("trust", "forget", "bronze").ok().lines == ["production"]
    assert regcli("resolve", "bronze/zoo:production").ok().lines == ["bronze/zoo:v0"]
    assert regcli("resolve", REF).ok().lines == ["model/zoo:v0"]
