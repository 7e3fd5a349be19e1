"""An attacker who may write to the whole root is refused whatever is tried; the honest control beside it succeeds.

The reader's trust lies in the reader's own home, which the attacker cannot reach.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from regcli.__main__ import main
from regcli.domain.trust import seen_name
from regcli.store.root import seal_marker
from tests.conftest import clean_environment
from tests.security.conftest import ALICE, EVIL, GOOD, make_key
from tests.security.forgery import append, forget_head, read_log, rewrite, seal_head, swap_bytes, write_log

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.conftest import Result
    from tests.security.conftest import Place

    Run = Callable[..., Result]
    Forgery = Callable[[Place], None]

REF = "model/zoo:production"
READERS = (
    ("resolve", REF),
    ("resolve", REF, "--digest"),
    ("resolve", REF, "--json"),
    ("show", REF),
    ("files", REF),
    ("cat", REF, "model.bin"),
    ("download", REF, "-o", "out"),
    ("checkout", REF, "out"),
    ("verify", REF),
    ("lock", REF),
)


def alias_commits(place: Place) -> list[dict[str, Any]]:
    """Return the commits of the collection that have a signature."""
    return [commit for commit in read_log(place.log) if any("signature" in op for op in commit["ops"])]


def signature_of(place: Place) -> dict[str, str]:
    """Return the newest statement and signature."""
    return next(op["signature"] for op in alias_commits(place)[-1]["ops"] if "signature" in op)


def sign_by(key: Path, text: str, namespace: str = "regcli-alias-v1") -> str:
    done = subprocess.run(
        ["ssh-keygen", "-q", "-Y", "sign", "-n", namespace, "-f", str(key)],
        input=text.encode(),
        capture_output=True,
        check=True,
    )
    return done.stdout.decode()


def canonical(statement: dict[str, Any]) -> str:
    return json.dumps(statement, sort_keys=True, separators=(",", ":"))


def record_of(place: Place, version: int) -> dict[str, Any]:
    for commit in read_log(place.log):
        for op in commit["ops"]:
            if op["op"] == "link" and op["version"] == version:
                return dict(op["record"])
    raise AssertionError(version)


def move(place: Place, signature: dict[str, Any] | None) -> None:
    """Move the alias to the attacker's version by a commit that fits the log."""
    op: dict[str, Any] = {"op": "alias", "alias": "production", "before": 0, "after": 1}
    if signature is not None:
        op["signature"] = signature
    append(place.log, [op], command="alias add", user="alice")


def forged(place: Place, key: Path, *, namespace: str = "regcli-alias-v1", **fields: Any) -> dict[str, str]:
    """Return a statement about v1 that is right in every field, signed by some key."""
    old = signature_of(place)["statement"]
    statement = json.loads(old)
    record = record_of(place, 1)
    source = record["source"]
    statement.update(
        version=1,
        version_id=record["id"],
        source={"place": source["place"], "version": source["version"]},
        digest=record["digest"],
        manifest=record["manifest"],
        manifest_sha256=record["manifest_sha256"],
        counter=statement["counter"] + 1,
        previous=__import__("hashlib").sha256(old.encode()).hexdigest(),
        **fields,
    )
    text = canonical(statement)
    return {"statement": text, "signature": sign_by(key, text, namespace)}


# The forgeries. Each leaves a root whose hashes all fit.


def move_without_signature(place: Place) -> None:
    move(place, None)


def move_with_the_old_signature(place: Place) -> None:
    move(place, signature_of(place))


def move_by_mallory_as_alice(place: Place) -> None:
    move(place, forged(place, place.mallory))


def move_by_mallory_as_mallory(place: Place) -> None:
    move(place, forged(place, place.mallory, signer="mallory"))


def move_by_a_signature_for_git(place: Place) -> None:
    # Alice signed these very bytes, but as a commit of git.
    move(place, forged(place, place.alice, namespace="git"))


def move_with_an_edited_statement(place: Place) -> None:
    honest = signature_of(place)
    move(place, {**honest, "statement": forged(place, place.mallory)["statement"]})


def move_in_the_past(place: Place) -> None:
    def change(commits: list[dict[str, Any]]) -> None:
        for commit in commits:
            for op in commit["ops"]:
                if op["op"] == "alias":
                    op["after"] = 1

    rewrite(place.log, change)


def take_the_signature_out(place: Place) -> None:
    def change(commits: list[dict[str, Any]]) -> None:
        for commit in commits:
            for op in commit["ops"]:
                op.pop("signature", None)

    rewrite(place.log, change)


def edit_the_head(place: Place) -> None:
    place.run("resolve", "model/zoo:v0").ok()
    seal_head(place.log.parent, lambda head: head["state"]["aliases"].update(production=["production", 1]))


def exchange_the_record(place: Place) -> None:
    """v0 itself becomes the attacker's content, under its number."""
    evil = record_of(place, 1)

    def change(commits: list[dict[str, Any]]) -> None:
        for commit in commits:
            for op in commit["ops"]:
                if op["op"] == "link" and op["version"] == 0:
                    op["record"].update({key: evil[key] for key in ("manifest", "manifest_sha256", "digest", "size")})

    rewrite(place.log, change)


def exchange_only_the_manifest(place: Place) -> None:
    evil = record_of(place, 1)

    def change(commits: list[dict[str, Any]]) -> None:
        for commit in commits:
            for op in commit["ops"]:
                if op["op"] == "link" and op["version"] == 0:
                    op["record"].update({key: evil[key] for key in ("manifest", "manifest_sha256")})

    rewrite(place.log, change)


def exchange_the_shown_digest(place: Place) -> None:
    def change(commits: list[dict[str, Any]]) -> None:
        for commit in commits:
            for op in commit["ops"]:
                if op["op"] == "link" and op["version"] == 0:
                    op["record"]["digest"] = "0" * 32

    rewrite(place.log, change)


def exchange_the_source(place: Place) -> None:
    def change(commits: list[dict[str, Any]]) -> None:
        for commit in commits:
            for op in commit["ops"]:
                if op["op"] == "link" and op["version"] == 0:
                    op["record"]["source"]["version"] = 1

    rewrite(place.log, change)


