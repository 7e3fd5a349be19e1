"""What a hostile root says never leads out of it: names become directories, ids become files of the user's own."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from regcli.store.root import seal_marker
from tests.conftest import clean_environment
from tests.reliability.harness import LONG
from tests.security.forgery import append, rewrite, seal_head

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import Result
    from tests.security.conftest import Place

    Run = Callable[..., Result]

BY_LIBRARY = """
import json, sys, regcli
for name in ("download", "checkout"):
    try:
        getattr(regcli.Api().artifact(sys.argv[1]), name)()
    except Exception as error:
        assert "corrupt" in str(error), error
    else:
        raise SystemExit(name)
"""


def outside(place: Place) -> dict[str, bytes | None]:
    """Return all that lies beside the root and the home directory, with its content."""
    found: dict[str, bytes | None] = {}
    for folder, folders, names in os.walk(place.path):
        if Path(folder) == place.path:
            folders[:] = [name for name in folders if name not in ("root", "home")]
        for name in (*folders, *names):
            path = Path(folder, name)
            found[str(path)] = path.read_bytes() if path.is_file() else None
    return found


def call(name: str) -> Any:
    """Return what gives a collection another name, in every commit that makes one."""

    def change(commits: list[dict[str, Any]]) -> None:
        for commit in commits:
            for op in commit["ops"]:
                if op["op"] == "create":
                    op["name"] = name

    return change


def source_log(place: Place) -> Path:
    return next(place.root.glob("projects/*/*/collections/zoo/log"))


@pytest.mark.parametrize("name", ["../../victim", "..", "/", "a/b", "victim\\x", "x\0y"])
def test_the_name_of_a_collection_is_no_path(place: Place, name: str) -> None:
    victim = place.path / "victim"
    victim.mkdir()
    (victim / "precious").write_text("content that is stored nowhere")
    log = source_log(place)
    # By a link: nobody named the source.
    rewrite(log, call(name))
    before = outside(place)
    done = subprocess.run(
        [sys.executable, "-c", BY_LIBRARY, "model/zoo:v0"],
        cwd=place.work, env=clean_environment(place.home, place.root), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    # By a redirect: what lies there may be called anything.
    other = log.parent.parent / "zoo2"
    shutil.copytree(log.parent, other)
    rewrite(log, call("zoo"))

    def moved(commits: list[dict[str, Any]]) -> None:
        for commit in commits:
            commit["place"] += "2"
            for op in commit["ops"]:
                if op["op"] == "create":
                    op["id"] = "d" * 32

    rewrite(other / "log", moved)
    append(log, [{"op": "remove"}, {"op": "redirect", "to": "zoo2", "id": "d" * 32}])
    for command in (("download", "zoo:v0"), ("lock", "zoo:v0"), ("show", "zoo:v0")):
        assert place.run(*command).code == 6, command
    assert outside(place) == before


@pytest.mark.parametrize("name", ["../../victim", "..", "a/b"])
def test_the_name_of_a_registry_is_no_path(place: Place, name: str) -> None:
    append(place.settings, [{"op": "set", "field": "name", "before": "model", "after": name}])
    assert place.run("download", "model/zoo:v0").code == 6


def test_the_id_of_a_root_is_no_path(place: Place) -> None:
    """Caches and notices of a root lie in the user's directories under its id."""
    victim = place.path / "victim"
    (victim / "done").mkdir(parents=True)
    for number in range(1200):
        (victim / f"done/{number}.jpg").write_bytes(b"")
    marker = place.root / "regcli.toml"
    text = marker.read_text()
    identity = f"../../../../../victim{'/' * 11}"
    assert len(identity) == 32
    for path in [marker, *place.root.rglob("*.json")]:
        path.chmod(0o644)
    text = re.sub(r'id = "\w+"', f'id = "{identity}"', text[: text.rindex("checksum = ")])
    marker.write_bytes(seal_marker(text))

    def move(commits: list[dict[str, Any]]) -> None:
        for commit in commits:
            commit["root"] = identity

    for log in (place.settings, place.log, source_log(place)):
        rewrite(log, move)
    (place.root / "outbox").mkdir()
    before = outside(place)
    for command in (("resolve", "zoo:v0"), ("download", "zoo:v0"), ("automation", "deliver"), ("verify",)):
        assert place.run(*command).code == 6, command
    assert outside(place) == before


