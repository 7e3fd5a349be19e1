"""Commits, settings and heads that an attacker wrote, with hashes that fit: refused or harmless, never a crash."""

from __future__ import annotations

import copy
import random
import shutil
from typing import TYPE_CHECKING, Any

import pytest

from tests.reliability.harness import scaled
from tests.security.forgery import forget_head, read_log, seal_head, write_log

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.conftest import Result

    Run = Callable[..., Result]
    Place = tuple[str | int, ...]

VALUES: tuple[Any, ...] = (
    None, True, -1, 1 << 70, 1.5, "", "x", "\x1b[31m\u202e", "../../../../etc/passwd", [], {}, [None], {"x": None}, "\ud800",
    ["a"] * 3,
)  # fmt: skip
COMMANDS = (
    ("resolve", "model/zoo:production"),
    ("resolve", "zoo:best", "--source"),
    ("show", "model/zoo:production"),
    ("ls",),
    ("ls", "model/"),
    ("ls", "model/zoo"),
    ("files", "zoo:v0"),
    ("download", "model/zoo:production", "-o", "out"),
    ("search", "zoo"),
    ("history",),
    ("lineage", "model/zoo:production"),
    ("member", "ls", "model"),
    ("protect", "--ls", "model"),
    ("registry", "show", "model"),
    ("alias", "add", "model/zoo:v0", "candidate"),
    ("verify",),
    ("gc", "--dry-run"),
)
LOGS = ("registries/model/settings", "registries/model/collections/zoo/log", "projects/local/default/collections/zoo/log")


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root with versions, links, aliases, protection, members, tags and lineage."""
    from tests.domain.world import World

    world = World(tmp_path_factory.mktemp("logs"))
    world.furnish()
    from regcli.domain.members import set_member
    from regcli.model import RegistryName

    set_member(world.user(), RegistryName("model"), "bob", "viewer")
    return world.path / "root"


def places(value: Any, path: Place = ()) -> Iterator[Place]:
    """Yield the place of every value inside a document."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield (*path, key)
        yield from places(item, (*path, key))


def put(document: Any, place: Place, value: Any) -> None:
    """Replace one value of a document; a missing one where `value` is `...`."""
    for key in place[:-1]:
        document = document[key]
    if value is ...:
        del document[place[-1]]
    else:
        document[place[-1]] = value


def check_all(invoke: Run, work: Path, what: object) -> None:
    shutil.rmtree(work / "out", ignore_errors=True)
    for command in COMMANDS:
        done = invoke(*command)
        assert done.code in (0, 1, 2, 3, 4, 5, 6), (what, command, done)
        assert not set(done.stdout + done.stderr) & {"\x1b", "\u202e", "\x9b"}, (what, command, done)
    assert {path.name for path in work.iterdir()} <= {"out"}


def mutations(documents: list[Any], seed: int) -> list[tuple[int, Place, Any]]:
    found = [
        (number, place, value)
        for number, document in enumerate(documents)
        for place in places(document)
        if place[0] not in ("seq", "prev", "format", "root", "place")
        for value in (..., *VALUES)
    ]
    random.Random(seed).shuffle(found)
    return found


@pytest.mark.parametrize("log", LOGS)
def test_one_value_of_a_commit_is_changed(prepared: Path, invoke: Run, root: Path, work: Path, log: str) -> None:
    shutil.copytree(prepared, root)
    commits = read_log(root / log)
    chosen = mutations(commits, 7)
    for number, place, value in chosen[: scaled(8, 3000)]:
        shutil.rmtree(root)
        shutil.copytree(prepared, root)
        edited = copy.deepcopy(commits)
        put(edited[number], place, value)
        write_log(root / log, edited)
        check_all(invoke, work, (number, place, value))


def test_a_link_without_a_source_is_damage(prepared: Path, invoke: Run, root: Path, work: Path) -> None:
    shutil.copytree(prepared, root)
    log = root / "registries/model/collections/zoo/log"
    commits = read_log(log)
    number = next(number for number, commit in enumerate(commits) if commit["ops"][0]["op"] == "link")
    commits[number]["ops"][0]["record"]["source"] = None
    write_log(log, commits)
    check_all(invoke, work, "no source")
    assert invoke("verify").code == 1


@pytest.mark.parametrize("log", LOGS)
def test_one_value_of_a_head_is_changed(prepared: Path, invoke: Run, root: Path, work: Path, log: str) -> None:
    import json

    base = (prepared / log).parent
    head = json.loads((base / "head.json").read_bytes())
    places_of = mutations([{"state": head["state"], "records": head["records"]}], 11)
    for _, place, value in places_of[: scaled(6, 3000)]:
        shutil.rmtree(root, ignore_errors=True)
        shutil.copytree(prepared, root)
        seal_head((root / log).parent, lambda document, place=place, value=value: put(document, place, value))  # type: ignore[misc]
        check_all(invoke, work, (place, value))


@pytest.mark.parametrize("identity", ["../outside", "/outside", "..", "\0" * 32, "A" * 32, "0" * 31])
def test_the_id_of_an_input_names_no_place(prepared: Path, invoke: Run, root: Path, work: Path, identity: str) -> None:
    """Markers lie in a directory with an id's name, and are written again where they are missing."""
    from regcli.errors import IntegrityError
    from regcli.store import backrefs

    shutil.copytree(prepared, root)
    commits = read_log(root / LOGS[2])
    record = next(op["record"] for commit in commits for op in commit["ops"] if op.get("record", {}).get("inputs"))
    record["inputs"][0]["id"] = identity
    write_log(root / LOGS[2], commits)
    before = sorted(root.parent.iterdir())
    assert invoke("verify").code == 1
    check_all(invoke, work, identity)
    assert sorted(root.parent.iterdir()) == before
    with pytest.raises(IntegrityError):
        backrefs.read_backrefs(str(root), identity)
    with pytest.raises(IntegrityError):
        backrefs.add_backref(str(root), identity, backrefs.INPUT, "projects/a/b", 1)
    assert sorted(root.parent.iterdir()) == before


@pytest.mark.parametrize("log", LOGS)
def test_a_head_without_a_name_is_read_from_the_log(prepared: Path, invoke: Run, root: Path, log: str) -> None:
    """An empty name has no directory; what is malformed in a head is derived again."""
    shutil.copytree(prepared, root)
    seal_head((root / log).parent, lambda head: head["state"].update(name=""))
    for command in COMMANDS:
        # `verify` says which head it was.
        assert invoke(*command).code in ((0, 1) if command == ("verify",) else (0,)), command


def test_the_documents_are_read_from_the_log_when_heads_are_gone(prepared: Path, invoke: Run, root: Path, work: Path) -> None:
    """The control: without any change, all of it works."""
    shutil.copytree(prepared, root)
    for log in LOGS:
        forget_head((root / log).parent)
    for command in COMMANDS:
        assert invoke(*command).code == 0, command