def drop_the_requirement(place: Place) -> None:
    """The settings no longer say that the alias is signed, as if they never had."""

    def change(commits: list[dict[str, Any]]) -> None:
        for commit in commits:
            for op in commit["ops"]:
                if op["op"] == "protect":
                    op["after"]["signed"] = False

    rewrite(place.settings, change)
    move(place, None)


def take_the_protection_off(place: Place) -> None:
    op = {"op": "unprotect", "alias": "production", "before": {"name": "production", "signed": True}, "after": None}
    append(place.settings, [op])
    move(place, None)


def roll_the_settings_back(place: Place) -> None:
    rewrite(place.settings, lambda commits: commits[:0])
    move(place, None)


def take_the_alias_away(place: Place) -> None:
    append(place.log, [{"op": "alias", "alias": "production", "before": 0, "after": None}])


def clear_it_by_mallory(place: Place) -> None:
    none = dict.fromkeys(("version", "version_id", "source", "digest", "manifest", "manifest_sha256", "files"))
    statement = json.loads(forged(place, place.mallory)["statement"])
    text = canonical({**statement, **none, "action": "clear"})
    op = {"op": "alias", "alias": "production", "before": 0, "after": None}
    append(place.log, [{**op, "signature": {"statement": text, "signature": sign_by(place.mallory, text)}}])


def give_the_root_another_id(place: Place) -> None:
    """A root of another id was never seen, and its settings demand nothing."""
    marker = place.root / "regcli.toml"
    marker.chmod(0o644)
    marker.write_bytes(
        seal_marker(marker.read_text().partition("checksum")[0].replace(read_log(place.log)[0]["root"], "f" * 32))
    )
    move_without_signature(place)
    shutil.rmtree(place.settings)
    forget_head(place.settings.parent)
    for log in (place.log, *place.root.glob("projects/*/*/collections/*/log")):
        commits = read_log(log)
        for commit in commits:
            commit["root"] = "f" * 32
            for op in commit["ops"]:
                op.pop("registry", None)
        write_log(log, commits)


def _make_another_registry(place: Place, name: str) -> None:
    """Make a registry in the directory `models` that demands nothing, with a collection of the same name."""
    other = place.root / "registries/models"
    shutil.copytree(place.root / "registries/model", other)
    settings = {"id": "c" * 32, "name": name, "description": "", "types": [], "visibility": "organization"}
    first = {**read_log(place.settings)[0], "place": "registries/models", "ops": [{"op": "create", "settings": settings}]}
    write_log(other / "settings", [first])

    def change(commits: list[dict[str, Any]]) -> None:
        for commit in commits:
            commit["place"] = "registries/models/collections/zoo"
            for op in commit["ops"]:
                op.pop("signature", None)
                if op["op"] == "create":
                    op["registry"] = "c" * 32
                elif op["op"] == "alias":
                    op["after"] = 1

    rewrite(other / "collections/zoo/log", change)


def give_the_name_to_another_registry(place: Place, name: str = "model") -> None:
    _make_another_registry(place, name)
    append(place.settings, [{"op": "remove"}, {"op": "redirect", "to": "models", "id": "c" * 32}])


def give_the_name_to_a_registry_of_another_name(place: Place) -> None:
    give_the_name_to_another_registry(place, "innocent")


FORGERIES: tuple[Forgery, ...] = (
    move_without_signature,
    move_with_the_old_signature,
    move_by_mallory_as_alice,
    move_by_mallory_as_mallory,
    move_by_a_signature_for_git,
    move_with_an_edited_statement,
    move_in_the_past,
    take_the_signature_out,
    edit_the_head,
    exchange_the_record,
    exchange_only_the_manifest,
    exchange_the_shown_digest,
    exchange_the_source,
    drop_the_requirement,
    take_the_protection_off,
    roll_the_settings_back,
    take_the_alias_away,
    clear_it_by_mallory,
    give_the_root_another_id,
    give_the_name_to_another_registry,
    give_the_name_to_a_registry_of_another_name,
)


# These do not change what `resolve` says, only what lies behind it.
HIDDEN = (take_the_signature_out,)
EXCHANGES = (exchange_the_record, exchange_only_the_manifest, exchange_the_shown_digest, exchange_the_source)


def name_of(forgery: Forgery) -> str:
    return forgery.__name__


@pytest.mark.parametrize("forgery", FORGERIES, ids=name_of)
def test_a_forgery_is_refused(place: Place, regcli: Run, forgery: Forgery) -> None:
    honest = regcli("resolve", REF).ok()
    assert honest.lines == ["model/zoo:v0"]
    honest_json = regcli("resolve", REF, "--json").ok()
    forgery(place)
    for command in (("resolve", REF), ("download", REF, "-o", "out")):
        done = regcli(*command)
        assert done.code == 5, done
        assert done.stdout == ""
        assert "Traceback" not in done.stderr
    assert not (place.work / "out").exists()
    # Without the check the forgery works: the root itself is in order, and gives the attacker's answer.
    believed = regcli("resolve", REF, "--json", "--allow-unsigned")
    expected: dict[Forgery, int] = dict.fromkeys((take_the_alias_away, clear_it_by_mallory), 3)
    # These are found out by the source, which says otherwise.
    expected.update(dict.fromkeys(EXCHANGES, 6))
    assert believed.code == expected.get(forgery, 0), believed
    if believed.code == 0:
        kept = json.loads(honest_json.stdout)
        assert {**json.loads(believed.stdout), "seq": 0, "warnings": 0} != {
            **kept,
            "seq": 0,
            "warnings": 0,
        } or forgery in HIDDEN


@pytest.mark.parametrize("command", READERS, ids=" ".join)
def test_every_reading_command_checks_the_signature(place: Place, regcli: Run, command: tuple[str, ...]) -> None:
    assert regcli(*command).code == 0
    for path in place.work.iterdir():
        path.unlink() if path.is_file() else shutil.rmtree(path)
    move(place, None)
    refused = regcli(*command)
    assert (refused.code, refused.stdout) == (5, "")
    assert list(place.work.iterdir()) == []
    taken = regcli(*command, "--allow-unsigned")
    assert taken.code == 0, taken
    # With --json a warning is part of the document.
    assert "taken without a valid signature" in taken.stderr + taken.stdout