DIRECTORIES = (
    "trash", "trash/20200101T000000Z-aaaaaaaa", "packs", "packs/index", "blobs", "blobs/cc", "backrefs", "backrefs/cc",
    "outbox", "outbox/done", "locks", "cache", "cache/catalog", "settings", "registries/model/settings",
    "registries/model/collections/zoo/log", "registries/model/collections/zoo/pages",
)  # fmt: skip
PRECIOUS = (
    "a.txt", "2019-holiday/photo.jpg", ".ssh/id", "a/b/c", "a/b/c.json", ".tmp-1-aa", "pack-1.idx", "c" * 32,
    "0000000001.json", "done/a.json", "cc/" + "c" * 32, "20200101T000000Z-aaaaaaaa/b", "index/e.idx", "page.json",
)  # fmt: skip
TIDYING = (
    ("gc",), ("gc", "--grace", "0s"), ("verify",), ("verify", "--repair"), ("automation", "deliver"), ("doctor",),
    ("alias", "add", "model/zoo:v1", "best"), ("log", ".", "-n", "more"), ("search", "zoo"), ("du",),
)  # fmt: skip


@pytest.mark.parametrize("directory", DIRECTORIES)
def test_nothing_is_deleted_behind_a_link(place: Place, regcli: Run, directory: str) -> None:
    """A member of a shared root needs no more than to put a link into the trash for the admin's `gc`."""
    victim = place.path / "victim"
    for name in PRECIOUS:
        (victim / name).parent.mkdir(parents=True, exist_ok=True)
        if not (victim / name).is_dir():
            (victim / name).write_text("content that is stored nowhere")
    # More than are kept of notices, and more packs than are left without an index file.
    for number in range(1200 if directory.startswith("outbox") else 0):
        (victim / f"{number}.json").write_bytes(b"")
        (victim / f"done/{number}.json").write_bytes(b"")
    for number in range(10 if directory.startswith("packs") else 1):
        (place.path / "more").write_text(f"more {number}")
        regcli("log", str(place.path / "more"), "-n", "more", "-t", "model").ok()
    link = place.root / directory
    shutil.rmtree(link, ignore_errors=True)
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(victim)
    for path in (victim, place.root):
        for folder, _, names in os.walk(path):
            for name in names:
                os.utime(f"{folder}/{name}", (1e9, 1e9), follow_symlinks=False)
    head = place.log.parent / "head.json"
    seal_head(head.parent, lambda document: document["records"].update(pages=[[0, 0, "page.json"]], recent={}))
    before = {path for path, data in outside(place).items() if data is not None}
    for command in TIDYING:
        done = regcli(*command)
        assert done.code in (0, 1, 3, 5, 6, 8), (command, done)
    assert before - outside(place).keys() == set()


BEHIND_LINKS = (
    "backrefs", "blobs", "cache", "cache/project", "heads", "locks", "outbox", "outbox/done", "packs", "packs/index",
    "projects", "projects/local", "projects/local/default", "projects/local/default/collections",
    "projects/local/default/collections/zoo", "projects/local/default/collections/zoo/log", "projects/local/default/runs",
    "projects/local/default/runs/train", "projects/local/default/runs/train/log", "registries", "registries/model",
    "registries/model/collections", "registries/model/collections/zoo", "registries/model/collections/zoo/log",
    "registries/model/settings", "settings",
)  # fmt: skip
# Directories that are written to in ways of their own; in the others it is done as in these.
TELLING = (
    "backrefs", "blobs", "cache/project", "heads", "locks", "outbox", "packs", "packs/index", "projects/local",
    "projects/local/default/collections/zoo/log", "projects/local/default/runs/train", "registries/model/settings",
)  # fmt: skip
WRITING = (
    ("log", "small", "-n", "zoo", "--input", "zoo:v0"), ("log", "large", "-n", "more", "-t", "model", "--link", "model/other"),
    ("link", "zoo:v0", "model/new"), ("unlink", "model/zoo:v1"), ("alias", "add", "model/zoo:v0", "best"),
    ("tag", "add", "zoo:v0", "old"), ("use", "zoo:v1", "--run", "train"), ("protect", "model", "gold"),
    ("registry", "edit", "model", "-d", "x"), ("registry", "create", "mine"), ("collection", "edit", "zoo", "--ttl", "30d"),
    ("automation", "add", "more", "--on", "linked", "--webhook", "http://127.0.0.1:9/"), ("automation", "deliver", "--now"),
    ("delete", "big:v0", "--delete-aliases"), ("gc",), ("undelete", "big:v0"), ("search", "zoo"), ("ls", "zoo"),
    ("verify", "--repair"), ("doctor",), ("init", "--ttl", "90d"), ("init", "--shared", "--group", "0"),
)  # fmt: skip


