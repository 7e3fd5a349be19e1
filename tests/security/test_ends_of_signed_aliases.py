"""Whatever would take a signed alias away, or the name that it was signed under, asks for it to be cleared first, with a key.

None of these commands takes a key itself, so that each of them would clear the alias for whoever may run it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.security.forgery import rewrite

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from typing import Any

    from tests.conftest import Result
    from tests.security.conftest import Place

    Run = Callable[..., Result]

REF = "model/zoo:production"
CLEAR = "regcli alias rm 'model/zoo' 'production'"


def clear(place: Place, regcli: Run, collection: str = "model/zoo") -> None:
    regcli("alias", "rm", collection, "production", "--sign-key", place.alice).ok()


@pytest.mark.parametrize(
    "command",
    [
        ("collection", "rm", "model/zoo", "-y"),
        ("collection", "edit", "model/zoo", "--rename", "animals"),
        ("protect", "--rm", "model", "production"),
        ("protect", "--rm", "model", "staging", "production"),
    ],
    ids=" ".join,
)
def test_a_signed_alias_is_cleared_first(place: Place, regcli: Run, command: tuple[str, ...]) -> None:
    done = regcli(*command, "--json")
    assert done.code == 5
    assert done.error["kind"] == "signature"
    assert CLEAR in done.error["hint"]
    assert regcli("resolve", REF).ok().lines == ["model/zoo:v0"]
    assert "production" in regcli("protect", "--ls", "model", "--json").ok().json["signed"]
    clear(place, regcli)
    regcli(*command).ok()


@pytest.mark.parametrize("command", [("unlink", REF), ("alias", "rm", "model/zoo", "production")], ids=" ".join)
def test_what_takes_a_key_asks_for_it(place: Place, regcli: Run, command: tuple[str, ...]) -> None:
    assert regcli(*command).code == 5
    assert regcli(*command, "--sign-key", place.mallory).code == 5
    assert regcli("resolve", REF).ok().lines == ["model/zoo:v0"]
    regcli(*command, "--sign-key", place.alice).ok()


@pytest.mark.parametrize(
    "command",
    [
        ("delete", "zoo:v0", "--force", "--delete-aliases"),
        ("collection", "rm", "zoo", "-y", "--force", "--delete-aliases"),
        ("gc", "model/zoo", "--keep-last", "1", "--grace", "0"),
        ("alias", "add", "zoo:v1", "production"),
        ("registry", "edit", "model", "--type", "model", "--description", "other"),
        ("collection", "edit", "model/zoo", "--rename", "ZOO"),
    ],
    ids=" ".join,
)
def test_no_other_command_takes_it_away(place: Place, regcli: Run, command: tuple[str, ...]) -> None:
    regcli(*command)
    assert regcli("resolve", "model/zoo:production", "--json").ok().json["version"] == "v0"


@pytest.mark.parametrize(
    "command", [("registry", "rm", "gold", "-y"), ("registry", "edit", "gold", "--rename", "silver")], ids=" ".join
)
def test_a_registry_with_a_signed_alias_stays(place: Place, regcli: Run, command: tuple[str, ...]) -> None:
    regcli("registry", "create", "gold").ok()
    regcli("protect", "gold", "production", "--require-signature").ok()
    regcli("link", "zoo:v0", "gold/zoo", "-a", "production", "--sign-key", place.alice).ok()
    done = regcli(*command)
    assert done.code == 5
    assert "'gold/zoo:v0' holds the signed alias 'production'" in done.stderr
    assert regcli("resolve", "gold/zoo:production").ok().lines == ["gold/zoo:v0"]
    # Only the case: what was signed is still its name.
    regcli("registry", "edit", "gold", "--rename", "Gold").ok()
    assert regcli("resolve", "gold/zoo:production").ok().lines == ["Gold/zoo:v0"]
    clear(place, regcli, "gold/zoo")
    regcli(*command).ok()


@pytest.mark.parametrize("edit", ["unprotected", "unsigned"])
def test_a_settings_file_cannot_drop_the_signature(place: Place, regcli: Run, edit: str) -> None:
    text = (place.root / "registries/model/registry.toml").read_text()
    if edit == "unprotected":
        text = text.replace('    "production",\n', "")
    else:
        head, _, tail = text.partition("signed_aliases = [")
        text = head + tail.partition("]\n")[2]
    (place.work / "model.toml").write_text(text)
    for option in ((), ("--dry-run",)):
        done = regcli("registry", "apply", "model.toml", *option)
        assert done.code == 5
        assert CLEAR in done.stderr
    clear(place, regcli)
    regcli("registry", "apply", "model.toml").ok()


def test_what_was_demanded_but_never_signed_can_be_dropped(place: Place, regcli: Run) -> None:
    """Whoever has demanded a signature of an alias that is there already, and has no key, can go back."""
    regcli("alias", "add", "model/zoo:v1", "candidate").ok()
    regcli("protect", "model", "candidate", "--require-signature").ok()
    assert regcli("resolve", "model/zoo:candidate").code == 5
    regcli("protect", "--rm", "model", "candidate").ok()
    assert regcli("resolve", "model/zoo:candidate").ok().lines == ["model/zoo:v1"]


def test_the_library_asks_as_the_commands_do(place: Place, regcli: Run) -> None:
    script = (
        "import regcli\n"
        "collection = regcli.Api().artifact_collection('model', 'model/zoo')\n"
        "for change in (collection.delete, lambda: (setattr(collection, 'name', 'other'), collection.save())):\n"
        "    try:\n"
        "        change()\n"
        "    except regcli.CommError as error:\n"
        "        print(error)\n"
    )
    done = place.ask(script).ok()
    assert done.stdout.count("holds the signed alias 'production'") == 2
    assert regcli("resolve", REF).ok().lines == ["model/zoo:v0"]


def test_an_import_leaves_what_holds_a_signed_alias_linked(place: Place, regcli: Run, tmp_path: Path) -> None:
    """The root that a bundle comes from may have withdrawn the link; here that takes a key."""
    regcli("log", place.work, "-n", "bears", "-t", "model").ok()
    regcli("link", "bears", "model/bears").ok()
    regcli("export", "model/bears", "-o", "one.tar").ok()
    regcli("unlink", "model/bears:v0").ok()
    regcli("export", "model/bears", "-o", "two.tar").ok()
    other = {"REGCLI_ROOT": str(tmp_path / "other")}
    place.run("import", "one.tar", environment=other).ok()
    place.run("protect", "model", "production", "--require-signature", environment=other).ok()
    place.run("alias", "add", "model/bears:v0", "production", "--sign-key", place.alice, environment=other).ok()
    done = place.run("import", "two.tar", environment=other).ok()
    assert "holds the signed alias 'production' and was left linked" in done.stderr
    assert place.run("resolve", "model/bears:production", environment=other).ok().lines == ["model/bears:v0"]


def test_a_collection_that_only_an_attacker_could_remove_is_missed(place: Place, regcli: Run) -> None:
    regcli("resolve", REF).ok()

    def change(commits: list[dict[str, Any]]) -> None:
        commits.append({**commits[-1], "txn": "e" * 32, "ops": [{"op": "remove", "version": None}]})

    rewrite(place.log, change)
    regcli("link", "zoo:v1", "model/zoo").ok()
    assert regcli("resolve", REF).code == 5