@pytest.mark.parametrize(
    "command",
    [
        ("download", REF, "-o", "out"),
        ("download", REF, "-o", "out", "--stamp", "out.stamp"),
        ("checkout", REF, "out"),
        ("sync",),
        ("cat", REF, "model.bin"),
    ],
    ids=" ".join,
)
def test_what_is_taken_unsigned_is_told_before_the_work(
    place: Place, regcli: Run, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    """Whoever reads the warning can still stop what may take an hour."""
    regcli("lock", "model/zoo:v1", "-o", "out").ok()
    lock = place.work / "regcli.lock"
    lock.write_text(lock.read_text().replace("model/zoo:v1", REF))
    move(place, None)
    begun = []
    printed = io.TextIOWrapper(io.BytesIO())

    class Reader(io.StringIO):
        def write(self, text: str) -> int:
            if "taken without a valid signature" in text:
                begun.append((place.work / "out").exists() or printed.buffer.tell() > 0)
            return super().write(text)

    with monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", Reader())
        patch.setattr(sys, "stdout", printed)
        assert main([*command, "--allow-unsigned"]) == 0
    assert begun[0] is False


def test_verify_of_the_whole_root_names_every_alias_that_is_not_signed_as_it_must_be(place: Place, regcli: Run) -> None:
    regcli("verify").ok()
    move(place, None)
    done = regcli("verify", "--json")
    assert done.code == 1
    assert [(problem["kind"], problem["ref"]) for problem in done.json["problems"]] == [("history", REF)]
    # Whoever trusts nobody has nothing to compare with.
    stranger = place.path / "stranger"
    stranger.mkdir()
    place.run("verify", home=stranger).ok()


@pytest.mark.parametrize("forgery", FORGERIES, ids=name_of)
def test_verify_of_the_whole_root_finds_every_forgery(place: Place, regcli: Run, forgery: Forgery) -> None:
    regcli("resolve", REF).ok()
    forgery(place)
    done = regcli("verify", "--json")
    assert done.code == 1, done
    words = "does not say what the log says" if forgery is edit_the_head else "alias 'production'"
    assert any(words in problem["message"] for problem in done.json["problems"]), done.json


def test_the_honest_way_to_move_the_alias(place: Place, regcli: Run) -> None:
    regcli("alias", "add", "model/zoo:v1", "production", "--sign-key", place.alice).ok()
    assert regcli("resolve", REF).ok().lines == ["model/zoo:v1"]
    regcli("alias", "add", "model/zoo:v0", "production", "--sign-key", place.alice).ok()
    assert regcli("resolve", REF).ok().lines == ["model/zoo:v0"]
    regcli("alias", "rm", "model/zoo", "production", "--sign-key", place.alice).ok()
    assert regcli("resolve", REF).code == 3
    regcli("link", "zoo:v1", "model/zoo", "-a", "production", "--sign-key", place.alice).ok()
    assert regcli("resolve", REF).ok().lines == ["model/zoo:v1"]
    # A link that is new to its collection is signed in the commit that makes it.
    regcli("link", "zoo:v1", "model/another", "-a", "staging", "--sign-key", place.alice).ok()
    regcli("download", "model/another:staging", "-o", "out").ok()
    assert [json.loads(op["signature"]["statement"])["counter"] for c in alias_commits(place) for op in c["ops"]
            if "signature" in op] == [1, 2, 3, 4, 5]  # fmt: skip


@pytest.mark.parametrize(
    "command",
    [
        ("alias", "add", "model/zoo:v1", "production"),
        ("alias", "rm", "model/zoo", "production"),
        ("link", "zoo:v1", "model/zoo", "-a", "production"),
        ("link", "zoo:v1", "model/new", "-a", "production"),
        ("unlink", "model/zoo:v0"),
    ],
    ids=" ".join,
)
def test_a_change_needs_the_key_of_a_trusted_signer(place: Place, regcli: Run, command: tuple[str, ...]) -> None:
    before = {path: path.read_bytes() for path in place.root.rglob("*.json")}
    for key in ((), ("--sign-key", place.mallory)):
        done = regcli(*command, *key)
        assert done.code == 5, done
    assert {path: path.read_bytes() for path in place.root.rglob("*.json")} == before
    assert regcli("resolve", REF).ok().lines == ["model/zoo:v0"]
    assert regcli(*command, "--sign-key", place.alice).code == 0


def test_yesterdays_copy_of_the_root_is_refused(place: Place, regcli: Run) -> None:
    yesterday = place.save("yesterday")
    regcli("alias", "add", "model/zoo:v1", "production", "--sign-key", place.alice).ok()
    regcli("resolve", REF).ok()
    place.restore(yesterday)
    done = regcli("resolve", REF)
    assert done.code == 5
    assert "went back" in done.stderr
    # Whoever never saw the newer one cannot know; whoever goes back on purpose says so.
    assert place.run("resolve", REF, home=place.fresh_home()).ok().lines == ["model/zoo:v0"]
    regcli("trust", "forget", "model", "production").ok()
    assert regcli("resolve", REF).ok().lines == ["model/zoo:v0"]


def test_what_is_forgotten_of_one_registry_is_known_of_the_others(place: Place, regcli: Run) -> None:
    yesterday = place.save("yesterday")
    regcli("alias", "add", "model/zoo:v1", "production", "--sign-key", place.alice).ok()
    # As the directory that all places of registries begin with.
    regcli("registry", "create", "registries").ok()
    regcli("protect", "registries", "production", "--require-signature").ok()
    regcli("link", "zoo:v0", "registries/zoo", "-a", "production", "--sign-key", place.alice).ok()
    assert regcli("trust", "forget", "registries").ok().lines == ["production"]
    place.restore(yesterday)
    assert regcli("resolve", REF).code == 5


def test_who_signs_sees_a_rollback_without_having_read(place: Place, regcli: Run) -> None:
    yesterday = place.save("yesterday")
    regcli("alias", "add", "model/zoo:v1", "production", "--sign-key", place.alice).ok()
    place.restore(yesterday)
    assert regcli("resolve", REF).code == 5
    # The next statement of the signer goes on from what was seen, so that readers of the newer one accept it.
    regcli("alias", "add", "model/zoo:v0", "production", "--sign-key", place.alice).ok()
    assert json.loads(signature_of(place)["statement"])["counter"] == 3
    regcli("resolve", REF).ok()


def test_two_statements_with_one_number_are_refused(place: Place, regcli: Run) -> None:
    copy = place.save("copy")
    regcli("alias", "add", "model/zoo:v1", "production", "--sign-key", place.alice).ok()
    regcli("resolve", REF).ok()
    place.restore(copy)
    home = place.fresh_home()
    place.run("alias", "add", "model/zoo:v0", "production", "--expires", "9d", "--sign-key", place.alice, home=home).ok()
    place.run("resolve", REF, home=home).ok()
    done = regcli("resolve", REF)
    assert done.code == 5
    assert "forked" in done.stderr


def test_a_signature_of_another_collection_alias_or_root_is_refused(place: Place, regcli: Run) -> None:
    regcli("link", "zoo:v1", "model/other", "-a", "staging", "-a", "production", "--sign-key", place.alice).ok()
    regcli("alias", "add", "model/zoo:v1", "staging", "--sign-key", place.alice).ok()
    others = read_log(place.log.parent.parent / "other/log")
    for op in [op for op in others[0]["ops"] if op["op"] == "alias"] + read_log(place.log)[-1]["ops"]:
        copy = place.save("copy")
        move(place, op["signature"])
        done = regcli("resolve", REF)
        assert done.code == 5
        assert "for another alias or collection" in done.stderr
        place.restore(copy)
        shutil.rmtree(copy)
    marker = place.root / "regcli.toml"
    other_id = "f" * 32
    old_id = read_log(place.log)[0]["root"]
    marker.chmod(0o644)
    marker.write_bytes(seal_marker(marker.read_text().partition("checksum")[0].replace(old_id, other_id)))
    for log in (place.log, place.settings, *place.root.glob("projects/*/*/collections/*/log")):
        write_log(log, [{**commit, "root": other_id} for commit in read_log(log)])
    done = regcli("resolve", REF)
    assert done.code == 5
    assert "another root" in done.stderr


def test_another_collection_under_the_name_is_refused(place: Place, regcli: Run) -> None:
    regcli("link", "zoo:v1", "model/other", "-a", "production", "--sign-key", place.alice).ok()
    regcli("resolve", "model/other:production").ok()
    other = place.log.parent.parent / "other/log"
    other_id = read_log(other)[0]["ops"][0]["id"]
    append(other, [{"op": "rename", "before": "other", "after": "zoo"}])
    write_log(place.log, [{**read_log(place.log)[0], "ops": [{"op": "redirect", "to": "other", "id": other_id}]}])
    done = regcli("resolve", REF)
    assert done.code == 5
    assert "was called 'model/other'" in done.stderr


def test_a_source_that_was_altered_is_not_what_a_link_means(place: Place, regcli: Run) -> None:
    """Linking by a signed alias goes to the source, which nobody signed: it must not become what is signed next."""
    log = next(place.root.glob("projects/*/*/collections/zoo/log"))

    def change(commits: list[dict[str, Any]]) -> None:
        good, evil = (op["record"] for commit in commits for op in commit["ops"] if op["op"] == "version")
        good.update({key: evil[key] for key in ("digest", "manifest", "manifest_sha256", "size")})

    regcli("resolve", REF, "--source", "--digest").ok()
    rewrite(log, change)
    for command in (
        ("resolve", REF, "--source", "--digest"),
        ("link", REF, "model/other"),
        ("link", REF, "model/other", "-a", "staging", "--sign-key", str(place.alice)),
        ("log", ".", "-n", "more", "-t", "model", "--input", REF),
    ):
        done = regcli(*command)
        assert done.code == 6, command
        assert "different content" in done.stderr
    assert not (place.log.parent.parent / "other").exists()


def test_a_registry_under_a_synonym_is_refused(place: Place, regcli: Run) -> None:
    """`models` means `model` unless there is one of that name, which only an attacker can make."""
    assert regcli("resolve", "models/zoo:production").ok().lines == ["model/zoo:v0"]
    _make_another_registry(place, "models")
    done = regcli("resolve", "models/zoo:production")
    assert done.code == 5
    assert "must be signed" in done.stderr


def test_a_new_root_in_the_place_of_one_with_signed_aliases(place: Place, regcli: Run) -> None:
    """What was meant is said once; the old root is still held to what was seen of it."""
    regcli("resolve", REF).ok()
    place.save("copy")
    give_the_root_another_id(place)
    assert regcli("resolve", REF).code == 5
    assert regcli("trust", "forget", "model").ok().lines == ["production"]
    assert regcli("resolve", REF).ok().lines == ["model/zoo:v1"]
    place.restore(place.path / "copy")
    drop_the_requirement(place)
    assert regcli("resolve", REF).code == 5


def test_a_collection_that_was_removed_and_made_again_goes_on_counting(place: Place, regcli: Run) -> None:
    regcli("alias", "rm", "model/zoo", "production", "--sign-key", place.alice).ok()
    regcli("collection", "rm", "model/zoo", "-y").ok()
    regcli("link", "zoo:v1", "model/zoo", "-a", "production", "--sign-key", place.alice).ok()
    assert json.loads(signature_of(place)["statement"])["counter"] == 3
    assert regcli("resolve", REF).ok().lines == ["model/zoo:v2"]


def test_an_expired_signature_is_refused_and_renewed(place: Place, regcli: Run) -> None:
    from regcli.domain.context import Context
    from regcli.domain.resolving import resolve
    from regcli.domain.trust import Trust
    from regcli.errors import SignatureRefusedError

    trust = Trust(config_path=str(place.home / ".config/regcli"), state_path=str(place.home / ".local/state/regcli"))
    issued = place.log.stat().st_mtime

    def reader(days: float) -> Context:
        return Context(
            root_path=str(place.root), user="bob", uid=1, host="lab", clock=lambda: issued + days * 86400, trust=trust
        )

    assert resolve(reader(1), REF).index == 0
    soon = reader(80)
    assert resolve(soon, REF).index == 0
    assert "expires on" in soon.warnings[0]
    with pytest.raises(SignatureRefusedError, match="expired on"):
        resolve(reader(91), REF)
    with pytest.raises(SignatureRefusedError, match="of the future"):
        resolve(reader(-2), REF)
    before = len(alias_commits(place))
    # Setting it again where it is does nothing while the signature is good, unless a new one is asked for.
    regcli("alias", "add", "model/zoo:v0", "production", "--sign-key", place.alice).ok()
    assert len(alias_commits(place)) == before
    regcli("alias", "add", "model/zoo:v0", "production", "--sign-key", place.alice, "--expires", "365d").ok()
    assert len(alias_commits(place)) == before + 1
    assert resolve(reader(91), REF).index == 0
    actions = [event["action"] for event in regcli("history", "model/zoo", "--json").ok().json["events"]]
    assert actions[-1] == "alias-signed"


def test_only_listed_keys_are_believed(place: Place, regcli: Run) -> None:
    stranger = place.path / "stranger"
    stranger.mkdir()
    done = place.run("resolve", REF, home=stranger)
    assert done.code == 5
    assert "you trust no signers yet" in done.stderr
    regcli("trust", "rm", ALICE).ok()
    assert regcli("resolve", REF).code == 5
    regcli("trust", "add", "mallory", f"{place.mallory}.pub").ok()
    assert regcli("resolve", REF).code == 5
    regcli("trust", "add", ALICE, f"{place.alice}.pub", "--namespaces", "git").ok()
    assert regcli("resolve", REF).code == 5
    regcli("trust", "add", ALICE, f"{place.alice}.pub", "--valid-before", "20200101").ok()
    assert regcli("resolve", REF).code == 5
    regcli("trust", "add", ALICE, f"{place.alice}.pub").ok()
    regcli("resolve", REF).ok()


def test_a_revoked_key_is_refused(place: Place, regcli: Run) -> None:
    regcli("resolve", REF).ok()
    shutil.copy(f"{place.alice}.pub", place.home / ".config/regcli/revoked_keys")
    done = regcli("resolve", REF)
    assert done.code == 5
    (place.home / ".config/regcli/revoked_keys").unlink()
    regcli("resolve", REF).ok()


def test_a_list_that_everybody_may_write_to_proves_nothing(place: Place, regcli: Run) -> None:
    signers = place.home / ".config/regcli/allowed_signers"
    assert signers.stat().st_mode & 0o777 == 0o600
    signers.chmod(0o666)
    done = regcli("resolve", REF)
    assert done.code == 5
    assert "everybody may write" in done.stderr
    signers.chmod(0o644)
    regcli("resolve", REF).ok()


def test_a_root_brings_no_trust_of_its_own(place: Place) -> None:
    """Lists, keys and programs that lie in the root or the working directory count for nothing."""
    stranger = place.path / "stranger"
    stranger.mkdir()
    line = f"{ALICE} {' '.join((place.path / 'alice.pub').read_text().split()[:2])}\n"
    tripwire = place.path / "ran"
    for directory in (place.root, place.root / "registries/model", place.work):
        for name in ("allowed_signers", ".config/regcli/allowed_signers", ".regcli.toml"):
            path = directory / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(line if name != ".regcli.toml" else "")
        for program in ("ssh-keygen", "git", "ssh-add", "hooks/post-resolve"):
            path = directory / program
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"#!/bin/sh\ntouch {tripwire}\n")
            path.chmod(0o755)
    done = place.run("resolve", REF, home=stranger)
    assert done.code == 5
    assert not tripwire.exists()
    place.run("resolve", REF).ok()
    assert not tripwire.exists()


