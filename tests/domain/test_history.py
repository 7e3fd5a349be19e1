"""History: every kind of change is an event with before and after; a chain that was tampered with says where."""

from __future__ import annotations

import os
import re
import shutil
from typing import TYPE_CHECKING, Any

import pytest

from regcli.domain.context import Context
from regcli.domain.history import ACTIONS
from regcli.domain.verification import verify_root

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.conftest import Result

    Invoke = Callable[..., Result]


@pytest.fixture
def zoo(invoke: Invoke, work: Path, monkeypatch: pytest.MonkeyPatch) -> Invoke:
    monkeypatch.setenv("REGCLI_AUTOMATIONS", "manual")
    for text in ("one", "two"):
        (work / "f").write_text(text)
        invoke("log", "f", "-n", "zoo", "-t", "model").ok()
    invoke("link", "zoo:v0", "model/Zoo").ok()
    return invoke


def events(invoke: Invoke, *arguments: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = invoke("history", *arguments, "--json").ok().json["events"]
    return found


# (command, place whose history has it, action, before, after); None stands for no value
CHANGES: list[tuple[list[str], str, str, Any, Any]] = [
    (["alias", "add", "model/Zoo:v0", "prod"], "model/Zoo", "alias-added", None, "v0"),
    (["alias", "add", "zoo:v0", "best"], "zoo", "alias-added", None, "v0"),
    (["alias", "add", "zoo:v1", "best"], "zoo", "alias-moved", "v0", "v1"),
    (["alias", "rm", "zoo", "best"], "zoo", "alias-removed", "v1", None),
    (["tag", "add", "zoo:v1", "x"], "zoo", "tags-changed", [], ["x"]),
    (["tag", "rm", "zoo:v1", "x"], "zoo", "tags-changed", ["x"], []),
    (["tag", "add", "model/Zoo", "c"], "model/Zoo", "tags-changed", [], ["c"]),
    (["edit", "zoo:v1", "--description", "text"], "zoo", "description-changed", "", "text"),
    (["edit", "zoo:v1", "--meta", "k=1"], "zoo", "metadata-changed", {}, {"k": 1}),
    (["edit", "zoo:v1", "--unset", "k"], "zoo", "metadata-changed", {"k": 1}, {}),
    (["edit", "zoo:v1", "--ttl", "30d"], "zoo", "ttl-changed", "inherit", 2592000),
    (["delete", "zoo:v1"], "zoo", "version-deleted", "v1", None),
    (["undelete", "zoo:v1"], "zoo", "version-restored", None, "v1"),
    (["protect", "model", "gold"], "model/", "protected", None, {"name": "gold", "signed": False}),
    (["protect", "--rm", "model", "gold"], "model/", "unprotected", {"name": "gold", "signed": False}, None),
    (["member", "add", "model", "nobody", "--role", "viewer"], "model/", "role-changed", None, "viewer"),
    (["member", "add", "model", "nobody", "--role", "admin"], "model/", "role-changed", "viewer", "admin"),
    (["member", "rm", "model", "nobody"], "model/", "role-changed", "admin", None),
    (["registry", "edit", "dataset", "--description", "x"], "dataset/", "description-changed", "Datasets, ready to be shared", "x"),  # noqa: E501
    (["registry", "edit", "model", "--type", "model"], "model/", "types-changed", [], ["model"]),
    (["registry", "edit", "model", "--ttl", "7d"], "model/", "ttl-changed", None, 604800),
    (["registry", "edit", "own", "--visibility", "restricted"], "own/", "visibility-changed", "organization", "restricted"),
    (["collection", "edit", "model/Zoo", "--description", "d"], "model/Zoo", "description-changed", "", "d"),
    (["collection", "edit", "model/Zoo", "--rename", "Park"], "model/Park", "renamed", "Zoo", "Park"),
    (["unlink", "model/Park:v0"], "model/Park", "unlinked", "v0", None),
    (["registry", "edit", "own", "--rename", "models of ours"], "models of ours/", "renamed", "own", "models of ours"),
    (["use", "zoo:v1", "--run", "r"], "local/default/", "version-used", None, {"ref": "local/default/zoo:v1"}),
]  # fmt: skip


def test_every_kind_of_change_is_an_event_with_before_and_after(zoo: Invoke) -> None:
    zoo("registry", "create", "own").ok()
    for command, place, action, before, after in CHANGES:
        zoo(*command).ok()
        event = next(item for item in reversed(events(zoo, place)) if item["action"] == action)
        shown = {key: event["after"][key] for key in after} if action == "version-used" else event["after"]
        assert (event["before"], shown) == (before, after), command
        assert (event["command"], bool(event["user"]), bool(event["host"])) == (" ".join(_verb(command)), True, True)
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", event["time"])
        # What a place tells, the root tells too.
        assert any(item == event for item in events(zoo)), command
        assert action in ACTIONS
    made = {"version-created", "collection-created", "linked", "registry-created", "run-created"}
    assert made <= {event["action"] for event in events(zoo)} <= ACTIONS


def _verb(command: list[str]) -> list[str]:
    return command[: 2 if command[0] in ("alias", "tag", "registry", "collection", "member") else 1]


def test_what_was_deleted_still_has_its_history(zoo: Invoke) -> None:
    zoo("registry", "create", "gone").ok()
    zoo("link", "zoo:v0", "gone/Zoo").ok()
    zoo("collection", "rm", "gone/Zoo", "-y").ok()
    assert [event["action"] for event in events(zoo, "gone/Zoo")][-1] == "collection-deleted"
    zoo("registry", "rm", "gone", "-y").ok()
    actions = [(event["ref"], event["action"]) for event in events(zoo)]
    assert ("gone/Zoo:v0", "linked") in actions
    assert any(ref == "gone" and "created" in action for ref, action in actions)


def test_filters(zoo: Invoke) -> None:
    zoo("alias", "add", "model/Zoo:v0", "prod", "-m", "it passed").ok()
    only = events(zoo, "model/Zoo", "--action", "alias-added")
    assert [(event["alias"], event["reason"]) for event in only] == [("prod", "it passed")]
    user = only[0]["user"]
    assert events(zoo, "--user", "nobody-at-all") == []
    assert events(zoo, "--user", user) == events(zoo)
    assert events(zoo, "--since", "1h") == events(zoo)
    assert events(zoo, "--since", "2999-01-01") == []
    assert zoo("history", "--since", "yesterday-ish").code == 2
    version = events(zoo, "model/Zoo:v0")
    assert [event["action"] for event in version] == ["linked", "alias-added"]


@pytest.mark.parametrize(
    ("action", "hint"), [("alias-move", "did you mean 'alias-moved'?"), ("typo", "use one of alias-added, alias-moved, ")]
)
def test_an_unknown_action_is_refused_and_others_are_named(zoo: Invoke, action: str, hint: str) -> None:
    for place in ([], ["model/Zoo"]):
        result = zoo("history", *place, "--action", action)
        assert (result.code, result.stdout) == (2, "")
        assert result.stderr.startswith(f"error: action '{action}' is unknown\nhint: {hint}")
    assert events(zoo, "model/Zoo", "--action", "protected") == []


def test_the_order_is_the_order_of_commits_and_every_seq_is_there(zoo: Invoke) -> None:
    for name in ("a", "b", "c"):
        zoo("alias", "add", "zoo:v0", name).ok()
    seqs = [event["seq"] for event in events(zoo, "zoo")]
    assert seqs == sorted(seqs)
    assert set(seqs) == set(range(1, max(seqs) + 1))


def test_a_restricted_registry_tells_strangers_nothing(zoo: Invoke, root: Path) -> None:
    from regcli.domain.history import history
    from regcli.errors import RoleError

    zoo("registry", "create", "secret", "--visibility", "restricted").ok()
    zoo("link", "zoo:v0", "secret/Zoo").ok()
    stranger = Context(root_path=str(root), user="eve", uid=1, host="h")
    assert not any("secret" in str(event) for event in history(stranger, None))
    for place in ("secret/", "secret/Zoo", "secret/Zoo:v0"):
        with pytest.raises(RoleError):
            history(stranger, place)


LOGS = {
    "collection": "registries/model/collections/zoo/log",
    "source": "projects/local/default/collections/zoo/log",
    "settings": "registries/model/settings",
    "run": "projects/local/default/runs/r/log",
}


@pytest.fixture
def grown(zoo: Invoke) -> Invoke:
    for name in ("a", "b", "c"):
        zoo("alias", "add", "model/Zoo:v0", name).ok()
        zoo("alias", "add", "zoo:v0", name).ok()
        zoo("protect", "model", f"p{name}").ok()
    for version in ("zoo:v0", "zoo:v1", "model/Zoo:v0"):
        zoo("use", version, "--run", "r").ok()
    zoo("log", "f", "-n", "other", "-t", "model", "--run", "r").ok()
    return zoo


def _write(path: Path, data: bytes) -> None:
    path.chmod(0o644)
    path.write_bytes(data)


def _edit(first: Path, _: Path) -> None:
    data = first.read_bytes()
    _write(first, data.replace(b'"user":"', b'"user":"not-', 1))


def _edit_keeping_the_size(first: Path, _: Path) -> None:
    data = first.read_bytes()
    at = data.index(b'"time":"2') + 8
    _write(first, data[:at] + b"3" + data[at + 1 :])


def _truncate(first: Path, _: Path) -> None:
    _write(first, first.read_bytes()[:-20])


def _empty(first: Path, _: Path) -> None:
    _write(first, b"")


def _swap(first: Path, second: Path) -> None:
    one, two = first.read_bytes(), second.read_bytes()
    _write(first, two)
    _write(second, one)


def _remove(first: Path, _: Path) -> None:
    first.unlink()


def _copy_over(first: Path, second: Path) -> None:
    _write(first, second.read_bytes())


DAMAGES = [_edit, _edit_keeping_the_size, _truncate, _empty, _swap, _remove, _copy_over]


def test_verify_says_where_a_chain_breaks(grown: Invoke, root: Path) -> None:
    context = Context(root_path=str(root), user="ada", uid=os.getuid(), host="h")
    assert [problem.message for problem in verify_root(context).problems] == []
    for place in LOGS.values():
        folder = root / place
        names = sorted(name for name in os.listdir(folder) if name.endswith(".json"))
        assert len(names) >= 3
        kept = {name: (folder / name).read_bytes() for name in names}
        for damage in DAMAGES:
            damage(folder / names[1], folder / names[2])
            problems = [problem for problem in verify_root(context).problems if problem.kind == "history"]
            assert problems, (place, damage)
            # An edited commit is told by the one after it, which no longer follows.
            assert {os.path.basename(problem.path) for problem in problems} & {names[1], names[2]}, (place, damage)
            assert all(place in problem.path for problem in problems), (place, damage)
            for name, data in kept.items():
                if not (folder / name).exists() or (folder / name).read_bytes() != data:
                    (folder / name).unlink(missing_ok=True)
                    (folder / name).write_bytes(data)
        assert [problem.message for problem in verify_root(context).problems] == []


def test_verify_notices_that_the_last_commits_were_cut_off(grown: Invoke, root: Path) -> None:
    """The head remembers that there was more."""
    context = Context(root_path=str(root), user="ada", uid=os.getuid(), host="h")
    for place in LOGS.values():
        folder = root / place
        last = folder / max(name for name in os.listdir(folder) if name.endswith(".json"))
        data = last.read_bytes()
        last.unlink()
        problems = [problem for problem in verify_root(context).problems if problem.kind == "history"]
        assert problems
        assert all(place in problem.path + problem.message for problem in problems)
        last.write_bytes(data)


def test_verify_notices_that_the_source_of_a_link_vanished_with_its_directory(grown: Invoke, root: Path) -> None:
    shutil.move(root / "projects/local/default/collections/zoo", root / "elsewhere")
    result = grown("verify", "--json")
    assert result.code == 1
    found = [problem for problem in result.json["problems"] if problem["kind"] == "history"]
    assert [problem["path"] for problem in found] == [f"{root}/projects/local/default/collections/zoo/log"]
    assert "model/collections/zoo" in found[0]["message"]
    # Withdrawn links need it no more, and what is deleted the proper way is no damage.
    shutil.move(root / "elsewhere", root / "projects/local/default/collections/zoo")
    grown("collection", "rm", "zoo", "-y", "--force", "--delete-aliases").ok()
    grown("gc", "--grace", "0").ok()
    grown("verify").ok()


def test_the_command_names_the_place_and_exits_1(grown: Invoke, root: Path) -> None:
    folder = root / LOGS["collection"]
    _edit(folder / "0000000002.json", folder)
    result = grown("verify", "--json")
    assert result.code == 1
    problems = result.json["problems"]
    assert [problem["kind"] for problem in problems] == ["history"]
    assert "0000000003.json" in problems[0]["message"]