def kept(top: Path) -> dict[str, Any]:
    """Return all that a directory has, links unfollowed: mode, owner, and content or names."""
    found: dict[str, Any] = {}
    for path in (top, *top.rglob("*")):
        status = path.lstat()
        content = path.read_bytes() if path.is_file() and not path.is_symlink() else None
        found[str(path)] = (status.st_mode, status.st_uid, status.st_gid, status.st_ino, content)
    return found


@pytest.fixture
def furnished(place: Place, regcli: Run, monkeypatch: pytest.MonkeyPatch) -> Place:
    """A place whose root has something of everything that is written to."""
    monkeypatch.setenv("REGCLI_AUTOMATIONS", "manual")
    (place.work / "small").write_text("small")
    (place.work / "large").write_bytes(os.urandom(1 << 21))
    (place.work / "other").write_bytes(os.urandom(1 << 21))
    regcli("automation", "add", "tell", "--on", "alias-added", "--webhook", "http://127.0.0.1:9/").ok()
    regcli("log", "other", "-n", "big", "-t", "model", "--run", "train", "--input", "zoo:v0").ok()
    regcli("alias", "add", "zoo:v1", "told").ok()
    regcli("search", "zoo").ok()
    return place


@pytest.mark.parametrize("directory", BEHIND_LINKS if LONG else TELLING)
def test_nothing_is_written_behind_a_link(furnished: Place, regcli: Run, directory: str) -> None:
    """What the link leads to is what was there, so that nothing but the link itself can stop a writer."""
    link, victim = furnished.root / directory, furnished.path / "victim"
    if link.is_dir():
        link.rename(victim)
    else:
        victim.mkdir()
    link.symlink_to(victim)
    before = kept(victim)
    refused = 0
    for command in WRITING:
        done = regcli(*command)
        assert done.code in (0, 1, 2, 3, 4, 5, 6, 8), (command, done)
        assert kept(victim) == before, command
        refused += done.code == 6 and "symbolic link" in done.stderr
    assert refused or not (furnished.root / directory).exists() or directory in ("heads", "cache", "cache/project")


def test_a_root_may_be_reached_by_links(furnished: Place, regcli: Run) -> None:
    """The control: what lies outside of the root is the user's own choice."""
    (furnished.path / "real").mkdir()
    furnished.root.rename(furnished.path / "real/root")
    (furnished.path / "way").symlink_to("real")
    furnished.root.symlink_to("way/root")
    for command in WRITING[:-1]:
        done = regcli(*command)
        assert done.code in ((0, 1, 8) if command[0] == "automation" else (0, 4)), (command, done)


def test_a_hostile_trash_takes_nothing_from_another_root(place: Place, regcli: Run) -> None:
    """What is brought back from the trash is deleted there: behind a link that was another root's content."""
    (place.work / "large").write_bytes(os.urandom(1 << 21))
    regcli("log", "large", "-n", "large", "-t", "model").ok()
    other = place.path / "other"
    shutil.copytree(place.root, other)
    shutil.rmtree(place.root / "blobs")
    shutil.rmtree(place.root / "packs")
    (place.root / "trash").mkdir()
    (place.root / "trash/20990101T000000Z-aaaaaaaa").symlink_to(other)
    before = kept(other)
    for command in (("download", "large"), ("verify", "--repair"), ("log", "large", "-n", "large"), ("gc",)):
        regcli(*command)
        assert kept(other) == before, command