@pytest.mark.parametrize("which", ["root", "path"])
def test_what_was_seen_must_be_readable(place: Place, regcli: Run, which: str) -> None:
    regcli("resolve", REF).ok()
    subject = read_log(place.log)[0]["root"] if which == "root" else f"path:{place.root}"
    (place.home / ".local/state/regcli/seen" / seen_name(subject)).write_text("{")
    done = regcli("resolve", REF)
    assert done.code == 5
    assert "what was seen" in done.stderr
    # Other references of the same root are not touched by it.
    regcli("resolve", "model/zoo:v0").ok()
    regcli("trust", "forget", "model").ok()
    regcli("resolve", REF).ok()


def test_a_place_that_cannot_remember_says_so(place: Place) -> None:
    home = place.fresh_home("other")
    (home / ".local").write_text("no directory")
    done = place.run("resolve", REF, home=home).ok()
    assert "cannot be remembered" in done.stderr


def test_the_drop_of_a_requirement_is_taken_when_the_user_says_so(place: Place, regcli: Run) -> None:
    regcli("alias", "rm", "model/zoo", "production", "--sign-key", place.alice).ok()
    regcli("protect", "--rm", "model", "production").ok()
    regcli("alias", "add", "model/zoo:v1", "production").ok()
    assert regcli("resolve", REF).code == 5
    regcli("trust", "forget", "model", "production").ok()
    assert regcli("resolve", REF).ok().lines == ["model/zoo:v1"]


