"""Automations: what is told of a signed alias was signed; receivers deploy what they are told."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.domain.test_automations import Receiver
from tests.security.forgery import append, read_log, rewrite, write_log
from tests.security.test_signed_aliases import REF, alias_commits, forged, signature_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from tests.conftest import Result
    from tests.security.conftest import Place

    Run = Callable[..., Result]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.close()


@pytest.fixture
def watched(place: Place, regcli: Run, receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> Place:
    """Return a place where an automation of the root tells of every alias of the registry, and notices wait to be sent."""
    monkeypatch.setenv("REGCLI_AUTOMATIONS", "manual")
    regcli("automation", "add", "tell", "--on", "alias-added", "--scope", "model", "--webhook", receiver.url).ok()
    return place


def plant(place: Place, event_id: str, op: dict[str, Any]) -> None:
    """Commit the attacker's move with a notice of it, as the program would have."""
    commit = next(commit for commit in reversed(read_log(place.log)) if commit.get("outbox"))
    [entry] = commit["outbox"]
    old = json.loads((place.root / "outbox" / f"{entry['event_id']}.json").read_text())
    event = {**entry["event"], "version": "v1", "previous": "v0"}
    append(place.log, [op], outbox=[{**entry, "event_id": event_id, "event": event}])
    marker = {**old, "event_id": event_id, "seq": len(read_log(place.log))}
    (place.root / "outbox" / f"{event_id}.json").write_text(json.dumps(marker))


@pytest.mark.parametrize("signed", ["not", "by mallory", "before", "once"])
def test_a_forged_move_is_not_told(watched: Place, regcli: Run, receiver: Receiver, signed: str) -> None:
    regcli("alias", "add", "model/zoo:v1", "production", "--sign-key", watched.alice).ok()
    regcli("alias", "add", "model/zoo:v0", "production", "--sign-key", watched.alice).ok()
    op: dict[str, Any] = {"op": "alias", "alias": "production", "before": 0, "after": 1}
    if signed == "by mallory":
        op["signature"] = forged(watched, watched.mallory)
    elif signed == "before":
        op["signature"] = signature_of(watched)
    elif signed == "once":
        # Of v1 by alice, as it has to be, but from the commit before the last.
        op["signature"] = next(op["signature"] for op in alias_commits(watched)[-2]["ops"] if "signature" in op)
    plant(watched, "f" * 32, op)
    done = regcli("automation", "deliver")
    assert "is not told" in done.stderr
    assert [body["version"] for body in receiver.bodies()] == ["v1", "v0"]
    assert "f" * 32 not in {body["event_id"] for body in receiver.bodies()}


def test_a_statement_is_not_told_from_the_log_of_another_collection(watched: Place, regcli: Run, receiver: Receiver) -> None:
    regcli("alias", "add", "model/zoo:v1", "production", "--sign-key", watched.alice).ok()
    statement = signature_of(watched)
    plant(watched, "f" * 32, {"op": "alias", "alias": "production", "before": 0, "after": 1, "signature": statement})
    planted = read_log(watched.log)[-1]
    write_log(watched.log, read_log(watched.log)[:-1])
    regcli("link", "zoo:v0", "model/other").ok()
    log = watched.root / "registries/model/collections/other/log"
    append(log, planted["ops"], outbox=planted["outbox"])
    marker = watched.root / "outbox" / f"{'f' * 32}.json"
    document = json.loads(marker.read_text())
    document.update(place="registries/model/collections/other", seq=len(read_log(log)))
    marker.write_text(json.dumps(document))
    regcli("automation", "deliver")
    assert [body["event_id"] for body in receiver.bodies()].count("f" * 32) == 0
    assert len(receiver.bodies()) == 1


@pytest.mark.parametrize(
    "lie", [{"place": "registries/model"}, {"collection": "other"}, {"version": "21"}, {"event": "linked"}], ids=str
)
def test_a_notice_that_says_more_than_was_signed_is_not_told(
    watched: Place, regcli: Run, receiver: Receiver, lie: dict[str, str]
) -> None:
    regcli("alias", "add", "model/zoo:v1", "production", "--sign-key", watched.alice).ok()

    def change(commits: list[dict[str, Any]]) -> list[dict[str, Any]]:
        *rest, last = commits
        [entry] = last["outbox"]
        return [*rest, {**last, "outbox": [{**entry, "event": {**entry["event"], **lie}}]}]

    rewrite(watched.log, change)
    done = regcli("automation", "deliver")
    assert "is not told" in done.stderr or "the notice is about another event" in done.stdout
    assert receiver.bodies() == []


def test_many_moves_are_told_late_and_in_their_order(watched: Place, regcli: Run, receiver: Receiver) -> None:
    for version in ("v1", "v0", "v1"):
        regcli("alias", "add", f"model/zoo:{version}", "production", "--sign-key", watched.alice).ok()
    regcli("automation", "deliver").ok()
    assert [body["version"] for body in receiver.bodies()] == ["v1", "v0", "v1"]


def test_an_honest_move_is_told(watched: Place, regcli: Run, receiver: Receiver) -> None:
    regcli("alias", "add", "model/zoo:v1", "production", "--sign-key", watched.alice).ok()
    regcli("alias", "add", "model/zoo:v1", "other").ok()
    # Whoever trusts nobody leaves the one about the signed alias to others.
    stranger = watched.path / "stranger"
    stranger.mkdir()
    watched.run("automation", "deliver", home=stranger)
    assert [body["alias"] for body in receiver.bodies()] == ["other"]
    regcli("automation", "deliver").ok()
    assert [body["alias"] for body in receiver.bodies()] == ["other", "production"]
    assert regcli("resolve", REF).ok().lines == ["model/zoo:v1"]


def test_a_change_of_before_the_requirement_waits_and_says_why(watched: Place, regcli: Run, receiver: Receiver) -> None:
    regcli("alias", "add", "model/zoo:v1", "candidate").ok()
    regcli("protect", "model", "candidate", "--require-signature").ok()
    done = regcli("automation", "deliver")
    assert "is not told: alias 'candidate' of 'model/zoo' was changed without a signature" in done.stderr
    assert receiver.bodies() == []