def test_the_reserve_behind_a_link_is_not_given_up(place: Place, regcli: Run) -> None:
    victim = place.path / "victim"
    (place.root / "locks").rename(victim)
    (place.root / "locks").symlink_to(victim)
    (victim / "reserve").write_text("content that is stored nowhere")
    for command in (("gc",), ("delete", "zoo:v0", "--force"), ("log", ".", "-n", "zoo"), ("doctor",)):
        regcli(*command)
        assert (victim / "reserve").read_text() == "content that is stored nowhere", command


@pytest.mark.parametrize("directory", ["parts", "parts/made", "parts/made/one", "parts/made/one/log", "runs/first"])
def test_what_a_script_logs_is_not_written_behind_a_link(place: Place, directory: str) -> None:
    """Parts of a version that several processes build, and a run."""

    def script(number: str) -> subprocess.CompletedProcess[str]:
        (place.work / number).write_text(number)
        program = (
            "import sys, regcli; run = regcli.init(id='first'); made = regcli.Artifact('made', 'model'); "
            "made.add_file(sys.argv[1]); run.upsert_artifact(made, distributed_id='one'); run.log({'loss': 1}); run.finish()"
        )
        return subprocess.run(
            [sys.executable, "-c", program, number], cwd=place.work, env=clean_environment(place.home, place.root),
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip

    first = script("1")
    assert first.returncode == 0, first
    link, victim = place.root / "projects/local/default" / directory, place.path / "victim"
    link.rename(victim)
    link.symlink_to(victim)
    before = kept(victim)
    second = script("2")
    assert second.returncode
    assert "is a symbolic link" in second.stderr
    assert kept(victim) == before


@pytest.mark.parametrize("how", ["symlink", "hardlink", "fifo"])
@pytest.mark.parametrize("file", ["history", "tries", "lock"])
def test_nothing_is_appended_to_another_file(furnished: Place, how: str, file: str) -> None:
    """Neither the metrics of a run nor the tries of a delivery, whose names are known; nor is its mode changed."""
    victim = furnished.path / "victim"
    victim.write_text("content that is stored nowhere")
    victim.chmod(0o600)
    path = {
        "history": furnished.root / "projects/local/default/runs/train/metrics.jsonl",
        "tries": next((furnished.root / "outbox").glob("*.json")).with_suffix(f".tries-{os.geteuid()}"),
        "lock": furnished.root / "locks/content.lock",
    }[file]
    path.unlink(missing_ok=True)
    if how == "symlink":
        path.symlink_to(victim)
    elif how == "hardlink":
        path.hardlink_to(victim)
    else:
        os.mkfifo(path)
    before = kept(victim)
    if file == "history":
        program = "import regcli; run = regcli.init(id='train'); run.log({'loss': 1}); run.finish()"
        done = subprocess.run(
            [sys.executable, "-c", program], cwd=furnished.work, env=clean_environment(furnished.home, furnished.root),
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert done.returncode
        assert "regular file" in done.stderr or "other names" in done.stderr
    elif file == "tries":
        assert furnished.run("automation", "deliver", "--now").code == 8
    else:
        assert furnished.run("init", "--shared", "--group", "0").code in (6, 8)
    assert kept(victim) == before


def test_the_trash_is_emptied(place: Place) -> None:
    """The control: links in it are deleted themselves, and so is all else that a sweep could have put there."""
    trash = place.root / "trash/20200101T000000Z-aaaaaaaa"
    (trash / "blobs/cc").mkdir(parents=True)
    (trash / f"blobs/cc/{'c' * 32}").write_bytes(b"x")
    (trash / "blobs/link").symlink_to(place.path)
    (place.root / "trash/mine").mkdir()
    before = outside(place)
    place.run("gc").ok()
    assert [path.name for path in (place.root / "trash").iterdir()] == ["mine"]
    assert outside(place) == before


def test_the_control(place: Place) -> None:
    """Without any forgery all of it works."""
    assert json.loads(place.run("download", "zoo:v0", "--json").ok().stdout)["written"] == 1
    place.run("automation", "deliver").ok()