def test_the_requirement_is_known_for_collections_that_were_never_read(place: Place, regcli: Run) -> None:
    drop_the_requirement(place)
    regcli("link", "zoo:v1", "model/unseen", "-a", "production").ok()
    assert regcli("resolve", "model/unseen:production").code == 5


def test_a_link_that_only_renews_a_signature_says_so(place: Place, regcli: Run) -> None:
    command = ("link", "zoo:v0", "model/zoo", "-a", "production", "--sign-key", place.alice)
    assert regcli(*command).ok().stderr == "model/zoo:v0 was linked already; nothing to change\n"
    done = regcli(*command, "--expires", "9d").ok()
    assert done.stderr == "model/zoo:v0 was linked already; production was signed again\n"
    assert regcli(*command, "--expires", "9d", "--json").ok().json["renewed"] == ["production"]


def test_going_back_from_a_signed_alias_is_refused(place: Place, regcli: Run) -> None:
    regcli("alias", "add", "model/zoo:v1", "production", "--sign-key", place.alice).ok()
    assert regcli("resolve", f"{REF}~1").code == 5
    assert regcli("resolve", f"{REF}~1", "--allow-unsigned").ok().lines == ["model/zoo:v0"]


@pytest.mark.parametrize(
    "value",
    [
        None, 1, "text", [], {}, {"statement": 1, "signature": 2}, {"statement": "", "signature": ""},
        {"statement": "{}", "signature": "x"}, {"statement": "[" * 100_000, "signature": "x"},
        {"statement": '{"type":"regcli-alias-v1","type":1}', "signature": "x"}, {"statement": "\u202e", "signature": "x"},
        {"statement": "{" + "\x1b[31m" + "}", "signature": "x"}, {"statement": "NaN", "signature": "x" * 100_000},
    ],
    ids=repr,
)  # fmt: skip
def test_a_malformed_signature_is_refused(place: Place, regcli: Run, value: Any) -> None:
    move(place, value)
    done = regcli("resolve", REF)
    assert done.code == 5, done
    assert "\x1b" not in done.stderr
    # Whoever may sign mends it.
    regcli("alias", "add", "model/zoo:v1", "production", "--sign-key", place.alice).ok()
    regcli("resolve", REF).ok()


@pytest.mark.parametrize("signer", ["", "-f/etc/passwd", "a b", "a\nb", "\x1b[31mred", "*", "x" * 300, "alice@example.org,*"])
def test_a_signer_with_a_hostile_name_is_refused(place: Place, regcli: Run, signer: str) -> None:
    move(place, forged(place, place.mallory, signer=signer))
    done = regcli("resolve", REF)
    assert done.code == 5
    assert "\x1b" not in done.stderr


# The bytes


def swapped(place: Place) -> None:
    """The attacker exchanges the stored bytes for others with the same XXH3-128."""
    assert swap_bytes(place.root, GOOD, EVIL) == 1


@pytest.mark.parametrize(
    "command",
    [
        ("download", REF, "-o", "out"),
        ("download", REF, "-o", "out", "--link-mode", "copy"),
        ("checkout", REF, "out"),
        ("cat", REF, "model.bin"),
        ("verify", REF),
        ("verify", REF, "--quick"),
        ("sync",),
    ],
    ids=" ".join,
)
def test_bytes_with_the_same_xxh3_are_not_delivered(place: Place, regcli: Run, command: tuple[str, ...]) -> None:
    regcli("lock", REF, "-o", "out").ok()
    assert regcli(*command).code == 0
    shutil.rmtree(place.work / "out", ignore_errors=True)
    swapped(place)
    # Everything else looks right: the name still means what was signed, and the weaker check is content.
    regcli("resolve", REF).ok()
    assert regcli("verify").code == 0
    done = regcli(*command)
    assert done.code == 5, done
    assert "BLAKE3" in done.stderr
    assert EVIL.decode("latin-1") not in done.stdout
    assert not list((place.work / "out").rglob("*.bin"))


def test_a_twin_that_an_earlier_download_left_is_replaced(place: Place, regcli: Run) -> None:
    regcli("download", REF, "-o", "out").ok()
    assert (place.work / "out/model.bin").read_bytes() == GOOD
    (place.work / "out/model.bin").write_bytes(EVIL)
    assert regcli("verify", "model/zoo:v0", "out").code == 0
    assert regcli("verify", REF, "out").code == 1
    regcli("download", REF, "-o", "out").ok()
    assert (place.work / "out/model.bin").read_bytes() == GOOD


def test_large_files_are_proven_too(place: Place, regcli: Run) -> None:
    from tests.security.forgery import twins

    good, evil = twins(3 << 20)
    (place.work / "big.bin").write_bytes(good)
    regcli("log", "big.bin", "-n", "big", "-t", "model").ok()
    regcli("link", "big", "model/big", "-a", "production", "--sign-key", place.alice).ok()
    regcli("download", "model/big:production", "-o", "out").ok()
    assert (place.work / "out/big.bin").read_bytes() == good
    shutil.rmtree(place.work / "out")
    assert swap_bytes(place.root, good, evil) == 1
    assert regcli("download", "model/big:v0", "-o", "plain").code == 0
    for mode in ("auto", "copy", "reflink"):
        done = regcli("download", "model/big:production", "-o", "out", "--link-mode", mode)
        assert done.code == 5, done
        assert list((place.work / "out").iterdir()) == []
    assert regcli("cat", "model/big:production", "big.bin").stdout == ""


def test_what_is_written_while_a_file_is_given_away_is_not_given_away(place: Place, regcli: Run) -> None:
    """Whoever reads from a pipe acts on the bytes before the program can say at their end that they were wrong."""
    good = os.urandom(4 << 20)
    (place.work / "big.bin").write_bytes(good)
    regcli("log", "big.bin", "-n", "big", "-t", "model").ok()
    regcli("link", "big", "model/big", "-a", "production", "--sign-key", place.alice).ok()
    blob = next(path for path in place.root.glob("blobs/*/*") if path.read_bytes() == good)
    with subprocess.Popen(
        [sys.executable, "-m", "regcli", "cat", "model/big:production", "big.bin"],
        cwd=place.work, env=clean_environment(place.home, place.root), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stderr is not None
        got = process.stdout.read(1024)
        # All of it was proven by now, and the pipe is full.
        blob.chmod(0o644)
        with blob.open("r+b") as stream:
            stream.seek(2 << 20)
            stream.write(b"evil" * (1 << 18))
        got += process.stdout.read()
        said = process.stderr.read()
    assert process.returncode == 5
    assert b"not what was signed" in said
    assert 1024 < len(got) < len(good)
    assert good.startswith(got)


def test_signed_files_are_not_shared_with_the_root(place: Place, regcli: Run) -> None:
    for mode in ("hardlink", "symlink"):
        assert regcli("download", REF, "-o", "out", "--link-mode", mode).code == 5
        assert regcli("download", "model/zoo:v0", "-o", mode, "--link-mode", mode).code == 0


def test_a_link_to_the_store_that_an_earlier_download_left_is_replaced(place: Place, regcli: Run) -> None:
    regcli("download", "model/zoo:v0", "-o", "out", "--link-mode", "hardlink").ok()
    assert (place.work / "out/model.bin").stat().st_nlink == 2
    regcli("download", REF, "-o", "out").ok()
    assert swap_bytes(place.root, GOOD, EVIL) == 2
    assert (place.work / "out/model.bin").read_bytes() == GOOD


def test_what_a_signed_version_refers_to_is_fetched(place: Place, regcli: Run) -> None:
    """A signature is about the reference and the digest in it; the file that it leads to is another version's."""
    (place.work / "more").mkdir()
    (place.work / "more/own.txt").write_text("its own")
    regcli("log", "more", "-n", "refs", "-t", "model", "--ref", "regcli-artifact://zoo:v0/model.bin").ok()
    regcli("link", "refs", "model/refs", "-a", "production", "--sign-key", place.alice).ok()
    regcli("download", "model/refs:production", "-o", "out").ok()
    assert (place.work / "out/model.bin").read_bytes() == GOOD
    assert (place.work / "out/own.txt").read_text() == "its own"
    shutil.rmtree(place.work / "out")
    swap_bytes(place.root, b"its own", b"another")
    assert regcli("download", "model/refs:production", "-o", "out").code in (5, 6)
    assert not (place.work / "out/own.txt").exists()


def test_a_lost_list_of_digests_is_made_up_for(place: Place, regcli: Run) -> None:
    """The BLAKE3 list is derived: a damaged one costs time, and hides nothing."""
    import blake3

    digests = blake3.blake3(GOOD).digest()
    assert swap_bytes(place.root, digests, b"\0" * 32) == 1
    regcli("download", REF, "-o", "out").ok()
    assert (place.work / "out/model.bin").read_bytes() == GOOD
    shutil.rmtree(place.work / "out")
    swapped(place)
    assert regcli("download", REF, "-o", "out").code == 5


def test_gc_keeps_the_list_of_digests(place: Place, regcli: Run) -> None:
    import blake3

    regcli("gc", "--grace", "0").ok()
    digests = blake3.blake3(GOOD).digest()
    assert any(digests in path.read_bytes() for path in (place.root / "packs").glob("*.pack"))
    regcli("download", REF, "-o", "out").ok()


def test_a_lock_keeps_what_was_signed_once(place: Place, regcli: Run) -> None:
    regcli("lock", REF, "-o", "out").ok()
    regcli("alias", "add", "model/zoo:v1", "production", "--sign-key", place.alice).ok()
    regcli("sync").ok()
    assert (place.work / "out/model.bin").read_bytes() == GOOD
    # A lock that was made up names a version that nobody ever signed.
    regcli("alias", "add", "model/zoo:v0", "production", "--sign-key", place.alice).ok()
    regcli("log", place.alice, "-n", "zoo").ok()
    regcli("link", "zoo", "model/zoo").ok()
    record = regcli("show", "model/zoo:v2", "--json").ok().json
    lock = place.work / "regcli.lock"
    old = regcli("show", "model/zoo:v0", "--json").ok().json["digest"]
    lock.write_text(lock.read_text().replace('"v0"', '"v2"').replace(old, record["digest"]))
    done = regcli("sync")
    assert done.code == 5
    assert (place.work / "out/model.bin").read_bytes() == GOOD
    assert regcli("sync", "--allow-unsigned").code == 0


@pytest.mark.parametrize(
    "found",
    [
        "regcli.Api().artifact('model/zoo:production')",
        "regcli.Api().artifact('model/zoo:production').source_artifact",
        "regcli.init().use_artifact('model/zoo:production')",
        "regcli.Api().registries().versions(filter={'alias': 'production'})[0]",
        "regcli.Api().registries().collections().versions(filter={'$or': [{'aliases': {'$in': ['production']}}]})[0]",
    ],
)
def test_the_library_checks_as_the_commands_do(place: Place, found: str) -> None:
    script = f"import regcli, sys\nartifact = {found}\nprint(artifact.version, artifact.download(sys.argv[1]))\n"

    def use(target: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", script, target],
            cwd=place.work, env=clean_environment(place.home, place.root), capture_output=True, text=True, check=False,
        )  # fmt: skip

    assert use("honest").stdout.startswith("v0 ")
    swapped(place)
    done = use("swapped")
    assert done.returncode != 0
    assert "not what was signed" in done.stderr
    assert not (place.work / "swapped/model.bin").exists()
    move(place, None)
    done = use("moved")
    assert done.returncode != 0
    assert not (place.work / "moved").exists()


# Keys


def test_gits_key_signs(place: Place) -> None:
    (place.home / ".gitconfig").write_text(f"[user]\n\tsigningkey = {place.alice}.pub\n[gpg]\n\tformat = ssh\n")
    place.run("alias", "add", "model/zoo:v1", "production").ok()
    assert place.run("resolve", REF).ok().lines == ["model/zoo:v1"]


def test_the_agents_key_signs(place: Place) -> None:
    agent = subprocess.run(["ssh-agent", "-c", "-a", str(place.path / "agent")], capture_output=True, text=True, check=True)
    number = int(agent.stdout.split("SSH_AGENT_PID ")[1].split(";")[0])
    environment = {"SSH_AUTH_SOCK": str(place.path / "agent")}
    try:
        for key in (place.mallory, place.alice):
            subprocess.run(
                ["ssh-add", "-q", str(key)], env={**os.environ, **environment}, check=True, capture_output=True
            )  # fmt: skip
        hidden = place.alice.rename(place.path / "elsewhere")
        # The first key of a trusted signer is taken, not the agent's first.
        place.run("alias", "add", "model/zoo:v1", "production", environment=environment).ok()
        assert place.run("resolve", REF).ok().lines == ["model/zoo:v1"]
        place.run(
            "alias", "add", "model/zoo:v0", "production", "--sign-key", f"{place.alice}.pub", environment=environment
        ).ok()
        hidden.rename(place.alice)
    finally:
        os.kill(number, 15)


def test_the_environment_names_a_key_and_the_option_wins(place: Place) -> None:
    environment = {"REGCLI_SIGNING_KEY": str(place.mallory)}
    assert place.run("alias", "add", "model/zoo:v1", "production", environment=environment).code == 5
    place.run("alias", "add", "model/zoo:v1", "production", "--sign-key", place.alice, environment=environment).ok()
    place.run("alias", "add", "model/zoo:v0", "production", environment={"REGCLI_SIGNING_KEY": str(place.alice)}).ok()


@pytest.mark.parametrize("key", ["missing", "model.bin"])
def test_a_key_that_is_none_is_a_usage_error(place: Place, regcli: Run, key: str) -> None:
    (place.work / "model.bin").write_bytes(GOOD)
    assert regcli("alias", "add", "model/zoo:v1", "production", "--sign-key", key).code == 2


# `trust`


def test_trust_lists_adds_and_removes(place: Place, regcli: Run) -> None:
    key = make_key(place.path / "bob")
    added = regcli("trust", "add", "bob", f"{key}.pub", "--json").ok().json
    assert added["changed"]
    assert added["namespaces"] == ["regcli-alias-v1"]
    shown = subprocess.run(["ssh-keygen", "-l", "-f", f"{key}.pub"], capture_output=True, text=True, check=True).stdout
    assert added["fingerprint"] == shown.split()[1]
    assert not regcli("trust", "add", "bob", f"{key}.pub", "--json").ok().json["changed"]
    assert [row["principal"] for row in regcli("trust", "ls", "--json").ok().json["signers"]] == [ALICE, "bob"]
    assert regcli("trust", "rm", "nobody").code == 3
    regcli("trust", "rm", "bob").ok()
    assert [row["principal"] for row in regcli("trust", "ls", "--json").ok().json["signers"]] == [ALICE]


@pytest.mark.parametrize("principal", ["", "a b", "*", "!x", 'a"b', "#a", "-x", "a,b", "\x1b[2J", "x" * 257, "a\nb"])
def test_a_principal_that_means_something_else_in_the_list_is_refused(place: Place, regcli: Run, principal: str) -> None:
    signers = place.home / ".config/regcli/allowed_signers"
    before = signers.read_bytes()
    assert regcli("trust", "add", "--", principal, f"{place.alice}.pub").code == 2
    assert signers.read_bytes() == before


def test_a_private_key_is_not_listed(place: Place, regcli: Run) -> None:
    assert regcli("trust", "add", "alice", place.alice).code == 2


def test_lines_of_other_hands_are_kept(place: Place, regcli: Run) -> None:
    signers = place.home / ".config/regcli/allowed_signers"
    signers.write_text("# mine\n*@example.org cert-authority ssh-ed25519 AAAA\n" + signers.read_text())
    regcli("trust", "rm", ALICE).ok()
    regcli("trust", "add", ALICE, f"{place.alice}.pub").ok()
    assert signers.read_text().startswith("# mine\n*@example.org cert-authority")
    regcli("resolve", REF).ok()


def test_protect_shows_which_aliases_are_signed(place: Place, regcli: Run) -> None:
    regcli("protect", "model", "candidate").ok()
    listed = regcli("protect", "--ls", "model", "--json").ok().json
    assert listed["signed"] == ["production", "staging"]
    assert "candidate" in listed["aliases"]
    assert regcli("protect", "model", "--require-signature").code == 2
    assert 'signed_aliases = [\n    "production",' in (place.root / "registries/model/registry.toml").read_text()


@pytest.mark.parametrize(
    ("command", "field"),
    [
        (("ls", "model/zoo"), "versions"),
        (("show", "model/zoo:v0"), None),
        (("compare", "model/zoo"), "-"),
        (("compare", "model/zoo", "--md"), "-"),
        (("collection", "show", "model/zoo"), None),
        (("registry", "show", "model"), None),
        (("registry", "ls"), "registries"),
        (("alias", "ls", "model/zoo"), "aliases"),
        (("protect", "model", "candidate"), "signed"),
    ],
    ids=str,
)
def test_what_takes_a_signature_is_told_from_what_is_only_protected(
    place: Place, regcli: Run, command: tuple[str, ...], field: str | None
) -> None:
    regcli("protect", "model", "candidate").ok()
    regcli("alias", "add", "model/zoo:v0", "candidate").ok()
    shown = regcli(*command).ok().stdout.replace("\\", "")
    assert "candidate (protected)" in shown
    assert "production (signed)" in shown
    if field == "-":
        return
    document = regcli(*command, "--json").ok().json
    rows: Any = document if field is None else document[field]
    if command[0] == "alias":
        assert {row["alias"]: row["signed"] for row in rows} == {"latest": False, "candidate": False, "production": True}
    elif command[0] == "protect":
        assert rows == ["production", "staging"]
    else:
        signed = [row["signed_aliases"] for row in ([rows] if field is None else rows)]
        assert [names for names in signed if names] in ([["production"]], [["production", "staging"]])


def test_search_finds_what_takes_a_signature(place: Place, regcli: Run) -> None:
    regcli("protect", "model", "candidate").ok()
    regcli("alias", "add", "model/zoo:v1", "candidate").ok()
    found = regcli("search", "--where", "signed_aliases = production", "--json").ok().json["results"]
    assert [row["ref"] for row in found] == ["model/zoo:v0"]
    assert regcli("search", "--where", "signed_aliases = candidate", "--json").ok().json["results"] == []


def test_show_says_who_signed_and_until_when(place: Place, regcli: Run) -> None:
    signature = regcli("show", REF, "--json").ok().json["signature"]
    assert (signature["alias"], signature["signer"]) == (REF, "alice@example.org")
    assert signature["issued_at"] < signature["expires_at"]
    row = f"Signed by\talice@example.org on {signature['issued_at'][:10]}, good until {signature['expires_at'][:10]}"
    assert row in regcli("show", REF).ok().lines
    # The version itself was signed by nobody, and neither is what is taken all the same.
    assert regcli("show", "model/zoo:v0", "--json").ok().json["signature"] is None
    move_by_mallory_as_alice(place)
    assert regcli("show", REF, "--allow-unsigned", "--json").ok().json["signature"] is None


def test_a_head_is_not_needed(place: Place, regcli: Run) -> None:
    forget_head(place.log.parent)
    regcli("resolve", REF).ok()
